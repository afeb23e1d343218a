"""Facts about the numbers of a report, on tables whose answers were worked out by hand."""
from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from classify.evaluation import metrics as m
from classify.evaluation.bootstrap import EPS
from pipeline.errors import TableError
from pipeline.tables import FRAME_SCORES, VIDEO_SCORES


def table(*rows: tuple) -> pd.DataFrame:
    """VIDEO_SCORES from (label, score or None for a failed video) with further columns as a dict."""
    made = []
    for i, (label, score, *more) in enumerate(rows):
        row = {"video_id": f"{i:03d}.mp4", "label": label, "part": "test", "method": "swap" if label else "",
               "group": f"g{i}", "status": "ok" if score is not None else "no_face", "reason": "", "n_asked": 5,
               "n_read": 5, "n_faces": 5, "score": np.nan if score is None else score,
               "verdict": "undecided" if score is None else "fake" if score >= .5 else "real"}
        made.append({**row, **(more[0] if more else {})})
    return pd.DataFrame(made, columns=list(VIDEO_SCORES)).astype(VIDEO_SCORES)


def frames(videos: pd.DataFrame, n: int = 2) -> pd.DataFrame:
    """n frames a video with the video's score."""
    rows = [{"video_id": row.video_id, "time_s": 3. * i, "frame": 90 * i, "score": row.score, "crop": ""}
            for row in videos.itertuples() if not np.isnan(row.score) for i in range(n)]
    return pd.DataFrame(rows, columns=list(FRAME_SCORES)).astype(FRAME_SCORES)


def evaluate(*rows: tuple, **options) -> dict:
    videos = table(*rows)
    result = m.evaluate(videos, frames(videos), .5, **options)
    json.dumps(result, allow_nan=False)
    return result


def cells(result: dict, counting: str = "left_out", level: str = "video") -> dict:
    return result[level]["all"][counting]["metrics"]


def values(*args) -> dict:
    return {name: cell["value"] for name, cell in cells(*args).items()}


def crowd(n: int = 40, seed: int = 0) -> list[tuple]:
    """Reals and fakes whose scores overlap, two of each to a group."""
    generator = np.random.default_rng(seed)
    return [(i % 2, float(np.clip(generator.normal(.4 + .2 * (i % 2), .2), 0, 1)), {"group": f"g{i // 4}"})
            for i in range(n)]


def test_four_videos_by_hand():
    # reals .1 .6, fakes .4 .8: one of each called wrong; 3 of 4 pairs in order.
    got = values(evaluate((0, .1), (0, .6), (1, .4), (1, .8)))
    assert got["accuracy"] == got["balanced_accuracy"] == got["precision"] == got["recall"] == got["f1"] == .5
    assert got["auc"] == .75
    assert got["ap"] == pytest.approx(.5 * 1 + .5 * 2 / 3)          # .8 first, then .6 (real), then .4
    assert got["eer"] == .5                                         # at .6: one real of two above, one fake below
    assert got["log_loss"] == pytest.approx(-np.log([.9, .4, .4, .8]).mean())


def test_the_equal_error_rate_lies_between_two_points_of_the_curve():
    # From (fpr 0, tpr 2/3) to (1, 2/3): misses stay at 1/3, so both are 1/3 a third of the way along.
    assert values(evaluate((1, .9), (1, .8), (0, .5), (0, .5), (1, .1)))["eer"] == pytest.approx(1 / 3)
    assert values(evaluate((1, .9), (1, .8), (0, .1), (0, .2)))["eer"] == 0
    assert values(evaluate((1, .1), (1, .2), (0, .9), (0, .8)))["eer"] == 1


def test_the_confusion_counts_say_what_became_of_each_class():
    block = evaluate((0, .1), (0, .6), (0, .2), (1, .4), (1, .8))["video"]["all"]["left_out"]
    assert block["confusion"] == {"real_as_real": 2, "real_as_fake": 1, "fake_as_real": 1, "fake_as_fake": 1}
    assert (block["n_real"], block["n_fake"], block["n_groups"]) == (3, 2, 5)


def test_all_numbers_are_the_ones_of_scikit_learn():
    from sklearn import metrics as sk

    rows = [(label, round(score, 1), more) for label, score, more in crowd(200)]  # rounded: many ties
    labels, scores = [row[0] for row in rows], [row[1] for row in rows]
    calls = [int(score >= .5) for score in scores]
    got = values(evaluate(*rows))
    expected = {"accuracy": sk.accuracy_score(labels, calls), "recall": sk.recall_score(labels, calls),
                "balanced_accuracy": sk.balanced_accuracy_score(labels, calls), "f1": sk.f1_score(labels, calls),
                "precision": sk.precision_score(labels, calls), "auc": sk.roc_auc_score(labels, scores),
                "ap": sk.average_precision_score(labels, scores),
                "log_loss": sk.log_loss(labels, np.clip(scores, EPS, 1 - EPS))}
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    curve = m.curves(np.array(labels), np.array(scores))
    assert sk.auc(curve["fpr"], curve["tpr"]) == pytest.approx(got["auc"])


