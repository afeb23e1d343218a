"""Frames by timestamp: the first frame displayed at or after each time mark.

Times count from the first displayed frame. Two readers give the same frames:

pyav    reads all packets (cheap), decodes only the key-frame groups that hold a sample, and within them discards the
        frames that no other frame needs. Where the stream's packets do not tell the displayed times (no timestamps,
        repeated ones) or a planned frame does not come out, it decodes everything in order.
opencv  `grab()` on every frame and `retrieve()` on the samples; exact, at the cost of decoding everything, and of
        decoding it twice, since only decoding tells it how long a clip is.

What this module does not know: pixel aspect ratios (frames come as stored), and which of two video streams is meant
(the container's default is read).
"""
from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, NamedTuple

from pipeline.errors import VideoError
from pipeline.options import option

if TYPE_CHECKING:
    import numpy as np

VIDEO_READERS = ("pyav", "opencv")
SAME_TIME_S = 1e-6     # float noise of timestamps; below every container's time base
MISSING_END_S = 0.5    # a stream this much shorter than its header says lost its end; headers round by some frames


@dataclass(frozen=True)
class FrameOptions:
    """Which frames of a clip are looked at."""

    every: float = option(3.0, "seconds between two sampled frames")
    frames: int | None = option(None, "sample this many frames, evenly over the clip, instead")
    min_frames: int = option(1, "sample at least this many frames, closer together where the clip is short")
    reader: str = option("pyav", "what decodes the videos; both give the same frames", choices=VIDEO_READERS)

    def __post_init__(self) -> None:
        if not self.every > 0:
            raise ValueError(f"every must be more than 0 seconds, got {self.every}")
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"frames must be at least 1, got {self.frames}")
        if self.min_frames < 1:
            raise ValueError(f"min_frames must be at least 1, got {self.min_frames}")


class Frame(NamedTuple):
    """One sampled frame: number in display order from 0, seconds from the first frame, uint8 RGB (height, width, 3)."""

    number: int
    time_s: float
    rgb: np.ndarray


def time_marks(duration_s: float, options: FrameOptions) -> list[float]:
    """The marks in seconds for a clip whose last frame is displayed at `duration_s` (first frame at 0).

    Every `every` seconds from 0; with `frames=n` the middles of n equal parts; and `min_frames` equal steps from 0
    where `every` would give fewer marks than that.
    """
    if options.frames is not None:
        return [(k + 0.5) * duration_s / options.frames for k in range(options.frames)]
    count = int((duration_s + SAME_TIME_S) / options.every) + 1
    if count >= options.min_frames:
        return [k * options.every for k in range(count)]
    return [k * duration_s / options.min_frames for k in range(options.min_frames)]


def frames_at(times_s: list[float], marks_s: list[float]) -> list[int]:
    """Numbers of the first frames at or after each mark, each once. times_s: displayed times, ascending from 0."""
    import bisect

    numbers = (bisect.bisect_left(times_s, mark - SAME_TIME_S) for mark in marks_s)
    return sorted({n for n in numbers if n < len(times_s)})


