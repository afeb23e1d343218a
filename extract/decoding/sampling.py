"""Frames by timestamp: the first frame displayed at or after each time mark, upright and with square pixels.

Times count from the first displayed frame (of an edited file: the first one that its edit list shows). What decodes is
in readers.py; a file that the chosen reader cannot open is read with the other one, and `damage` says so.
"""
from __future__ import annotations

import bisect
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from extract.decoding.animation import Animation
from extract.decoding.frame import Frame
from extract.decoding.frame_files import LEAST_FRAMES, FrameFiles
from extract.decoding.kinds import HEAD, is_animation
from extract.decoding.readers import SAME_TIME_S, NoVideoStream, OpenCV, PyAV
from pipeline.errors import VideoError
from pipeline.options import option

VIDEO_READERS = ("pyav", "opencv")
MOST_MARKS = 10 ** 6   # two days at 6 a second; timestamps or a header that ask for more are damaged
MISSING_END_S = 0.5    # a stream this much shorter than its header says lost its end; headers round by some frames
MIN_FRAMES = 5         # sampled at least, in extraction and judging alike: a verdict needs a face in 3 frames
ROUNDING_S = 1e-3      # containers round times to this, so a clip in another one is a millisecond longer or shorter
SAMPLING = 2           # raised when the same file and options give other frames: older crops are not mixed with newer


@dataclass(frozen=True)
class FrameOptions:
    """Which frames of a clip are looked at."""

    every: float = option(3.0, "seconds between two sampled frames")
    frames: int | None = option(None, "sample this many frames, evenly over the clip, instead")
    min_frames: int = option(MIN_FRAMES, "sample at least this many frames, closer together where the clip is short; "
                                         f"judging never samples fewer than {MIN_FRAMES}")
    reader: str = option("pyav", "what decodes the videos; both give the same frames", choices=VIDEO_READERS)

    def __post_init__(self) -> None:
        if not self.every > 0:
            raise ValueError(f"every must be more than 0 seconds, got {self.every}")
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"frames must be at least 1, got {self.frames}")
        if self.min_frames < 1:
            raise ValueError(f"min_frames must be at least 1, got {self.min_frames}")


def time_marks(duration_s: float, options: FrameOptions) -> list[float]:
    """The marks in seconds for a clip whose last frame is displayed at `duration_s` (first frame at 0).

    Every `every` seconds from 0; with `frames=n` the middles of n equal parts; and `min_frames` equal steps from 0
    where `every` would give fewer marks than that, each but the first ROUNDING_S early. Raises VideoError for more
    marks than any clip has frames.
    """
    if options.frames is not None:
        return [(k + 0.5) * duration_s / options.frames for k in range(options.frames)]
    count = int((duration_s + SAME_TIME_S) / options.every) + 1
    if count > MOST_MARKS:
        raise VideoError(f"the timestamps claim a length of {duration_s:.0f} s, which is {count} marks: if it is that "
                         "long, sample every few minutes (--every 300), else encode the clip again")
    if count >= options.min_frames:
        return [k * options.every for k in range(count)]
    # A mark here may fall on a frame to the microsecond; early, it finds that frame in a re-muxed copy, too.
    return [max(k * duration_s / options.min_frames - ROUNDING_S, 0.0) for k in range(options.min_frames)]


def frames_at(times_s: list[float], marks_s: list[float]) -> list[int]:
    """Numbers of the first frames at or after each mark, each once. times_s: displayed times, ascending from 0."""
    numbers = (bisect.bisect_left(times_s, mark - SAME_TIME_S) for mark in marks_s)
    return sorted({n for n in numbers if n < len(times_s)})


def at_least(wanted: list[int], least: int, total: int) -> list[int]:
    """Return numbers of frames, or where they are fewer than `least` so many evenly over all, or all."""
    n = min(least, total)
    return wanted if len(wanted) >= n else sorted({round(i * (total - 1) / max(n - 1, 1)) for i in range(n)})


class Clip:
    """One opened clip, or the frames of one that are pictures: what it holds, and its sampled frames.

    Iterate over `frames()` once; afterwards `damage` tells in words what could not be read ("" for nothing).
    `n_asked` counts the frames that the marks ask for, over the length that the header promises.
    Raises VideoError where there is nothing to decode.
    """

    def __init__(self, path: str | Path, options: FrameOptions):
        self.path = Path(path)
        self.options = options
        self.damage = ""
        self._reader = self._open()
        times_s = self._reader.times_s
        self.duration_s = times_s[-1]
        self.wanted = frames_at(times_s, time_marks(self.duration_s, options))
        if isinstance(self._reader, FrameFiles) and options.frames is None:
            self.wanted = at_least(self.wanted, LEAST_FRAMES, len(times_s))
        self.n_asked = len(self.wanted)
        promised_s = self._reader.promised_s
        end_s = self.duration_s + self._reader.held_s
        if end_s + MISSING_END_S < promised_s < MOST_MARKS * options.every:
            self._add_damage(f"the file ends after {end_s:.1f} of {promised_s:.1f} s")
            last_s = promised_s - self._reader.held_s - MISSING_END_S
            self.n_asked = max(self.n_asked, len(time_marks(last_s, options)))

    def want_all(self) -> None:
        """Make `frames()` give every frame, not the sampled ones."""
        self.wanted = list(range(len(self._reader.times_s)))

    def frames(self) -> Iterator[Frame]:
        """The sampled frames in display order, but that frames which only a full decode yields come last."""
        read = 0
        for number, rgb in self._reader.read(self.wanted):
            read += 1
            yield Frame(number, self._reader.times_s[number], rgb)
        if read < len(self.wanted):
            self._add_damage(f"{len(self.wanted) - read} of {len(self.wanted)} sampled frames are damaged")
        if not read:
            raise VideoError(f"no sampled frame can be decoded ({self.damage})")

    def _open(self) -> PyAV | OpenCV | FrameFiles | Animation:
        """The chosen reader, or the other one where it finds nothing to read; its reason where neither does.

        Frames that are pictures and animated pictures have readers of their own.
        """
        if not self.path.is_file():
            return FrameFiles(self.path)
        with open(self.path, "rb") as file:
            head = file.read(HEAD)
        if not head:
            raise VideoError("the file is empty (0 bytes)")
        if is_animation(head):
            return Animation(self.path)
        readers = (PyAV, OpenCV) if self.options.reader == "pyav" else (OpenCV, PyAV)
        reasons: list[VideoError] = []
        for reader in readers:
            try:
                opened = reader(self.path)
                if not opened.times_s:
                    raise VideoError("the video stream holds no frame that can be read")
            except NoVideoStream:
                raise
            except VideoError as error:
                reasons.append(error)
            else:
                if reasons:
                    self._add_damage(f"read with {opened.name}, {readers[0].name} cannot: {reasons[0]}")
                return opened
        raise reasons[0]

    def _add_damage(self, words: str) -> None:
        self.damage = f"{self.damage}; {words}" if self.damage else words
