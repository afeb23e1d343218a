"""One video to its faces: the one function that extraction over a corpus and the verdict on a clip both call.

A picture is a clip of one frame. Where whole pictures are judged, the frame itself stands for its main face.

A fake has its real's geometry frame by frame, so boxes found on the real can serve its fakes: see `Known`.
"""
from __future__ import annotations

import gc
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from extract.copies import frame_digest
from extract.decoding.frame import Frame
from extract.decoding.image import Still, whole_square
from extract.decoding.in_memory import FramesInMemory
from extract.decoding.opening import open_media
from extract.decoding.sampling import Clip, FrameOptions
from extract.faces.cropping import crop_face
from extract.faces.detector import Detection, Detector, WholeFrame, overlap
from extract.faces.face import Face, from_row
from extract.faces.tracks import face_colours, number_tracks

CHECK = 3             # of the frames with known faces the first and every third are detected all the same
# Overlap (IoU) of the main faces from which a checked frame agrees. 24 fakes of Celeb-DF v2 and FaceForensics++
# against their reals of the same size, 349 frames: median .93, least .75. A box moved by a sixth of its width has .71.
SAME_FACE = 0.7
BATCH_BYTES = 128 * 2 ** 20  # of frames that the detector is given at once
MOST_FACES = 64       # of a frame, the largest; each costs 14 kB of colours and a place among the tracks
OTHERS_BYTES = 128 * 2 ** 20  # of the crops of other faces, where everyone is asked for: the largest of each frame
SAME_MOMENT_S = 0.02  # half a frame at 25 a second: frames of one number further apart show different moments

Media = Still | Clip | FramesInMemory  # an opened file, or frames in place of one


@dataclass(frozen=True)
class Outcome:
    """What became of one video, as in tables.VIDEOS. status: "ok", or what kept faces away, and reason says why."""

    status: str
    reason: str
    n_asked: int = 0
    n_read: int = 0
    n_faces: int = 0
    width_px: int = 0
    height_px: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True)
class Extraction:
    """What was found in one video.

    video: what became of it.
    faces: all recorded faces in the order of frame and face; face 0 of a frame is the main one.
    crops: frame number -> crop of the main face, uint8 RGB (crop_px, crop_px, 3).
    others: (frame number, face number from 1) -> crop of another face, where everyone was asked for.
    n_reused: of the frames read, those that the detector did not see because their faces were known.
    mismatch: known faces were tried and did not fit, so all frames were detected (in a second reading of the clip).
    modality: "video" or "image", by the content.
    digests: number of a frame that was read -> extract.copies.frame_digest, where they were asked for.
    """

    video: Outcome
    faces: list[Face] = field(default_factory=list)
    crops: dict[int, np.ndarray] = field(default_factory=dict)
    others: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    n_reused: int = 0
    mismatch: bool = False
    modality: str = "video"
    digests: dict[int, bytes] = field(default_factory=dict)


class Known(NamedTuple):
    """The faces of the real that a fake was made from: size of its picture in px, frame number -> its faces."""

    width_px: int
    height_px: int
    faces: dict[int, list[Face]]


def known_faces(row: Mapping[str, Any]) -> Known:
    """Return what extraction found in a real, for its fakes.

    row: "video" (width_px, height_px of tables.VIDEOS) and "faces" (rows of tables.FACES). A video without
    a face, or one that could not be read, gives a Known without faces, with which all frames are detected.
    """
    faces: dict[int, list[Face]] = {}
    for face in sorted(map(from_row, row["faces"]), key=lambda face: (face.frame, face.face)):
        faces.setdefault(face.frame, []).append(face)
    return Known(row["video"]["width_px"], row["video"]["height_px"], faces)


class _Found(NamedTuple):
    """Faces of one frame, and the boxes they come from (not rounded where they were detected)."""

    faces: list[Face]
    boxes: list[np.ndarray]


class _Mismatch(Exception):
    """A checked frame's main face is not where the known one is."""


def extract_video(path: str | Path | Media, detector: Detector | WholeFrame, options: FrameOptions,
                  known: Known | None = None, everyone: bool = False, digest: bool = False) -> Extraction:
    """Sample frames, find faces, crop the main one of each frame. A picture (by its content, or a Still) is one
    frame; a Clip brings its own options; of FramesInMemory every frame is taken.

    The main face is the detector's first. Memory: `detector.batch` frames of together at most BATCH_BYTES, the crops,
    and 14 kB of colours a face, of which a frame has at most MOST_FACES.
    known: faces of the real that this fake was made from. A frame whose number, time and picture size have known faces
    takes them as they are; the first such frame and every third is detected and must agree, or else the clip is read
    again and all frames are detected. The other frames are detected as always.
    everyone: crop the other faces too, the largest of each frame so far as all fit into OTHERS_BYTES. digest: also
    digest the frames, which tells copies of a clip.
    Raises VideoError where no frame can be read; a clip without a face is an answer (status "no_face"), not an error.
    """
    if known is None or not known.faces:
        return _extract(path, _Finder(detector), options, everyone, digest)
    try:
        return _extract(path, _Finder(detector, known), options, everyone, digest)
    except _Mismatch:
        return replace(_extract(path, _Finder(detector), options, everyone, digest), mismatch=True)


