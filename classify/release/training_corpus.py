"""`make detector`, first step: what the shipped detector learns from, as one table of pictures for the usual stages.

    python -m classify.release.training_corpus --dfdc DIR --photos DIR … --crops TABLE --out OUT/corpus

DFDC's face crops (Kaggle "deepfake-faces": faces_224/ and metadata.csv, one crop a clip) are taken as they are, at most
FAKES fakes of one real. Of other people there are real faces only, photos and crops of clips, cut as the detector's
crops will be; their fakes are made in training, by blending them with themselves. DFDC's crops hold .80 of an MTCNN
box's longer side, about a centre a little lower (median of 16,202 crops in which MTCNN finds the face); CENTRE takes
.94 of it from ours. extract/layouts/dfdc.py says who is who in DFDC.
"""
from __future__ import annotations

import argparse
import csv
import hashlib
import io
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from data.loading.crops import read_crop, to_input
from extract.decoding.image import read_picture
from extract.faces.detector import Detector, FaceOptions, crop_square
from extract.layouts.base import read_csv
from extract.layouts.dfdc import people
from extract.layouts.walk import walk
from pipeline.errors import CorpusError, VideoError, command
from pipeline.parallel import map_unordered
from pipeline.tables import write_bytes
from pipeline.workers import cpu_count

if TYPE_CHECKING:
    import numpy as np

CENTRE = 0.72   # of our crop's side, which is 1.3 box lengths: what the detector looks at
LEAST_PX = 80   # side of a crop of a photo: below it there is nothing of a blend left to see
MOST_PX = 320
FAKES = 2       # of DFDC's fakes of one real at most, by the SHA-256 of their names: few are drawn in training
REALS = ("real_video", "real_photo")  # kinds of a table of crops that are learned from
QUALITY = 95    # of the JPEG files of these crops; DFDC's are JPEG too


def dfdc_rows(folder: Path) -> list[dict[str, str]]:
    """Rows path,label,original,target_id of the crops below `folder`, paths relative to it. Raises CorpusError."""
    table = folder / "metadata.csv"
    if not table.is_file():
        raise CorpusError(f"{table} does not exist: --dfdc wants Kaggle's deepfake-faces, faces_224/ and metadata.csv")
    here = {file.stem for file in (folder / "faces_224").glob("*.jpg")}
    rows = []
    for _, cells in read_csv(table, ("videoname", "label", "original")):
        name, original = Path(cells["videoname"]).stem, Path(cells["original"]).stem
        if name in here:
            rows.append({"path": f"faces_224/{name}.jpg", "label": cells["label"].lower(),
                         "original": f"faces_224/{original}.jpg" if original and cells["label"] == "FAKE" else "",
                         "target_id": people().get(original or name, "")})
    if not rows:
        raise CorpusError(f"{folder / 'faces_224'} holds none of the crops that {table} names")
    kept, n_fakes = [], Counter[str]()
    for row in sorted(rows, key=lambda row: hashlib.sha256(row["path"].encode()).hexdigest()):
        n_fakes[row["original"]] += row["label"] == "fake"
        if row["label"] == "real" or n_fakes[row["original"]] <= FAKES:
            kept.append(row)
    return sorted(kept, key=lambda row: row["path"])


def chosen(folder: Path) -> list[Path]:
    """One photo of each folder of photos (LFW has one a person), all photos of the top."""
    by_folder: dict[Path, list[Path]] = {}
    for name in walk(folder).names("image"):
        by_folder.setdefault((folder / name).parent, []).append(folder / name)
    return [file for place, files in by_folder.items() for file in (files if place == folder else files[:1])]


_detector: Any = None  # of a worker


def start() -> None:
    """Prepare a worker process: its detector."""
    global _detector
    _detector = Detector(FaceOptions(), "cpu")


def cut(job: tuple[Path, Path]) -> bool:
    """In a worker: the main face of a photo to a JPEG file. Returns whether there is one that is large enough."""
    photo, target = job
    try:
        picture = read_picture(photo)
    except VideoError:
        return False
    faces = _detector.detect([picture])[0]
    if not faces:
        return False
    box = faces[0].box
    whole = round(FaceOptions.margin * float(max(box[2] - box[0], box[3] - box[1])))
    side = round(whole * CENTRE)
    if side < LEAST_PX:
        return False
    crop = to_input(crop_square(picture, box, FaceOptions(crop_px=whole)), min(MOST_PX, side), CENTRE)
    _write_jpeg(target, crop)
    return True


