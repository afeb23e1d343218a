"""A model file of any kind, to judge with: .onnx on ONNX Runtime without torch, .safetensors and .keras on torch."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from classify.models.onnx import OnnxNet, load_onnx
from pipeline.errors import CheckpointError

AT_ONCE = 32  # pictures that torch gets at once


def load_model(path: Path, device: str = "auto", pinned: bool = True) -> tuple[Any, dict[str, Any], str]:
    """Load a model file.

    Args:
        device: "auto", or of classify.models.onnx.pick_onnx_device, or of extract.faces.detector.pick_device.
        pinned: of classify.models.card.read_card.

    Returns:
        The network (an OnnxNet, or a module of torch in evaluation mode), its card, and the device it computes on.

    Raises:
        CheckpointError: the file cannot be used.
        OptionsError: the device is not there.
    """
    if path.suffix == ".onnx":
        net, card = load_onnx(path, device, pinned)
        return net, card, net.device
    try:
        from classify.models.network import load_checkpoint
    except ModuleNotFoundError as error:
        raise CheckpointError(f"{path} needs {error.name}, which is not installed: judge with an .onnx file, or `make "
                              "setup`") from None
    from extract.faces.detector import pick_device

    device = pick_device(device)
    return *load_checkpoint(path, device, pinned=pinned), device


def scores_of_pictures(net: Any, pictures: np.ndarray, device: str) -> np.ndarray:
    """Compute P(fake) of each picture: float32 (n,) in [0, 1].

    Args:
        net: of `load_model`, with its device.
        pictures: uint8 RGB (n, side, side, 3), as the network sees them.
    """
    if isinstance(net, OnnxNet):
        return net.scores(pictures)
    import torch

    from classify.models.network import scores_of

    parts = [torch.from_numpy(pictures[start:start + AT_ONCE]).permute(0, 3, 1, 2).to(device)
             for start in range(0, len(pictures), AT_ONCE)]
    return np.concatenate([scores_of(net, part).cpu().numpy() for part in parts]) if parts else np.empty(0, np.float32)


def use_one_thread(path: Path) -> None:
    """Let this process compute with one thread, before the model at `path` is loaded.

    A clip's few faces gain hardly anything from more, and beside a busy process threads wait seconds for each other.
    """
    cv2.setNumThreads(0)
    if path.suffix != ".onnx":
        import torch

        torch.set_num_threads(1)
