"""`make export-deepfakebench OUT=x TO=dir`: the crops, labels and split of a run as DeepfakeBench's trainers read them.

    TO/datasets/rgb/NAME/…/frames/<video>/<NNN>.png     crops, at the side that was asked for
    TO/datasets/rgb/NAME/…/points5/<video>/<NNN>.npy    five landmarks in px of the crop, float32 (5, 2)
    TO/preprocessing/dataset_json/NAME.json             {NAME: {label: {part: {video: {label, frames}}}}}
    TO/preprocessing/dataset_json/NAME.label_dict.yaml  the lines of its config that name these labels

TO is a checkout of DeepfakeBench, or any folder laid out like one. Its loader joins paths that begin with "./" to its
working directory, so that is how they are written. Its 81 landmarks and its masks are not made: only its blending
trainers use them, and its loader takes zeros where they are missing.
"""
from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extract.layouts.base import clip_stem
from extract.layouts.deepfakebench import COMPRESSIONS, METHODS
from pipeline.errors import OptionsError, TableError, command
from pipeline.options import from_record
from pipeline.progress import progress_bar
from pipeline.tables import FACES, INDEX, SPLIT, VIDEOS, read_json, read_table, write_bytes

if TYPE_CHECKING:
    import numpy as np

    from extract.faces.detector import FaceOptions

SIDE_PX = 256   # of its frames
PARTS = ("train", "val", "test")
RGB, LISTS = "datasets/rgb", "preprocessing/dataset_json"
# Labels that its config knows, by our dataset: of reals, of fakes without a label of their method.
LABELS = {"Celeb-DF-v1": ("CelebDFv1_real", "CelebDFv1_fake"), "Celeb-DF-v2": ("CelebDFv2_real", "CelebDFv2_fake"),
          "FaceForensics++": ("FF-real", ""), "DeepFakeDetection": ("DFD_real", "DFD_fake"),
          "DFDC": ("DFDC_Real", "DFDC_Fake"), "DFDCP": ("DFDCP_Real", "")}
NAMES = {"DFDC-preview": "DFDCP"}
OF_METHOD = {method: label for label, method in METHODS.items() if label != "FF-SH"} | {
    "method_A": "DFDCP_FakeA", "method_B": "DFDCP_FakeB"}
COMPRESSED = ("FaceForensics++", "DeepFakeDetection", "FaceShifter", "FF-DF", "FF-F2F", "FF-FS", "FF-NT")


def export(out: Path, to: Path, side_px: int = SIDE_PX) -> Counter[str]:
    """Write the crops and the split of a run as DeepfakeBench reads them.

    Args:
        out: folder of the run; its videos must be extracted and split.
        to: a folder that is laid out like DeepfakeBench; files that are there with other content are replaced.
        side_px: side of the written frames.

    Returns:
        Number of "videos" and "frames" written, and of videos without a face or in no part, "left out".

    Raises:
        TableError: a table of the run or a crop is missing or damaged, or pictures were judged whole.
    """
    import cv2
    import numpy as np

    from data.loading.crops import read_crop
    from extract.faces.detector import FaceOptions

    options = read_json(out / "faces" / "options.json")
    if "crop_folder" in options:
        raise TableError(f"{out} holds pictures that are judged whole, not faces: extract with CROP=face")
    # The map to the crop is needed at the side that is written.
    faces = replace(from_record(FaceOptions, options["faces"]), crop_px=side_px)
    index = read_table(out / "index.csv", INDEX).merge(read_table(out / "split.csv", SPLIT)[["video_id", "part"]],
                                                       on="video_id")
    index = index.merge(read_table(out / "faces" / "videos.csv", VIDEOS)[["video_id", "width_px", "height_px"]],
                        on="video_id")
    table = read_table(out / "faces" / "faces.csv", FACES)
    rows_of = {str(video): rows for video, rows in table[table["crop"] != ""].groupby("video_id")}
    lists: dict[str, dict[str, Any]] = defaultdict(dict)
    counts, taken = Counter[str](), set[tuple[str, ...]]()
    for video in progress_bar(index.to_dict("records"), desc="export", unit="video", leave=False):
        if video["part"] not in PARTS or video["video_id"] not in rows_of:
            counts["left out"] += 1
            continue
        name, label = _named(video)
        folder, stem = _place(video["video_id"])
        level = [next((part for part in folder.split("/") if part in COMPRESSIONS), "c23")] * (name in COMPRESSED)
        if (name, label, video["part"], *level, stem) in taken:
            stem = re.sub(r"[^\w-]+", "_", f"{folder}_{stem}")
        taken.add((name, label, video["part"], *level, stem))
        frames = []
        for row in rows_of[video["video_id"]].to_dict("records"):
            crop = read_crop(out / "faces" / row["crop"])
            how = cv2.INTER_AREA if crop.shape[0] > side_px else cv2.INTER_CUBIC
            picture = cv2.resize(crop, (side_px, side_px), interpolation=how)
            ok, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            if not ok:
                raise TableError(f"OpenCV cannot encode {row['crop']}")
            path = "/".join(part for part in (RGB, name, folder, "frames", stem, f"{row['frame']:03d}.png") if part)
            write_bytes(to / path, png.tobytes())
            file = to / path.replace("/frames/", "/points5/").replace(".png", ".npy")
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, points_in_crop(row, video, faces))
            frames.append("./" + path)
        place = lists[name].setdefault(label, {part: {} for part in PARTS})[video["part"]]
        for part in level:
            place = place.setdefault(part, {})
        place[stem] = {"label": label, "frames": frames}
        counts["videos"] += 1
        counts["frames"] += len(frames)
    for name, labels in lists.items():
        _write_list(to, name, labels)
    return counts


