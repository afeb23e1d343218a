"""Which parts of a face moved its score: heat maps, made after the verdict and no part of it.

An .onnx model brings its map as one more output (classify.export); networks of torch get theirs from gradients
(classify.judging.gradients).

What this module does not know: why. A warm place moved the score; whether something is wrong with it, it does not say.
The spectrum branch has no places and is left out; Keras' networks have no map.
"""
from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from classify.models.onnx import OnnxNet


def heat_maps(net: Any, pictures: np.ndarray) -> np.ndarray | None:
    """Compute what of each picture moved its logit.

    Args:
        net: of classify.models.load.load_model.
        pictures: uint8 RGB (n, side, side, 3), as the network sees them.

    Returns:
        float32 (n, side, side), above 0 towards fake, below towards real, in logits a place of the network, so that
        maps of one network can be compared. None where the network has no places.
    """
    if isinstance(net, OnnxNet):
        return net.heat_maps(pictures)
    from classify.judging.gradients import gradient_maps

    return gradient_maps(net, pictures)


def most(maps: np.ndarray | None) -> float:
    """The strength at which colours are full: nearly the strongest place of all maps (one odd place must not pale the
    rest), 0 where there is nothing to show."""
    return float(np.quantile(np.abs(maps), .998)) if maps is not None and maps.size else 0.0


def coloured(picture: np.ndarray, heat: np.ndarray, full: float) -> np.ndarray:
    """A picture under its heat: uint8 RGB (side, side, 3). Orange pushed towards fake, blue towards real.

    picture: uint8 RGB (side, side, 3). heat: float32 (height, width). full: of `most`, the same for all of a clip.
    """
    strength = cv2.resize(heat, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR) / max(full, 1e-12)
    opaque = .75 * np.clip(np.abs(strength), 0, 1)[..., None]
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    # Two colours that people with a red-green weakness tell apart.
    colours = np.where(strength[..., None] > 0, np.array([255, 120, 0]), np.array([0, 110, 255]))
    return (grey * (1 - opaque) + colours * opaque).round().astype(np.uint8)
