"""The measure of quality: rankings, bands by origin, stored faces, alterations; and the shipped detector's corpus."""
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classify.evaluation.corruptions import ALTERATIONS, COMMON
from classify.evaluation.cross_corpus import (
    SWAPS,
    TALKING,
    UNALTERED,
    Judged,
    band_of,
    by_origin,
    calls,
    clips_of,
    describe,
    exact,
    measured,
    ranking,
    rankings,
)
from classify.release.training_corpus import CENTRE, chosen, dfdc_rows
from pipeline.errors import CorpusError


def clips(n=40):
    """n reals of n people scored .01, .02, …, and as many fakes of these people, .6 higher."""
    return [Judged(f"{label}/{k}.mp4", "corpus", label, "swap" if label else "", f"person {k}", k / 100 + .6 * label,
                   origin=f"origin {k}")
            for k in range(1, n + 1) for label in (0, 1)]


def test_what_is_unfit_or_has_no_score_chooses_no_band():
    soft = replace(clips()[0], path="soft.mp4", score=.99, unfit=True)
    faceless = Judged("x.mp4", "corpus", 0, "", "x", None, "undecided", "no face")
    plain = band_of({UNALTERED: clips()})
    assert band_of({UNALTERED: [*clips(), soft, faceless], COMMON[0]: [soft, faceless]}) == plain
    assert band_of({UNALTERED: clips(), COMMON[0]: [replace(soft, unfit=False)] * 9}).high > plain.high
    assert by_origin({UNALTERED: clips()})["origin 40"] == (1, 0, 1)


def test_auc_and_recall_by_hand_and_beside_another_model():
    reals = [Judged(f"r{k}", "c", 0, "", f"r{k}", k / 100) for k in range(40)]           # .00 to .39
    fakes = [Judged(f"f{k}", "c", 1, "m", f"f{k}", score) for k, score in enumerate((.375, .5, .6, .005))]
    row = ranking(reals + fakes)
    assert row["auc"] == pytest.approx((38 + 40 + 40 + 1) / 160)
    assert row["recall"] == .75  # two of 40 reals may be above: the bar is the third, .37
    assert row["auc_low"] < row["auc"] < row["auc_high"]
    worse = [replace(clip, score=1 - clip.score) if clip.label else clip for clip in reals + fakes]
    both = ranking(reals + fakes, worse)
    assert both["other_auc"] == pytest.approx(1) and both["auc_gain_high"] < .1
    assert ranking(reals + fakes, reals + fakes)["auc_gain_low"] is None  # no difference, no interval
    assert ranking(reals)["auc"] is None


def test_counts_and_rankings_of_each_kind():
    some = [Judged("a", "c", 0, "", "a", .1, "real"), Judged("b", "c", 0, "", "b", .5, "fake"),
            Judged("d", "c", 1, "m1", "a", .4, "undecided"), Judged("e", "c", 1, "m2", "b", .9, "fake"),
            Judged("f", "wild", 0, "", "f", .7, "fake"), Judged("g", "heads", 1, "Head", "g", .6, "fake", kind=TALKING)]
    found = rankings({UNALTERED: some, "H.264 crf 34": some[:5]})
    assert [(row["condition"], row["fakes"], row["reals"], round(row["auc"], 3)) for row in found] == [
        (UNALTERED, SWAPS, "all", .667), (UNALTERED, TALKING, "all", .667), (UNALTERED, "m1", "all", .333),
        (UNALTERED, "m2", "all", 1.0), (UNALTERED, "Head", "all", .667), (UNALTERED, "c", "its own", .75),
        ("H.264 crf 34", SWAPS, "all", .667), ("H.264 crf 34", "m1", "all", .333), ("H.264 crf 34", "m2", "all", 1.0),
        ("H.264 crf 34", "c", "its own", .75)]
    more = [*some, Judged("x", "more", 0, "", "more/x", .95, "real", further=True)]
    assert [(row["fakes"], row["reals"], row["n_real"], round(row["auc"], 3)) for row in rankings({UNALTERED: more})][
        :2] == [(SWAPS, "all", 4, .5), (SWAPS, "all but further sources", 3, .667)]
    by_kind = {(row["corpus"], row["label"], row["method"]): row for row in calls(some)}
    assert (by_kind["c", "real", ""]["n"], by_kind["c", "real", ""]["called_fake"]) == (2, 1)
    assert by_kind["c", "fake", "m1"]["undecided"] == 1 and by_kind["wild", "real", ""]["called_fake"] == 1
    assert any("Head" in line for line in describe(found, calls(some), {"o": (1, 2, 4)}))


def test_stored_faces_give_the_verdicts_of_the_clips_themselves(demo_corpus, tmp_path):
    from classify.judging.judge import Judge
    from classify.models.shipped import SHIPPED

    judge = Judge(SHIPPED, "cpu")
    listed = clips_of([demo_corpus], [])[:2]
    found, other = measured([SHIPPED, SHIPPED.with_suffix(".safetensors")], listed, tmp_path,
                            (UNALTERED, "scaled to 1/2"), ("mirrored",), ("blurred by 3 px",))
    for clip in found[UNALTERED]:
        itself = judge.judge(clip.path)
        assert (clip.score, clip.verdict) == (pytest.approx(itself.score, abs=.02), itself.verdict)
    assert [clip.score for clip in found["scaled to 1/2"]] != [clip.score for clip in found[UNALTERED]]
    stored = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.npz")}
    assert [(len(found[name]), name in other) for name in ("mirrored", "blurred by 3 px")] == [
        (sum(not clip.label for clip in listed), False), (2, False)]
    assert [clip.score for clip in other["scaled to 1/2"]] == pytest.approx(
        [clip.score for clip in found["scaled to 1/2"]], abs=.01)
    [again] = measured([SHIPPED], listed, tmp_path)
    assert len(stored) == 2 and {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.npz")} == stored
    assert again[UNALTERED] == found[UNALTERED]


def test_talking_heads_are_named_by_their_family_and_natural_clips_by_their_origin(tmp_path):
    for name in ("heads/Family/a.mp4", "heads/Other/b.mp4", "wild/site__c.mp4", "wild/d.mp4", "more/one/e.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = clips_of([], [tmp_path / "wild"], [tmp_path / "heads"], [tmp_path / "more"])
    assert {clip.origin: (clip.person, clip.further) for clip in found if not clip.label} == {
        "wild/site": ("wild/site", False), "wild": ("wild/d", False), "more/one": ("more/one", True)}
    assert {(Path(clip.path).name, clip.label, clip.method, clip.origin) for clip in found} == {
        ("a.mp4", 1, "Family", ""), ("b.mp4", 1, "Other", ""), ("site__c.mp4", 0, "", "wild/site"),
        ("d.mp4", 0, "", "wild"), ("e.mp4", 0, "", "more/one")}


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
