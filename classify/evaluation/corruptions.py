"""What happens to a clip on its way to whoever judges it, done to the square around a face: for `make bench-quality`.

Compression is H.264 at a constant rate factor, each square as a key frame of its own: a stream's other frames are coded
a little more coarsely.
"""
from __future__ import annotations

from typing import Callable

import cv2
import numpy as np

from data.loading.augment import h264

Alter = Callable[[np.ndarray], np.ndarray]  # uint8 RGB (height, width, 3) to the same


def coded(crf: int) -> Alter:
    """Return a corruption: frames coded as H.264."""
    return lambda picture: h264(picture, crf)


def scaled(share: float) -> Alter:
    """Return a corruption: frames made smaller."""
    return lambda picture: cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)


def blurred(px: float) -> Alter:
    """Return a corruption: frames blurred."""
    return lambda picture: cv2.GaussianBlur(picture, (0, 0), px)


def noisy(levels: float) -> Alter:
    """Return a corruption: noise of a camera."""
    def alter(picture: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(0).normal(0, levels, picture.shape)
        return np.clip(picture + noise + .5, 0, 255).astype(np.uint8)

    return alter


def brighter(factor: float) -> Alter:
    """Return a corruption: frames brighter or darker."""
    return lambda picture: cv2.convertScaleAbs(picture, alpha=factor)


def cropped(share: float) -> Alter:
    """The middle, `share` of each side."""
    def alter(picture: np.ndarray) -> np.ndarray:
        y, x = (round(side * (1 - share) / 2) for side in picture.shape[:2])
        return np.ascontiguousarray(picture[y:picture.shape[0] - y, x:picture.shape[1] - x])

    return alter


def mirrored(picture: np.ndarray) -> np.ndarray:
    """Mirror frames left to right."""
    return np.ascontiguousarray(picture[:, ::-1])


ALTERATIONS: dict[str, Alter] = {
    "H.264 crf 23": coded(23), "H.264 crf 28": coded(28), "H.264 crf 34": coded(34), "H.264 crf 40": coded(40),
    "scaled to 1/2": scaled(.5), "scaled to 1/4": scaled(.25), "blurred by 1 px": blurred(1), "blurred by 3 px":
    blurred(3), "noise of 5 levels": noisy(5), "noise of 15 levels": noisy(15), "brightness x .6": brighter(.6),
    "brightness x 1.4": brighter(1.4), "middle .8 of each side": cropped(.8), "mirrored": mirrored}
# What most clips have been through by the time they are judged: the band of a detector must bear it.
COMMON = ("H.264 crf 28", "scaled to 1/2", "scaled to 1/4", "blurred by 1 px", "blurred by 3 px")