class Clip:
    """One opened clip: what it holds, and its sampled frames.

    Iterate over `frames()` once; afterwards `damage` tells in words what could not be read ("" for nothing).
    `n_asked` counts the frames that the marks ask for, over the length that the header promises.
    Raises VideoError where there is nothing to decode.
    """

    def __init__(self, path: str | Path, options: FrameOptions):
        self.path = Path(path)
        self.options = options
        self.damage = ""
        if not self.path.is_file():
            raise VideoError("no such file" if not self.path.exists() else "not a file")
        if self.path.stat().st_size == 0:
            raise VideoError("the file is empty (0 bytes)")
        self._reader = (_PyAV if options.reader == "pyav" else _OpenCV)(self.path)
        times_s = self._reader.times_s
        if not times_s:
            raise VideoError("the video stream holds no frame that can be read")
        self.duration_s = times_s[-1]
        self.wanted = frames_at(times_s, time_marks(self.duration_s, options))
        self.n_asked = len(self.wanted)
        promised_s = self._reader.promised_s
        if promised_s > self.duration_s + MISSING_END_S:
            self.damage = f"the file ends after {self.duration_s:.1f} of {promised_s:.1f} s"
            self.n_asked = max(self.n_asked, len(time_marks(promised_s - MISSING_END_S, options)))

    def frames(self) -> Iterator[Frame]:
        """The sampled frames in display order, but that frames which only a full decode yields come last."""
        read = 0
        for number, rgb in self._reader.read(self.wanted):
            read += 1
            yield Frame(number, self._reader.times_s[number], rgb)
        if read < len(self.wanted):
            lost = f"{len(self.wanted) - read} of {len(self.wanted)} sampled frames are damaged"
            self.damage = f"{self.damage}; {lost}" if self.damage else lost
        if not read:
            raise VideoError(f"no sampled frame can be decoded ({self.damage})")


