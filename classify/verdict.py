"""The frames of a clip to a verdict: the function that the command, the report and the server call.

A verdict is `real`, `fake` or `undecided` with a reason. A file that cannot be read has none: that is an error.
What this module does not know: how sure a score is. Calibration and an undecided band come with a calibrated model.
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

MIN_FRAMES = 5  # sampled at least to judge a clip, closer together than training's where the clip is short
MIN_FACES = 3   # frames with a face below which a clip is undecided: of fewer, one odd frame would be half the vote
SCHEMA = 1      # of the JSON object; raised when a field changes its meaning


@dataclass(frozen=True)
class Verdict:
    """What is said of one clip, and what it rests on.

    score: P(fake) in [0, 1], None when undecided for want of faces. threshold: a score at or above it is fake.
    probability: calibrated P(fake), None until the model has a calibration. people: None until tracks exist.
    frames: one {"time_s", "score"} per frame with a face, times from the first displayed frame.
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

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return as_object(**dataclasses.asdict(self))


def as_object(**known: Any) -> dict[str, Any]:
    """The JSON object of one clip from what is known of it; the other fields are null. A clip that could not be read
    has `path`, `model` and `error` only."""
    fields = ("path", "verdict", "score", "probability", "threshold", "reason", "n_asked", "n_read", "n_faces",
              "people", "frames", "model", "error")
    return {"schema": SCHEMA, **{field: known.get(field) for field in fields}}


def decide(scores: Sequence[float], card: dict[str, Any], n_read: int) -> tuple[str, float | None, str]:
    """(verdict, score, reason) of a clip from its frame scores, P(fake) each, under a model card.

    n_read: frames that were looked at, for the reason.
    """
    from classify.aggregate import aggregate

    if len(scores) < MIN_FACES:
        found = f"a face in only {len(scores)} of {n_read} frames" if len(scores) else f"no face in {n_read} frames"
        return "undecided", None, f"{found}, at least {MIN_FACES} are needed"
    score = aggregate(scores, card["aggregation"])
    return ("fake" if score >= card["threshold"] else "real"), score, ""


class Judge:
    """A loaded model with its detector; judges clip after clip.

    model: path of a checkpoint. device: auto, cpu, cuda, mps. Crop and frame options come from the checkpoint.
    Raises CheckpointError.
    """

    def __init__(self, model: Path, device: str = "auto"):
        from classify.model import load_checkpoint
        from extract.faces import Detector, FaceOptions, pick_device
        from extract.frames import FrameOptions
        from pipeline.options import from_record

        self.device = pick_device(device)
        self.net, self.card = load_checkpoint(model, self.device)
        self.detector = Detector(from_record(FaceOptions, self.card["faces"]), self.device)
        trained_with = from_record(FrameOptions, self.card["frames"])
        self.frames = dataclasses.replace(trained_with, min_frames=max(MIN_FRAMES, trained_with.min_frames))

    def judge(self, path: str | Path) -> Verdict:
        """The verdict on one video. Raises VideoError where no frame of it can be read."""
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
                       [{"time_s": time_of[n], "score": s} for n, s in zip(numbers, scores)], self.card["model_id"])

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
