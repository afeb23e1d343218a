"""The networks that are judged without timm are timm's, and judging with them imports nothing that is not needed."""
import subprocess
import sys

import pytest
import torch

from classify.models.efficientnet_lite import VARIANTS, EfficientNetLite
from classify.models.network import build, load_checkpoint, load_torch, save_checkpoint
from classify.models.options import ModelOptions
from tests.cards import JUDGING

# What would cost a command that judges one clip a tenth of a second or more.
HEAVY = ("torch", "torchvision", "timm", "sympy", "facenet_pytorch", "lightning", "tensorboard", "onnx", "safetensors",
         "pandas", "pyarrow", "sklearn", "scipy", "matplotlib", "jinja2", "keras", "huggingface_hub")


@pytest.fixture(params=["tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"])
def trained(request):
    """(timm's network as it could be after training, its card): norms too have weights and statistics of their own."""
    torch.manual_seed(0)
    net, card = build(ModelOptions(backbone=request.param, weights="none", size=96))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in ((module.weight, .5, 1.5), (module.bias, -.5, .5), (module.running_mean, -.5, .5),
                                      (module.running_var, .5, 1.5)):
                torch.nn.init.uniform_(tensor, low, high)
    torch.nn.init.normal_(net.head[-1].weight)
    return net.eval(), card


def test_a_checkpoint_is_judged_without_timm_and_gives_timm_s_logits(trained, tmp_path):
    net, card = trained
    save_checkpoint(tmp_path / "m.safetensors", net, {**card, **JUDGING})
    ours = load_checkpoint(tmp_path / "m.safetensors")[0]
    assert isinstance(ours.body, EfficientNetLite) and not isinstance(net.body, EfficientNetLite)
    with torch.inference_mode():
        for side in (96, 75):  # an odd side: the padding of a stride is not the same on both sides
            pictures = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
            expected = net(pictures)
            assert expected.std() > .01
            assert torch.allclose(ours(pictures), expected, rtol=0, atol=1e-5)
    assert list(ours.state_dict()) == list(net.state_dict())
    assert type(load_torch(tmp_path / "m.safetensors")[0].body) is type(net.body)  # who trains on gets timm's


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_shapes_and_stages_are_timm_s(variant):
    theirs = build(ModelOptions(backbone=variant, weights="none", size=32))[0].body
    ours = EfficientNetLite(variant)
    shapes = [{name: tensor.shape for name, tensor in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1] and list(shapes[0]) == list(shapes[1])
    assert [info["module"] for info in ours.feature_info] == [info["module"] for info in theirs.feature_info]


def test_judging_a_clip_with_the_shipped_detector_imports_nothing_heavy(demo_corpus):
    clip = demo_corpus / "Celeb-real" / "id0_0000.mp4"
    code = ("import sys; from classify.video import main; status = main(sys.argv[1:]); "
            f"print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr); sys.exit(status)")
    done = subprocess.run([sys.executable, "-c", code, str(clip), "--device", "cpu"], capture_output=True, text=True,
                          check=True)
    assert "(shipped detector)" in done.stdout and "a face in 5 of 5 frames" in done.stdout
    assert done.stderr.split() == []


def test_a_missing_model_is_told_before_torch_is_imported(tmp_path):
    code = ("import sys; from classify.video import main; status = main(sys.argv[1:]); "
            "print('torch' in sys.modules); sys.exit(status)")
    done = subprocess.run([sys.executable, "-c", code, "clip.mp4", "--model", str(tmp_path / "none.safetensors")],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "no model at" in done.stderr and done.stdout.split() == ["False"]
