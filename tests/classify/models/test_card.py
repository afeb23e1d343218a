"""A model file from anywhere is used as it was saved, or refused with a sentence."""
import copy
import hashlib
import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from classify.judging import aggregate
from classify.models import card as cards
from classify.models import shipped
from classify.models.load import load_model
from classify.models.network import build, load_checkpoint, save_checkpoint
from classify.models.options import ModelOptions
from classify.models.shipped import SHIPPED
from classify.release import pin
from pipeline.errors import CheckpointError
from tests.cards import JUDGING

WEIGHTS = SHIPPED.with_suffix(".safetensors")
BAND = {"low": .2, "high": .5, "slope": 1.0, "offset": 0.0}
WRONG = [None, [], {}, "x", True, -1, 1e9, math.nan, math.inf, "MISSING"]
# What is no mistake in a field: an option that is left out, or that may be so.
FINE = {"calibration": [None, "MISSING"], "demo": [None, True, "MISSING"], "dataset": [None, "x", "MISSING"],
        "versions": [None, {}, "MISSING"], "calibrated_on": [None, {}, "MISSING"], "crop": [None, "MISSING"],
        "framework": [None, "x", "MISSING"], "backbone": ["x"], "methods": [[]], "spectrum": [True], "model_id": ["x"],
        "split_hash": ["x"], "frames": [{}], "faces": [{}], "frames.every": ["MISSING", 1e9],
        "frames.reader": ["MISSING"], "frames.frames": ["MISSING", None], "frames.min_frames": ["MISSING"],
        "faces.detect_side": ["MISSING"],
        "faces.min_face": ["MISSING"], "faces.min_confidence": ["MISSING"], "faces.margin": ["MISSING"],
        "faces.crop_px": ["MISSING"], "faces.crop": ["MISSING"], "calibration.slope": [-1], "calibration.offset": [-1]}
