"""Who of a clip is judged: the people that are seen often and large enough, or else the main face of each frame.

A track is a person (extract.faces.tracks). With fewer than two people to judge, the main faces are taken whoever
they are,
as in training and in the scores of a corpus: tracks are split rather than merged, and half a person is no second one.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

from classify.judging.face_quality import LEAST_PX

if TYPE_CHECKING:
    import numpy as np

    from extract.video import Extraction

SIDES = {2: ("on the left", "on the right"), 3: ("on the left", "in the middle", "on the right")}


class Person(NamedTuple):
    """track: of extract.faces.tracks, None where the main faces are judged whoever they are. where: words for
    people, "" for
    one alone. rows: of tables.FACES. crops: uint8 RGB (crop_px, crop_px, 3), one a row."""

    track: int | None
    where: str
    rows: list[dict[str, Any]]
    crops: list[np.ndarray]


def people_of(found: Extraction, least: int) -> list[Person]:
    """The people to judge, at least one entry (perhaps without a face). least: faces that a person needs."""
    tracks: dict[int, list[dict[str, Any]]] = {}
    for row in found.faces:
        if row["face"] == 0 or (row["frame"], row["face"]) in found.others:
            tracks.setdefault(row["track"], []).append(row)
    seen = {track: rows for track, rows in tracks.items() if len(rows) >= least and _size(rows) >= LEAST_PX}
    if len(seen) < 2:
        main = [row for row in found.faces if row["face"] == 0]
        return [Person(None, "", main, [found.crops[row["frame"]] for row in main])]
    return [Person(track, where, seen[track], [_crop(found, row) for row in seen[track]])
            for track, where in zip(seen, _places(list(seen.values())))]


def _crop(found: Extraction, row: dict[str, Any]) -> np.ndarray:
    return found.others[row["frame"], row["face"]] if row["face"] else found.crops[row["frame"]]


def _size(rows: Sequence[dict[str, Any]]) -> float:
    """Median of the boxes' longer sides, px."""
    import numpy as np

    return float(np.median([max(row["x1"] - row["x0"], row["y1"] - row["y0"]) for row in rows]))


def _places(people: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    """Where each of these people is, from left to right by the mean middle of the boxes."""
    middles = [sum(row["x0"] + row["x1"] for row in rows) / len(rows) for rows in people]
    order = sorted(range(len(people)), key=lambda number: middles[number])
    words = SIDES.get(len(people)) or tuple(f"number {k} from the left" for k in range(1, len(people) + 1))
    return [words[order.index(number)] for number in range(len(people))]