def _write_list(to: Path, name: str, labels: dict[str, Any]) -> None:
    if name in COMPRESSED:  # its loader asks each part for the level of its config
        levels = sorted({level for parts in labels.values() for part in PARTS for level in parts[part]})
        for parts in labels.values():
            for part in PARTS:
                parts[part] = {level: parts[part].get(level, {}) for level in levels}
    write_bytes(to / LISTS / f"{name}.json", (json.dumps({name: labels}) + "\n").encode())
    lines = ["label_dict:", *(f"  {label}: {int(not label.lower().endswith('real'))}" for label in sorted(labels))]
    write_bytes(to / LISTS / f"{name}.label_dict.yaml", ("\n".join(lines) + "\n").encode())


def _named(video: dict[str, Any]) -> tuple[str, str]:
    """The name of the dataset and the label of a video, as DeepfakeBench's config has them where it knows them."""
    name = NAMES.get(video["dataset"], video["dataset"])
    if name == "FaceForensics++" and ("/actors/" in video["video_id"] or video["method"] == "DeepFakeDetection"):
        name = "DeepFakeDetection"
    name = re.sub(r"[^\w.+-]+", "_", name) or "corpus"
    real, fake = LABELS.get(name, (f"{name}_real", f"{name}_fake"))
    if not video["label"]:
        return name, real
    method = re.sub(r"[^\w.+-]+", "_", video["method"])
    return name, fake or OF_METHOD.get(video["method"], f"{name}_{method or 'unnamed'}_fake")


def _place(video_id: str) -> tuple[str, str]:
    """The folder of a video and its name, as its preprocessing has them: without videos/ and frames/."""
    folders = [part for part in video_id.split("/")[:-1] if part not in ("videos", "frames")]
    # Its loader replaces "frames" in a whole path to find masks and landmarks.
    return "/".join(folders).replace("frames", "f_rames"), clip_stem(video_id).replace("frames", "f_rames")


def points_in_crop(row: dict[str, Any], video: dict[str, Any], options: FaceOptions) -> np.ndarray:
    """Return the five landmarks of a row of tables.FACES in px of its crop, float32 (5, 2).

    Args:
        row: the face.
        video: width_px and height_px of its video.
        options: how it was cropped.
    """
    import numpy as np

    from extract.faces.cropping import frame_to_crop
    from extract.faces.face import from_row

    face = from_row(row)
    box, points = np.array(face.box), face.points
    matrix = frame_to_crop(box, points, video["width_px"], video["height_px"], options)
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m data.export_deepfakebench",
                                     description="The crops and the split of a run as DeepfakeBench reads them.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run (OUT)")
    parser.add_argument("--to", type=Path, required=True, help="a checkout of DeepfakeBench, or any other folder")
    parser.add_argument("--side-px", type=int, default=SIDE_PX, help=f"side of the frames (default {SIDE_PX})")
    arguments = parser.parse_args(argv)
    if not 16 <= arguments.side_px <= 1024:
        raise OptionsError(f"--side-px must be from 16 to 1024 px, got {arguments.side_px}")
    counts = export(arguments.out, arguments.to, arguments.side_px)
    print(f"export-deepfakebench: {counts['frames']:,} frames of {counts['videos']:,} videos below "
          f"{arguments.to / RGB}, lists in {arguments.to / LISTS}; {counts['left out']:,} videos left out (no face, or "
          "in no part)")


if __name__ == "__main__":
    sys.exit(main())