def test_failed_videos_are_left_out_or_counted_as_the_worst_calls():
    result = evaluate((0, .1), (0, .2), (1, .7), (1, .9), (0, None), (1, None))
    assert values(result)["accuracy"] == values(result)["auc"] == 1
    wrong = values(result, "as_wrong")
    assert wrong["accuracy"] == wrong["balanced_accuracy"] == wrong["precision"] == wrong["recall"] == 2 / 3
    assert wrong["auc"] == 4 / 9          # the failed real at 1 loses its three pairs, the failed fake at 0 its three
    assert wrong["log_loss"] is None and "2 failed" in cells(result, "as_wrong")["log_loss"]["reason"]
    assert result["n"] == {"videos": 6, "real": 3, "fake": 3, "judged": 4, "failed": 2, "failed_real": 1,
                           "failed_fake": 1, "frames": 8, "groups": 6}


@pytest.mark.parametrize("more", [{"status": "unreadable"}, {"verdict": "undecided"}])
def test_a_video_with_a_score_but_without_a_verdict_is_a_failed_one(more):
    assert evaluate((0, .1), (1, .9), (1, .9, more))["n"]["failed"] == 1


def test_without_failed_videos_both_countings_agree():
    result = evaluate(*crowd())
    assert cells(result) == cells(result, "as_wrong")


@pytest.mark.parametrize("rows, metric, why", [
    ([(1, .9), (1, .2)], "auc", "no real"), ([(0, .9), (0, .2)], "eer", "no fake"), ([(0, .2)], "recall", "no fake"),
    ([(1, .9), (1, .2)], "balanced_accuracy", "no real"), ([(0, .1), (1, .2)], "precision", "called fake"),
    ([], "accuracy", "no judged video"), ([(0, None), (1, None)], "log_loss", "no judged video")])
def test_a_number_that_cannot_be_computed_is_missing_with_a_reason(rows, metric, why):
    cell = cells(evaluate(*rows))[metric]
    assert cell["value"] is cell["low"] is cell["high"] is None
    assert why in cell["reason"]


def test_recall_of_a_corpus_of_fakes_alone_is_still_a_number():
    assert values(evaluate((1, .9), (1, .2)))["recall"] == .5


def test_each_method_is_measured_against_all_reals():
    fakes = [(1, score, {"method": name}) for name, score in (("A", .7), ("B", .2), ("", .9)) for _ in range(2)]
    result = evaluate((0, .1), (0, .6), *fakes)
    methods = result["video"]["methods"]
    assert list(methods) == ["A", "B", "unnamed"]
    assert [methods[k]["left_out"]["metrics"]["auc"]["value"] for k in methods] == [1, .5, 1]
    assert methods["A"]["left_out"]["n_real"] == 2


def test_groups_of_one_video_get_no_block_of_their_own():
    result = evaluate((0, .1, {"group": "x"}), (1, .9, {"group": "x"}), (0, .3, {"group": "y"}))
    assert list(result["video"]["groups"]) == ["x"] and result["n"]["groups"] == 2


def test_only_the_part_asked_for_counts():
    result = evaluate((0, .1), (1, .9), (0, .9, {"part": "val"}), part="val")
    assert result["n"]["videos"] == 1 and result["n"]["frames"] == 2


def test_intervals_hold_the_value_and_come_out_the_same_each_time():
    first, again = evaluate(*crowd()), evaluate(*crowd())
    assert first == again
    for name, cell in cells(first).items():
        assert cell["low"] < cell["value"] < cell["high"], name
    assert first["video"]["all"]["left_out"]["by"] == "group"
    assert "10 groups only" in first["video"]["all"]["left_out"]["note"]


def test_the_order_of_the_rows_changes_nothing():
    videos = table(*crowd())
    mixed = videos.sample(frac=1, random_state=1)
    assert m.evaluate(mixed, frames(mixed), .5) == m.evaluate(videos, frames(videos), .5)


def test_the_interval_of_an_accuracy_is_the_binomial_one_where_each_video_is_a_group():
    rows = [(i % 2, .9 if i < 80 else .1) if i % 2 else (0, .1 if i < 80 else .9) for i in range(100)]
    cell = cells(evaluate(*rows))["accuracy"]
    assert cell["value"] == .8
    assert cell["low"] == pytest.approx(.8 - 1.96 * .04, abs=.015)
    assert cell["high"] == pytest.approx(.8 + 1.96 * .04, abs=.015)


