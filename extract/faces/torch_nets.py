"""MTCNN's three networks on torch, for a GPU: facenet-pytorch's weights, channels-last, one answer from the device a
stage. torchvision and facenet-pytorch itself, a second of imports, are not loaded."""
from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from pipeline.errors import OutOfMemoryError, WeightsError

Weights = dict[str, torch.Tensor]


class TorchNets:
    """The networks of an extract.faces.mtcnn.Cascade on a torch device; the methods are those of OnnxNets.

    Raises WeightsError.
    """

    batch = 16  # frames of one clip at once

    def __init__(self, device: str):
        self.device = device
        self._p, self._r, self._o = (weights(name, device) for name in "pro")

    def propose(self, levels: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As OnnxNets.propose. Raises OutOfMemoryError."""
        def run() -> list[np.ndarray]:
            maps = [p_net(self._p, self._pictures(level)) for level in levels]
            flat = torch.cat([answer.flatten() for answer in maps]).cpu().numpy()
            ends = np.cumsum([answer.numel() for answer in maps])
            return [part.reshape(answer.shape) for part, answer in zip(np.split(flat, ends[:-1]), maps)]

        return self._guarded(run)

    def refine(self, crops: np.ndarray) -> np.ndarray:
        """As OnnxNets.refine. Raises OutOfMemoryError."""
        return self._guarded(lambda: r_net(self._r, self._pictures(crops)).cpu().numpy())

    def finish(self, crops: np.ndarray) -> np.ndarray:
        """As OnnxNets.finish. Raises OutOfMemoryError."""
        return self._guarded(lambda: o_net(self._o, self._pictures(crops)).cpu().numpy())

    def _guarded(self, run: Callable):
        try:
            with torch.inference_mode():
                return run()
        except torch.OutOfMemoryError:
            raise OutOfMemoryError(f"the memory of {self.device} is too full to look for faces: end what else runs "
                                   "there, or DEVICE=cpu") from None

    def _pictures(self, pictures: np.ndarray) -> torch.Tensor:
        """float (n, 3, height, width), values 0 to 255, channels-last in memory as the pictures are."""
        return torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float()


def weights(name: str, device: str = "cpu") -> Weights:
    """Read the tensors of p-, r- or o-net from facenet-pytorch's wheel, for inputs of 0 to 255, not (x - 127.5) / 128.

    Raises WeightsError.
    """
    package = util.find_spec("facenet_pytorch")
    if package is None or not package.submodule_search_locations:
        raise WeightsError("the package facenet-pytorch, which carries MTCNN's weights, is not installed: `make setup`")
    path = Path(package.submodule_search_locations[0]) / "data" / f"{name}net.pt"
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    first = tensors["conv1.weight"]
    tensors["conv1.bias"] = tensors["conv1.bias"] - first.sum((1, 2, 3)) * (127.5 / 128)
    tensors["conv1.weight"] = first / 128
    return {key: value.to(device, memory_format=torch.channels_last) if value.dim() == 4 else value.to(device)
            for key, value in tensors.items()}


def p_net(w: Weights, x: torch.Tensor) -> torch.Tensor:
    """P-Net: float (n, 5, rows, columns), logit of a face, then four corrections in box sides."""
    x = functional.max_pool2d(_conv(w, "1", x), 2, 2, ceil_mode=True)
    x = _conv(w, "3", _conv(w, "2", x))
    both = functional.conv2d(x, w["conv4_1.weight"], w["conv4_1.bias"])
    return torch.cat([_face_logit(both), functional.conv2d(x, w["conv4_2.weight"], w["conv4_2.bias"])], 1)


def r_net(w: Weights, x: torch.Tensor) -> torch.Tensor:
    """R-Net: float (n, 5), logit of a face, four corrections in box sides."""
    for layer in "12":
        x = functional.max_pool2d(_conv(w, layer, x), 3, 2, ceil_mode=True)
    x = _dense(w, "4", _conv(w, "3", x))
    return torch.cat([_face_logit(_linear(w, "dense5_1", x)), _linear(w, "dense5_2", x)], 1)


def o_net(w: Weights, x: torch.Tensor) -> torch.Tensor:
    """O-Net: float (n, 15), logit of a face, four corrections, five x and five y of the landmarks in box sides."""
    for layer in "12":
        x = functional.max_pool2d(_conv(w, layer, x), 3, 2, ceil_mode=True)
    x = functional.max_pool2d(_conv(w, "3", x), 2, 2, ceil_mode=True)
    x = _dense(w, "5", _conv(w, "4", x))
    return torch.cat([_face_logit(_linear(w, "dense6_1", x)), _linear(w, "dense6_2", x), _linear(w, "dense6_3", x)], 1)


def _conv(w: Weights, layer: str, x: torch.Tensor) -> torch.Tensor:
    x = functional.conv2d(x, w[f"conv{layer}.weight"], w[f"conv{layer}.bias"])
    return functional.prelu(x, w[f"prelu{layer}.weight"])


def _linear(w: Weights, layer: str, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, w[f"{layer}.weight"], w[f"{layer}.bias"])


def _dense(w: Weights, layer: str, x: torch.Tensor) -> torch.Tensor:
    # The weights were made with Caffe's axis order: columns before rows before channels.
    flat = x.permute(0, 3, 2, 1).flatten(1)
    return functional.prelu(_linear(w, f"dense{layer}", flat), w[f"prelu{layer}.weight"])


def _face_logit(both: torch.Tensor) -> torch.Tensor:
    """Of (no face, face) over axis 1, (n, 2, …), the logit of a face: (n, 1, …)."""
    return both[:, 1:] - both[:, :1]
