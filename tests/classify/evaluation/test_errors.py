"""Where a model errs, and two runs side by side: shares, orders and differences worked out by hand."""
import cv2
import numpy as np
import pandas as pd
import pytest

from classify.evaluation.errors import THUMBNAIL_PX, false_calls, methods, people, thumbnail
from classify.evaluation.paired import against
from pipeline.errors import TableError


def rows(*calls):
    """Rows as of videos_of from (video_id, label, score or None, method); FAKE from .5, groups by first letter."""
    return pd.DataFrame([{"video_id": video_id, "label": label, "score": np.nan if score is None else score,
                          "method": method, "group": video_id[0], "source": video_id[0], "judged": score is not None,
                          "call": int(score is not None and score >= .5)} for video_id, label, score, method in calls])


TABLE = rows(("a1", 1, .9, "easy"), ("a2", 1, .8, "easy"), ("b1", 1, .1, "hard"), ("b2", 1, .7, "hard"),
             ("b3", 1, None, "hard"), ("c1", 1, None, "unseen"), ("a3", 0, .2, ""), ("b4", 0, .95, ""),
             ("b5", 0, .3, ""))


def test_methods_are_told_least_found_first_and_failures_are_in_no_share():
    found = methods(TABLE)
    assert [(m["name"], m["called"], m["n"], m["failed"], m["share"]) for m in found] == [
        ("hard", 1, 2, 1, .5), ("easy", 2, 2, 0, 1.), ("unseen", 0, 0, 1, None)]
    assert found[1]["low"] == pytest.approx(.025 ** .5) and found[2]["low"] is None


def test_people_are_told_most_false_alarms_first_by_who_was_filmed():
    found = people(TABLE, {"a3": "ann", "b4": "bob", "b5": "bob", "a1": "ann"})
    assert [(p["name"], p["called"], p["n"]) for p in found] == [("bob", 1, 2), ("ann", 0, 1)]
    assert people(TABLE, {}) == [] and people(TABLE, dict.fromkeys(TABLE["video_id"], "")) == []


def test_false_calls_come_with_their_frames_and_the_face_of_the_loudest(tmp_path):
    for name, grey in (("low.png", 10), ("high.png", 200)):
        cv2.imwrite(str(tmp_path / name), np.full((224, 224, 3), grey, np.uint8))
    frames = pd.DataFrame([("b4", 0., 0, .9, "low.png"), ("b4", 6., 60, .99, "high.png"), ("b4", 3., 30, .95, ""),
                           ("b1", 0., 0, .2, "gone.png"), ("a1", 0., 0, .9, "low.png")],
                          columns=["video_id", "time_s", "frame", "score", "crop"])
    calls = false_calls(TABLE, frames, tmp_path, .5, 5)
    assert [call["video_id"] for call in calls] == ["b4", "b1"]  # .45 and .40 from the threshold
    assert [tuple(frame.values()) for frame in calls[0]["frames"]] == [(0., .9), (3., .95), (6., .99)]
    assert (calls[0]["face"]["time_s"], calls[0]["face"]["score"]) == (6., .99)
    face = cv2.imdecode(np.frombuffer(calls[0]["face"]["jpeg"], np.uint8), cv2.IMREAD_COLOR)
    assert face.shape == (THUMBNAIL_PX, THUMBNAIL_PX, 3) and abs(int(face.mean()) - 200) <= 1
    assert calls[1]["face"] is None  # its crop is gone
    assert [call["face"] for call in false_calls(TABLE, frames, tmp_path, .5, 0)] == [None, None]


@pytest.mark.parametrize("content", [b"", b"words"])
def test_a_damaged_crop_is_no_thumbnail(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    assert thumbnail(tmp_path / "x.png") is None and thumbnail(tmp_path) is None


def test_a_whole_picture_is_not_squeezed_to_a_thumbnail(tmp_path):
    """A white square in a wide black picture stays a square."""
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[30:70, 80:120] = 255
    cv2.imwrite(str(tmp_path / "wide.png"), picture)
    small = cv2.imdecode(np.frombuffer(thumbnail(tmp_path / "wide.png"), np.uint8), cv2.IMREAD_GRAYSCALE)
    seen = small[THUMBNAIL_PX // 4:-THUMBNAIL_PX // 4] > 127  # without what is mirrored above and below
    assert small.shape == (THUMBNAIL_PX, THUMBNAIL_PX)
    assert abs(int(seen.any(0).sum()) - int(seen.any(1).sum())) <= 2


def groups(*scores):
    """A real and a fake of each of ten people; scores: (real, fake)."""
    real, fake = scores
    return rows(*[(f"{person}{label}", label, (real, fake)[label] + number / 1000, "swap" if label else "")
                  for number, person in enumerate("abcdefghij") for label in (0, 1)])


def test_a_run_that_is_right_where_the_other_was_wrong_is_better_and_the_calls_are_named():
    found = against(groups(.1, .9), groups(.6, .9))
    assert found["mended"] == [f"{person}0" for person in "abcdefghij"] and found["spoiled"] == []
    cell = found["metrics"]["accuracy"]
    assert (cell["there"], cell["here"], cell["difference"]) == (.5, 1., .5)
    assert found["metrics"]["auc"]["verdict"] == "same" == found["metrics"]["recall"]["verdict"]
    assert found["metrics"]["log_loss"]["difference"] < 0 and found["metrics"]["log_loss"]["verdict"] == "better"
    assert found["methods"] == [{"name": "swap", "n": 10, "there": 10, "here": 10}] and found["n"] == 20
    back = against(groups(.6, .9), groups(.1, .9))
    assert back["spoiled"] == found["mended"] and back["metrics"]["log_loss"]["verdict"] == "worse"


def test_only_videos_that_both_judged_count_and_the_others_are_counted():
    here = TABLE[TABLE["video_id"] != "a1"]
    there = TABLE[~TABLE["video_id"].isin(["b5", "a3"])].assign(judged=lambda t: t["judged"] & (t["video_id"] != "b4"))
    found = against(here, there)
    counts = [found[key] for key in ("n", "n_real", "n_fake", "only_here", "only_there", "not_judged")]
    assert counts == [3, 0, 3, 2, 1, 3]
    assert found["metrics"]["auc"]["difference"] is None and found["metrics"]["accuracy"]["verdict"] == "same"


def test_too_few_people_have_a_difference_but_none_that_can_be_told():
    found = against(TABLE, TABLE.assign(score=1 - TABLE["score"], call=1 - TABLE["call"]))
    cell = found["metrics"]["accuracy"]
    assert cell["difference"] == pytest.approx(3 / 7) and cell["low"] is None and cell["verdict"] == "not told"
    assert "need" in cell["reason"]


def test_runs_without_a_video_in_common_and_of_other_labels_are_refused():
    with pytest.raises(TableError, match="no test video in common"):
        against(TABLE, TABLE.assign(video_id="x" + TABLE["video_id"]))
    with pytest.raises(TableError, match="a1 is real in one of the two"):
        against(TABLE, TABLE.assign(label=1 - TABLE["label"]))
