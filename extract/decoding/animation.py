"""An animated GIF or WebP as a clip of its frames, each shown for as long as the file says."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from extract.decoding.image import open_picture, upright_rgb
from pipeline.errors import VideoError

if TYPE_CHECKING:
    import numpy as np

LEAST_S = 0.02    # shortest time that a frame is shown
HASTY_S = 0.1     # what browsers show a frame for that asks for less than LEAST_S
MOST_FRAMES = 20_000


class Animation:
    """A reader as in readers.py. times_s: when each frame is shown, s from the first. Raises VideoError."""

    name = "Pillow"
    promised_s = held_s = 0.0

    def __init__(self, path: Path):
        self.path = path
        self.times_s: list[float] = open_picture(path, _times_s)

    def read(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield pairs of number and RGB in order; frames behind a damaged place are left out."""
        frames: list[tuple[int, np.ndarray]] = []

        def collect(image) -> None:
            for number in wanted:
                image.seek(number)
                frames.append((number, upright_rgb(image)))

        try:
            open_picture(self.path, collect)
        except VideoError:
            pass  # Clip counts what is missing
        yield from frames


def _times_s(image) -> list[float]:
    times_s, now = [], 0.0
    for number in range(min(getattr(image, "n_frames", 1), MOST_FRAMES)):
        try:
            image.seek(number)
            image.load()  # WebP tells a frame's time when it is decoded
        except (EOFError, OSError):
            break
        times_s.append(now)
        shown_s = image.info.get("duration", 0) / 1000
        now += shown_s if shown_s >= LEAST_S else HASTY_S
    if not times_s:
        raise VideoError("the animation holds no frame that can be read")
    return times_s
