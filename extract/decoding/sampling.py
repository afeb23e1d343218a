"""Frames by timestamp: the first frame displayed at or after each time mark, upright and with square pixels.

Times count from the first displayed frame (of an edited file: the first one that its edit list shows). What decodes is
in readers.py; a file that the chosen reader cannot open is read with the other one, and `damage` says so.
"""
from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from extract.decoding.animation import Animation
from extract.decoding.frame import Frame
from extract.decoding.frame_files import LEAST_FRAMES, FrameFiles
from extract.decoding.kinds import HEAD, is_animation
from extract.decoding.media import Refused, open_bytes
from extract.decoding.readers import SAME_TIME_S, NoVideoStream, OpenCV, PyAV
from pipeline.errors import VideoError
from pipeline.options import option

VIDEO_READERS = ("pyav", "opencv")
MOST_MARKS = 10 ** 6   # two days at 6 a second; timestamps or a header that ask for more are damaged
MOST_MIN_FRAMES = 1000
MOST_DECODED_PX = 3 * 10 ** 10  # with `most_frames`: four minutes of 1080p at 60 a second, some 40 s of one core
FEWER_KEYS = 4  # key frames stand for the frames at the marks where they are at most so many times fewer
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
    most_frames: int | None = option(None, "sample at most this many frames, farther apart where the clip is long, and "
                                           "decode no more than a few minutes of it for them")
    reader: str = option("pyav", "what decodes the videos; both give the same frames", choices=VIDEO_READERS)

    def __post_init__(self) -> None:
        if not 0 < self.every < math.inf:
            raise ValueError(f"every must be more than 0 seconds, got {self.every}")
        if self.frames is not None and not 1 <= self.frames <= MOST_MARKS:
            raise ValueError(f"frames must be from 1 to {MOST_MARKS}, got {self.frames}")
        if not 1 <= self.min_frames <= MOST_MIN_FRAMES:
            raise ValueError(f"min_frames must be from 1 to {MOST_MIN_FRAMES}, got {self.min_frames}")
        if self.most_frames is not None and self.most_frames < self.min_frames:
            raise ValueError(f"most_frames must be at least min_frames ({self.min_frames}), got {self.most_frames}")


def time_marks(duration_s: float, options: FrameOptions) -> list[float]:
    """The marks in seconds for a clip whose last frame is displayed at `duration_s` (first frame at 0).

    Every `every` seconds from 0; with `frames=n` the middles of n equal parts; and `min_frames` equal steps from 0
    where `every` would give fewer marks than that, each but the first ROUNDING_S early; `most_frames` equal steps from
    0 where it would give more. Raises VideoError for more
    marks than any clip has frames.
    """
    most = options.most_frames or MOST_MARKS
    if options.frames is not None:
        count = min(options.frames, most)
        return [(k + 0.5) * duration_s / count for k in range(count)]
    count = int((duration_s + SAME_TIME_S) / options.every) + 1
    if count > most and options.most_frames:
        return [k * duration_s / most for k in range(most)]
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


def _costs(wanted: list[int], keys: list[int]) -> list[int]:
    """How many frames are decoded until each wanted one is out. keys: numbers of key frames; both ascending."""
    total, done, costs = 0, -1, []
    for number in wanted:
        total += number - max(_before(keys, number), done + 1) + 1
        done = number
        costs.append(total)
    return costs


def _before(keys: list[int], number: int) -> int:
    """Return the last key frame at or before this frame, else the first one."""
    return keys[max(0, bisect.bisect_right(keys, number) - 1)]


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
        if options.most_frames:
            self._afford(options.most_frames * options.every < self.duration_s)
        self.n_asked = len(self.wanted)
        promised_s = 0.0 if self._reader.is_cut else self._reader.promised_s
        end_s = self.duration_s + self._reader.held_s
        if end_s + MISSING_END_S < promised_s < MOST_MARKS * options.every:
            self._add_damage(f"the file ends after {end_s:.1f} of {promised_s:.1f} s")
            last_s = promised_s - self._reader.held_s - MISSING_END_S
            self.n_asked = max(self.n_asked, len(time_marks(last_s, options)))

    def _afford(self, is_long: bool) -> None:
        """Want no more than MOST_DECODED_PX pays for. Of a clip that is long or costs more: key frames, which need no
        other frame, where it has enough of them."""
        keys, most = self._reader.key_numbers, MOST_DECODED_PX // max(1, self._reader.frame_px)
        n_wanted = len(self.wanted)
        if keys and (is_long or _costs(self.wanted, keys)[-1] > most):
            near = sorted({_before(keys, number) for number in self.wanted})
            if len(near) * FEWER_KEYS >= n_wanted:
                n_wanted, self.wanted = len(near), near
        if keys:
            self.wanted = self.wanted[:max(1, bisect.bisect_right(_costs(self.wanted, keys), most))]
        if self._reader.is_cut or len(self.wanted) < n_wanted:
            end_s = self._reader.times_s[-1 if self._reader.is_cut else self.wanted[-1]]
            self._add_damage(f"too long to be decoded whole: only its first {end_s:.0f} s were looked at")

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
        with open_bytes(self.path) as file:
            head = file.read(HEAD)
        most_px = MOST_DECODED_PX if self.options.most_frames else None
        if is_animation(head):
            return Animation(self.path, most_px)
        readers = (PyAV, OpenCV) if self.options.reader == "pyav" else (OpenCV, PyAV)
        reasons: list[VideoError] = []
        for reader in readers:
            try:
                opened = reader(self.path, most_px)
                if not opened.times_s:
                    raise VideoError("the video stream holds no frame that can be read")
            except (NoVideoStream, Refused):
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