def test_clips_of_one_group_are_not_counted_as_independent():
    alone = [(label, score, {"group": f"g{i}"}) for i, (label, score, _) in enumerate(crowd(60))]
    copied = [(label, score, {"group": f"g{i % 60}"}) for i, (label, score, _) in enumerate(alone * 4)]
    width = [cells(evaluate(*rows))["auc"]["high"] - cells(evaluate(*rows))["auc"]["low"] for rows in (alone, copied)]
    assert width[0] == pytest.approx(width[1], rel=.05)  # four copies of each clip teach nothing new


def test_from_too_few_groups_there_is_no_interval_and_it_says_so():
    rows = [(i % 2, score, {"group": f"g{i % 4}"}) for i, (_, score, _) in enumerate(crowd())]
    for name, cell in cells(evaluate(*rows)).items():
        assert cell["value"] is not None and cell["low"] is cell["high"] is None, name
        assert "groups that hold a real: 2, a fake: 2" in cell["reason"]


def test_within_one_identity_group_the_source_videos_are_resampled_and_it_says_what_for():
    rows = [(i % 2, score, {"group": "C"}) for i, (_, score, _) in enumerate(crowd())]
    originals = {f"{i:03d}.mp4": f"{i - 1:03d}.mp4" if i % 2 else "" for i in range(40)}
    block = evaluate(*rows, originals=originals)["video"]["all"]["left_out"]
    assert block["by"] == "source" and "not for other people" in block["note"]
    assert block["metrics"]["auc"]["low"] is not None


def test_perfect_scores_get_no_interval_of_zero_width():
    cell = cells(evaluate(*[(i % 2, float(i % 2)) for i in range(40)]))["auc"]
    assert cell["value"] == 1 and cell["low"] is None and "all resamples agree" in cell["reason"]


def test_calibration_bins_and_error_by_hand():
    # 60 at .05 of which 6 are fake, 40 at .95 of which 30 are fake: .6 * .05 + .4 * .20
    rows = pd.DataFrame({"score": [.05] * 60 + [.95] * 40, "label": [1] * 6 + [0] * 54 + [1] * 30 + [0] * 10})
    got = m.calibration(rows)
    assert got["ece"]["value"] == pytest.approx(.6 * .05 + .4 * .20)
    assert [b["n"] for b in got["bins"]] == [60, 0, 0, 0, 0, 0, 0, 0, 0, 40]
    assert got["bins"][9]["share_fake"] == .75 and got["bins"][3]["share_fake"] is None
    few = m.calibration(rows.head(10))["ece"]
    assert few["value"] is None and "10 scores" in few["reason"]


def test_frames_are_counted_one_by_one():
    videos = table((0, .2), (1, .9))
    faces = frames(videos, 1)
    faces = pd.concat([faces, faces.tail(1).assign(score=.1), faces.tail(1).assign(video_id="of-no-video.mp4")])
    got = m.evaluate(videos, faces, .5)["frame"]["all"]["left_out"]
    assert got["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3) and got["n_fake"] == 2


@pytest.mark.parametrize("row", [(0, .1, {"video_id": "000.mp4"}), (2, .1), (0, 1.5), (0, .1, {"verdict": "maybe"}),
                                 (0, .1, {"verdict": "fake"})])
def test_tables_that_contradict_themselves_are_refused(row):
    with pytest.raises(TableError, match="score the videos again"):
        evaluate((0, .1), row)


def test_the_long_table_holds_every_number_once():
    result = evaluate(*crowd(), (1, None))
    rows = pd.DataFrame(m.to_rows(result))
    assert list(rows) == ["level", "subset", "counting", "metric", "value", "low", "high", "n", "reason"]
    assert not rows.duplicated(["level", "subset", "counting", "metric"]).any()
    row = rows[(rows.level == "video") & (rows.subset == "all") & (rows.counting == "left_out")
               & (rows.metric == "auc")]
    cell = cells(result)["auc"]
    assert row[["value", "low", "high"]].values.tolist() == [[cell["value"], cell["low"], cell["high"]]]
    assert set(rows.subset) == {"all", "method:swap", *(f"group:g{i}" for i in range(10))}


def test_one_real_and_two_fakes_have_no_auc_but_say_why():
    metrics = evaluate((0, .1), (1, .7), (1, .9))["video"]["all"]["left_out"]["metrics"]
    assert metrics["accuracy"]["value"] == 1
    assert metrics["auc"]["value"] is None and "1 real and 2 fake" in metrics["auc"]["reason"]
