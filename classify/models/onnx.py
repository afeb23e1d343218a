"""Networks on ONNX Runtime: what `python -m classify.export` wrote, judged without torch.

An .onnx file takes `pictures`, uint8 RGB (n, size_px, size_px, 3), and gives `logit` and `score`, float (n,), and, for
networks with places, `heat`, float (n, rows, columns): what each place added to the logit (classify.export says how).
Its metadata holds the model card under "card".
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from classify.models.card import check_card, check_name
from classify.models.onnx_file import read_onnx
from classify.models.probe import check_probe, probe_pictures
from pipeline.errors import CheckpointError, OptionsError
from pipeline.onnx_session import cuda_is_there, open_session

AT_ONCE = 4  # pictures; more leave the cache of a core and cost as much each


class OnnxNet:
    """A loaded network.

    Args:
        session: of pipeline.onnx_session.open_session.
        device: where it computes.
    """

    def __init__(self, session: Any, device: str = "cpu"):
        self.session, self.device = session, device
        self._has_places = "heat" in [output.name for output in session.get_outputs()]

    def logits(self, pictures: np.ndarray) -> np.ndarray:
        """Compute the logit of each picture: float32 (n,), higher is faker. pictures: uint8 RGB (n, side, side, 3)."""
        return self._run("logit", pictures)

    def scores(self, pictures: np.ndarray) -> np.ndarray:
        """Compute P(fake) of each picture: float32 (n,) in [0, 1]. pictures: uint8 RGB (n, side, side, 3)."""
        return self._run("score", pictures)

    def heat_maps(self, pictures: np.ndarray) -> np.ndarray | None:
        """Compute what of each picture moved its logit: float32 (n, side, side), in logits a place of the network.

        None where the network has no places. pictures: uint8 RGB (n, side, side, 3).
        """
        if not self._has_places:
            return None
        side = pictures.shape[1]
        return np.stack([cv2.resize(heat, (side, side), interpolation=cv2.INTER_LINEAR)
                         for heat in self._run("heat", pictures)])

    def _run(self, output: str, pictures: np.ndarray) -> np.ndarray:
        parts = [self.session.run([output], {"pictures": pictures[start:start + AT_ONCE]})[0]
                 for start in range(0, len(pictures), AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


def load_onnx(path: Path, device: str = "auto", pinned: bool = True) -> tuple[OnnxNet, dict[str, Any]]:
    """Load a network and its card.

    Args:
        device: "cpu", "cuda" or "cuda:1" (needs the package onnxruntime-gpu), or "auto", which takes a GPU where there
            is one that it can use.

    Raises:
        CheckpointError: the file is missing, damaged, not safe, of someone else, or gives other scores than when it
            was exported.
        OptionsError: the device is not there.
    """
    card, content = read_onnx(path)
    check_card(card, path)
    if pinned:
        check_name(card, path)
    device = pick_onnx_device(device)
    try:
        net = OnnxNet(open_session(content, device), device)
        now = [round(float(logit), 6) for logit in net.logits(probe_pictures(card["size_px"]))]
    except Exception as error:  # ONNX Runtime's kinds of errors have no common base
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} cannot be loaded by ONNX Runtime ({why})") from None
    check_probe(path, now, card["probe"], card.get("versions"))
    return net, card


def pick_onnx_device(device: str) -> str:
    """Resolve "auto" to cuda or cpu, and check any other name. Raises OptionsError."""
    if device == "auto":
        return "cuda" if cuda_is_there() else "cpu"
    if device == "cpu" or device.split(":")[0] == "cuda" and cuda_is_there():
        return device
    raise OptionsError(f"an .onnx model is judged on the CPU, not on {device!r}"
                       + (": install onnxruntime-gpu, or name its .safetensors file" if "cuda" in device else
                          ": name its .safetensors file, or --device cpu"))
