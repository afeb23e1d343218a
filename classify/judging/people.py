"""Who of a clip is judged: the people that are seen often and large enough, or else the main face of each frame.

A track is a person (extract.faces.tracks). With fewer than two people to judge, the main faces are taken, whoever they
are, as in training and in the scores of a corpus: tracks are split rather than merged, so a
second short track is often the same person.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from classify.judging.face_quality import LEAST_PX
from extract.faces.face import Face
from extract.video import Extraction

SIDES = {2: ("on the left", "on the right"), 3: ("on the left", "in the middle", "on the right")}


@dataclass(frozen=True)
class Person:
    """A person to judge.

    Attributes:
        track: of extract.faces.tracks; None where the main faces are judged, whoever they are.
        where: words for people, "" for one alone.
        faces: in the order of time.
        crops: uint8 RGB (crop_px, crop_px, 3), one a face.
    """

    track: int | None
    where: str
    faces: list[Face]
    crops: list[np.ndarray]


def people_of(found: Extraction, least: int) -> list[Person]:
    """Return the people to judge, at least one entry (perhaps without a face). least: faces that a person needs."""
    tracks: dict[int, list[Face]] = {}
    for face in found.faces:
        if face.face == 0 or (face.frame, face.face) in found.others:
            tracks.setdefault(face.track, []).append(face)
    seen = {track: faces for track, faces in tracks.items() if len(faces) >= least and _size(faces) >= LEAST_PX}
    if len(seen) < 2:
        main = [face for face in found.faces if face.face == 0]
        return [Person(None, "", main, [found.crops[face.frame] for face in main])]
    return [Person(track, where, seen[track], [_crop(found, face) for face in seen[track]])
            for track, where in zip(seen, places(list(seen.values())))]


def _crop(found: Extraction, face: Face) -> np.ndarray:
    return found.others[face.frame, face.face] if face.face else found.crops[face.frame]


def _size(faces: Sequence[Face]) -> float:
    """Median of the boxes' longer sides, px."""
    return float(np.median([face.longest for face in faces]))


def places(people: Sequence[Sequence[Face]]) -> list[str]:
    """Where each of these people is, from left to right by the mean middle of the boxes."""
    middles = [sum(face.box[0] + face.box[2] for face in faces) / len(faces) for faces in people]
    order = sorted(range(len(people)), key=lambda number: middles[number])
    words = SIDES.get(len(people)) or tuple(f"number {k} from the left" for k in range(1, len(people) + 1))
    return [words[order.index(number)] for number in range(len(people))]
