"""Frames that a program has in memory, in place of an opened clip."""
from __future__ import annotations

from typing import Iterable, Iterator

import numpy as np

from extract.decoding.frame import Frame
from pipeline.errors import VideoError


class FramesInMemory:
    """Frames in memory, with what extraction asks of an opened clip.

    Args:
        frames: seconds from the start, ascending, and uint8 RGB (height, width, 3) of each.

    Raises:
        VideoError: there are no frames, or they are not as described.
    """

    damage = ""

    def __init__(self, frames: Iterable[tuple[float, np.ndarray]]):
        self._frames = [Frame(number, float(time_s), rgb) for number, (time_s, rgb) in enumerate(frames)]
        if not self._frames:
            raise VideoError("no frames were given")
        for frame in self._frames:
            rgb = frame.rgb
            if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
                found = f"{rgb.dtype} {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
                raise VideoError(f"frame {frame.number} must be uint8 RGB (height, width, 3), got {found}")
            if not rgb.size:
                raise VideoError(f"frame {frame.number} has no pixels")
        times = [frame.time_s for frame in self._frames]
        if not all(0 <= time_s < float("inf") for time_s in times) or times != sorted(set(times)):
            raise VideoError("times must be seconds from 0, each later than the one before")
        self.n_asked = len(self._frames)
        self.duration_s = times[-1]

    def frames(self) -> Iterator[Frame]:
        """Give the frames in order."""
        yield from self._frames
