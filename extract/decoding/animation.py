"""An animated GIF or WebP as a clip of its frames, each shown for as long as the file says."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from extract.decoding.image import open_picture, upright_rgb
from extract.decoding.media import check_picture_as_frame, open_image
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
    key_numbers: list[int] = []  # each frame may need all before it

    def __init__(self, path: Path, most_px: int | None = None):
        self.path, self.frame_px, self.is_cut = path, 0, False

        def times_s(image) -> list[float]:
            check_picture_as_frame(image)
            self.frame_px = image.width * image.height
            most = min(MOST_FRAMES, most_px // self.frame_px + 1 if most_px else MOST_FRAMES)
            self.is_cut = getattr(image, "n_frames", 1) > most
            return _times_s(image, most)

        self.times_s: list[float] = open_picture(path, times_s)

    def read(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield pairs of number and RGB in order; frames behind a damaged place are left out."""
        with open_image(self.path) as image:
            for number in wanted:
                try:
                    image.seek(number)
                    rgb = upright_rgb(image)
                except Exception:  # Pillow raises nearly anything on damaged files; Clip counts what is missing
                    return
                yield number, rgb


def _times_s(image, most: int) -> list[float]:
    times_s, now = [], 0.0
    for number in range(min(getattr(image, "n_frames", 1), most)):
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
