"""EfficientNet-Lite by itself, for judging: importing timm takes longer than judging a clip.

The same tensors under the same names as timm's `tf_efficientnet_lite0` to `lite4`, and the same logits: networks are
trained as timm's and judged as these. MBConv blocks with ReLU6 and without squeeze-and-excitation (Tan and Le 2019,
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
"""
from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

VARIANTS = {  # timm's name -> how many times as wide, and as deep, as Lite0
    "tf_efficientnet_lite0": (1.0, 1.0), "tf_efficientnet_lite1": (1.0, 1.1), "tf_efficientnet_lite2": (1.1, 1.2),
    "tf_efficientnet_lite3": (1.2, 1.4), "tf_efficientnet_lite4": (1.4, 1.8)}
STEM, FEATURES = 32, 1280  # channels; the same for all
# Blocks, kernel, stride, expansion, channels of Lite0's stages; the first and the last stage keep their one block.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))
EPSILON = 1e-3  # of the norms, as in TensorFlow, whose weights these are made for


class EfficientNetLite(nn.Module):
    """variant: of VARIANTS. forward: normalised float (n, 3, height, width) -> pooled features, float (n, 1280).

    feature_info: the stages after which pictures shrink, as timm lists them. Its weights are whatever was in memory,
    since drawing them takes longer than judging a clip with them: load some.
    """

    head_hidden_size = FEATURES

    def __init__(self, variant: str):
        super().__init__()
        wide, deep = VARIANTS[variant]
        self.conv_stem, self.bn1 = SameConv(3, STEM, 3, 2), _norm(STEM)
        stages, before, self.feature_info = [], STEM, []
        for number, (count, kernel, stride, expansion, width) in enumerate(STAGES):
            width = _divisible(width * wide)
            if 0 < number < len(STAGES) - 1:
                count = math.ceil(count * deep)
            kind = Separable if expansion == 1 else Inverted
            stages.append(nn.Sequential(*(kind(before if block == 0 else width, width, kernel,
                                               stride if block == 0 else 1, expansion) for block in range(count))))
            before = width
            if number + 1 == len(STAGES) or STAGES[number + 1][2] == 2:
                self.feature_info.append({"module": f"blocks.{number}"})
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = SameConv(before, FEATURES, 1), _norm(FEATURES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer's output."""
        x = self.blocks(functional.relu6(self.bn1(self.conv_stem(x))))
        return functional.relu6(self.bn2(self.conv_head(x))).mean((2, 3))


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding: as many outputs as inputs / stride, the odd pixel at the far side."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(before, after, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False)

    def reset_parameters(self) -> None:
        """Nothing: see EfficientNetLite."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer's output."""
        if self.stride[0] > 1:
            pads = [max(0, (math.ceil(side / self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - side)
                    for side in (x.shape[3], x.shape[2])]
            x = functional.pad(x, [part for pad in pads for part in (pad // 2, pad - pad // 2)])
        return super().forward(x)


class Separable(nn.Module):
    """Depthwise, then pointwise: a block without expansion."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        self.conv_dw, self.bn1 = SameConv(before, before, kernel, stride, before), _norm(before)
        self.conv_pw, self.bn2 = SameConv(before, after, 1), _norm(after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer's output."""
        return self.bn2(self.conv_pw(functional.relu6(self.bn1(self.conv_dw(x)))))


class Inverted(nn.Module):
    """Pointwise to more channels, depthwise, pointwise to few; added to its input where that has the same shape."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inside = before * expansion
        self.adds = before == after and stride == 1
        self.conv_pw, self.bn1 = SameConv(before, inside, 1), _norm(inside)
        self.conv_dw, self.bn2 = SameConv(inside, inside, kernel, stride, inside), _norm(inside)
        self.conv_pwl, self.bn3 = SameConv(inside, after, 1), _norm(after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer's output."""
        y = functional.relu6(self.bn1(self.conv_pw(x)))
        y = self.bn3(self.conv_pwl(functional.relu6(self.bn2(self.conv_dw(y)))))
        return x + y if self.adds else y


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, EPSILON)


def _divisible(width: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth smaller."""
    near = max(8, int(width + 4) // 8 * 8)
    return near if near >= .9 * width else near + 8
