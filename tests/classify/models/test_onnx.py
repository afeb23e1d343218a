"""Exported models: the answers of torch, without torch or any code of this project, and no harm from bad files."""
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from classify import export, video
from classify.models.card import read_card
from classify.models.network import Ensemble, build, load_checkpoint, save_checkpoint
from classify.models.onnx import load_onnx
from classify.models.onnx_export import with_card
from classify.models.onnx_file import MOST_BYTES
from classify.models.options import ModelOptions
from classify.models.probe import probe_pictures
from classify.models.shipped import SHIPPED
from extract.decoding.sampling import FrameOptions
from extract.faces.detector import FaceOptions
from pipeline.errors import CheckpointError, OptionsError
from pipeline.options import as_record

SIZE = 64
JUDGING = {  # what training adds to a card
    "faces": as_record(FaceOptions(crop="face")), "frames": as_record(FrameOptions()), "crop": "face", "demo": False,
    "dataset": "x", "split_hash": "abc", "aggregation": "mean_logit", "threshold": .5, "calibration": None,
    "versions": {"torch": "x"}}


def trained(size=SIZE, seed=0, **options):
    """(a network as it could be after training, its card): norms too have weights and statistics of their own."""
    torch.manual_seed(seed)
    net, card = build(ModelOptions(**{"backbone": "resnet10t", "weights": "none", "size": size, **options}))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in ((module.weight, .5, 1.5), (module.bias, -.5, .5), (module.running_mean, -.5, .5),
                                      (module.running_var, .5, 1.5)):
                torch.nn.init.uniform_(tensor, low, high)
    torch.nn.init.normal_(net.head[-1].weight, std=.2)
    return net.eval(), {**card, **JUDGING}


def checkpoint(path, half=False, **options):
    net, card = trained(**options)
    save_checkpoint(path, net, card, half)
    return path


