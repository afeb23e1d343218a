"""`make export-tables OUT=x TO=folder FORMAT=parquet`: the tables of a run for pandas, or its faces as COCO's json.

    FORMAT=parquet    TO/index.parquet, TO/faces/faces.parquet, …: every table of the run, columns and types as in
                      pipeline/tables.py
    FORMAT=coco       TO/faces.json: boxes and five keypoints of all faces of all frames that were looked at
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from extract.faces.detector import LANDMARKS
from pipeline.errors import TableError, command
from pipeline.tables import (
    ALTERED_SCORES,
    COPIES,
    FACES,
    FRAME_SCORES,
    INDEX,
    METHOD_GUESSES,
    SPLIT,
    VIDEO_SCORES,
    VIDEOS,
    read_table,
    write_bytes,
    write_json,
)

TABLES = {"index": INDEX, "copies": COPIES, "faces/videos": VIDEOS, "faces/faces": FACES, "faces/copies": COPIES,
          "split": SPLIT, "scores/videos": VIDEO_SCORES, "scores/frames": FRAME_SCORES,
          "scores/methods": METHOD_GUESSES, "scores/altered": ALTERED_SCORES}
FORMATS = ("parquet", "coco")
FACE = 1      # COCO's number of the category
VISIBLE = 2   # COCO's word for a keypoint that is labelled and seen


def write_parquet(out: Path, to: Path) -> list[Path]:
    """Write each table of a run as Parquet and return the files.

    Raises:
        TableError: the run has no table, or one is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    written = []
    for name, columns in TABLES.items():
        if not (out / f"{name}.csv").is_file():
            continue
        table = pyarrow.Table.from_pandas(read_table(out / f"{name}.csv", columns), preserve_index=False)
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink)
        write_bytes(to / f"{name}.parquet", sink.getvalue().to_pybytes())
        written.append(to / f"{name}.parquet")
    if not written:
        raise TableError(f"{out} holds no table: name the folder of a run, OUT=")
    return written


def coco(out: Path) -> dict[str, Any]:
    """Return the faces of a run as an object of COCO's format for keypoints.

    A frame is an image: file_name is <video_id>/<number of the frame>.png, a name for it, since whole frames are not
    stored; width and height are those of the displayed frame. Beside COCO's fields an annotation has score (of the
    detector), label (0 real, 1 fake, of the video), track, main (whether it is the face that is judged) and crop.

    Raises:
        TableError: the run has no faces, or pictures are judged whole.
    """
    rows = read_table(out / "faces" / "faces.csv", FACES)
    if rows[[f"x_{name}" for name in LANDMARKS]].isna().all(axis=None) and len(rows):
        raise TableError(f"{out} holds pictures that are judged whole, without faces: extract with CROP=face")
    size = read_table(out / "faces" / "videos.csv", VIDEOS).set_index("video_id")[["width_px", "height_px", "label"]]
    images: dict[tuple[str, int], dict[str, Any]] = {}
    annotations = []
    for number, row in enumerate(rows.to_dict("records"), 1):
        video_id, frame = row["video_id"], row["frame"]
        width, height, label = map(int, size.loc[video_id])
        image = images.setdefault((video_id, frame), {
            "id": len(images) + 1, "file_name": f"{video_id}/{frame:06d}.png", "width": width, "height": height,
            "video_id": video_id, "frame": frame, "time_s": row["time_s"]})
        wide, high = row["x1"] - row["x0"], row["y1"] - row["y0"]
        annotations.append({
            "id": number, "image_id": image["id"], "category_id": FACE, "iscrowd": 0,
            "bbox": [row["x0"], row["y0"], round(wide, 2), round(high, 2)], "area": round(wide * high, 2),
            "keypoints": [value for name in LANDMARKS for value in (row[f"x_{name}"], row[f"y_{name}"], VISIBLE)],
            "num_keypoints": len(LANDMARKS), "score": row["confidence"], "label": label, "track": row["track"],
            "main": row["face"] == 0, "crop": row["crop"]})
    category = {"id": FACE, "name": "face", "supercategory": "person", "keypoints": list(LANDMARKS), "skeleton": []}
    return {"info": {"description": f"faces of {out.resolve().name}"}, "licenses": [], "images": list(images.values()),
            "annotations": annotations, "categories": [category]}


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m data.export_tables",
                                     description="The tables of a run as Parquet, or its faces as COCO's json.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run (OUT)")
    parser.add_argument("--to", type=Path, required=True, help="folder to write to")
    parser.add_argument("--format", choices=FORMATS, default="parquet", help="parquet: every table; coco: faces.json "
                        "(default parquet)")
    arguments = parser.parse_args(argv)
    if arguments.format == "coco":
        found = coco(arguments.out)
        write_json(arguments.to / "faces.json", found)
        print(f"export-tables: {arguments.to / 'faces.json'}: {len(found['annotations']):,} faces in "
              f"{len(found['images']):,} frames")
    else:
        print("\n".join(f"export-tables: {path}" for path in write_parquet(arguments.out, arguments.to)))


if __name__ == "__main__":
    sys.exit(main())
