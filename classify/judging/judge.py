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
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

from extract.decoding.sampling import MIN_FRAMES

if TYPE_CHECKING:
    import numpy as np

    from classify.judging.people import Person
    from extract.decoding.image import Still
    from extract.decoding.sampling import Clip
    from extract.video import Extraction

MOST_FRAMES = 120  # sampled at most, farther apart where the clip is long: six minutes at one every 3 s
MIN_FACES = 3   # frames with a face below which a clip is undecided: of fewer, one odd frame would be half the vote
SCHEMA = 1      # of the JSON object; raised when a field changes its meaning


@dataclass(frozen=True)
class Verdict:
    """What is said of one clip, and what it rests on.

    score: P(fake) in [0, 1], None when undecided for want of faces. threshold: a score at or above it is fake.
    probability: calibrated P(fake), None where the model has no calibration or the faces are unfit. people: where
    several were judged, a dict each with track, where, verdict, score, probability, reason, n_faces, quality and
    frames, the worst first; else None. quality: medians over the judged faces (classify.judging.face_quality), None
    without a face
    or where pictures are judged whole. frames: one {"time_s", "score"} per judged face, times from the first displayed
    frame. facts: what the file says of itself (classify.judging.file_metadata), beside the verdict; no score rests
    on it.
    """

    path: str
    verdict: str
    score: float | None
    threshold: float
    reason: str
    n_asked: int
    n_read: int
    n_faces: int
    frames: list[dict[str, float]]
    model: str
    probability: float | None = None
    people: list[dict[str, Any]] | None = None
    quality: dict[str, float] | None = None
    facts: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return as_object(**dataclasses.asdict(self))


def as_object(**known: Any) -> dict[str, Any]:
    """The JSON object of one clip from what is known of it; the other fields are null. A clip that could not be read
    has `path`, `model` and `error` only."""
    fields = ("path", "verdict", "score", "probability", "threshold", "reason", "n_asked", "n_read", "n_faces",
              "people", "quality", "frames", "model", "facts", "error")
    return {"schema": SCHEMA, **{field: known.get(field) for field in fields}}


class Look(NamedTuple):
    """What of a picture was looked at.

    picture: uint8 RGB (height, width, 3). box: x0 y0 x1 y1 in its px, None without a face. input: uint8 RGB
    (size_px, size_px, 3), what the network saw, None without a face.
    """

    picture: np.ndarray
    box: tuple[float, float, float, float] | None
    input: np.ndarray | None


def needed_faces(modality: str) -> int:
    """Return how many frames with a face, or crops, a verdict on a "video" or "image" needs: a picture is one frame."""
    return 1 if modality == "image" else MIN_FACES


