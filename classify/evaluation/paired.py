"""Two runs on the test videos that both judged: what got better, what got worse, and where no difference is shown.

Only videos that are held out in both runs and were judged in both count, so a difference is never one of the videos.
Its interval is paired: both models' scores of a group are drawn together. Each model is taken with its own threshold.
DeLong's test of the two AUCs stands beside it, as papers report it; it takes videos as independent.
"""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from classify.evaluation.bootstrap import METRICS, interval, numbers, resample, resampled_by
from classify.evaluation.metrics import MIN_RANKED
from pipeline.errors import TableError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LOWER_IS_BETTER = ("eer", "log_loss")


def against(here: pd.DataFrame, there: pd.DataFrame) -> dict[str, Any]:
    """Compare two tables of classify.evaluation.metrics.videos_of, `there` the earlier one.

    Returns {n, n_real, n_fake, only_here, only_there, not_judged, by, note, metrics, delong, methods, mended, spoiled}:
    counts of videos; metrics {name: {there, here, difference, low, high, reason, verdict}} where verdict is "better",
    "worse", "not told" (the interval holds 0, or there is none) or "same"; delong as `delong` returns it; methods
    [{name, n, there, here}] with the fakes called FAKE, worst here first; video_ids of calls that became right and
    wrong.
    Raises TableError where no video is in both, or one is real here and fake there.
    """
    both = here.merge(there[["video_id", "label", "score", "call", "judged"]], on="video_id", suffixes=("", "_there"))
    if not len(both):
        raise TableError("the two runs have no test video in common: compare runs on one corpus and split")
    if len(other := both[both["label"] != both["label_there"]]):
        raise TableError(f"{other['video_id'].iloc[0]} is real in one of the two runs and fake in the other: compare "
                         "runs on one corpus")
    counts = {"only_here": len(here) - len(both), "only_there": len(there) - len(both)}
    judged = both[both["judged"] & both["judged_there"]].reset_index(drop=True)
    right, was_right = judged["call"] == judged["label"], judged["call_there"] == judged["label"]
    by, note, why = resampled_by(judged)
    return {"n": len(judged), "n_real": int((judged["label"] == 0).sum()), "n_fake": int((judged["label"] == 1).sum()),
            **counts, "not_judged": len(both) - len(judged), "by": by, "note": note,
            "metrics": _metrics(judged, by, why),
            "delong": delong(judged["label"].to_numpy(), judged["score_there"].to_numpy(float),
                             judged["score"].to_numpy(float)),
            "methods": _methods(judged),
            "mended": judged.loc[right & ~was_right, "video_id"].tolist(),
            "spoiled": judged.loc[~right & was_right, "video_id"].tolist()}


def _metrics(rows: pd.DataFrame, by: str, why: str) -> dict[str, dict[str, Any]]:
    import numpy as np

    labels = rows["label"].to_numpy()
    sides = [(rows[f"score{side}"].to_numpy(float), rows[f"call{side}"].to_numpy()) for side in ("_there", "")]
    points = [numbers(labels, scores, calls, np.ones((1, len(rows)))) for scores, calls in sides] if len(rows) else []
    draws = [resample(labels, scores, calls, rows[by].to_numpy()) for scores, calls in sides] if by else []
    few = min((labels == 0).sum(), (labels == 1).sum()) < MIN_RANKED
    cells = {}
    for name in METRICS:
        pair = [float(point[name][0]) for point in points]
        if not pair or np.isnan(pair).any() or few and name in ("auc", "ap", "eer"):
            cells[name] = _cell(reason="not defined for the videos in common")
            continue
        low, high, reason = interval(draws[1][name] - draws[0][name]) if draws else (None, None, why)
        cells[name] = _cell(pair[0], pair[1], low, high, reason, _verdict(name, pair[1] - pair[0], low, high))
    return cells


def delong(labels: np.ndarray, there: np.ndarray, here: np.ndarray) -> dict[str, Any]:
    """Test whether two models have the same AUC on the same videos (DeLong, DeLong and Clarke-Pearson 1988).

    Args:
        labels: (n,), 0 real, 1 fake.
        there, here: (n,), the scores of the two models, higher is faker.

    Returns:
        {z, p, reason}: the difference of the AUCs in standard errors, positive where `here` has the higher one; its
        two-sided p-value under the normal distribution. Both None where they are not defined, and why.
    """
    import numpy as np

    fakes, reals = labels == 1, labels == 0
    m, n = int(fakes.sum()), int(reals.sum())
    if min(m, n) < MIN_RANKED:
        return {"z": None, "p": None, "reason": f"{n} real and {m} fake; the test needs {MIN_RANKED} of each"}
    of_fakes, of_reals = [], []  # share of the other class that each video is on the right side of, ties half
    for scores in (there, here):
        ranks = _midranks(scores)
        of_fakes.append((ranks[fakes] - _midranks(scores[fakes])) / n)
        of_reals.append(1 - (ranks[reals] - _midranks(scores[reals])) / m)
    covariance = np.cov(of_fakes) / m + np.cov(of_reals) / n
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = float(np.mean(of_fakes[1]) - np.mean(of_fakes[0]))
    if variance < 1e-18:
        return {"z": None, "p": None, "reason": "the two rankings differ in no way that has a variance"}
    z = difference / math.sqrt(variance)
    return {"z": z, "p": math.erfc(abs(z) / math.sqrt(2)), "reason": ""}


def _midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties share their mean rank."""
    import numpy as np

    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse.ravel()]


def _verdict(name: str, difference: float, low: float | None, high: float | None) -> str:
    if abs(difference) < 1e-12:
        return "same"
    if low is None or high is None or low <= 0 <= high:
        return "not told"
    return "better" if (difference > 0) != (name in LOWER_IS_BETTER) else "worse"


def _cell(there: float | None = None, here: float | None = None, low: float | None = None, high: float | None = None,
          reason: str = "", verdict: str = "not told") -> dict[str, Any]:
    difference = None if there is None or here is None else here - there
    return {"there": there, "here": here, "difference": difference, "low": low, "high": high, "reason": reason,
            "verdict": verdict}


def _methods(rows: pd.DataFrame) -> list[dict[str, Any]]:
    found = [{"name": str(name), "n": len(own), "there": int(own["call_there"].sum()), "here": int(own["call"].sum())}
             for name, own in rows[rows["label"] == 1].groupby("method")]
    return sorted(found, key=lambda row: (row["here"] / row["n"], row["name"]))
