"""A clip with the judge's boxes and scores drawn in: `python -m classify.video clip.mp4 --annotate out.mp4`.

Every frame is decoded once more. The boxes of a sampled frame stay until the next one was sampled, so they lag behind a
face that moves: what was judged is the frame where they appear. Sound is copied packet by packet, not encoded again.
"""
from __future__ import annotations

import bisect
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

import cv2
import numpy as np

from extract.decoding.media import open_container
from extract.decoding.readers import main_stream
from extract.decoding.sampling import Clip
from pipeline.errors import OptionsError, VideoError
from pipeline.own_files import MARK

if TYPE_CHECKING:
    from classify.judging.evidence import Evidence

SUFFIXES = (".mp4", ".mov", ".mkv")
FAKE, REAL = (255, 120, 0), (77, 180, 255)  # RGB of boxes at or above the threshold, and below it
ENCODER = {"crf": "20", "preset": "veryfast"}
TIME_BASE = Fraction(1, 90000)


def check_annotate(path: Path, clip: str | Path | None = None) -> None:
    """Raises OptionsError where no clip can be written under this name: before minutes of judging."""
    if path.suffix.lower() not in SUFFIXES:
        raise OptionsError(f"--annotate {path}: name a file that ends in {', '.join(SUFFIXES)}")
    if clip is not None and os.path.exists(path) and os.path.exists(clip) and os.path.samefile(path, clip):
        raise OptionsError(f"--annotate {path} is the clip itself: name another file")


def annotate(path: Path, evidence: Evidence) -> None:
    """Write the clip of this evidence with its boxes and scores, whole or not at all. H.264, 4:2:0.

    Frames that damage has reached are left out, the others keep their times. Raises VideoError, OptionsError.
    """
    import av

    check_annotate(path, evidence.verdict.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="." + path.stem[:40] + ".", suffix=path.suffix)
    os.close(handle)
    try:
        _write(temporary, evidence)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except av.error.FFmpegError as error:
        raise VideoError(f"the annotated clip cannot be written ({error}): name an .mkv, it holds any sound") from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _write(path: str, evidence: Evidence) -> None:
    import av

    source = evidence.verdict.path
    clip = Clip(source, evidence.sampling)
    clip.want_all()
    boxes, times = boxes_at(evidence), [frame.time_s for frame in evidence.sampled]
    with open_container(source) as reader, av.open(path, "w") as writer:
        writer.metadata["comment"] = MARK
        start_s, sound = _sound(reader)
        video: Any = writer.add_stream("libx264", options=ENCODER)
        video.time_base = video.codec_context.time_base = TIME_BASE
        copied = {stream.index: writer.add_stream_from_template(stream) for stream in reader.streams.audio}
        packet = next(sound, None)
        for number, frame in enumerate(clip.frames()):
            now = bisect.bisect_right(times, frame.time_s + 1e-6) - 1
            picture = drawn(frame.rgb, boxes[now] if now >= 0 else [], evidence)
            if number == 0:  # before anything is written, which opens the encoder
                video.height, video.width, video.pix_fmt = *picture.shape[:2], "yuv420p"
            elif picture.shape[:2] != (video.height, video.width):
                raise VideoError("its picture changes its size midway: such a clip cannot be annotated")
            while packet is not None and float(packet.pts * packet.time_base) - start_s <= frame.time_s:
                packet = _copy(writer, copied, packet, sound)
            made = av.VideoFrame.from_ndarray(picture, "rgb24")
            made.pts, made.time_base = round((start_s + frame.time_s) / TIME_BASE), TIME_BASE
            writer.mux(video.encode(made))
        writer.mux(video.encode(None))
        while packet is not None:
            packet = _copy(writer, copied, packet, sound)


def _sound(reader: Any) -> tuple[float, Iterator[Any]]:
    """When the picture starts, in seconds of the file's clock, and the packets of sound."""
    stream = main_stream(reader)
    start_s = float(stream.start_time * stream.time_base) if stream.start_time else 0.0
    packets = (p for p in reader.demux(*reader.streams.audio) if p.size and p.pts is not None)
    return start_s, packets if reader.streams.audio else iter(())


def _copy(writer: Any, copied: dict[int, Any], packet: Any, sound: Iterator[Any]) -> Any:
    """Write a packet of sound and return the next one."""
    packet.stream = copied[packet.stream.index]
    writer.mux(packet)
    return next(sound, None)


def boxes_at(evidence: Evidence) -> list[list[tuple[tuple[float, ...], float]]]:
    """Per sampled frame its judged faces: box in px of the frame, and score."""
    by_time: dict[float, list[tuple[tuple[float, ...], float]]] = {}
    for person, boxes in zip(evidence.people, evidence.boxes):
        for frame, box in zip(person.frames, boxes):
            by_time.setdefault(frame.time_s, []).append((box, frame.score))
    return [by_time.get(frame.time_s, []) for frame in evidence.sampled]


def drawn(rgb: np.ndarray, faces: list[tuple[tuple[float, ...], float]], evidence: Evidence) -> np.ndarray:
    """The frame with boxes, their scores and the verdict, its sides even: uint8 RGB."""
    picture = np.ascontiguousarray(rgb[:rgb.shape[0] // 2 * 2, :rgb.shape[1] // 2 * 2])
    said, scale = evidence.verdict, max(.4, min(picture.shape[:2]) / 720)
    for box, score in faces:
        colour = FAKE if score >= said.threshold else REAL
        x0, y0, x1, y1 = (round(v) for v in box)
        cv2.rectangle(picture, (x0, y0), (x1, y1), colour, max(2, round(3 * scale)))
        _label(picture, f"{score:.3f}", x0, y0, scale, colour)
    words = said.verdict.upper() + (f"  score {said.score:.3f}, FAKE from {said.threshold:.3f}"
                                    if said.score is not None else "  no score")
    _label(picture, words, 0, round(34 * scale), scale, (255, 255, 255))
    return picture


def _label(picture: np.ndarray, words: str, x: int, y: int, scale: float, colour: tuple[int, int, int]) -> None:
    """Black words on a coloured strip that ends at height y."""
    (width, height), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, .8 * scale, 1)
    y, high = max(y, round(1.6 * height)), round(1.6 * height)
    cv2.rectangle(picture, (x, y - high), (x + width + round(8 * scale), y), colour, -1)
    cv2.putText(picture, words, (x + round(4 * scale), y - round(.3 * height)), cv2.FONT_HERSHEY_SIMPLEX, .8 * scale,
                (0, 0, 0), max(1, round(1.5 * scale)), cv2.LINE_AA)
