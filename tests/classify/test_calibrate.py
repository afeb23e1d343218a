"""A user's own band: chosen from a folder of unmanipulated clips, written to a file of its own."""
import shutil

import pytest
from safetensors.torch import load_file

from classify import calibrate
from classify.judging.judge import Judge
from classify.models.network import read_card
from classify.models.shipped import SHIPPED


@pytest.fixture(scope="module")
def reals(demo_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reals")
    for clip in sorted((demo_corpus / "Celeb-real").glob("*.mp4"))[:3]:
        shutil.copy(clip, folder)
    return folder


def test_the_band_is_that_of_the_clips_and_no_weight_changes(reals, tmp_path, capsys):
    """Three clips allow one false alarm in four: the bar is just above the highest of them."""
    out = tmp_path / "own.onnx"
    calibrate.main(["--reals", str(reals), "--false-alarms", ".25", "--out", str(out), "--device", "cpu"])
    judge = Judge(SHIPPED, "cpu")
    verdicts = [judge.judge(clip) for clip in reals.iterdir()]
    assert all(verdict.probability is not None for verdict in verdicts)
    card, before = read_card(out), read_card(SHIPPED)
    assert card["threshold"] == pytest.approx(max(verdict.score for verdict in verdicts), abs=1e-5)
    assert card["calibration"]["slope"] == before["calibration"]["slope"]
    assert card["model_id"] == "-".join((before["backbone"], card["variant"], before["model_id"].rpartition("-")[2]))
    assert card["calibrated_on"]["n_real"] == 3 and "25.00%" in card["threshold_reason"]
    assert "FAKE from" in capsys.readouterr().out
    again = Judge(out, "cpu")
    assert [again.judge(verdict.path).score for verdict in verdicts] == [verdict.score for verdict in verdicts]


def test_a_checkpoint_of_torch_keeps_its_kind_and_its_weights(reals, tmp_path):
    checkpoint, out = SHIPPED.with_suffix(".safetensors"), tmp_path / "own.safetensors"
    calibrate.main(["--reals", str(reals), "--model", str(checkpoint), "--false-alarms", ".25", "--out", str(out),
                    "--device", "cpu"])
    old, new = load_file(checkpoint), load_file(out)
    assert all(old[name].equal(new[name]) for name in old)
    assert 0 < read_card(out)["threshold"] < 1


def test_too_few_clips_are_refused_with_the_rate_that_they_allow(reals, tmp_path, capsys):
    flags = ["--false-alarms", ".01", "--out", str(tmp_path / "x"), "--device", "cpu"]
    assert calibrate.main(["--reals", str(reals), *flags]) == 1
    said = capsys.readouterr().err
    assert "at least 99 clips" in said and "with 3 the lowest is 0.250" in said and not (tmp_path / "x").exists()


def test_impossible_rates_and_models_without_a_band_are_refused(reals, demo_run, tmp_path, capsys):
    for flags, why in ((["--false-alarms", "0"], "more than 0"),
                       (["--model", str(demo_run / "model" / "model.safetensors")], "no calibration")):
        assert calibrate.main(["--reals", str(reals), *flags, "--out", str(tmp_path / "x"), "--device", "cpu"]) == 1
        assert why in capsys.readouterr().err
