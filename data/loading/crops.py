"""A stored crop to what a network sees: training, scoring and judging all call `to_input`."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import TableError


def to_input(crop: np.ndarray, size_px: int, centre: float = 1.0) -> np.ndarray:
    """The centre part of a square crop at a network's size.

    crop: uint8 RGB (side, side, 3); centre: share of the side that is kept, in (0, 1].
    Returns uint8 RGB (size_px, size_px, 3).
    """
    side = crop.shape[0]
    edge = round(side * (1 - centre) / 2)
    part = crop[edge:side - edge, edge:side - edge]
    if part.shape[0] == size_px:
        return np.ascontiguousarray(part)
    how = cv2.INTER_AREA if part.shape[0] > size_px else cv2.INTER_CUBIC
    return cv2.resize(part, (size_px, size_px), interpolation=how)


def read_crop(path: Path) -> np.ndarray:
    """A stored crop as uint8 RGB (side, side, 3). Raises TableError when it is missing or damaged: a failure is never
    a sample."""
    try:
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise TableError(f"the crop {path} cannot be read ({error}): run `make extract` again") from None
    if picture is None:
        raise TableError(f"the crop {path} is damaged: remove its folder and run `make extract` again")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
