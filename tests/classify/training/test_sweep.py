import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from classify.evaluation.options import ScoreOptions
from classify.evaluation.score import held_out_scores
from classify.models.network import load_checkpoint
from classify.training import sweep
from pipeline.errors import OptionsError
from pipeline.tables import read_table

TINY = ["--backbone", "resnet10t", "--weights", "none", "--size", "32", "--hidden", "0", "--head-epochs", "0",
        "--device", "cpu"]
GRID = sweep.CompareOptions("baseline small-cnn", lr="1e-3 3e-3", epochs="1")


@pytest.fixture(scope="module")
def compared(demo_run):
    """OUT after a comparison of two tiny recipes with two learning rates."""
    sweep.compare(demo_run, GRID, TINY)
    return demo_run


def table_of(out):
    return read_table(out / "compare" / "compare.csv", sweep.COMPARE)


def test_every_combination_is_a_row_with_its_numbers_and_its_checkpoint(compared):
    table = table_of(compared)
    assert set(table["name"]) == {f"{recipe}-lr{lr}-epochs1" for recipe in ("baseline", "small-cnn")
                                  for lr in ("1e-3", "3e-3")}
    assert (table["best_epoch"] == 1).all() and (table["training_s"] > 0).all() and (table["ms_per_face_32"] > 0).all()
    assert set(table["lr"]) == {.001, .003} and set(table["batch"]) == {32}
    for row in table.to_dict("records"):
        net, card = load_checkpoint(compared / "compare" / row["name"] / "model.safetensors")
        assert card["model_id"] == row["model_id"] and card["threshold"] == pytest.approx(row["threshold"])
        assert sum(p.numel() for p in net.parameters()) == row["n_params"]
        frames, videos = held_out_scores(compared, net, card, ScoreOptions(device="cpu"))
        for part in ("val", "test"):
            judged = videos[(videos["part"] == part) & videos["score"].notna()]
            rankable = judged["label"].value_counts().min() > 1
            value = roc_auc_score(judged["label"], judged["score"]) if rankable else float("nan")
            assert row[f"{part}_video_auc"] == pytest.approx(value, nan_ok=True)
        of_test = videos.loc[videos["part"] == "test", ["video_id", "label"]]
        seen = frames[["video_id", "score"]].merge(of_test, on="video_id")
        assert row["test_frame_auc"] == pytest.approx(roc_auc_score(seen["label"], seen["score"]))


def test_a_finished_one_is_neither_trained_nor_scored_again_unless_its_options_change(compared, monkeypatch):
    before = table_of(compared).drop(columns=["ms_per_face_1", "ms_per_face_32"])
    trained = []

    def train(out, model, training, *rest):
        trained.append((model.backbone, training.lr, training.seed))
        raise OptionsError("not now")

    monkeypatch.setattr("classify.training.train.train", train)
    sweep.compare(compared, GRID, TINY)
    assert trained == []
    after = table_of(compared).drop(columns=["ms_per_face_1", "ms_per_face_32"])
    pd.testing.assert_frame_equal(before, after)
    record = compared / "compare" / "baseline-lr1e-3-epochs1" / "result.json"
    kept = record.read_bytes()
    refused = sweep.compare(compared, sweep.CompareOptions("baseline", "1e-3", "1"), [*TINY, "--seed", "5"])
    assert refused["reason"][0] == "not now"
    assert trained == [("resnet10t", .001, 5)] and not record.exists()
    record.write_bytes(kept)


def test_what_cannot_be_had_is_a_row_with_its_reason_and_the_others_go_on(demo_run):
    sweep.compare(demo_run, sweep.CompareOptions("two-phase small-cnn", epochs="1"), ["--size", "32", *TINY[-2:]])
    table = table_of(demo_run)
    assert list(table["name"]) == ["small-cnn-epochs1", "two-phase-epochs1"]
    assert table["model_id"][0].startswith("small-cnn-") and table["model_id"][1] == ""
    assert "head_epochs must be at least 0 and less than epochs" in table["reason"][1]


def test_validation_orders_the_rows_whatever_the_test_videos_say(tmp_path, monkeypatch):
    found = iter([(.7, .9), (.9, .6), (None, 1.0), (.8, .8)])

    def result(out, folder, flags):
        val, test = next(found)
        return {"val_video_auc": val, "test_video_auc": test, "model_id": "x"}

    monkeypatch.setattr(sweep, "_result", result)
    monkeypatch.setattr(sweep, "_speed", lambda folder, flags: {})
    table = sweep.compare(tmp_path, sweep.CompareOptions("baseline", epochs="1 2 3 4"), [])
    assert list(table["name"]) == [f"baseline-epochs{n}" for n in (2, 4, 1, 3)]
    assert list(table_of(tmp_path)["name"]) == list(table["name"])


@pytest.mark.parametrize("wrong", [{"recipes": "basel"}, {"recipes": " "}, {"lr": "1e-3,1e-4"}, {"epochs": "1.5"}])
def test_a_list_that_is_none_is_refused_before_anything_is_trained(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        sweep.CompareOptions(**wrong)


def test_balances_and_ratios_can_be_a_grid():
    found = sweep.candidates(sweep.CompareOptions("balanced", balance="loss sampling", fakes_per_real="1 2.5"))
    assert list(found) == [f"balanced-balance{way}-fakes_per_real{n}" for way in ("loss", "sampling")
                           for n in ("1", "2.5")]
    assert found["balanced-balanceloss-fakes_per_real2.5"] == ["--recipe", "balanced", "--balance", "loss",
                                                               "--fakes-per-real", "2.5"]
    with pytest.raises(ValueError, match="balance must be some of loss"):
        sweep.CompareOptions("balanced", balance="luck")


def test_the_share_of_sure_scores_and_how_many_of_them_are_right():
    videos = pd.DataFrame({"score": [.95, .9, .89, .1, .02, None], "label": [1, 0, 1, 0, 1, 1]})
    assert sweep._sure(videos) == {"test_sure": 4 / 5, "test_sure_right": 2 / 4}
    assert sweep._sure(videos[2:3]) == {"test_sure": 0, "test_sure_right": None}
