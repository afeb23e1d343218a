import importlib.util
import sys

import pytest
import torch

from classify.models.network import build
from classify.models.options import ModelOptions
from classify.training.recipes import TrainOptions
from tests.benchmarks import train
from tests.benchmarks.train_loops import Bench, FromPng, Keras, flops_of_step

TINY = Bench(ModelOptions(backbone="resnet10t", weights="none", size=32), TrainOptions(epochs=1, patience=0), 4, "cpu")


def test_every_ratio_is_measured_in_every_round():
    found = train.measure(TINY, train.BenchOptions(rounds=2, steps=1), None)
    assert set(found) == (set(train.LIMITS) - {train.KERAS}) | {"images/s", "GFLOP/s of the convolution"}
    assert all(len(ratios) == 2 and min(ratios) > 0 for ratios in found.values())
    assert max(found[train.PRODUCT]) < 1.5  # no network is faster than the machine; half again for a busy one


def test_operations_are_those_that_a_convolution_and_a_head_do():
    """Two convolutions of the small CNN and its two linear layers by hand; the first needs no gradient of its input."""
    small = Bench(ModelOptions(backbone="small-cnn", weights="none", size=32), TrainOptions(), 8, "cpu")
    first, second = 2 * 32 * 32 * 27 * 32, 2 * 16 * 16 * (32 * 9) * 64
    dense, head = 2 * 64 * 64 * 128, 2 * 128
    assert flops_of_step(small) == 8 * (2 * first + 3 * (second + dense + head))


def test_the_usual_loop_trains_the_same_network_on_every_crop(tmp_path):
    train.draw_crops(tmp_path, 8)
    loop = FromPng(TINY, tmp_path / "faces", alike=False)
    before = {name: tensor.clone() for name, tensor in loop.net.state_dict().items()}
    pictures = torch.randint(0, 256, (2, 3, 32, 32)).float()
    ours = build(TINY.model)[0].eval()
    ours.load_state_dict(before)
    assert torch.allclose(loop.net.eval()(pictures), ours(pictures), atol=1e-5)
    assert len(loop.files) == 8 and loop.files.classes == ["fake", "real"]
    assert loop(1) > 0
    assert any(not torch.equal(tensor, before[name]) for name, tensor in loop.net.state_dict().items())


@pytest.mark.parametrize("name, value, device, said, misses", [
    (train.ACHIEVED, .64, "cpu", "MISS", True), (train.ACHIEVED, .66, "cpu", "pass", False),
    (train.LOADER, .03, "cpu", "MISS", True), (train.LOADER, .03, "cuda:0", "pass", False),
    (train.LIGHTNING, 1.06, "cpu", "MISS", True), (train.PNG, .5, "cpu", "", False)])
def test_a_ratio_passes_or_misses_its_limit(name, value, device, said, misses):
    text, missed = train.verdict(name, value, device)
    assert missed == misses and text.endswith(said)


def test_the_command_says_that_keras_was_left_out_and_fails_where_a_limit_is_missed(monkeypatch, capsys):
    monkeypatch.setattr(train, "measure", lambda *_: {train.ACHIEVED: [.5, .7, .6], "images/s": [30.0]})
    monkeypatch.setattr(train.importlib.util, "find_spec", lambda name: None)
    assert train.main(["--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "0.6000   limit >= 0.65  MISS" in said and "0.5000 to 0.7000 in 3 rounds" in said
    assert "skipped: no TensorFlow" in said


@pytest.mark.skipif(not importlib.util.find_spec("tensorflow"), reason="TensorFlow is not installed")
def test_the_keras_loop_answers_with_seconds(tmp_path):
    train.draw_crops(tmp_path, 8)
    loop = Keras(TINY, tmp_path / "faces", sys.executable)
    assert loop(1) > 0
    loop.close()
    assert loop.process.returncode == 0
