"""Facts about a model as a folder for the hub; huggingface_hub reads it back from disk, never from the network."""
from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, load_torch_model

from classify.export import draw_faces
from classify.hub import main, read_back
from classify.models.load import load_model, scores_of_pictures
from classify.models.network import build, save_checkpoint
from classify.models.options import ModelOptions
from data.loading.crops import to_input
from pipeline.errors import CheckpointError
from tests.cards import JUDGING


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run of a small random network, and its folder for the hub with the numbers of a report."""
    out = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    net, card = build(ModelOptions(backbone="tf_efficientnet_lite0", size=64, weights="none"))
    saved = save_checkpoint(out / "model" / "model.safetensors", net, {**JUDGING, **card, "dataset": "Celeb-DF-v2"})
    cell = {"value": .75, "low": .6, "high": .9, "reason": ""}
    (out / "report").mkdir()
    (out / "report" / "metrics.json").write_text(json.dumps({
        "model_id": saved["model_id"], "dataset": "Celeb-DF-v2", "thing": "video",
        "n": {"real": 6, "fake": 8, "judged": 14},
        "video": {"all": {"left_out": {"metrics": {"auc": cell, "balanced_accuracy": {**cell, "value": None}}}}}}))
    assert main(["--out", str(out), "--to", str(out / "hub")]) == 0
    return out / "hub"


def test_huggingface_hub_loads_weights_and_card_back(folder):
    net, card = build(ModelOptions(backbone="tf_efficientnet_lite0", size=64, weights="none"))
    found = load_torch_model(net, folder, strict=True)
    ours, _, _ = load_model(folder / "model.safetensors", "cpu")
    assert not found.missing_keys and not found.unexpected_keys
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in net.state_dict().items())
    page = ModelCard.load(folder / "README.md")
    [result] = page.data.eval_results
    assert (result.metric_name, result.metric_value, result.dataset_name) == ("auc", .75, "Celeb-DF-v2")
    assert page.data.pipeline_tag == "video-classification" and "0.600 to 0.900" in page.text


def test_both_files_of_the_folder_give_the_same_scores(folder):
    pictures = np.stack([to_input(face, 64) for face in draw_faces()[:4]])
    scores = [scores_of_pictures(load_model(folder / name, "cpu")[0], pictures, "cpu")
              for name in ("model.safetensors", "model.onnx")]
    assert np.allclose(*scores, atol=1e-5) and np.ptp(scores[0]) > 0


def test_files_of_two_models_are_refused(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_id": "another"}))
    with pytest.raises(CheckpointError, match="not one model's"):
        read_back(tmp_path)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match="lacks model.onnx"):
        read_back(tmp_path)


def test_the_shipped_detector_has_a_folder(tmp_path):
    assert main(["--to", str(tmp_path / "hub")]) == 0
    assert "For research" in ModelCard.load(tmp_path / "hub" / "README.md").text
