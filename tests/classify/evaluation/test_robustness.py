"""Altered crops: what changes nothing changes no score, what takes everything leaves guessing."""
import json

import numpy as np
import pytest

from classify.evaluation import corruptions
from classify.evaluation.metrics import videos_of
from classify.evaluation.options import ScoreOptions
from classify.evaluation.robustness import UNALTERED, altered_scores, summaries
from classify.models.network import load_checkpoint
from pipeline.errors import TableError
from pipeline.tables import VIDEO_SCORES, read_table

HERE = ScoreOptions(device="cpu")


@pytest.fixture(scope="module")
def scored(demo_run):
    return read_table(demo_run / "scores" / "videos.csv", VIDEO_SCORES).query("part == 'test'")


@pytest.fixture(scope="module")
def altered(demo_run):
    net, card = load_checkpoint(demo_run / "model" / "model.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corruptions, "ALTERATIONS", {
            "twice mirrored": lambda crop: corruptions.mirrored(corruptions.mirrored(crop)), "black": np.zeros_like})
        return altered_scores(demo_run, net, card, HERE)


def test_every_test_video_is_judged_in_each_way_and_what_changes_nothing_changes_no_score(altered, scored):
    assert altered["alteration"].drop_duplicates().tolist() == [UNALTERED, "twice mirrored", "black"]
    for name in (UNALTERED, "twice mirrored"):
        own = altered[altered["alteration"] == name].sort_values("video_id")
        assert own["video_id"].tolist() == scored["video_id"].tolist()
        assert own["score"].to_numpy() == pytest.approx(scored["score"].to_numpy(), abs=1e-5, nan_ok=True)


def test_black_crops_are_all_alike_and_leave_guessing(altered, scored, demo_run):
    threshold = json.loads((demo_run / "scores" / "run.json").read_text())["threshold"]
    rows = videos_of(scored, "test", threshold)
    plain, same, black = summaries(altered, rows, threshold)
    assert plain["auc"]["verdict"] == same["auc"]["verdict"] == "same" and black["auc"]["here"] == .5
    called = rows[rows["judged"] & (rows["call"] == 1)]["label"]
    assert (plain["real_as_fake"], plain["fake_as_fake"]) == ((called == 0).sum(), (called == 1).sum())
    assert (black["real_as_fake"], black["fake_as_fake"]) in ((0, 0), (black["n_real"], black["n_fake"]))
    with pytest.raises(TableError, match="not of the same model"):
        summaries(altered, rows.assign(score=rows["score"] + .01), threshold)
    with pytest.raises(TableError, match="not of the same model"):
        summaries(altered, rows[1:].reset_index(drop=True), threshold)
    assert summaries(altered[:0], rows[:0], threshold) == []
