"""Frames of something that goes on: a camera, a clip over and over, or raw frames on standard input.

Each is a generator of frames about `every_s` apart, of which one is held at a time. Times count from the first frame:
of a camera by the clock, of a clip by its timestamps, of raw frames by their number. A clip is opened as any other
file, with the same limits; a camera by its number, never by an address; standard input only where it is named.
"""
from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import IO, Iterator

import numpy as np

from extract.decoding.frame import Frame
from extract.decoding.media import limits, open_camera
from pipeline.errors import OptionsError, VideoError

PIXELS = ("rgb24", "bgr24")  # orders of the three bytes of a pixel, as FFmpeg calls them
CHUNK = 2 ** 20              # bytes of frames nobody looks at that are read at once


def frames_of_clip(path: Path, every_s: float, loop: bool = False) -> Iterator[Frame]:
    """Yield a frame each `every_s` seconds of a file, upright, of every round again where it is looped.

    Raises:
        VideoError: the file cannot be read.
    """
    from extract.decoding.sampling import Clip, FrameOptions

    began, number = 0.0, 0
    while True:
        clip = Clip(path, FrameOptions(every=every_s, min_frames=1))
        for frame in clip.frames():
            yield Frame(number, began + frame.time_s, frame.rgb)
            number += 1
        if not loop:
            return
        began += max(clip.duration_s, every_s)


def frames_of_camera(number: int, every_s: float) -> Iterator[Frame]:
    """Yield a frame of a camera each `every_s` seconds by the clock; what it shows between them is thrown away.

    Raises:
        VideoError: there is no such camera, or it stops.
    """
    import cv2

    capture = open_camera(number)
    try:
        if not capture.isOpened():
            raise VideoError(f"camera {number} cannot be opened: it is not there, in use, or not allowed")
        began, due = time.monotonic(), 0.0
        for count in itertools.count():
            while True:
                if not capture.grab():
                    raise VideoError(f"camera {number} gives no more frames")
                if (now := time.monotonic() - began) >= due:
                    break
            read, picture = capture.retrieve()
            if not read:
                raise VideoError(f"camera {number} gives no more frames")
            due = now + every_s
            yield Frame(count, now, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()


def frames_of_raw(stream: IO[bytes], width_px: int, height_px: int, fps: float, every_s: float,
                  pixels: str = "rgb24") -> Iterator[Frame]:
    """Yield a frame each `every_s` seconds of raw frames that follow each other without anything between them.

    Args:
        stream: bytes; ends after the last frame.
        width_px, height_px: size of each frame.
        fps: frames a second, which their times follow from.
        every_s: seconds between two frames that are yielded.
        pixels: one of PIXELS.

    Raises:
        OptionsError: the frames are larger than the limits allow.
        VideoError: the stream ends within a frame.
    """
    if width_px * height_px > limits().frame_px:
        raise OptionsError(f"frames of {width_px}x{height_px} px exceed --max-frame-mpx {limits().max_frame_mpx:g}")
    size = width_px * height_px * 3
    step = max(1, round(every_s * fps))
    for count in itertools.count():
        content = _read(stream, size)
        if not content:
            return
        if len(content) < size:
            raise VideoError(f"the stream ended within frame {count * step}: {len(content):,} of {size:,} bytes; "
                             "--size or --pixels may be others")
        rgb = np.frombuffer(content, np.uint8).reshape(height_px, width_px, 3)
        yield Frame(count, count * step / fps, np.ascontiguousarray(rgb[..., ::-1] if pixels == "bgr24" else rgb))
        if not _skip(stream, (step - 1) * size):
            return


def _read(stream: IO[bytes], n_bytes: int) -> bytes:
    """So many bytes, fewer only at the end."""
    parts = []
    while n_bytes and (part := stream.read(min(n_bytes, CHUNK))):
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def _skip(stream: IO[bytes], n_bytes: int) -> bool:
    """Read past so many bytes. Returns whether they were there."""
    while n_bytes and (part := stream.read(min(n_bytes, CHUNK))):
        n_bytes -= len(part)
    return not n_bytes


def paced(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Yield frames no earlier than their times, by the clock from the first one on."""
    began = None
    for frame in frames:
        began = time.monotonic() - frame.time_s if began is None else began
        time.sleep(max(0.0, began + frame.time_s - time.monotonic()))
        yield frame


def picture_size(text: str) -> tuple[int, int]:
    """Read "640x360" as width and height in px. Raises OptionsError."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) < 10 ** 5 and 0 < int(height) < 10 ** 5):
        raise OptionsError(f"--size is WIDTHxHEIGHT in px, such as 640x360, got {text!r}")
    return int(width), int(height)
