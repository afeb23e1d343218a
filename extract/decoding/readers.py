"""Two readers of video files: when each frame is displayed, and the frames with given numbers.

PyAV    reads all packets (cheap), decodes only the key-frame groups that hold a wanted frame, and within them discards
        the frames that no other frame needs. Where the packets do not tell the displayed times (a container that does
        not store them, repeated ones, a start without a key frame) it decodes everything in order, and so it does for
        wanted frames that did not come out.
OpenCV  `grab()` on every frame and `retrieve()` on the wanted ones; exact, at the cost of decoding everything, and of
        decoding it twice, since only decoding tells it how long a clip is.

Both turn a picture upright and scale it to square pixels; both get their files from media.py, never what a file says to
fetch.

What is tagged as HDR is tone-mapped (hdr.py), and decoded with PyAV by both: OpenCV gives HDR only as 8 bits that its
own build of FFmpeg has converted already.

Damage: a decoder flags the frame in which it met an error but not the frames predicted from it, so after an error PyAV
gives nothing until the next key frame. Nobody can know of flipped bits that still decode: H.264 and MPEG-4 notice most
of them, HEVC, VP9 and AV1 hardly any. OpenCV hears of no error at all, gives damaged frames as they come, always reads
the first video stream (cover art, too), leaves a mirrored picture mirrored, and believes that a clip lost its end where
an edit list cuts it: use it where PyAV fails, and to check PyAV.
"""
from __future__ import annotations

import bisect
import contextlib
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from extract.decoding.decoder import Decoder, decode, packets_of
from extract.decoding.hdr import to_sdr, transfer_of
from extract.decoding.media import Refused, check_frame_size, open_capture, open_container
from pipeline.errors import VideoError

if TYPE_CHECKING:
    import numpy as np

SAME_TIME_S = 1e-6        # float noise of timestamps; below every container's time base
STORES_TIMES = ("mov", "matroska", "mpegts", "flv")  # how FFmpeg's names of containers begin that store displayed times
REORDERS = ("h264", "hevc")  # codecs of which a header need not say whether frames are stored in another order
SQUARE = 0.01             # pixels this near to square are left alone: rounding of an encoder, and resampling blurs
WIDEST = 4                # pixels more stretched than 4 to 1 are an error in the header; DVDs have at most 1.46

MOST_PACKETS = 1_500_000  # seven hours at 60 a second; their times are kept, 200 bytes each


class NoVideoStream(VideoError):
    """The file was understood and holds no video stream: no other reader will find one."""


