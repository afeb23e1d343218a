"""The measure of quality: folds of people, counts, intervals, alterations; and the corpus of the shipped detector."""
import csv
from dataclasses import replace

import numpy as np
import pytest

from classify.evaluation import cross_corpus
from classify.evaluation.corruptions import ALTERATIONS, COMMON, Altered
from classify.evaluation.cross_corpus import Judged, band_of, calls, cross_fitted, exact, rankings
from classify.release.training_corpus import CENTRE, chosen, dfdc_rows
from extract.decoding.sampling import FrameOptions
from pipeline.errors import CorpusError
from tests.clips import write_clip


def clips(n=40):
    """n reals of n people scored .01, .02, …, and as many fakes of these people, .6 higher."""
    return [Judged(f"{label}/{k}.mp4", "corpus", label, "swap" if label else "", f"person {k}", k / 100 + .6 * label)
            for k in range(1, n + 1) for label in (0, 1)]


def test_a_persons_clips_are_judged_by_a_band_of_other_people():
    """The one with the highest real score of all is a false alarm only because the band has not seen it."""
    found, probabilities = cross_fitted(clips(), {})
    highest = next(clip for clip in found if not clip.label and clip.person == "person 40")
    assert highest.verdict == "fake"
    assert all(clip.verdict == "fake" for clip in found if clip.label)
    assert len(probabilities) == 80 and all(0 < p < 1 for p in probabilities)
    folds = cross_corpus._folds(clips())
    assert all(folds[k] == folds[k + 1] for k in range(0, 80, 2)) and set(folds) == set(range(5))


def test_clips_without_a_score_stay_undecided():
    faceless = Judged("x.mp4", "corpus", 0, "", "x", None, "undecided", "no face")
    found, probabilities = cross_fitted([*clips(), faceless], {})
    assert found[-1].verdict == "undecided" and probabilities[-1] is None


def test_what_is_unfit_is_undecided_whatever_its_score_and_chooses_no_band():
    soft = replace(clips()[0], path="soft.mp4", score=.99, unfit=True)
    found, probabilities = cross_fitted([*clips(), soft], {})
    assert found[-1].verdict == "undecided" and probabilities[-1] is None
    assert band_of([*clips(), soft], {COMMON[0]: [soft]}) == band_of(clips(), {})
    fit = replace(soft, path=clips()[0].path, unfit=False)
    assert band_of(clips(), {COMMON[0]: [fit] * 9}).high > band_of(clips(), {}).high


def test_counts_and_rankings_by_hand():
    some = [Judged("a", "c", 0, "", "a", .1, "real"), Judged("b", "c", 0, "", "b", .5, "fake"),
            Judged("d", "c", 1, "m1", "a", .4, "undecided"), Judged("e", "c", 1, "m2", "b", .9, "fake"),
            Judged("f", "wild", 0, "", "f", .7, "fake")]
    assert [(row["corpus"], row["method"], row["auc"]) for row in rankings(some)] == [
        ("c", "all", .75), ("c", "m1", .5), ("c", "m2", 1.0), ("all clips", "all", 4 / 6)]
    [*_, every] = rankings([*clips(), *some[-1:]])
    assert every["n_real"] == 41 and every["low"] < every["auc"] <= every["high"]  # 40 people, both classes each
    by_kind = {(row["corpus"], row["label"], row["method"]): row for row in calls(some)}
    assert (by_kind["c", "real", ""]["n"], by_kind["c", "real", ""]["called_fake"]) == (2, 1)
    assert by_kind["c", "fake", "m1"]["undecided"] == 1 and by_kind["wild", "real", ""]["called_fake"] == 1


def test_exact_intervals_of_known_shares():
    assert exact(0, 10) == (0, pytest.approx(.3085, abs=1e-4))  # 1 - .025^(1/10)
    assert exact(10, 10) == (pytest.approx(.6915, abs=1e-4), 1)
    assert exact(5, 10) == (pytest.approx(.1871, abs=1e-4), pytest.approx(.8129, abs=1e-4))


def test_each_alteration_changes_a_picture_as_it_says():
    draw = np.random.default_rng(0)
    picture = np.clip(draw.normal(120, 40, (90, 120, 1)) + np.linspace(-30, 30, 120)[:, None], 0, 255).astype(np.uint8)
    picture = np.ascontiguousarray(picture.repeat(3, 2))
    made = {name: alter(picture) for name, alter in ALTERATIONS.items()}
    assert all(found.dtype == np.uint8 and found.ndim == 3 for found in made.values())
    assert made["scaled to 1/2"].shape == (45, 60, 3) and made["middle .8 of each side"].shape == (72, 96, 3)
    assert np.array_equal(made["mirrored"][:, ::-1], picture)
    assert made["brightness x .6"].mean() == pytest.approx(.6 * picture.mean(), rel=.02)
    loss = [np.abs(made[f"H.264 crf {crf}"].astype(int) - picture).mean() for crf in (23, 28, 34, 40)]
    assert loss == sorted(loss) and loss[0] > 0
    spread = [made[name].std() for name in ("blurred by 3 px", "blurred by 1 px", "noise of 15 levels")]
    assert spread[0] < spread[1] < picture.std() < spread[2]


def test_a_clip_is_altered_frame_by_frame_and_keeps_its_times(tmp_path):
    path = write_clip(tmp_path / "a.mp4", [k / 10 for k in range(40)])
    altered = Altered(str(path), FrameOptions(every=1), ALTERATIONS["scaled to 1/2"])
    frames = list(altered.frames())
    assert [round(frame.time_s, 3) for frame in frames] == [0, 1, 2, 3]
    assert all(frame.rgb.shape == (48, 96, 3) for frame in frames)


def test_dfdc_crops_keep_the_real_that_they_were_made_from_and_the_person_filmed(tmp_path):
    (tmp_path / "faces_224").mkdir()
    for name in ("aabqcugcpc", "b", "c"):
        (tmp_path / "faces_224" / f"{name}.jpg").touch()
    with open(tmp_path / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([["videoname", "original_width", "original_height", "label", "original"],
                                    ["aabqcugcpc.mp4", 90, 90, "REAL", ""], ["b.mp4", 90, 90, "FAKE", "aabqcugcpc.mp4"],
                                    ["c.mp4", 90, 90, "REAL", ""], ["gone.mp4", 90, 90, "REAL", ""]])
    real = {"path": "faces_224/aabqcugcpc.jpg", "label": "real", "original": "", "target_id": "1"}
    assert dfdc_rows(tmp_path) == [real, {"path": "faces_224/b.jpg", "label": "fake", "original": real["path"],
                                          "target_id": "1"},
                                   {"path": "faces_224/c.jpg", "label": "real", "original": "", "target_id": ""}]
    with pytest.raises(CorpusError, match="deepfake-faces"):
        dfdc_rows(tmp_path / "faces_224")


def test_one_photo_a_person_and_every_photo_of_the_top(tmp_path):
    for name in ("top1.jpg", "top2.png", "Ann/1.jpg", "Ann/2.jpg", "Bob/1.jpg", "Bob/note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.relative_to(tmp_path).as_posix() for file in chosen(tmp_path)] == [
        "Ann/1.jpg", "Bob/1.jpg", "top1.jpg", "top2.png"]
    assert .5 < CENTRE < 1
