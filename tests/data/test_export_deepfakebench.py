"""What is exported follows the grammar of DeepfakeBench's loader, and is a corpus with our labels and our split."""
from __future__ import annotations

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from data.export_deepfakebench import main as export
from data.split import main as split
from extract.corpus import main as index
from extract.run import main as extract
from pipeline.tables import INDEX, SPLIT, read_table


@pytest.fixture(scope="module")
def run(demo_corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    quick = ["--every", "2", "--workers", "0", "--device", "cpu"]
    for main, flags in ((index, ["--corpus", str(demo_corpus)]), (extract, quick), (split, [])):
        assert main(["--out", str(out), *flags]) == 0
    return out


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    to = tmp_path_factory.mktemp("bench")
    assert export(["--out", str(run), "--to", str(to)]) == 0
    return to


def videos_of(to):
    """(label, part, name, frames) as its dataset class collects them."""
    for path in (to / "preprocessing/dataset_json").glob("*.json"):
        for name, labels in json.loads(path.read_text()).items():
            assert name == path.stem
            for label in labels:
                for part in ("train", "val", "test"):
                    for video, info in labels[label][part].items():
                        assert info["label"] == label
                        yield label, part, video, info["frames"]


def test_its_loader_finds_every_frame_and_every_label(run, exported):
    classes = dict(line.strip().split(": ") for line in next(exported.glob("**/*.label_dict.yaml")).read_text(
        ).splitlines()[1:])
    rows = read_table(run / "index.csv", INDEX).merge(read_table(run / "split.csv", SPLIT)[["video_id", "part"]])
    wanted = {(row.video_id.rpartition("/")[2].rpartition(".")[0], row.label, row.part) for row in rows.itertuples()
              if row.part != "dropped"}
    found, n = set(), 0
    for label, part, video, frames in videos_of(exported):
        found.add((video, int(classes[label]), part))
        for frame in frames:
            assert frame.startswith("./") and frame.count("frames") == 1
            int(frame.split("/")[-1].split(".")[0])  # its key of order
            assert cv2.imread(str(exported / frame)).shape == (256, 256, 3)
            n += 1
    faces = pd.read_csv(run / "faces" / "faces.csv", keep_default_na=False)
    assert found == wanted and n == (faces["crop"] != "").sum()


def test_the_five_points_lie_on_the_face_of_the_crop(exported):
    [first, *_] = sorted(exported.glob("**/points5/*/*.npy"))
    points = np.load(first)
    assert points.shape == (5, 2) and (points > 40).all() and (points < 216).all()
    assert points[0, 0] < points[2, 0] < points[1, 0] and points[:2, 1].max() < points[2, 1] < points[3:, 1].min()


def test_an_exported_tree_is_a_corpus_with_the_same_labels_and_the_same_split(run, exported, tmp_path):
    assert index(["--out", str(tmp_path / "out"), "--corpus", str(exported)]) == 0
    assert split(["--out", str(tmp_path / "out"), "--rule", "official"]) == 0

    def content(out):
        rows = read_table(out / "index.csv", INDEX).merge(read_table(out / "split.csv", SPLIT)[["video_id", "part"]])
        return {(name.rpartition("/")[2].removesuffix(".mp4"), label, part)
                for name, label, part in zip(rows["video_id"], rows["label"], rows["part"]) if part != "dropped"}

    assert content(tmp_path / "out") == content(run)
