"""A verdict that goes on: frames one after the other, each person judged from the last looks at them.

Each face is scored once, when it is seen. A person's verdict rests on the faces of the last `window` looks, by the same
rule as that on a clip: too few faces, faces too soft or small, or a score in the uncertain band are undecided. What is
kept has an end: so many looks, so many people, and of each their crops.
"""
from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from classify.judging.judge import MIN_FACES, SCHEMA, Judge, PersonVerdict, weight_of
from classify.judging.people import Person, places
from extract.decoding.frame import Frame
from extract.faces.cropping import crop_face
from extract.faces.face import Face
from extract.faces.tracks import Tracker, face_colours
from extract.video import recorded

WINDOW = 30        # looks that a verdict rests on
MOST_PEOPLE = 8    # in sight at once, the largest faces


class _Seen(NamedTuple):
    """A face in the window: number of its look, the face, its crop (uint8 RGB), P(fake)."""

    look: int
    face: Face
    crop: np.ndarray
    score: float


@dataclass(frozen=True)
class Look:
    """What is said after a look.

    Attributes:
        time_s: of the frame, from the first one.
        n_looks: frames of the window that were looked at.
        verdict: of the person who decides, `undecided` with `reason` where nobody can be judged.
        score, reason: of that person.
        people: what is said of each; their `track` is a number that they keep, in whose order they stand. People seen
            too seldom are among them, as undecided.
    """

    time_s: float
    n_looks: int
    verdict: str
    score: float | None
    reason: str
    people: list[PersonVerdict]
    model: str

    def as_json(self) -> dict[str, Any]:
        """Return the object of one line; frames are left out, since each was in a line of its own."""
        said = dataclasses.asdict(self)
        said["people"] = [{"person": person.pop("track"), **{name: value for name, value in person.items()
                                                             if name != "frames"}} for person in said["people"]]
        return {"schema": SCHEMA, **said}


class Rolling:
    """Judges a stream frame by frame.

    Args:
        judge: the model with its detector; one that judges whole pictures has no people to follow.
        window: looks that a verdict rests on.
    """

    def __init__(self, judge: Judge, window: int = WINDOW):
        self.judge, self.window = judge, window
        self.tracker = Tracker(window)
        self.seen: dict[int, deque[_Seen]] = {}
        self.n_looks = 0

    def look(self, frame: Frame) -> Look:
        """Take in one frame and return what is said of everybody who was seen within the window."""
        self.n_looks += 1
        [found] = self.judge.detector.detect([frame.rgb])
        found = found[:MOST_PEOPLE]
        crops = [crop_face(frame.rgb, one.box, one.landmarks, self.judge.detector.options) for one in found]
        faces = self.tracker.follow(recorded(frame, found), [face_colours(frame.rgb, one.box) for one in found])
        for face, crop, score in zip(faces, crops, self.judge.scores(crops)):
            self.seen.setdefault(face.track, deque()).append(_Seen(self.n_looks, face, crop, score))
        for number, seen in list(self.seen.items()):
            while seen and seen[0].look <= self.n_looks - self.window:
                seen.popleft()
            if not seen:
                del self.seen[number]
        return self._said(frame.time_s)

    def _said(self, time_s: float) -> Look:
        n_looks = min(self.n_looks, self.window)
        numbers = sorted(self.seen)
        faces = [[one.face for one in self.seen[number]] for number in numbers]
        people = []
        for number, where, own in zip(numbers, places(faces) if len(faces) > 1 else [""], faces):
            seen = self.seen[number]
            person = Person(number, where, own, [one.crop for one in seen])
            people.append(self.judge.judge_scores(person, [one.score for one in seen], n_looks, MIN_FACES))
        first = max(people, key=weight_of, default=None)
        if first is None:
            reason = f"no face in the last {n_looks} looks" if n_looks > 1 else "no face"
            return Look(round(time_s, 3), n_looks, "undecided", None, reason, [], self.judge.card["model_id"])
        return Look(round(time_s, 3), n_looks, first.verdict, first.score, first.reason, people,
                    self.judge.card["model_id"])
