"""Faces of clips, stored once: judging them with another checkpoint then costs the network alone.

    CACHE/<digest>.npz    who is in a clip, and the square around each face as it is in the frame

What happens to a clip on its way can be done to the stored squares instead of to whole frames: a checkpoint is measured
as it is, compressed and scaled down within minutes.
"""
from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

import cv2
import numpy as np

from classify.judging.judge import MIN_FACES
from classify.judging.people import Person, people_of
from extract.decoding.sampling import Clip, FrameOptions
from extract.faces.cropping import crop_face
from extract.faces.detector import Detector, FaceOptions
from extract.faces.face import Face
from extract.video import extract_video
from pipeline.errors import VideoError
from pipeline.options import from_record
from pipeline.parallel import map_unordered

if TYPE_CHECKING:
    from classify.evaluation.corruptions import Alter

VERSION = 1     # raised when the same clip gives other faces
MOST_PX = 1024  # side of a stored square


class Found(NamedTuple):
    """What was found in a clip. people: of `classify.judging.people`, their crops the squares around the faces, uint8
    RGB of the size that they have in the frame. reason: why there is nothing, where the clip cannot be read."""

    n_read: int
    people: list[Person]
    reason: str = ""


def store(paths: Sequence[str], card: dict[str, Any], frames: FrameOptions, cache: Path, workers: int | None = None
          ) -> dict[str, Path]:
    """Find the faces of these clips, where no earlier call has stored them.

    Args:
        paths: clips.
        card: a model card; its options say how faces are found. The size of its crops plays no role.
        frames: which frames are looked at.
        cache: folder of the stored faces.
        workers: processes that look for faces; None for one a core.

    Returns:
        For each path the file to `read`.
    """
    faces = dataclasses.replace(from_record(FaceOptions, card["faces"]), crop_px=FaceOptions().crop_px)
    cache.mkdir(parents=True, exist_ok=True)
    files = {path: cache / f"{_digest(path, faces, frames)}.npz" for path in paths}
    missing = [(path, file) for path, file in files.items() if not file.is_file()]
    for _, result in map_unordered(_look, missing, min(len(missing), workers or os.cpu_count() or 1), _start,
                                   (faces, frames)):
        if isinstance(result, Exception):
            raise result
    return files


def altered(person: Person, crop_px: int, alter: Alter | None = None) -> Person:
    """Alter the stored squares of a person and bring them to the size of crops, boxes included.

    Returns:
        A person as `classify.judging.judge.Judge` takes it, boxes in px of the altered frame.
    """
    crops, faces = [], []
    for face, square in zip(person.faces, person.crops):
        changed = alter(square) if alter else square
        share = changed.shape[0] / square.shape[0]
        how = cv2.INTER_AREA if changed.shape[0] > crop_px else cv2.INTER_CUBIC  # as crop_face does it
        crops.append(cv2.resize(changed, (crop_px, crop_px), interpolation=how))
        x0, y0, x1, y1 = (side * share for side in face.box)
        faces.append(dataclasses.replace(face, box=(x0, y0, x1, y1)))
    return dataclasses.replace(person, faces=faces, crops=crops)


class _Kept(Clip):
    """A clip whose sampled frames are kept."""

    def frames(self):
        self.seen = {}
        for frame in super().frames():
            self.seen[frame.number] = frame.rgb
            yield frame


def _start(faces: FaceOptions, frames: FrameOptions) -> None:
    global _detector, _frames
    cv2.setNumThreads(1)
    _detector, _frames = Detector(faces, "cpu"), frames


_detector: Any = None  # of a worker
_frames: Any = None


def _look(job: tuple[str, Path]) -> None:
    """In a worker: store the faces of one clip."""
    path, file = job
    content: dict[str, Any] = {}
    n_people = 0
    try:
        clip = _Kept(path, _frames)
        found = extract_video(clip, _detector, _frames, everyone=True)
        content["n_read"] = np.array(found.video.n_read)
        for n_people, person in enumerate(people_of(found, MIN_FACES), 1):
            prefix = f"{n_people - 1}-"
            content[prefix + "rows"] = np.array([[face.time_s, *face.box] for face in person.faces])
            content[prefix + "where"] = np.array([str(person.track), person.where])
            for number, face in enumerate(person.faces):
                content[f"{prefix}{number}"] = _square(clip.seen[face.frame], np.array(face.box), face.points)
    except VideoError as error:
        content = {"n_read": np.array(0), "reason": np.array(str(error))}
    content["n_people"] = np.array(n_people)
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, **content)
    partial.replace(file)


def _square(frame: np.ndarray, box: np.ndarray, points: np.ndarray) -> np.ndarray:
    side = max(2, round(_detector.options.margin * float(max(box[2] - box[0], box[3] - box[1]))))
    return crop_face(frame, box, points, dataclasses.replace(_detector.options, crop_px=max(16, min(side, MOST_PX))))


def read(file: Path) -> Found:
    """Read what `store` has found in one clip."""
    with np.load(file) as content:
        people = []
        for number in range(int(content["n_people"])):
            rows = content[f"{number}-rows"].tolist()
            faces = [Face(time_s, frame, (x0, y0, x1, y1)) for frame, (time_s, x0, y0, x1, y1) in enumerate(rows)]
            track, where = map(str, content[f"{number}-where"])
            people.append(Person(None if track == "None" else int(track), where, faces,
                                 [content[f"{number}-{face}"] for face in range(len(faces))]))
        return Found(int(content["n_read"]), people, str(content["reason"]) if "reason" in content else "")


def _digest(path: str, faces: FaceOptions, frames: FrameOptions) -> str:
    status = os.stat(path)
    key = (VERSION, MOST_PX, os.path.abspath(path), status.st_size, status.st_mtime_ns, faces, frames)
    return hashlib.sha256(repr(key).encode()).hexdigest()[:24]
