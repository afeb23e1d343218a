"""Which faces of a clip are one person: a track number per face, from where and how large it is and its colours.

Frames are seconds apart, so nothing moves smoothly: per frame the cheapest one-to-one assignment of faces to the people
seen so far is taken, and a face that fits nobody starts a new track.

Measured on the 40 real clips at hand with one face, 3 s apart: a face moves .07 of its length in the median and .72 at
most, its length changes by 21 % at most. Colours of the same person in one clip differ by .02 in the median and .11 in
the 99th percentile, those of two clips' people by .56 in the median and .13 in the 1st percentile: a face of the same
clip is the nearer one in 99.98 % of all pairs. An embedding (dlib's, 100 MB, 74 ms a face) reaches 99.99 %, so colours
it is.

A person who comes back after a cut keeps the track if the light is the same, and else gets a new one: tracks are split
rather than merged, since a verdict over two people is wrong about one, while a split one is merely shorter.

What this module does not know: who somebody is. Two people of the same colours who change places between two frames
are not told apart, and neither are two who follow each other in the same place and light.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Sequence

import cv2
import numpy as np

from extract.faces.face import Face

MOVE = 1.5        # face lengths from one sampled frame to the next; twice the most that was measured
GROWTH = 0.5      # log of the ratio of two lengths, a factor of 1.65; twice the most that was measured
SAME_PLACE = 0.2  # colour distance up to which a face in the same place is the same person; 5 % of strangers are nearer
ELSEWHERE = 0.1   # the same for one who may have moved, or was away: nearer than 99 % of strangers
ABSENT = 3        # frames after which a place is no longer anybody's
COLOUR_PX = 32    # side of the copy that colours are counted on
BINS = (6, 24, 24)  # of L, a, b: coarse in brightness, which changes with every turn of the head
NOBODY = 1e6      # cost that no assignment of people reaches


@dataclass
class _Track:
    """A person so far. frame: position, among the frames with a face, of the last face. colours: sum over its faces."""

    faces: list[Face] = field(default_factory=list)
    frame: int = 0
    last: np.ndarray | None = None
    colours: np.ndarray | None = None

    def add(self, face: Face, look: np.ndarray | None, frame: int) -> None:
        self.faces.append(face)
        self.frame, self.last = frame, look
        if look is not None:
            self.colours = look if self.colours is None else self.colours + look


def number_tracks(faces: Sequence[Face], looks: Sequence[np.ndarray] | None = None) -> list[Face]:
    """Return the faces of one clip with `track` set: 0 for the person with the largest total area of boxes, then 1, ….

    The same input gives the same numbers; two people of the same area are numbered in the order of appearance.

    Args:
        faces: in the order of frame and face; read are frame and box.
        looks: `face_colours` of each face; without them place and size alone decide.
    """
    tracks: list[_Track] = []
    frames: dict[int, list[int]] = {}
    track_of: dict[int, _Track] = {}
    for number, face in enumerate(faces):
        frames.setdefault(face.frame, []).append(number)
    for position, numbers in enumerate(frames.values()):
        found = [(faces[n], looks[n] if looks is not None else None) for n in numbers]
        taken = _assign(found, tracks, position)
        for place, (face, look) in enumerate(found):
            if place not in taken:
                tracks.append(_Track())
                taken[place] = len(tracks) - 1
            track_of[numbers[place]] = tracks[taken[place]]
            track_of[numbers[place]].add(face, look, position)
    tracks.sort(key=lambda track: -sum(_length(face) ** 2 for face in track.faces))
    order = {id(track): number for number, track in enumerate(tracks)}
    return [replace(face, track=order[id(track_of[number])]) for number, face in enumerate(faces)]


class Tracker:
    """Follows people from frame to frame of a stream, as `number_tracks` does within a clip.

    Args:
        forget: frames after which somebody who was not seen is nobody any more: a new number if they come back.
    """

    def __init__(self, forget: int):
        self.forget, self.position, self.n_people = forget, 0, 0
        self._tracks: dict[int, _Track] = {}

    def follow(self, faces: Sequence[Face], looks: Sequence[np.ndarray]) -> list[Face]:
        """Return the faces of one frame with `track` set: numbers of people, from 1 in the order of appearance.

        Args:
            faces: read are their boxes.
            looks: `face_colours` of each.
        """
        self.position += 1
        self._tracks = {number: track for number, track in self._tracks.items()
                        if self.position - track.frame <= self.forget}
        known = list(self._tracks)
        taken = _assign(list(zip(faces, looks)), list(self._tracks.values()), self.position) if faces else {}
        numbered = []
        for place, (face, look) in enumerate(zip(faces, looks)):
            if place in taken:
                number = known[taken[place]]
            else:
                self.n_people += 1
                number = self.n_people
                self._tracks[number] = _Track()
            track = self._tracks[number]
            track.add(face, look, self.position)
            del track.faces[:-1]  # a stream has no end
            if track.colours is not None and track.colours.sum() > self.forget:
                track.colours = track.colours / 2
            numbered.append(replace(face, track=number))
        return numbered


def face_colours(frame: np.ndarray, box: np.ndarray | Sequence[float]) -> np.ndarray:
    """Shares of colours in the middle of a face: float32 (3456,), sums to 1, over L, a, b of CIELAB.

    frame: uint8 RGB (height, width, 3). box: x0 y0 x1 y1 in px of the frame; of it the middle square of .65 times the
    longer side is read, which leaves hair and background out.
    """
    height, width = frame.shape[:2]
    half = 0.325 * max(box[2] - box[0], box[3] - box[1])
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    x0, y0 = min(max(int(x - half), 0), width - 1), min(max(int(y - half), 0), height - 1)
    part = frame[y0:max(y0 + 1, math.ceil(y + half)), x0:max(x0 + 1, math.ceil(x + half))]
    small = cv2.resize(part, (COLOUR_PX, COLOUR_PX), interpolation=cv2.INTER_AREA)
    counts = cv2.calcHist([cv2.cvtColor(small, cv2.COLOR_RGB2LAB)], [0, 1, 2], None, list(BINS), [0, 256] * 3)
    return (counts.ravel() / COLOUR_PX ** 2).astype(np.float32)


def _assign(found: list[tuple[Face, np.ndarray | None]], tracks: list[_Track],
            position: int) -> dict[int, int]:
    """Face of this frame -> track, for those that fit one: the cheapest assignment (Hungarian method)."""
    if not tracks:
        return {}
    costs = np.array([[_cost(face, look, track, position) for track in tracks] for face, look in found])
    return {face: track for face, track in cheapest_pairs(costs) if costs[face, track] < NOBODY}


def cheapest_pairs(costs: np.ndarray) -> list[tuple[int, int]]:
    """Pair rows with columns, as many as there are of the fewer, so that the sum of the costs is the least.

    Shortest augmenting paths with potentials (Jonker and Volgenant 1987), as in SciPy's linear_sum_assignment, which
    takes longer to import than judging a clip takes.

    Args:
        costs: float64 (n, m), finite.
    """
    if costs.shape[0] > costs.shape[1]:
        return [(row, column) for column, row in cheapest_pairs(costs.T)]
    n, m = costs.shape
    of_row, of_column = np.zeros(n), np.zeros(m)
    row_of = np.full(m, -1)
    for start in range(n):
        least, before, done = np.full(m, np.inf), np.full(m, -1), np.zeros(m, bool)
        row, column, reached = start, -1, 0.0
        while row >= 0:
            path = reached + costs[row] - of_row[row] - of_column
            better = ~done & (path < least)
            least[better], before[better] = path[better], column
            column = int(np.argmin(np.where(done, np.inf, least)))
            reached, done[column] = least[column], True
            row = row_of[column]
        done[column] = False
        of_row[start] += reached
        of_row[row_of[done]] += reached - least[done]
        of_column[done] -= reached - least[done]
        while column >= 0:
            previous = int(before[column])
            row_of[column] = row_of[previous] if previous >= 0 else start
            column = previous
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)


def _cost(face: Face, look: np.ndarray | None, track: _Track, position: int) -> float:
    """What it costs to take this face for that person, 0 to 3; NOBODY where it cannot be."""
    place = _place(face, track.faces[-1]) if position - track.frame <= ABSENT else math.inf
    if look is None or track.last is None or track.colours is None:
        return place if place <= 1 else NOBODY
    # The last look follows a slow change of light, the sum remembers the person through a bad frame.
    colour = min(_apart(look, track.last), _apart(look, track.colours / track.colours.sum()))
    if colour > (SAME_PLACE if place <= 1 else ELSEWHERE):
        return NOBODY
    return colour / ELSEWHERE + min(place, 1.0)


def _place(a: Face, b: Face) -> float:
    """How far two faces are apart in place and size, 1 at the limit of what one person does."""
    move = math.hypot(a.box[0] + a.box[2] - b.box[0] - b.box[2], a.box[1] + a.box[3] - b.box[1] - b.box[3]) / 2
    lengths = _length(a), _length(b)
    return math.hypot(move / math.sqrt(lengths[0] * lengths[1]) / MOVE, math.log(lengths[0] / lengths[1]) / GROWTH)


def _length(face: Face) -> float:
    """Side in px of the square with the box's area."""
    x0, y0, x1, y1 = face.box
    return math.sqrt(max(1.0, (x1 - x0) * (y1 - y0)))


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """1 minus the Bhattacharyya coefficient of two distributions: 0 for the same, 1 for no colour in common."""
    return 1.0 - float(np.sqrt(a * b).sum())
