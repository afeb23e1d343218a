"""Networks, training, frame scores, aggregation, verdicts.

What programs use to judge, load a model and measure can be imported from here: docs/python-api.md has examples. Nothing
is loaded before it is used.
"""
from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classify.evaluation.metrics import Metric, evaluate, measure
    from classify.judging.judge import FrameScore, Judge, PersonVerdict, Verdict
    from classify.models.load import load_model, scores_of_pictures
    from classify.models.shipped import SHIPPED

_HOMES = {
    "classify.evaluation.metrics": ("Metric", "evaluate", "measure"),
    "classify.judging.judge": ("FrameScore", "Judge", "PersonVerdict", "Verdict"),
    "classify.models.load": ("load_model", "scores_of_pictures"),
    "classify.models.shipped": ("SHIPPED",),
}
__all__ = [
    "evaluate", "FrameScore", "Judge", "load_model", "measure", "Metric", "PersonVerdict", "scores_of_pictures",
    "SHIPPED", "Verdict"
]


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` when it is first used."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if sys.argv[:1] == ["-m"]:  # run as a command: a data.py in the working directory must not hide our packages
    sys.path.insert(0, __path__[0].rpartition("/")[0])