def noise(n=5, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def torch_logits(path, pictures):
    with torch.inference_mode():
        return load_checkpoint(path)[0](torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(a checkpoint in 16 bits, its .onnx file)"""
    folder = tmp_path_factory.mktemp("exported")
    path = checkpoint(folder / "m.safetensors", half=True)
    assert export.main([str(path)]) == 0
    return path, folder / "m.onnx"


def test_the_file_gives_torch_s_logits_for_any_number_of_pictures(exported):
    path, file = exported
    net, card = load_onnx(file, "cpu")
    expected = torch_logits(path, noise())
    assert expected.std() > .01
    for n in (1, 2, 5):
        assert net.logits(noise()[:n]) == pytest.approx(expected[:n], abs=1e-4)
    assert net.scores(noise()) == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-5)
    assert card["exported"]["weights_bits"] == 16 and file.stat().st_size < 1.1 * path.stat().st_size


def test_the_card_goes_along_and_says_which_checkpoint_it_was(exported):
    import hashlib

    path, file = exported
    before, after = read_card(path), read_card(file)
    assert {**after, "probe": 0, "exported": 0} == {**before, "probe": 0, "exported": 0}
    assert after["exported"]["source_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert after["probe"] == pytest.approx(before["probe"], abs=1e-4)


def test_any_program_with_onnx_runtime_can_use_it(exported, tmp_path):
    """No code of this project: an isolated interpreter elsewhere."""
    path, file = exported
    np.save(tmp_path / "pictures.npy", noise())
    code = ("import sys, json, numpy, onnxruntime; session = onnxruntime.InferenceSession(sys.argv[1]); "
            "logit, score, heat = session.run(['logit', 'score', 'heat'], {'pictures': numpy.load('pictures.npy')}); "
            "card = json.loads(session.get_modelmeta().custom_metadata_map['card']); "
            "print(json.dumps([logit.tolist(), score.tolist(), heat.shape, card['model_id']])); "
            "assert 'torch' not in sys.modules and 'classify' not in sys.modules")
    done = subprocess.run([sys.executable, "-I", "-c", code, str(file)], cwd=tmp_path, capture_output=True, text=True,
                          check=True)
    logit, score, shape, model_id = json.loads(done.stdout)
    assert logit == pytest.approx(torch_logits(path, noise()).tolist(), abs=1e-4)
    assert score == pytest.approx((1 / (1 + np.exp(-np.array(logit)))).tolist(), abs=1e-5)
    assert shape == [5, 2, 2] and model_id == read_card(path)["model_id"]
    onnx.checker.check_model(onnx.load(file), full_check=True)


def test_no_path_of_a_machine_is_in_the_file(exported):
    content = exported[1].read_bytes()
    assert b".py" not in content and os.sep.join(os.getcwd().split(os.sep)[:3]).encode() not in content


def test_with_a_linear_head_the_places_add_up_to_the_logit(exported):
    """What is drawn is all of the score: each place's share, and the bias."""
    net, card = load_onnx(exported[1], "cpu")
    heat = net._run("heat", noise())
    bias = load_checkpoint(exported[0])[0].head[-1].bias.item()
    assert card["exported"]["heat"] == "exact" and heat.shape == (5, 2, 2) and heat.std() > .01
    assert heat.sum((1, 2)) + bias == pytest.approx(net.logits(noise()), abs=1e-3)
    maps = net.heat_maps(noise())
    assert maps.shape == (5, SIZE, SIZE) and maps.dtype == np.float32


KINDS = {"spectrum": {"spectrum": True}, "hidden": {"hidden": 16, "dropout": .5},
         "small-cnn": {"backbone": "small-cnn", "size": 32}}
BACKBONES = {"mobilenetv2_100": 96, "mobilenetv3_small_050": 96, "convnext_atto": 96, "regnety_002": 96,
             "vit_tiny_patch16_224": 96, "swin_tiny_patch4_window7_224": 224}
HEAT = {"spectrum": "exact", "hidden": "each place by itself", "small-cnn": "", "mobilenetv2_100": "exact",
        "mobilenetv3_small_050": "each place by itself", "convnext_atto": "each place by itself",
        "regnety_002": "exact", "vit_tiny_patch16_224": "", "swin_tiny_patch4_window7_224": "exact"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*KINDS, *BACKBONES])
@pytest.mark.parametrize("bits", [32, 16])
def test_every_kind_of_network_is_exported(name, bits, tmp_path):
    options = KINDS.get(name) or {"backbone": name, "size": BACKBONES[name]}
    path = checkpoint(tmp_path / "m.safetensors", bits == 16, **options)
    card = export.export_model(path, tmp_path / "m.onnx")
    assert card["exported"]["weights_bits"] == bits
    size = options.get("size", SIZE)
    net, _ = load_onnx(tmp_path / "m.onnx", "cpu")
    expected = torch_logits(path, noise(size=size))
    near = float(export.NEAR[bits] * max(1, abs(expected).max()))
    assert net.logits(noise(size=size)) == pytest.approx(expected, abs=near)
    assert card["exported"]["heat"] == HEAT[name]
    maps = net.heat_maps(noise(size=size))
    assert (maps is None) if not HEAT[name] else maps.shape == (5, size, size) and maps.std() > 0


def test_an_ensemble_is_one_file_each_member_on_its_part(tmp_path):
    nets = [trained(size, seed, centre=centre) for size, seed, centre in ((48, 0, .5), (SIZE, 1, 1.0))]
    cards = [card for _, card in nets]
    both = Ensemble(cards)
    for ours, (net, _) in zip(both.members, nets):
        ours.load_state_dict(net.state_dict())
    save_checkpoint(tmp_path / "both.safetensors", both, {**JUDGING, "members": cards, "backbone": "ensemble",
                                                          "size_px": SIZE, "centre": 1.0})
    save_checkpoint(tmp_path / "larger.safetensors", nets[1][0], cards[1])
    maps = {}
    for name in ("both", "larger"):
        export.export_model(tmp_path / f"{name}.safetensors", tmp_path / f"{name}.onnx")
        net, _ = load_onnx(tmp_path / f"{name}.onnx", "cpu")
        expected = torch_logits(tmp_path / f"{name}.safetensors", noise())
        assert net.logits(noise()) == pytest.approx(expected, abs=1e-4)
        maps[name] = net.heat_maps(noise())
    assert maps["both"][:, 0] == pytest.approx(maps["larger"][:, 0] / 2, abs=1e-5)  # outside of the smaller one's part
    assert not np.allclose(maps["both"][:, 32], maps["larger"][:, 32] / 2, atol=1e-3)


def test_what_cannot_be_exported_says_so_in_a_line(exported, tmp_path, capsys, monkeypatch):
    assert export.main([str(exported[1])]) == 1
    assert "only .safetensors files are exported" in capsys.readouterr().err
    path = checkpoint(tmp_path / "m.safetensors", size=32)
    monkeypatch.setitem(export.NEAR, 32, 0.0)
    assert export.main([str(path)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "cannot be exported: on 32 drawn faces ONNX Runtime's logits differ" in line
    assert not (tmp_path / "m.onnx").exists()
    assert export.main([str(path), "--out", str(tmp_path / "m.txt")]) == 1
    assert "ends in .onnx" in capsys.readouterr().err
    assert export.main([str(path), "--crops", str(tmp_path)]) == 1
    assert "no picture" in capsys.readouterr().err


def test_the_crops_of_the_run_are_what_is_compared(demo_run, tmp_path):
    compared = export.crops_to_compare(demo_run / "model" / "model.safetensors", {"size_px": 48, "centre": .8})
    assert compared.source.endswith("face crops") and compared.pictures.shape[1:] == (48, 48, 3)
    assert 0 < len(compared.pictures) <= export.CROPS


def test_a_clip_gets_the_verdict_that_torch_gives(demo_run, demo_corpus, tmp_path):
    from classify.judging.judge import Judge

    model = demo_run / "model" / "model.safetensors"
    export.export_model(model, tmp_path / "m.onnx")
    ours, theirs = Judge(tmp_path / "m.onnx"), Judge(model, "cpu")
    for clip in (demo_corpus / "Celeb-real" / "id0_0000.mp4", demo_corpus / "Celeb-synthesis" / "id0_id1_0000.mp4"):
        found, expected = ours.judge(clip), theirs.judge(clip)
        assert (found.verdict, found.n_faces, found.model) == (expected.verdict, expected.n_faces, expected.model)
        assert found.score == pytest.approx(expected.score, abs=2e-3)


def test_crops_of_a_run_are_scored_as_by_torch(exported):
    from classify.evaluation.options import ScoreOptions
    from classify.evaluation.score import score_pictures

    pictures = np.concatenate([probe_pictures(SIZE), np.full((1, SIZE, SIZE, 3), 90, np.uint8)])
    places = np.array([2, 0, 1])
    scores = [score_pictures(net, pictures, places, ScoreOptions(batch=2), progress=False)
              for net in (load_onnx(exported[1], "cpu")[0], load_checkpoint(exported[0])[0])]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5) and len(set(scores[0])) == 3


def test_an_onnx_file_is_there_to_judge_with_not_to_train_on(exported):
    with pytest.raises(CheckpointError, match="name the .safetensors"):
        load_checkpoint(exported[1])


def test_a_device_that_is_not_there_is_an_error(exported):
    with pytest.raises(OptionsError, match="onnxruntime-gpu"):
        load_onnx(exported[1], "cuda")
    with pytest.raises(OptionsError, match="safetensors"):
        load_onnx(exported[1], "mps")


# ---------------------------------------------------------------------------------------------------------- bad files

def model(nodes=(), initializers=(), card=True, domains=(("", 18),), **more):
    """An .onnx file by hand that passes pictures on, with these further nodes and weights."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["pictures"], ["logit"], to=TensorProto.FLOAT), *nodes], "g",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["n"])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["n"])], list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid(*d) for d in domains], ir_version=10, **more)
    content = made.SerializeToString()
    return with_card(content, {**JUDGING, "format": 2, "size_px": 32, "centre": 1.0, "hidden": 0, "dropout": 0.0,
                               "spectrum": False, "methods": [], "mean": [.5] * 3, "std": [.5] * 3, "backbone": "b",
                               "model_id": "b-12345678", "probe": [0, 0], "exported": {}}) if card else content


def external(location):
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def endless():
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "b",
                             [helper.make_tensor_value_info("i", TensorProto.INT64, []),
                              helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
                             [helper.make_tensor_value_info("d", TensorProto.BOOL, [])])
    return helper.make_node("Loop", ["", "go"], [], body=body)


BAD = {
    "someone else's": (model(card=False), "has no model card"),
    "weights outside the folder": (model(initializers=[external("../../../etc/passwd")]), "weights in other files"),
    "weights beside it": (model(initializers=[external("w.bin")]), "weights in other files"),
    "weights outside, in a node": (model([helper.make_node("Constant", [], ["c"], value=external("/etc/passwd"))]),
                                   "weights in other files"),
    "an operator of its own": (model([helper.make_node("Steal", ["pictures"], ["x"], domain="evil")],
                                     domains=(("", 18), ("evil", 1))), "operators of 'evil'"),
    "a domain hidden in a node": (model([helper.make_node("Steal", ["pictures"], ["x"], domain="evil")]),
                                  "operators of 'evil'"),
    "a loop": (model([endless()]), "may run for ever|network inside a network"),
    "functions": (model(functions=[helper.make_function("f", "f", ["a"], ["b"], [], [helper.make_opsetid("", 18)])]),
                  "functions of its own"),
    "a weight that is no number": (model(initializers=[numpy_helper.from_array(np.float32([np.nan]), "w")]),
                                   "not a finite number"),
    "another size than its card's": (model(), "cannot be loaded by ONNX Runtime"),
    "an operator that is not ONNX's": (model([helper.make_node("Nothing", ["pictures"], ["x"])]),
                                       "cannot be loaded by ONNX Runtime"),
    "a card that is a list": (model(card=False) + b"\x72\x0c\x0a\x04card\x12\x04[1] ", "no JSON object"),
    "a card that is no JSON": (model(card=False) + b"\x72\x0a\x0a\x04card\x12\x02{x", "card .*damaged"),
    "nothing": (b"", "not an .onnx file"),
    "text": (b"hello, I am a model\n" * 9, "not an .onnx file"),
    "zeros": (b"\x08\x0a" + bytes(9999), "cut or damaged"),
    "a number without an end": (b"\x08\x0a" + b"\xff" * 99, "cut or damaged"),
    "a length beyond the end": (b"\x08\x0a\x3a\xff\xff\xff\xff\x0f", "cut or damaged"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_line(kind, tmp_path, capfd):
    content, says = BAD[kind]
    (tmp_path / "w.bin").write_bytes(bytes(16))
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match=says):
        load_onnx(tmp_path / "m.onnx", "cpu")
    assert video.main(["clip.mp4", "--model", str(tmp_path / "m.onnx")]) == 1
    out, err = capfd.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: ")


def test_a_cut_file_is_one_line_wherever_it_is_cut(exported, tmp_path):
    content = exported[1].read_bytes()
    for length in [*range(1, 40), *range(100, len(content), len(content) // 60), len(content) - 1]:
        (tmp_path / "m.onnx").write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            load_onnx(tmp_path / "m.onnx", "cpu")


def test_a_changed_byte_is_noticed(exported, tmp_path):
    content = bytearray(exported[1].read_bytes())
    for place in range(500, len(content) - 5000, len(content) // 40):
        changed = bytearray(content)
        changed[place] ^= 0x10
        (tmp_path / "m.onnx").write_bytes(changed)
        with pytest.raises(CheckpointError):
            load_onnx(tmp_path / "m.onnx", "cpu")


def test_a_file_of_two_gigabytes_is_refused_unread(tmp_path):
    for size, says in ((MOST_BYTES + 1, "GB"), (MOST_BYTES - 9, "cut or damaged")):
        with open(tmp_path / "m.onnx", "wb") as file:
            file.write(b"\x08\x0a")
            file.truncate(size)  # sparse: takes no disk
        with pytest.raises(CheckpointError, match=says):
            read_card(tmp_path / "m.onnx")


def test_nothing_but_the_file_is_read(tmp_path):
    """A model whose weights would be in a named pipe, which nobody writes to, does not hang."""
    os.mkfifo(tmp_path / "w.bin")
    (tmp_path / "m.onnx").write_bytes(model(initializers=[external("w.bin")]))
    with pytest.raises(CheckpointError, match="other files"):
        load_onnx(tmp_path / "m.onnx", "cpu")
    with pytest.raises(CheckpointError, match="no model at"):
        load_onnx(tmp_path / "w.bin", "cpu")


def test_a_probe_that_differs_is_refused(exported, tmp_path):
    card = read_card(exported[1])
    for probe in ([card["probe"][0] + .5, card["probe"][1]], [float("nan"), 0.0], [0.0]):
        (tmp_path / "m.onnx").write_bytes(with_card(exported[1].read_bytes(), {**card, "probe": probe}))
        with pytest.raises(CheckpointError):
            load_onnx(tmp_path / "m.onnx", "cpu")


# ---------------------------------------------------------------------------------------------- the detector that ships

def test_the_two_files_of_the_shipped_detector_belong_together():
    """Export again where this fails: python -m classify.export classify/release/detector.safetensors"""
    import hashlib

    source = SHIPPED.with_suffix(".safetensors")
    card, of_source = read_card(SHIPPED), read_card(source)
    assert card["exported"]["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert {**card, "probe": 0, "exported": 0} == {**of_source, "probe": 0, "exported": 0}
    assert card["exported"]["weights_bits"] == 16 and card["exported"]["heat"] == "exact"
    assert SHIPPED.stat().st_size + source.stat().st_size <= 20e6