class PyAV:
    """One file.

    times_s: when each frame is displayed, s from the first. promised_s: the length by the header. held_s: how long the
    last frame is displayed. is_hdr: whether the header tags it as HLG or PQ.
    most_px: pixels that may be decoded to learn the times where packets do not tell; is_cut: whether that was too few.
    frame_px: pixels of a frame. key_numbers: of the frames that need no other one, where packets tell.
    Raises VideoError where the file cannot be opened, NoVideoStream where it holds no video.
    """

    name = "PyAV"

    def __init__(self, path: Path, most_px: int | None = None):
        self.path, self.most_px, self.is_cut = path, most_px, False
        self.held_s = 0.0
        with self._open() as (container, stream):
            self.frame_px = stream.codec_context.width * stream.codec_context.height
            self._start_from_packets(container, stream)
            self.is_hdr = bool(transfer_of(stream.codec_context.color_trc))
            self.promised_s = _promised_s(container, stream, self._pts)
        if not self._planned:
            self._start_from_frames()
        if not self.held_s and len(self.times_s) > 1:  # nothing is stored: as long as the frame before
            self.held_s = self.times_s[-1] - self.times_s[-2]

    def read(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Pairs of number and RGB; numbers that damage has reached are left out, those read twice come last."""
        missing = set(wanted)
        if self._planned:
            for number, rgb in self.read_planned(wanted):
                missing.discard(number)
                yield number, rgb
        if missing:
            yield from self.read_in_order(missing)

    @contextlib.contextmanager
    def _open(self):
        import av

        try:
            with open_container(self.path) as container:
                stream = main_stream(container)
                if stream.codec_context is None or stream.codec_context.name == "":
                    raise VideoError("no decoder for this video stream")
                check_frame_size(stream, self.path)
                stream.codec_context.thread_count = 1  # one clip a core; FFmpeg's threads cost more than they give
                yield container, stream
        except (av.error.FFmpegError, OSError) as error:
            raise VideoError(_reason(error)) from None

    def _start_from_packets(self, container, stream) -> None:
        """Displayed times from packet timestamps; `_planned` says whether they can be relied on."""
        packets = [(p.pts, p.is_keyframe, p.is_discard, p.duration or 0)
                   for p in itertools.islice(packets_of(container, stream), MOST_PACKETS + 1) if p is not None]
        if len(packets) > MOST_PACKETS:
            raise Refused(f"it holds more than {MOST_PACKETS:,} frames: cut it into shorter clips")
        shown = [pts for pts, _, outside_edit, _ in packets if not outside_edit]
        self._pts = sorted(pts for pts in shown if pts is not None)
        # A key frame before the start of an edit is not displayed, but what is displayed is predicted from it.
        self._keys = sorted(pts for pts, key, _, _ in packets if key and pts is not None)
        self._planned = (len(self._pts) == len(shown) == len(set(self._pts)) and bool(self._pts and self._keys)
                         and self._keys[0] <= self._pts[0]
                         and (container.format.name.startswith(STORES_TIMES) or _stored_as_displayed(stream)))
        base = stream.time_base or Fraction(1)
        self.times_s = [float((p - self._pts[0]) * base) for p in self._pts]
        stored = [(pts, held) for pts, _, outside_edit, held in packets if not outside_edit and pts is not None]
        self.held_s = float(max(stored, default=(0, 0))[1] * base)

    def _start_from_frames(self) -> None:
        """Displayed times from a full decode, for streams whose packets do not tell."""
        with self._open() as (container, stream):
            rate = float(stream.average_rate or 25)
            base = stream.time_base or Fraction(1)  # not frame.time, which PyAV does not know of the last frames
            pts = [frame.pts for frame, _ in itertools.islice(decode(container, stream), self._most())]
            self.is_cut = len(pts) == self._most()
            self.times_s = _ascending([None if p is None else float(p * base) for p in pts], rate)

    def _most(self) -> int | None:
        """How many frames may be decoded to learn the times, None for all."""
        return self.most_px // max(1, self.frame_px) + 1 if self.most_px else None

    @property
    def key_numbers(self) -> list[int]:
        """Return the numbers of the key frames."""
        number_of = {pts: number for number, pts in enumerate(self._pts)} if self._planned else {}
        return [number_of[pts] for pts in self._keys if pts in number_of]

    def read_planned(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Decode from the key frame at or before each wanted frame until that comes out, and nothing else."""
        number_of = {self._pts[n]: n for n in wanted}
        targets = sorted(number_of)
        with self._open() as (container, stream):
            sar, decoder = stream.sample_aspect_ratio, Decoder(stream.codec_context)
            started: float | None = None  # the last key frame fed to the decoder, None while it rests
            at = 0                        # targets[at] is the first that has not come out yet
            for packet in packets_of(container, stream):
                if at == len(targets):
                    break
                if packet is not None and packet.is_keyframe:
                    if started is None and packet.pts == self._key_before(targets[at]):
                        decoder.restart()
                        started = packet.pts
                    elif started is not None:
                        started = packet.pts
                if started is None:
                    continue
                near = packet is None or packet.pts is None or packet.pts >= targets[at]
                stream.codec_context.skip_frame = "DEFAULT" if near else "NONREF"
                frames = decoder.feed(packet)
                at = bisect.bisect_right(targets, decoder.last_pts, lo=at)
                if at == len(targets) or self._key_before(targets[at]) > started:
                    frames += decoder.feed(None)  # what is in the decoder confirms the frames before it
                    started = None
                for frame, sound in frames:
                    if sound and frame.pts in number_of:
                        yield number_of.pop(frame.pts), _rgb(frame, sar)

    def _key_before(self, pts: int) -> int:
        return self._keys[bisect.bisect_right(self._keys, pts) - 1]

    def read_in_order(self, wanted: set[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Decode everything. Frames are identified by timestamp where the packets have one, else by count."""
        missing = set(wanted)
        number_of = {p: n for n, p in enumerate(self._pts)} if self._planned else None
        with self._open() as (container, stream):
            for count, (frame, sound) in enumerate(decode(container, stream)):
                number = count if number_of is None else number_of.get(frame.pts, -1)
                if number in missing and sound:
                    missing.discard(number)
                    yield number, _rgb(frame, stream.sample_aspect_ratio)
                if not missing:
                    return


def main_stream(container):
    """Return the first video stream marked as default, else the first; a cover picture is none."""
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise NoVideoStream("no video stream, only a cover picture" if container.streams.video else "no video stream")
    return next((s for s in streams if s.disposition & Disposition.default), streams[0])


def _stored_as_displayed(stream) -> bool:
    return stream.codec_context.reorder_depth == 0 and stream.codec_context.name not in REORDERS


def _promised_s(container, stream, pts: list[int]) -> float:
    """The length by the header, 0 where there is none. Matroska counts it from 0, not from the first frame."""
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)  # a duration would be what FFmpeg found in the file
    if stream.duration:
        return float(stream.duration * stream.time_base)
    start_s = float(pts[0] * stream.time_base) if pts else 0.0
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    with contextlib.suppress(ValueError):
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - start_s
    alone = len(container.streams) == 1  # else it may be the length of the sound
    return container.duration / 1e6 - start_s if alone and container.duration else 0.0


def _ascending(times_s: list[float | None], rate: float) -> list[float]:
    """Displayed times from 0. A step that is not forward (timestamps start anew) is one frame of the nominal rate."""
    known = [t for t in times_s if t is not None]
    steps = [b - a for a, b in zip(known, known[1:])]
    if len(known) < len(times_s) or sum(step <= SAME_TIME_S for step in steps) * 20 > len(steps):
        return [n / rate for n in range(len(times_s))]  # these are no displayed times: B-frames in .avi, raw streams
    ascending = [0.0] if known else []
    for step in steps:
        ascending.append(ascending[-1] + (step if step > SAME_TIME_S else 1 / rate))
    return ascending


def _rgb(frame, sar: Fraction | None) -> np.ndarray:
    turns = round(frame.rotation / 90)  # degrees counter-clockwise
    mirrored = _is_mirrored(frame)
    if mirrored:
        turns += 2  # the angle of a mirrored matrix is stored for a picture mirrored top to bottom
    transfer = transfer_of(frame.color_trc)
    rgb = to_sdr(frame, transfer) if transfer else frame.to_ndarray(format="rgb24")
    return _as_displayed(rgb, turns, mirrored, sar)


def _is_mirrored(frame) -> bool:
    """Whether the display matrix mirrors, of which `frame.rotation` says nothing.

    `frame.side_data` would do, but the frame keeps what that returns, which keeps the frame: its pixels would stay in
    memory until Python looks for such circles, dozens of frames later.
    """
    from av.sidedata.sidedata import SideDataContainer

    with contextlib.suppress(ValueError):  # PyAV refuses to list side data of kinds that it does not know
        matrix = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]  # not in its stub
        if matrix is not None:
            a, b, _, c, d = memoryview(matrix).cast("B").cast("i")[:5]  # x' = a x + c y, y' = b x + d y
            return a * d - b * c < 0
    return False


def _as_displayed(rgb: np.ndarray, turns: int, mirrored: bool, sar: Fraction | None) -> np.ndarray:
    """Square pixels by scaling the stored width; mirrored left to right; then turned, quarters counter-clockwise."""
    import numpy as np

    if sar and 1 / WIDEST <= sar <= WIDEST and abs(sar - 1) > SQUARE:
        import cv2

        height, width = rgb.shape[:2]
        rgb = cv2.resize(rgb, (max(round(width * sar), 1), height), interpolation=cv2.INTER_LINEAR)
    if mirrored:
        rgb = rgb[:, ::-1]
    return np.ascontiguousarray(np.rot90(rgb, turns))


def _reason(error: Exception) -> str:
    text = str(getattr(error, "strerror", None) or error)
    log = getattr(error, "log", None)
    if log and log[-1]:
        text = f"{text}: {str(log[-1]).strip()}"
    return f"cannot be opened as a video ({text}): truncated, damaged or not a video"


class OpenCV:
    """The same members as PyAV's, from cv2.VideoCapture."""

    name = "OpenCV"

    key_numbers: list[int] = []  # it cannot tell

    def __init__(self, path: Path, most_px: int | None = None):
        import cv2

        self.path, self.frame_px, self.is_cut = path, 0, False
        self._header: dict[str, float] = {}
        starts: list[float] = []
        times_s: list[float | None] = []
        for capture, time_s in self._grab():
            starts = starts or [max(capture.get(cv2.CAP_PROP_PTS), 0)]  # far below 0 where there is none
            self.frame_px = int(self._header["FRAME_WIDTH"] * self._header["FRAME_HEIGHT"])
            if most_px and len(times_s) * self.frame_px > most_px or len(times_s) == MOST_PACKETS:
                self.is_cut = True
                break
            times_s.append(time_s)
        fps = self._header["FPS"] or 25.0
        self.times_s = _ascending(times_s, fps)
        self.held_s = 0.0
        # Matroska's length counts from 0. The start is in frames here, and 0 in most other files. A mean rate says
        # nothing of the end where the last frame is held: there only the number of frames counts.
        whole = len(times_s) >= self._header["FRAME_COUNT"] - sum(starts)
        self.promised_s = self.times_s[-1] if whole and times_s else max(
            (self._header["FRAME_COUNT"] - 1 - sum(starts)) / fps, 0.0)

    def read(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Pairs of number and RGB in display order."""
        import cv2

        if (hdr := self._as_hdr()) is not None:
            yield from hdr.read(wanted)
            return
        left = set(wanted)
        for number, (capture, _) in enumerate(self._grab()):
            if number in left:
                left.discard(number)
                ok, bgr = capture.retrieve()
                if ok:
                    turns = -round(self._header["ORIENTATION_META"] / 90)  # degrees clockwise
                    sar = Fraction(int(self._header["SAR_NUM"]), int(self._header["SAR_DEN"]) or 1)
                    yield number, _as_displayed(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), turns, False, sar)
            if not left:
                return

    def _as_hdr(self) -> PyAV | None:
        """The other reader where the file is tagged as HDR. What only OpenCV can open has no tag that can be read."""
        with contextlib.suppress(VideoError):
            return reader if (reader := PyAV(self.path)).is_hdr else None
        return None

    def _grab(self):
        import cv2

        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            raise VideoError("OpenCV cannot open a name that is no UTF-8") from None
        capture = open_capture(self.path)
        try:
            if not capture.isOpened():
                raise VideoError("cannot be opened as a video by OpenCV: truncated, damaged or not a video")
            capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # turned by us, after pixels are made square
            for name in ("FPS", "FRAME_COUNT", "FRAME_WIDTH", "FRAME_HEIGHT", "ORIENTATION_META", "SAR_NUM", "SAR_DEN"):
                self._header[name] = capture.get(getattr(cv2, f"CAP_PROP_{name}"))
            while capture.grab():
                yield capture, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        finally:
            capture.release()