def decide(scores: Sequence[float], card: dict[str, Any], n_read: int, least: int = MIN_FACES,
           complaints: Sequence[str] = ()) -> tuple[str, float | None, str]:
    """(verdict, score, reason) of a clip from its frame scores, P(fake) each, under a model card.

    n_read: frames that were looked at, for the reason. least: of `needed_faces`. complaints: of
    classify.judging.face_quality, told
    where the model cannot tell.
    """
    from classify.judging.aggregate import aggregate
    from classify.judging.calibration import Calibration

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
        from classify.models.load import load_model
        from extract.decoding.sampling import FrameOptions
        from extract.faces.detector import Detector, FaceOptions, WholeFrame
        from pipeline.options import from_record

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
        """The verdict on one video. Raises VideoError where no frame of it can be read."""
        return self.judge_people(path)[0]

    def judge_people(self, path: str | Path, opened: Clip | Still | None = None) -> tuple[Verdict, list[Person]]:
        """The verdict on one video or picture, and who it rests on, in the order of Verdict.people.

        opened: the file at `path`, where the caller wants to see the frames, too.
        """
        from extract.decoding.image import Still, whole_square
        from extract.video import extract_video

        found = extract_video(opened or path, self.detector, self.frames, everyone=True)
        if self.whole and isinstance(opened, Still):  # scaled once, to what the network sees
            px = round(self.card["size_px"] / self.card["centre"])
            found.crops = {number: whole_square(opened.rgb, px) for number in found.crops}
        return self._verdict(path, found)

    def judge_picture(self, path: str | Path) -> tuple[Verdict, Look]:
        """Return the verdict on one picture, and what of it was looked at. Raises VideoError where it cannot be read.

        An animation is judged as a clip of its frames; what was looked at is then its first one.
        """
        from data.loading.crops import to_input
        from extract.decoding.image import Still
        from extract.decoding.kinds import modality_of

        still = Still(path)
        if modality_of(path) == "video":
            return self.judge(path), Look(still.rgb, None, None)
        verdict, [worst, *_] = self.judge_people(path, still)
        if not worst.crops:
            return verdict, Look(still.rgb, None, None)
        box = tuple(worst.rows[0][side] for side in ("x0", "y0", "x1", "y1"))
        return verdict, Look(still.rgb, box, to_input(worst.crops[0], self.card["size_px"], self.card["centre"]))

    def _verdict(self, path: str | Path, found: Extraction) -> tuple[Verdict, list[Person]]:
        """The verdict, and the people that it rests on, the one that decides first."""
        from classify.judging.file_metadata import facts_of
        from classify.judging.people import people_of

        least, video = needed_faces(found.modality), found.video
        judged = self.judge_crops(people_of(found, least), video["n_read"], least)
        worst = judged[0][0]
        several = f"{len(judged)} people, the one {worst['where']} decides" if len(judged) > 1 else ""
        if several and not is_unfit(worst):
            several += "".join(f"; the one {one['where']} cannot be judged: {one['reason']}" for one, _ in judged
                               if is_unfit(one))
        damage = video["reason"] if video["status"] == "ok" else ""  # read, but damaged
        return Verdict(
            str(path), worst["verdict"], worst["score"], self.card["threshold"],
            "; ".join(filter(None, (worst["reason"], several, damage))), video["n_asked"], video["n_read"],
            video["n_faces"], worst["frames"], self.card["model_id"], worst["probability"],
            [found for found, _ in judged] if several else None, worst["quality"],
            facts_of(path)), [person for _, person in judged]

    def judge_crops(self, people: Sequence[Person], n_read: int, least: int) -> list[tuple[dict[str, Any], Person]]:
        """Judge people from their crops.

        Args:
            people: of one clip, at least one.
            n_read: frames that were looked at, for the reason.
            least: faces that a verdict needs, of `needed_faces`.

        Returns:
            An entry of Verdict.people with each person, the one that decides first.
        """
        judged = [(self._person(person, n_read, least), person) for person in people]
        return sorted(judged, key=lambda pair: _order(pair[0]), reverse=True)

    def _person(self, person: Person, n_read: int, least: int) -> dict[str, Any]:
        """An entry of Verdict.people."""
        from classify.judging.calibration import Calibration
        from classify.judging.face_quality import quality

        scores = self._scores(person.crops)
        seen = None
        if person.rows and not self.whole:
            seen = quality([[row[side] for side in ("x0", "y0", "x1", "y1")] for row in person.rows], person.crops)
        verdict, score, reason = decide(scores, self.card, n_read, least, seen.complaints() if seen else ())
        calibration = Calibration.of(self.card)
        probability = round(calibration.probability(score), 6) if calibration and score is not None else None
        if probability is not None and seen and seen.unfit():
            verdict, reason, probability = "undecided", "; ".join(seen.unfit()), None
        return {"track": person.track, "where": person.where, "verdict": verdict, "score": score,
                "probability": probability,
                "reason": reason, "n_faces": len(scores), "quality": seen._asdict() if seen else None,
                "frames": [{"time_s": row["time_s"], "score": s} for row, s in zip(person.rows, scores)]}

    def _scores(self, crops: list) -> list[float]:
        import numpy as np

        from classify.models.load import scores_of_pictures
        from data.loading.crops import to_input

        if not crops:
            return []
        inputs = np.stack([to_input(crop, self.card["size_px"], self.card["centre"]) for crop in crops])
        return [round(float(score), 6) for score in scores_of_pictures(self.net, inputs, self.device)]


def is_unfit(person: dict[str, Any]) -> bool:
    """Whether an entry of Verdict.people has faces that forbid a verdict."""
    return person["verdict"] == "undecided" and person["score"] is not None and person["probability"] is None


def _order(person: dict[str, Any]) -> float:
    """Who decides: the highest score, of people whose faces are unfit only where there is nobody else."""
    return -2.0 if person["score"] is None else person["score"] - is_unfit(person)
