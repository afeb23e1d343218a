"""Facts about tables as Parquet and faces as COCO's json."""
from __future__ import annotations

import json

import pandas as pd
import pytest

from data.export_tables import main
from pipeline.tables import FACES, INDEX, VIDEOS, read_table, write_table

LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


@pytest.fixture
def run(tmp_path):
    """Two videos; the fake has two faces in its only frame."""
    out = tmp_path / "out"
    index = [{**dict.fromkeys(INDEX, ""), "video_id": name, "label": label, "dataset": "x", "modality": "video"}
             for name, label in (("=real/a.mp4", 0), ("fake/b.mp4", 1))]
    videos = [{**dict.fromkeys(VIDEOS, 0), "video_id": row["video_id"], "label": row["label"], "status": "ok",
               "reason": "", "n_faces": 1, "width_px": 640, "height_px": 360} for row in index]
    faces = [{"video_id": name, "time_s": 2., "frame": 50, "face": face, "x0": 10. + face, "y0": 20., "x1": 70.,
              "y1": 90., **{f"{axis}_{point}": 30. + number for number, point in enumerate(LANDMARKS) for axis in "xy"},
              "confidence": .99, "n_faces": 1, "track": face, "crop": f"{name}/000050.png" if face == 0 else ""}
             for name, face in (("=real/a.mp4", 0), ("fake/b.mp4", 0), ("fake/b.mp4", 1))]
    for name, rows, columns in (("index", index, INDEX), ("faces/videos", videos, VIDEOS),
                                ("faces/faces", faces, FACES)):
        write_table(out / f"{name}.csv", rows, columns)
    return out


def test_parquet_holds_the_same_values_and_types(run, tmp_path):
    assert main(["--out", str(run), "--to", str(tmp_path / "to")]) == 0
    for name, columns in (("index", INDEX), ("faces/videos", VIDEOS), ("faces/faces", FACES)):
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "to" / f"{name}.parquet"),
                                      read_table(run / f"{name}.csv", columns), check_dtype=True)
    assert not (tmp_path / "to" / "split.parquet").exists()


def test_coco_has_an_image_a_frame_and_an_annotation_a_face(run, tmp_path):
    assert main(["--out", str(run), "--to", str(tmp_path / "to"), "--format", "coco"]) == 0
    found = json.loads((tmp_path / "to" / "faces.json").read_text())
    assert [image["file_name"] for image in found["images"]] == ["=real/a.mp4/000050.png", "fake/b.mp4/000050.png"]
    assert {(image["width"], image["height"]) for image in found["images"]} == {(640, 360)}
    images = {image["id"]: image for image in found["images"]}
    faces = found["annotations"]
    assert [(images[face["image_id"]]["video_id"], face["label"], face["main"]) for face in faces] == [
        ("=real/a.mp4", 0, True), ("fake/b.mp4", 1, True), ("fake/b.mp4", 1, False)]
    assert len({face["id"] for face in faces}) == 3
    assert faces[0]["bbox"] == [10, 20, 60, 70] and faces[0]["area"] == 4200
    assert faces[0]["keypoints"] == [30, 30, 2, 31, 31, 2, 32, 32, 2, 33, 33, 2, 34, 34, 2]
    assert found["categories"][0]["keypoints"] == list(LANDMARKS) and faces[0]["category_id"] == 1


def test_a_folder_without_tables_is_refused(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--to", str(tmp_path / "to")]) == 1
    assert "holds no table" in capsys.readouterr().err
