"""What a verdict rests on, gathered while it is made: all that a sheet shows and an annotated clip draws.

The frames are kept as the judge reads them, so nothing is decoded twice; faces, boxes and scores are the judge's own.
Heat maps come after it (classify.judging.attribution). A judgement without a sheet calls nothing of this.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Sequence

import cv2
import numpy as np

from classify.judging.attribution import coloured, heat_maps, most
from classify.judging.calibration import Calibration
from classify.judging.judge import Judge, PersonVerdict, Verdict
from classify.judging.people import Person
from classify.models.versions import versions
from data.loading.crops import to_input
from extract.decoding.frame import Frame
from extract.decoding.frame_files import files_of
from extract.decoding.image import Still
from extract.decoding.kinds import modality_of
from extract.decoding.media import open_bytes
from extract.decoding.sampling import Clip, FrameOptions
from extract.faces.face import Box

MOST_FRAMES = 20        # shown on a sheet
MOST_FACES = 40         # shown on a sheet; with more than two people in a frame, fewer frames are
FRAME_PX = 720          # long side of a shown frame
FRAME_BYTES = 75_000    # of a shown frame: 20 of them are 2 MB as text in a page
FACE_PX = 176           # side of a thumbnail
FACE_BYTES = 18_000     # of a thumbnail: 40 faces with their heat are 2 MB as text
FALLBACKS = ((1.0, 85), (1.0, 70), (.75, 65), (.5, 60), (.35, 50), (.25, 40))  # scale and JPEG quality, tried in turn
NO_HEAT = {"keras": "the model is a .keras file, and heat maps are made of networks of torch only"}
OF_CARD = ("model_id", "backbone", "members", "size_px", "centre", "crop", "aggregation", "threshold", "calibration",
           "dataset", "split_hash", "frames", "faces", "versions")


class Sampled(NamedTuple):
    """A frame that the judge looked at. jpeg: at most FRAME_PX; width_px, height_px: of the frame itself."""

    number: int
    time_s: float
    jpeg: bytes
    width_px: int
    height_px: int


@dataclass(frozen=True)
class ShownFace:
    """person: place in Evidence.people. box: x0 y0 x1 y1 as shares of the frame's sides, within 0 to 1; None where the
    whole picture was judged. face, heat: JPEGs of what the network saw, heat None where there is no map."""

    person: int
    score: float
    box: tuple[float, float, float, float] | None
    face: bytes
    heat: bytes | None


@dataclass(frozen=True)
class Evidence:
    """verdict: its numbers are those of `--json`. thing: clip or picture. sha256: of the file. band: the uncertain
    band, if the model has one. people: as Verdict.people, with one entry where that is None. boxes: per entry x0 y0
    x1 y1 in px of the frame, one a judged face, in the order of its frames. sampled: all frames that were looked at.
    shown: (frame, its judged faces) in the order of time, of `n_judged` frames with one. heat: what keeps maps away,
    or "". card, versions, sampling: what another person needs to repeat it; versions are those of now, sampling the
    judge's."""

    verdict: Verdict
    thing: str
    sha256: str
    bytes: int
    demo: bool
    band: tuple[float, float] | None
    people: list[PersonVerdict]
    boxes: list[list[Box]]
    sampled: list[Sampled]
    shown: list[tuple[Sampled, list[ShownFace]]]
    n_judged: int
    no_heat: str
    duration_s: float
    card: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    sampling: FrameOptions = FrameOptions()


class _Kept:
    """Keeps small copies of the frames that are read of it."""

    sampled: list[Sampled]

    def frames(self) -> Iterator[Frame]:
        self.sampled = []
        for frame in super().frames():  # type: ignore[misc]
            height, width = frame.rgb.shape[:2]
            self.sampled.append(Sampled(frame.number, round(frame.time_s, 6),
                                        jpeg(frame.rgb, FRAME_PX, FRAME_BYTES), width, height))
            yield frame


class KeptClip(_Kept, Clip):
    """A clip that keeps what the sheet shows while its frames are read."""

    def __init__(self, path: str | Path, options: FrameOptions):
        super().__init__(path, options)


class KeptStill(_Kept, Still):
    """A picture that keeps what the sheet shows while it is read."""

    pass


