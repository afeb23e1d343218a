"""The frames of a clip to a verdict: the function that the command, the report and the server call.

A picture is judged from one crop a face, or whole, as its model's card says; a clip from its sampled frames. Where a
clip shows several people, each is judged and the worst decides: one swapped face makes a fake.

A verdict is `real`, `fake` or `undecided` with a reason. A file that cannot be read has none: that is an error.
This module does not know who is in a clip: extract.faces.tracks separates people.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, NamedTuple, Sequence

import numpy as np

from classify.judging.aggregate import aggregate
from classify.judging.calibration import Calibration
from classify.judging.face_quality import Quality, quality
from classify.judging.file_metadata import facts_of
from classify.judging.people import Person, people_of
from classify.models.load import load_model, scores_of_pictures
from data.loading.crops import to_input
from extract.decoding.image import Still, whole_square
from extract.decoding.in_memory import FramesInMemory
from extract.decoding.kinds import modality_of
from extract.decoding.sampling import MIN_FRAMES, Clip, FrameOptions
from extract.faces.detector import Detector, FaceOptions, WholeFrame
from extract.faces.face import Box
from extract.video import Extraction, extract_video
from pipeline.options import from_record

MOST_FRAMES = 120  # sampled at most, farther apart where the clip is long: six minutes at one every 3 s
MIN_FACES = 3   # frames with a face below which a clip is undecided: of fewer, one odd frame would be half the vote
SCHEMA = 1      # of the JSON object; raised when a field changes its meaning


@dataclass(frozen=True)
class FrameScore:
    """P(fake) of one judged face. time_s: seconds from the first displayed frame."""

    time_s: float
    score: float


@dataclass(frozen=True)
class PersonVerdict:
    """What is said of one person in a clip.

    Attributes:
        track: number of the person in the clip; None where the main faces were judged, whoever they are.
        where: words for people ("on the left"), "" for one alone.
        verdict: "real", "fake" or "undecided".
        score: P(fake) in [0, 1]; None when undecided for want of faces.
        probability: calibrated P(fake); None where the model has no calibration or the faces are unfit.
        reason: why it is undecided, else "".
        n_faces: judged faces.
        quality: medians over them; None without a face or where pictures are judged whole.
        frames: one score per judged face.
    """

    track: int | None
    where: str
    verdict: str
    score: float | None
    probability: float | None
    reason: str
    n_faces: int
    quality: Quality | None
    frames: list[FrameScore]

    @property
    def is_unfit(self) -> bool:
        """Whether the faces forbid a verdict, though they have a score."""
        return self.verdict == "undecided" and self.score is not None and self.probability is None


@dataclass(frozen=True)
class Verdict:
    """What is said of one clip, and what it rests on.

    Attributes:
        path: of the file.
        verdict: "real", "fake" or "undecided".
        score: P(fake) in [0, 1]; None when undecided for want of faces.
        threshold: a score at or above it is fake.
        reason: why the clip is undecided, who decides where several people were judged, what is damaged; else "".
        n_asked, n_read, n_faces: frames that were asked for, read, and that show a face.
        frames: one score per judged face of the person who decides.
        model: its id.
        probability: calibrated P(fake); None where the model has no calibration or the faces are unfit.
        people: where several were judged, the one who decides first; else None.
        quality: medians over the judged faces; None without a face or where pictures are judged whole.
        facts: what the file says of itself (classify.judging.file_metadata). No score rests on it.
    """

    path: str
    verdict: str
    score: float | None
    threshold: float
    reason: str
    n_asked: int
    n_read: int
    n_faces: int
    frames: list[FrameScore]
    model: str
    probability: float | None = None
    people: list[PersonVerdict] | None = None
    quality: Quality | None = None
    facts: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        return as_object(**dataclasses.asdict(self))


def as_object(**known: Any) -> dict[str, Any]:
    """Return the JSON object of one clip from what is known of it; the other fields are null.

    A clip that could not be read has `path`, `model` and `error` only.
    """
    fields = ("path", "verdict", "score", "probability", "threshold", "reason", "n_asked", "n_read", "n_faces",
              "people", "quality", "frames", "model", "facts", "error")
    return {"schema": SCHEMA, **{field: known.get(field) for field in fields}}


class Look(NamedTuple):
    """What of a picture was looked at.

    picture: uint8 RGB (height, width, 3). box: x0 y0 x1 y1 in its px, None without a face. input: uint8 RGB
    (size_px, size_px, 3), what the network saw, None without a face.
    """

    picture: np.ndarray
    box: Box | None
    input: np.ndarray | None


def needed_faces(modality: str) -> int:
    """Return how many frames with a face, or crops, a verdict on a "video" or "image" needs: a picture is one frame."""
    return 1 if modality == "image" else MIN_FACES


def decide(scores: Sequence[float], card: dict[str, Any], n_read: int, least: int = MIN_FACES,
           complaints: Sequence[str] = ()) -> tuple[str, float | None, str]:
    """Decide on a clip from its frame scores.

    Args:
        scores: P(fake) of each judged face.
        card: a model card.
        n_read: frames that were looked at, for the reason.
        least: faces that a verdict needs, of `needed_faces`.
        complaints: of classify.judging.face_quality, added to the reason where the score is in the uncertain band.

    Returns:
        Verdict, score and reason.
    """
    if len(scores) < least:
        if least == 1:
            return "undecided", None, "no face" if n_read else ""  # what could not be read has its own reason
        found = f"a face in only {len(scores)} of {n_read} frames" if len(scores) else f"no face in {n_read} frames"
        return "undecided", None, f"{found}, at least {least} are needed"
    score = aggregate(scores, card["aggregation"])
    calibration = Calibration.of(card)
    if calibration and calibration.low <= score < calibration.high:
        return "undecided", score, "; ".join([f"score {score:.3f} is in the uncertain band "
                                              f"({calibration.low:.3f} to {calibration.high:.3f})", *complaints])
    if score >= card["threshold"]:
        return "fake", score, ""
    return "real", score, card.get("real_means") or ""


class Judge:
    """A loaded model with its detector; judges clip after clip.

    Args:
        model: path of a model file, .onnx, .safetensors or .keras. Crop and frame options come from its card.
        device: auto, cpu, cuda, mps.
        pinned: of classify.models.card.read_card.

    Raises:
        CheckpointError: the file cannot be used.
        OptionsError: the device is not there.
    """

    def __init__(self, model: Path, device: str = "auto", pinned: bool = True):
        self.net, self.card, self.device = load_model(model, device, pinned)
        self.whole = self.card.get("crop") == "whole"
        faces = from_record(FaceOptions, self.card["faces"])
        # MTCNN's nets have their GPU on torch, and an .onnx model is judged without that.
        where = "cpu" if model.suffix == ".onnx" else self.device
        self.detector = WholeFrame(faces) if self.whole else Detector(faces, where)
        trained_with = from_record(FrameOptions, self.card["frames"])
        # Of crops made before extraction asked for as many, or with fewer by choice: a verdict needs them all the same.
        least = max(MIN_FRAMES, trained_with.min_frames)
        self.frames = dataclasses.replace(trained_with, min_frames=least, most_frames=max(MOST_FRAMES, least))

    def judge(self, path: str | Path) -> Verdict:
        """Judge one video. Raises VideoError where no frame of it can be read."""
        return self.judge_people(path)[0]

    def judge_people(self, path: str | Path, opened: Clip | Still | None = None) -> tuple[Verdict, list[Person]]:
        """Judge one video or picture. Return the verdict and who it rests on, in the order of Verdict.people.

        opened: the file at `path`, where the caller wants to see the frames, too.
        """
        found = extract_video(opened or path, self.detector, self.frames, everyone=True)
        if self.whole and isinstance(opened, Still):  # scaled once, to what the network sees
            px = round(self.card["size_px"] / self.card["centre"])
            found = dataclasses.replace(found, crops=dict.fromkeys(found.crops, whole_square(opened.rgb, px)))
        return self._verdict(path, found, facts_of(path))

    def judge_picture(self, path: str | Path) -> tuple[Verdict, Look]:
        """Return the verdict on one picture, and what of it was looked at. Raises VideoError where it cannot be read.

        An animation is judged as a clip of its frames; what was looked at is then its first one.
        """
        still = Still(path)
        if modality_of(path) == "video":
            return self.judge(path), Look(still.rgb, None, None)
        verdict, [worst, *_] = self.judge_people(path, still)
        if not worst.crops:
            return verdict, Look(still.rgb, None, None)
        seen = to_input(worst.crops[0], self.card["size_px"], self.card["centre"])
        return verdict, Look(still.rgb, worst.faces[0].box, seen)

    def judge_frames(self, frames: Iterable[tuple[float, np.ndarray]], name: str = "") -> Verdict:
        """Judge frames in memory as frames of one clip.

        Args:
            frames: seconds from the start, ascending, and uint8 RGB (height, width, 3) of each. All are looked at.
            name: goes into Verdict.path.

        Raises:
            VideoError: there are no frames, or they are not as described.
        """
        found = extract_video(FramesInMemory(frames), self.detector, self.frames, everyone=True)
        return self._verdict(name, found, None)[0]

    def _verdict(self, path: str | Path, found: Extraction, facts: dict[str, Any] | None
                 ) -> tuple[Verdict, list[Person]]:
        """Return the verdict and the people that it rests on, the one that decides first."""
        least, video = needed_faces(found.modality), found.video
        judged = self.judge_crops(people_of(found, least), video.n_read, least)
        worst = judged[0][0]
        several = f"{len(judged)} people, the one {worst.where} decides" if len(judged) > 1 else ""
        if several and not worst.is_unfit:
            several += "".join(f"; the one {one.where} cannot be judged: {one.reason}" for one, _ in judged
                               if one.is_unfit)
        damage = video.reason if video.status == "ok" else ""  # read, but damaged
        return Verdict(
            str(path), worst.verdict, worst.score, self.card["threshold"],
            "; ".join(filter(None, (worst.reason, several, damage))), video.n_asked, video.n_read, video.n_faces,
            worst.frames, self.card["model_id"], worst.probability,
            [one for one, _ in judged] if several else None, worst.quality, facts), [person for _, person in judged]

    def judge_crops(self, people: Sequence[Person], n_read: int, least: int) -> list[tuple[PersonVerdict, Person]]:
        """Judge people from their crops.

        Args:
            people: of one clip, at least one.
            n_read: frames that were looked at, for the reason.
            least: faces that a verdict needs, of `needed_faces`.

        Returns:
            What is said of each person, with the person; the one that decides first.
        """
        judged = [(self.judge_scores(person, self.scores(person.crops), n_read, least), person) for person in people]
        return sorted(judged, key=lambda pair: weight_of(pair[0]), reverse=True)

    def judge_scores(self, person: Person, scores: Sequence[float], n_read: int, least: int) -> PersonVerdict:
        """Judge one person from the scores of their crops.

        Args:
            person: faces and crops.
            scores: P(fake) of each crop.
            n_read: frames that were looked at, for the reason.
            least: faces that a verdict needs.
        """
        seen = None
        if person.faces and not self.whole:
            seen = quality([face.box for face in person.faces], person.crops)
        verdict, score, reason = decide(scores, self.card, n_read, least, seen.complaints() if seen else ())
        calibration = Calibration.of(self.card)
        probability = round(calibration.probability(score), 6) if calibration and score is not None else None
        if probability is not None and seen and seen.unfit():
            verdict, reason, probability = "undecided", "; ".join(seen.unfit()), None
        return PersonVerdict(person.track, person.where, verdict, score, probability, reason, len(scores), seen,
                             [FrameScore(face.time_s, score) for face, score in zip(person.faces, scores)])

    def scores(self, crops: Sequence[np.ndarray]) -> list[float]:
        """Return P(fake) of crops, uint8 RGB (crop_px, crop_px, 3) each."""
        if not crops:
            return []
        inputs = np.stack([to_input(crop, self.card["size_px"], self.card["centre"]) for crop in crops])
        return [round(float(score), 6) for score in scores_of_pictures(self.net, inputs, self.device)]


def weight_of(person: PersonVerdict) -> float:
    """Rank who decides: the highest score; people whose faces are unfit only where there is nobody else."""
    return -2.0 if person.score is None else person.score - person.is_unfit
