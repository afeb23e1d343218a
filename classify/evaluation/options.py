"""How crops are scored, and by which model. Imported without torch."""
from __future__ import annotations

from dataclasses import dataclass

from classify.judging.aggregate import AGGREGATIONS
from pipeline.options import option


@dataclass(frozen=True)
class ScoreOptions:
    """How crops are pushed through a network."""

    batch: int = option(32, "crops at once")
    device: str = option("auto", "where the network runs: auto, cpu, cuda, cuda:1, mps", remembered=False)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")


@dataclass(frozen=True)
class ModelChoice:
    """Which model is scored and reported on."""

    model: str | None = option(None, "a model that was trained elsewhere: its scores and report go to "
                                     "OUT/others/<model id>/ (default: the model that was trained in OUT)",
                               remembered=False)


@dataclass(frozen=True)
class ForeignScoresOptions:
    """Scores that another detector gave, and what they mean."""

    scores: str | None = option(None, "a CSV file with the scores of any detector: video_id or path, score, and as you "
                                      "have them frame, time, part; its report goes to OUT/others/<name>/",
                                remembered=False)
    lower_is_fake: bool = option(False, "low scores are fake; else high ones are")
    threshold: float | None = option(None, "score from which SCORES= calls a video fake, in the scale of the file "
                                           "(default: chosen on its validation part, else 0.5)")
    aggregation: str = option("mean", "how SCORES= with several frames a video become one score", tuple(AGGREGATIONS))