def gather(judge: Judge, path: str | Path, pictures: bool = True) -> Evidence:
    """Judge a clip or picture and keep what the verdict rests on. Raises VideoError where it cannot be read.

    pictures: False leaves `shown` empty, where only the boxes are wanted.
    """
    modality = modality_of(path)
    opened = KeptStill(path) if modality == "image" else KeptClip(path, judge.frames)
    verdict, found = judge.judge_people(path, opened)
    people = verdict.people or [PersonVerdict(None, "", verdict.verdict, verdict.score, verdict.probability,
                                              verdict.reason, len(verdict.frames), verdict.quality, verdict.frames)]
    calibration = Calibration.of(judge.card)
    sampled = sorted(opened.sampled, key=lambda frame: frame.number)  # those of a full decode come last
    judged = {face.frame for person in found for face in person.faces}
    faces, no_heat = _faces(judge, found, people, sampled) if pictures else ({}, "")
    return Evidence(
        verdict, "picture" if modality == "image" else "clip", *_sha256_and_size(path),
        bool(judge.card.get("demo")), (calibration.low, calibration.high) if calibration else None, people,
        [[face.box for face in person.faces] for person in found], sampled,
        [(frame, faces[frame.number]) for frame in sampled if frame.number in faces], len(judged), no_heat,
        opened.duration_s, {name: judge.card[name] for name in OF_CARD if judge.card.get(name) is not None},
        versions(), judge.frames)


def _faces(judge: Judge, found: Sequence[Person], people: Sequence[PersonVerdict],
           sampled: Sequence[Sampled]) -> tuple[dict[int, list[ShownFace]], str]:
    """The judged faces of the frames to show, by frame number, and what keeps heat maps away."""
    by_frame: dict[int, list[tuple[int, int]]] = {}  # frame -> (person, place among its faces)
    for person, entry in enumerate(found):
        for place, seen in enumerate(entry.faces):
            by_frame.setdefault(seen.frame, []).append((person, place))
    size = {frame.number: (frame.width_px, frame.height_px) for frame in sampled}
    if not by_frame:
        return {number: [] for number in chosen([frame.number for frame in sampled], [0.0] * len(sampled), 6)}, ""
    scores = {n: max(people[p].frames[k].score for p, k in by_frame[n]) for n in sorted(by_frame)}
    limit = min(MOST_FRAMES, max(1, MOST_FACES // max(len(entries) for entries in by_frame.values())))
    shown = {number: by_frame[number] for number in chosen(list(scores), list(scores.values()), limit)}
    crops = [found[p].crops[k] for entries in shown.values() for p, k in entries]
    size_px, centre = judge.card["size_px"], judge.card["centre"]
    maps = heat_maps(judge.net, np.stack([to_input(crop, size_px, centre) for crop in crops]))
    full, faces = most(maps), iter(range(len(crops)))
    made: dict[int, list[ShownFace]] = {}
    for number, entries in shown.items():
        for p, k in entries:
            n, (x0, y0, x1, y1), (width, height) = next(faces), found[p].faces[k].box, size[number]
            face = to_input(crops[n], FACE_PX, centre)
            box = None if judge.whole else (_share(x0, width), _share(y0, height), _share(x1, width),
                                            _share(y1, height))
            made.setdefault(number, []).append(ShownFace(
                p, people[p].frames[k].score, box, jpeg(face, FACE_PX, FACE_BYTES),
                jpeg(coloured(face, maps[n], full), FACE_PX, FACE_BYTES) if maps is not None else None))
    return made, "" if maps is not None else NO_HEAT.get(judge.card.get("framework", ""), "this network has no places")


def chosen(numbers: Sequence[int], scores: Sequence[float], limit: int) -> list[int]:
    """At most `limit` of the frames, evenly over the clip; the one with the highest score is always among them."""
    if len(numbers) <= limit:
        return list(numbers)
    places = sorted({round(float(place)) for place in np.linspace(0, len(numbers) - 1, limit)})
    top = int(np.argmax(scores))
    if top not in places:
        places[int(np.argmin([abs(place - top) for place in places]))] = top
    return [numbers[place] for place in places]


def jpeg(rgb: np.ndarray, longest_px: int, most_bytes: int) -> bytes:
    """uint8 RGB (height, width, 3) as a JPEG of at most so many bytes, smaller and coarser where it must be."""
    for scale, quality in FALLBACKS:
        shrink = min(1.0, longest_px * scale / max(rgb.shape[:2]))
        size = max(1, round(rgb.shape[1] * shrink)), max(1, round(rgb.shape[0] * shrink))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if shrink < 1 else rgb
        ok, coded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not ok:
            raise RuntimeError("OpenCV cannot encode a JPEG")
        if coded.nbytes <= most_bytes:
            break
    return coded.tobytes()


def _share(position: float, length: int) -> float:
    return round(min(max(position / length, 0.0), 1.0), 5)


def _sha256_and_size(path: str | Path) -> tuple[str, int]:
    """Digest and bytes of a file; of frames in files of their own, of one after the other."""
    digest, size = hashlib.sha256(), 0
    for path in files_of(Path(path)):
        with open_bytes(path) as file:
            while block := file.read(2 ** 20):
                digest.update(block)
                size += len(block)
    return digest.hexdigest(), size
