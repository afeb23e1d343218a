"""The frames of a clip to a verdict: the function that the command, the report and the server call.

A picture is judged from one crop, or whole, as its model's card says; a clip from its sampled frames.

A verdict is `real`, `fake` or `undecided` with a reason. A file that cannot be read has none: that is an error.
What this module does not know: how sure a score is. Calibration and an undecided band come with a calibrated model.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

if TYPE_CHECKING:
    import numpy as np

MIN_FRAMES = 5  # sampled at least to judge a clip, closer together than training's where the clip is short
MIN_FACES = 3   # frames with a face that a verdict on a clip needs: of fewer, one odd frame would be half the vote
SCHEMA = 1      # of the JSON object; raised when a field changes its meaning


@dataclass(frozen=True)
class Verdict:
    """What is said of one clip, and what it rests on.

    score: P(fake) in [0, 1], None when undecided for want of faces. threshold: a score at or above it is fake.
    probability: calibrated P(fake), None until the model has a calibration. people: None until tracks exist.
    frames: one {"time_s", "score"} per frame with a face, times from the first displayed frame.
    facts: what the file says of itself (classify.facts), beside the verdict; no score rests on it.
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
    people: None = None
    facts: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return as_object(**dataclasses.asdict(self))


def as_object(**known: Any) -> dict[str, Any]:
    """The JSON object of one clip from what is known of it; the other fields are null. A clip that could not be read
    has `path`, `model` and `error` only."""
    fields = ("path", "verdict", "score", "probability", "threshold", "reason", "n_asked", "n_read", "n_faces",
              "people", "frames", "model", "facts", "error")
    return {"schema": SCHEMA, **{field: known.get(field) for field in fields}}


class Look(NamedTuple):
    """What of a picture was looked at.

    picture: uint8 RGB (height, width, 3). box: x0 y0 x1 y1 in its px, None without a face. input: uint8 RGB
    (size_px, size_px, 3), what the network saw, None without a face.
    """

    picture: np.ndarray
    box: tuple[float, float, float, float] | None
    input: np.ndarray | None


def needed_faces(name: str | Path) -> int:
    """Frames with a face, or crops, that a verdict on this file needs: a picture is one frame."""
    from extract.layouts import is_picture

    return 1 if is_picture(name) else MIN_FACES


def decide(scores: Sequence[float], card: dict[str, Any], n_read: int, least: int = MIN_FACES
           ) -> tuple[str, float | None, str]:
    """(verdict, score, reason) of a clip from its frame scores, P(fake) each, under a model card.

    n_read: frames that were looked at, for the reason. least: of `needed_faces`.
    """
    from classify.aggregate import aggregate

    if len(scores) < least:
        if least == 1:
            return "undecided", None, "no face" if n_read else ""  # what could not be read has its own reason
        found = f"a face in only {len(scores)} of {n_read} frames" if len(scores) else f"no face in {n_read} frames"
        return "undecided", None, f"{found}, at least {least} are needed"
    score = aggregate(scores, card["aggregation"])
    return ("fake" if score >= card["threshold"] else "real"), score, ""


class Judge:
    """A loaded model with its detector; judges clip after clip.

    model: path of a checkpoint. device: auto, cpu, cuda, mps. Crop and frame options come from the checkpoint.
    Raises CheckpointError.
    """

    def __init__(self, model: Path, device: str = "auto"):
        from classify.model import load_checkpoint
        from extract.faces import Detector, FaceOptions, WholeFrame, pick_device
        from extract.frames import FrameOptions
        from pipeline.options import from_record

        self.device = pick_device(device)
        self.net, self.card = load_checkpoint(model, self.device)
        self.whole = self.card.get("crop") == "whole"
        faces = from_record(FaceOptions, self.card["faces"])
        self.detector = WholeFrame(faces) if self.whole else Detector(faces, self.device)
        trained_with = from_record(FrameOptions, self.card["frames"])
        self.frames = dataclasses.replace(trained_with, min_frames=max(MIN_FRAMES, trained_with.min_frames))

    def judge(self, path: str | Path) -> Verdict:
        """The verdict on one video. Raises VideoError where no frame of it can be read."""
        from classify.facts import facts_of
        from extract.video import extract_video

        found = extract_video(path, self.detector, self.frames)
        numbers = sorted(found.crops)
        scores = self._scores([found.crops[n] for n in numbers])
        time_of = {row["frame"]: row["time_s"] for row in found.faces}
        verdict, score, reason = decide(scores, self.card, found.video["n_read"])
        if found.video["status"] == "ok" and found.video["reason"]:  # read, but damaged
            reason = "; ".join(filter(None, (reason, found.video["reason"])))
        return Verdict(str(path), verdict, score, self.card["threshold"], reason, found.video["n_asked"],
                       found.video["n_read"], found.video["n_faces"],
                       [{"time_s": time_of[n], "score": s} for n, s in zip(numbers, scores)], self.card["model_id"],
                       facts=facts_of(path))

    def judge_picture(self, path: str | Path) -> tuple[Verdict, Look]:
        """The verdict on one picture, and what of it was looked at. Raises VideoError where it cannot be read."""
        from classify.facts import facts_of
        from data.crops import to_input
        from extract.pictures import Still, whole_square
        from extract.video import extract_video

        still = Still(path)
        size_px, centre = self.card["size_px"], self.card["centre"]
        if self.whole:
            crops = [whole_square(still.rgb, round(size_px / centre))]
            box: tuple | None = (0.0, 0.0, float(still.rgb.shape[1]), float(still.rgb.shape[0]))
        else:
            found = extract_video(still, self.detector, self.frames)
            crops = list(found.crops.values())
            box = tuple(found.faces[0][side] for side in ("x0", "y0", "x1", "y1")) if crops else None
        scores = self._scores(crops)
        verdict, score, reason = decide(scores, self.card, 1, least=1)
        look = Look(still.rgb, box, to_input(crops[0], size_px, centre) if crops else None)
        return Verdict(str(path), verdict, score, self.card["threshold"], reason, 1, 1, len(crops),
                       [{"time_s": 0.0, "score": s} for s in scores], self.card["model_id"],
                       facts=facts_of(path)), look

    def _scores(self, crops: list) -> list[float]:
        import numpy as np
        import torch

        from classify.model import scores_of
        from data.crops import to_input

        scores: list[float] = []
        for start in range(0, len(crops), 32):
            inputs = np.stack([to_input(c, self.card["size_px"], self.card["centre"]) for c in crops[start:start + 32]])
            batch = torch.from_numpy(inputs).permute(0, 3, 1, 2).to(self.device)
            scores += [round(float(s), 6) for s in scores_of(self.net, batch).cpu()]
        return scores