def _extract(path: str | Path | Media, finder: _Finder, options: FrameOptions, everyone: bool,
             digest: bool) -> Extraction:
    clip = path if isinstance(path, Media) else open_media(path, options)
    cut = finder.detector.options
    faces: list[tuple[Face, np.ndarray]] = []  # with their colours
    crops: dict[int, np.ndarray] = {}
    others: dict[tuple[int, int], np.ndarray] = {}
    digests: dict[int, bytes] = {}
    size = (0, 0)
    n_read = 0
    most_others = OTHERS_BYTES // (max(1, clip.n_asked) * 3 * cut.crop_px ** 2)
    for frames in _batches(clip.frames(), finder.detector.batch):
        n_read += len(frames)
        size = frames[0].rgb.shape[:2]
        digests.update({frame.number: frame_digest(frame.rgb) for frame in frames if digest})
        for frame, found in zip(frames, finder(frames)):
            faces += [(face, face_colours(frame.rgb, box)) for face, box in zip(*found)]
            if found.faces:
                crops[frame.number] = (whole_square(frame.rgb, cut.crop_px) if cut.crop == "whole" else
                                       crop_face(frame.rgb, found.boxes[0], found.faces[0].points, cut))
            for face, box in list(zip(*found))[1:1 + most_others] if everyone else ():
                others[frame.number, face.face] = crop_face(frame.rgb, box, face.points, cut)
    # PyAV's frames and their side data refer to each other: without this a worker keeps 20 MB of each 720p clip until
    # Python looks for such cycles by itself, which it does after many more clips.
    gc.collect(1)
    nothing = "no face" if isinstance(clip, Still) else f"no face in {n_read} frames"
    status, reason = ("ok", clip.damage) if crops else ("no_face", nothing)
    if not crops and clip.damage:
        reason = f"{reason}; {clip.damage}"
    faces.sort(key=lambda pair: (pair[0].frame, pair[0].face))
    return Extraction(
        Outcome(status, reason, clip.n_asked, n_read, len(crops), size[1], size[0], round(clip.duration_s, 6)),
        number_tracks([face for face, _ in faces], [look for _, look in faces]), crops, others, finder.n_reused,
        modality="image" if isinstance(clip, Still) else "video", digests=digests)


class _Finder:
    """Faces of frames, from the detector or known."""

    def __init__(self, detector: Detector | WholeFrame, known: Known | None = None):
        self.detector, self.known = detector, known
        self.n_known = self.n_reused = 0

    def __call__(self, frames: list[Frame]) -> list[_Found]:
        """frames: of one picture size. Raises _Mismatch."""
        known = [self._known(frame) for frame in frames]
        reused = set()
        for number, real in enumerate(known):
            if real:
                if self.n_known % CHECK:
                    reused.add(number)
                self.n_known += 1
        self.n_reused += len(reused)
        asked = [frame.rgb for number, frame in enumerate(frames) if number not in reused]
        detected = iter(self.detector.detect(asked) if asked else [])
        found = []
        for number, (frame, real) in enumerate(zip(frames, known)):
            if number in reused:
                found.append(_Found([replace(face, time_s=round(frame.time_s, 6)) for face in real], _boxes(real)))
                continue
            faces = next(detected)[:MOST_FACES]
            if real and not (faces and overlap(faces[0].box, _boxes(real)[0]) >= SAME_FACE):
                raise _Mismatch
            found.append(_Found(recorded(frame, faces), [face.box for face in faces]))
        return found

    def _known(self, frame: Frame) -> list[Face]:
        if not self.known or frame.rgb.shape[:2] != (self.known.height_px, self.known.width_px):
            return []
        faces = self.known.faces.get(frame.number, [])
        return faces if faces and abs(faces[0].time_s - frame.time_s) <= SAME_MOMENT_S else []


def _boxes(faces: list[Face]) -> list[np.ndarray]:
    return [np.array(face.box, np.float32) for face in faces]


def _batches(frames, size: int):
    """Lists of up to `size` frames of one picture size (a stream may change its size midway), at most BATCH_BYTES."""
    batch: list[Frame] = []
    for frame in frames:
        if batch and (len(batch) == size or frame.rgb.shape != batch[0].rgb.shape
                      or (len(batch) + 1) * frame.rgb.nbytes > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


def recorded(frame: Frame, found: Sequence[Detection]) -> list[Face]:
    """Return the faces of a frame as they are recorded, in the order of the detector."""
    return [_recorded(frame, number, one, len(found)) for number, one in enumerate(found)]


def _recorded(frame: Frame, number: int, found: Detection, n_faces: int) -> Face:
    # Hundredths of a pixel: below what the detector resolves, and the same text for the same input.
    x0, y0, x1, y1 = (round(float(v), 2) for v in found.box)
    points = tuple(round(float(v), 2) for v in found.landmarks.reshape(-1))
    return Face(round(frame.time_s, 6), frame.number, (x0, y0, x1, y1), points, round(found.confidence, 4), number,
                n_faces)
