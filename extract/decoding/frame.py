"""One sampled frame, as every reader of videos and pictures gives it."""
from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class Frame(NamedTuple):
    """One sampled frame: number in display order from 0, seconds from the first frame, uint8 RGB (height, width, 3)."""

    number: int
    time_s: float
    rgb: np.ndarray
