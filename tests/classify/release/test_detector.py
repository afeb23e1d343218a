"""The shipped detector: what it is, that it still gives the scores it was shipped with, that it can be trained on."""
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from classify import image, video
from classify.evaluation.corruptions import COMMON
from classify.evaluation.cross_corpus import UNALTERED, Judged
from classify.judging.calibration import Calibration
from classify.models.network import read_card
from classify.models.shipped import SHIPPED
from classify.release import detector

STORED = Path(__file__).with_name("detector_scores.json")  # written by `python -m tests.classify.release.test_detector`
CLIPS = ("Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4")


def frame_scores(corpus):
    from classify.judging.judge import Judge

    judge = Judge(SHIPPED, "cpu")
    return {clip: [frame.score for frame in judge.judge(corpus / clip).frames] for clip in CLIPS}


def test_it_gives_the_scores_that_it_was_shipped_with(demo_corpus):
    """Drawn faces, which it knows nothing about: what is guarded is the path from file to score."""
    stored = json.loads(STORED.read_text())
    assert stored["model_id"] == read_card(SHIPPED)["model_id"], "another detector: write the scores anew"
    for clip, scores in frame_scores(demo_corpus).items():
        assert scores == pytest.approx(stored["scores"][clip], abs=1e-3)


def test_its_card_says_how_to_use_it_and_names_no_place_of_a_machine():
    card = read_card(SHIPPED)
    band = Calibration.of(card)
    assert os.path.getsize(SHIPPED) <= 20e6
    assert (card["crop"], card["demo"], card["threshold"]) == ("face", False, band.high)
    assert 0 < band.low <= band.high < 1 and band.slope > 0
    assert card["calibrated_on"]["n_real"] + card["calibrated_on"]["n_fake"] == len(card["calibrated_on"]["clips"])
    assert "pasted or altered face" in card["real_means"] and "not looked for" in card["real_means"]
    said = json.dumps(card)
    assert '"/' not in said and str(Path.home()) not in said and str(Path(__file__).parents[3]) not in said


def test_it_judges_where_no_model_is_named_and_the_line_says_so(demo_corpus, capsys):
    assert video.main([str(demo_corpus / CLIPS[0]), "--device", "cpu"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.endswith("(shipped detector)") and any(word in line for word in ("REAL", "FAKE", "UNDECIDED"))


def test_a_picture_without_a_face_is_undecided(tmp_path, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 400, 3), 180, np.uint8))
    assert image.main([str(tmp_path / "wall.png"), "--device", "cpu"]) == 0
    assert "UNDECIDED: no face" in capsys.readouterr().out


def test_it_can_be_trained_on_and_tells_the_numbers_before_and_after(demo_run, capsys, tmp_path):
    import shutil

    from classify import train

    out = tmp_path / "out"
    shutil.copytree(demo_run, out, ignore=shutil.ignore_patterns("model", "report", "packed"))
    begin = str(SHIPPED.with_suffix(".safetensors"))
    assert train.main(["--out", str(out), "--begin", begin, "--epochs", "1", "--device", "cpu"]) == 0
    assert "before, " in capsys.readouterr().out
    card = read_card(out / "model" / "model.safetensors")
    assert card["calibration"] is None and card["calibrated_on"] is None
    assert card["continued"]["from"] == read_card(SHIPPED)["model_id"]


def test_the_last_step_chooses_the_band_and_changes_no_weight(demo_run, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    scores = [*np.linspace(.01, .6, 59), *np.linspace(.3, .99, 20), None]
    clips = [Judged(f"/a/{k}.mp4", "c", int(k >= 59), "", str(k), score, origin=str(k))
             for k, score in enumerate(scores)]
    copies = {name: [replace(clips[k], score=.9) for k in range(59)] for name in COMMON[:4]}
    monkeypatch.setattr(detector, "measured", lambda *of, **how: [{UNALTERED: clips, **copies}])
    model = demo_run / "model" / "model.safetensors"
    card = detector.ship(model, [], tmp_path / "d.safetensors", tmp_path, "cpu")
    before, after = load_file(model), load_file(tmp_path / "d.safetensors")
    assert set(before) == set(after)
    assert all(torch.allclose(before[name].float(), after[name].float(), 1e-3, 1e-6) for name in before)  # 16 bits
    assert card["threshold"] == .901 == card["calibration"]["high"]  # the next three digits above .9, of the copies
    assert scores[50] < card["calibration"]["low"] < scores[50] + .001  # ceil(60 * .84) = 51st of 59 reals
    assert card["calibrated_on"]["n_real"] == 59 and card["calibrated_on"]["n_fake"] == 20
    assert card["centre"] == detector.CENTRE and card["faces"]["crop"] == "face"


if __name__ == "__main__":
    import tempfile

    from data.demo.make import DemoOptions, make_demo

    with tempfile.TemporaryDirectory() as name:
        make_demo(Path(name) / "demo", DemoOptions(identities=6, clips=1, seconds=4, fps=5, width=256, height=192))
        STORED.write_text(json.dumps({"model_id": read_card(SHIPPED)["model_id"],
                                      "scores": frame_scores(Path(name) / "demo")}, indent=1) + "\n")