FIELDS = ("backbone size_px centre mean std hidden dropout spectrum methods model_id split_hash probe threshold "
          "aggregation frames faces crop dataset demo versions calibrated_on calibration framework frames.every "
          "frames.frames frames.min_frames frames.reader faces.detect_side faces.min_face faces.min_confidence "
          "faces.margin faces.crop_px faces.crop calibration.low calibration.high calibration.slope calibration.offset"
          ).split()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint of random weights."""
    torch.manual_seed(0)
    net, part = build(ModelOptions(backbone="resnet10t", weights="none", size=32))
    torch.nn.init.normal_(net.head[-1].weight)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_checkpoint(path, net, {**part, **JUDGING, "calibration": BAND})
    return path


def read(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["card"])


def with_card(path, target, card, change=lambda state: None):
    """The same checkpoint with another card, and with weights that `change` has changed in place."""
    state = load_file(path)
    change(state)
    save_file(state, target, {"card": card if isinstance(card, str) else json.dumps(card)})
    return target


def changed(card, field, value):
    card = copy.deepcopy(card)
    inside, (*folders, name) = card, field.split(".")
    for folder in folders:
        inside = inside[folder]
    inside.pop(name, None)
    if value != "MISSING":
        inside[name] = value
    return card


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_missing_or_impossible_is_a_sentence(made, tmp_path, field):
    card = read(made)
    cards.check_card(card, made)
    for value in WRONG:
        if any(value is fine or type(value) is type(fine) and value == fine for fine in FINE.get(field, [])):
            cards.check_card(changed(card, field, value), made)
            continue
        path = with_card(made, tmp_path / "t.safetensors", changed(card, field, value))
        with pytest.raises(CheckpointError) as refused:
            load_checkpoint(path)
        assert field.rpartition(".")[2] in str(refused.value), (field, value)


@pytest.mark.parametrize("card", ["null", "[]", "3", "{", "[" * 100_000, '{"format": 2}', '{"format": NaN}'])
def test_a_card_that_is_none_is_a_sentence(made, tmp_path, card):
    with pytest.raises(CheckpointError):
        cards.read_card(with_card(made, tmp_path / "t.safetensors", card))


@pytest.mark.parametrize("field, value", [
    ("frames.min_frames", 10 ** 9), ("frames.every", 0), ("faces.crop_px", 10 ** 6), ("faces.margin", 1e9),
    ("faces.crop", "all"), ("threshold", 2), ("size_px", 10 ** 6), ("hidden", 10 ** 9), ("std", [0, 0, 0]),
    ("mean", [.5] * 4), ("calibration.low", .9), ("members", []), ("members", [None]), ("members", [{}])])
def test_what_would_take_for_ever_or_everything_is_refused(made, tmp_path, field, value):
    with pytest.raises(CheckpointError, match="impossible model card"):
        cards.read_card(with_card(made, tmp_path / "t.safetensors", changed(read(made), field, value)))


def test_weights_that_are_not_those_of_the_card_are_refused(made, tmp_path):
    def shift(state):
        state["head.1.bias"] += 1

    with pytest.raises(CheckpointError, match="was changed after it was saved"):
        load_checkpoint(with_card(made, tmp_path / "t.safetensors", read(made), shift))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused_even_under_their_own_name(tmp_path, value):
    net, part = build(ModelOptions(backbone="resnet10t", weights="none", size=32))
    card = {**part, **JUDGING}
    saved = save_checkpoint(tmp_path / "m.safetensors", net, card)
    net.head[-1].bias.data[:] = value
    named = save_checkpoint(tmp_path / "n.safetensors", net, card)["model_id"]
    path = with_card(tmp_path / "n.safetensors", tmp_path / "t.safetensors", {**saved, "model_id": named})
    with pytest.raises(CheckpointError, match="head.1.bias holds values that are not finite"):
        load_checkpoint(path)


def test_the_shipped_detector_is_the_file_whose_digest_stands_in_the_code():
    """Where it fails: `python -m classify.release.pin`, then commit both files."""
    found = {suffix: hashlib.sha256(SHIPPED.with_suffix(suffix).read_bytes()).hexdigest() for suffix in shipped.SHA256}
    assert found == shipped.SHA256 and cards.read_card(SHIPPED, pinned=False)["model_id"] == shipped.MODEL_ID, (
        "another detector lies here: run `.venv/bin/python -m classify.release.pin` and commit its change of "
        "classify/models/shipped.py with the detector's files")
    load_model(SHIPPED, "cpu")
    load_checkpoint(WEIGHTS)


def test_a_file_that_claims_to_be_the_shipped_detector_is_refused(tmp_path, capsys):
    from classify import video

    card = {**read(WEIGHTS), "threshold": .999}  # its weights are the detector's, its verdicts are not
    path = with_card(WEIGHTS, tmp_path / "t.safetensors", card)
    assert video.main([__file__, "--model", str(path)]) == 1
    assert "the shipped detector, and is another file" in capsys.readouterr().err
    assert cards.read_card(path, pinned=False)["threshold"] == .999


def test_pinning_writes_name_and_digest_into_the_code(made, tmp_path):
    code = tmp_path / "shipped.py"
    shutil.copy(shipped.__file__, code)
    code.write_text(re.sub("[0-9a-f]{64}", "f" * 64, code.read_text()).replace(shipped.MODEL_ID, "other-1"))
    assert pin.pin(SHIPPED, code) == shipped.SHA256
    assert code.read_text() == Path(shipped.__file__).read_text()
    shutil.copy(WEIGHTS, tmp_path / "a.safetensors")
    shutil.copy(SHIPPED, tmp_path / "a.onnx")
    shutil.copy(made, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="export the one from the other"):
        pin.pin(tmp_path / "a.onnx", code)


def test_the_card_knows_every_aggregation():
    assert cards.AGGREGATIONS == tuple(aggregate.AGGREGATIONS)