def _write_jpeg(target: Path, picture: np.ndarray) -> None:
    """picture: uint8 RGB."""
    write_bytes(target, cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())


def cut_crops(table: Path, out: Path) -> list[dict[str, str]]:
    """Cut the middle of collected real crops.

    Args:
        table: CSV path,kind,source,person,part. path: of a face crop as `make extract` stores it, relative to the
            table's folder; kind: of REALS, others are left out; source: which origin; part: only `learn` is used.
        out: folder of the corpus.

    Returns:
        Rows of corpus.csv. Raises CorpusError where a crop is missing.
    """
    rows = []
    for _, cells in read_csv(table, ("path", "kind", "source", "person", "part")):
        if cells["kind"] not in REALS or cells["part"] != "learn":
            continue
        crop = read_crop(table.parent / cells["path"])
        target = out / Path(cells["path"]).with_suffix(".jpg")
        side = min(MOST_PX, round(len(crop) * CENTRE))
        if side < LEAST_PX:
            continue
        _write_jpeg(target, to_input(crop, side, CENTRE))
        rows.append({"path": target.relative_to(out).as_posix(), "label": "real", "original": "",
                     "target_id": cells["person"], "dataset": cells["source"]})
    return rows


def write_corpus(dfdc: Path, photos: list[Path], crops: list[Path], out: Path) -> dict[str, int]:
    """Write OUT/corpus.csv with a link to DFDC's crops, and below OUT the middles of photos and of collected crops.

    Returns:
        How many of each there are.
    """
    rows = dfdc_rows(dfdc)
    out.mkdir(parents=True, exist_ok=True)
    link = out / "dfdc"
    link.unlink(missing_ok=True)
    link.symlink_to(dfdc.resolve())
    rows = [{**row, "dataset": "DFDC", "path": f"dfdc/{row['path']}",
             "original": row["original"] and f"dfdc/{row['original']}"}
            for row in rows]
    jobs = [(file, out / "photos" / f"{number}-{folder.name}" / file.relative_to(folder).with_suffix(".jpg"))
            for number, folder in enumerate(photos) for file in chosen(folder)]  # two may have one name
    n_photos = 0
    for (_, target), found in map_unordered(cut, jobs, cpu_count(), start):
        if isinstance(found, Exception):
            raise found
        if found:
            n_photos += 1
            rows.append({"path": target.relative_to(out).as_posix(), "label": "real", "original": "", "target_id": "",
                         "dataset": target.relative_to(out / "photos").parts[0]})
    collected = [row for table in crops for row in cut_crops(table, out)]
    rows += collected
    text = io.StringIO()
    table = csv.DictWriter(text, ["path", "label", "original", "target_id", "dataset"], lineterminator="\n")
    table.writeheader()
    table.writerows(sorted(rows, key=lambda row: row["path"]))
    write_bytes(out / "corpus.csv", text.getvalue().encode())
    n_dfdc = len(rows) - n_photos - len(collected)
    return {"DFDC crops": n_dfdc, "collected crops": len(collected), "photos looked at": len(jobs),
            "crops of photos": n_photos}


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m classify.release.training_corpus",
                                     description="The pictures that the shipped detector learns from, as a table.")
    parser.add_argument("--dfdc", type=Path, required=True, help="Kaggle's deepfake-faces: faces_224/ and metadata.csv")
    parser.add_argument("--photos", type=Path, nargs="*", default=[], help="folders of unmanipulated photos of people, "
                        "one used of each folder below them")
    parser.add_argument("--crops", type=Path, nargs="*", default=[],
                        help="tables path,kind,source,person,part of real face crops")
    parser.add_argument("--out", type=Path, required=True, help="folder to write corpus.csv and crops to")
    arguments = parser.parse_args(argv)
    found = write_corpus(arguments.dfdc, arguments.photos, arguments.crops, arguments.out)
    print("detector: " + ", ".join(f"{n:,} {what}" for what, n in found.items()))


if __name__ == "__main__":
    sys.exit(main())
