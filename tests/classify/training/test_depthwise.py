"""Depthwise convolutions for training on a CPU: the same numbers as PyTorch's own."""
import copy

import pytest
import torch

from classify.training.depthwise import Depthwise, replace_depthwise


def net():
    import timm

    return timm.create_model("tf_efficientnet_lite0", num_classes=1)


@pytest.mark.parametrize("side", [64, 75])  # an odd side is padded at the far side
def test_outputs_gradients_and_state_are_those_of_the_network_before(side):
    torch.manual_seed(0)
    before = net().eval()
    after = copy.deepcopy(before)
    replace_depthwise(after)
    assert sum(isinstance(module, Depthwise) for module in after.modules()) == 16
    assert before.state_dict().keys() == after.state_dict().keys()
    pictures = torch.randn(2, 3, side, side)
    for one in (before, after):
        one(pictures).sum().backward()
    assert torch.allclose(before(pictures), after(pictures), atol=1e-4)
    for (name, old), new in zip(before.named_parameters(), after.parameters()):
        assert torch.allclose(old.grad, new.grad, rtol=1e-3, atol=1e-3 * float(old.grad.abs().max())), name


def test_a_copy_has_weights_of_its_own():
    first = net()
    replace_depthwise(first)
    second = copy.deepcopy(first)
    with torch.no_grad():
        for weight in first.parameters():
            weight.zero_()
    assert all(float(module.weight.abs().max()) > 0 for module in second.modules() if isinstance(module, Depthwise))


def test_in_bf16_it_computes_in_bf16_and_learns_in_fp32():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    quick = Depthwise(conv)
    with torch.autocast("cpu", torch.bfloat16):
        answer = quick(torch.randn(2, 8, 16, 16))
    answer.float().sum().backward()
    assert answer.dtype == torch.bfloat16 and conv.weight.grad.dtype == torch.float32