class _PyAV:
    """times_s: displayed times; promised_s: the last time that the header promises; read(): (number, RGB) pairs."""

    def __init__(self, path: Path):
        self.path = path
        with self._open() as (container, stream):
            self._start_from_packets(container, stream)
            self.promised_s = float(stream.duration * stream.time_base) if stream.duration else 0.0
        if not self._planned:
            self._start_from_frames()

    def read(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        missing = set(wanted)
        if self._planned:
            for number, rgb in self._read_planned(wanted):
                missing.discard(number)
                yield number, rgb
        if missing:
            yield from self._read_in_order(missing)

    def _open(self):
        import contextlib

        import av

        @contextlib.contextmanager
        def opened():
            source: object = os.path.abspath(self.path)
            try:
                str(source).encode()
            except UnicodeEncodeError:  # a name that is no UTF-8: FFmpeg gets the open file instead
                source = open(self.path, "rb")
            try:
                # Only files: a playlist that calls itself .mp4 must not fetch anything.
                with av.open(source, options={"protocol_whitelist": "file"}) as container:
                    if not container.streams.video:
                        raise VideoError("no video stream")
                    stream = container.streams.best("video") or container.streams.video[0]
                    stream.codec_context.thread_count = 1  # one clip a core; FFmpeg's threads cost more than they give
                    if stream.codec_context.name == "":
                        raise VideoError("no decoder for this video stream")
                    yield container, stream
            except av.error.FFmpegError as error:
                raise VideoError(_reason(error)) from None
            finally:
                if not isinstance(source, str):
                    source.close()  # type: ignore[attr-defined]

        return opened()

    def _start_from_packets(self, container, stream) -> None:
        """Displayed times from packet timestamps; unusable (repeated, absent) ones leave `_planned` False."""
        shown = [(p.pts, p.is_keyframe) for p in _packets(container, stream) if p.size and not p.is_discard]
        pts = sorted(p for p, _ in shown if p is not None)
        self._planned = len(pts) == len(shown) == len(set(pts)) and any(key for _, key in shown)
        self._pts = pts
        self._keys = sorted(p for p, key in shown if key and p is not None)
        base = stream.time_base or Fraction(1)
        self.times_s = [float((p - pts[0]) * base) for p in pts]

    def _start_from_frames(self) -> None:
        """Displayed times from a full decode, for streams whose packets do not tell."""
        self.times_s = []
        with self._open() as (container, stream):
            rate = float(stream.average_rate or 25)
            first = None
            for frame in _decode(container, stream):
                time_s = frame.time if frame.time is not None else len(self.times_s) / rate
                first = time_s if first is None else first
                after = self.times_s[-1] + SAME_TIME_S if self.times_s else 0.0
                self.times_s.append(max(time_s - first, after))

    def _read_planned(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Decode from the key frame at or before each sample until the sample comes out, and nothing else."""
        import bisect

        targets = [(self._pts[n], n) for n in wanted]
        with self._open() as (container, stream):
            decoding = False
            context = stream.codec_context
            for packet in _packets(container, stream):
                if not targets:
                    return
                if packet.size and packet.is_keyframe and not packet.is_discard:
                    needed = self._keys[bisect.bisect_right(self._keys, targets[0][0]) - 1]
                    if packet.pts == needed:
                        context.flush_buffers()
                        decoding = True
                if not decoding:
                    continue
                near = not packet.size or packet.pts is None or packet.pts >= targets[0][0]
                context.skip_frame = "DEFAULT" if near else "NONREF"
                for frame in _decode_packet(packet):
                    while targets and frame.pts is not None and frame.pts > targets[0][0]:
                        targets.pop(0)  # passed without coming out: left to the full decode
                    if targets and frame.pts == targets[0][0]:
                        target = targets.pop(0)
                        if not frame.is_corrupt:
                            yield target[1], _rgb(frame)
                    if targets and self._next_key_after(frame.pts) <= targets[0][0]:
                        decoding = False  # the next sample lies behind another key frame

    def _next_key_after(self, pts: int) -> float:
        import bisect

        at = bisect.bisect_right(self._keys, pts)
        return self._keys[at] if at < len(self._keys) else float("inf")

    def _read_in_order(self, missing: set[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Decode everything. Frames are told by timestamp where the packets had them, else by count."""
        number_of = {p: n for n, p in enumerate(self._pts)} if self._planned else None
        with self._open() as (container, stream):
            for count, frame in enumerate(_decode(container, stream)):
                number = count if number_of is None else number_of.get(frame.pts, -1)
                if number in missing and not frame.is_corrupt:
                    missing.discard(number)
                    yield number, _rgb(frame)
                if not missing:
                    return


def _packets(container, stream):
    """Packets until the file ends or breaks off; the last one is the empty packet that flushes the decoder."""
    import av

    try:
        yield from container.demux(stream)
    except av.error.FFmpegError:
        return


def _decode_packet(packet) -> list:
    import av

    try:
        return packet.decode()
    except av.error.FFmpegError:  # a damaged packet: its frame will be missed and counted
        return []


def _decode(container, stream):
    for packet in _packets(container, stream):
        yield from _decode_packet(packet)


def _rgb(frame) -> np.ndarray:
    import numpy as np

    rgb = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4  # display matrix, degrees counter-clockwise
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def _reason(error: Exception) -> str:
    text = str(getattr(error, "strerror", None) or error)
    log = getattr(error, "log", None)
    if log and log[-1]:
        text = f"{text}: {str(log[-1]).strip()}"
    return f"cannot be opened as a video ({text}): truncated, damaged or not a video"


class _OpenCV:
    """The same three members as _PyAV, from cv2.VideoCapture (which applies rotation by itself)."""

    def __init__(self, path: Path):
        self.path = path
        self.promised_s = 0.0
        self.times_s: list[float] = []
        for _, time_s in self._grab():
            self.times_s.append(time_s)
        if self.times_s:
            start = self.times_s[0]
            self.times_s = [t - start for t in self.times_s]
        count, fps = self._header
        if fps > 0 and count > 0:
            self.promised_s = (count - 1) / fps

    def _grab(self):
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what went wrong is in the error we raise
        os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
        import cv2

        capture = cv2.VideoCapture(os.path.abspath(self.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        try:
            if not capture.isOpened():
                raise VideoError("cannot be opened as a video by OpenCV: truncated, damaged or not a video")
            fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
            self._header = (capture.get(cv2.CAP_PROP_FRAME_COUNT), fps)
            last = -1.0
            while capture.grab():
                time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                # Streams without timestamps say 0 for every frame: count at the nominal rate instead.
                last = time_s if time_s > last else last + 1 / fps
                yield capture, last
        finally:
            capture.release()

    def read(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        import cv2

        left = set(wanted)
        for number, (capture, _) in enumerate(self._grab()):
            if number in left:
                left.discard(number)
                ok, bgr = capture.retrieve()
                if ok:
                    yield number, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            if not left:
                return
