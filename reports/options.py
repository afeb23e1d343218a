"""What a report shows beyond its numbers. Imported without torch."""
from __future__ import annotations

from dataclasses import dataclass

from pipeline.options import option


@dataclass(frozen=True)
class ReportOptions:
    """What the page says beyond its numbers."""

    title: str = option("Real or fake: how well the model tells", "heading of the page")
    against: str | None = option(None, "folder (OUT) of an earlier run to compare with, on the test videos of both",
                                 remembered=False)
    sheets: int = option(8, "worst false calls that get a sheet of evidence, some seconds each; 0 for none")

    robust: bool = option(False, "tell how the model bears altered crops, of "
                                 "scores/altered.csv (classify.evaluation.robustness)")

    def __post_init__(self) -> None:
        if self.sheets < 0:
            raise ValueError(f"sheets must be at least 0, got {self.sheets}")
