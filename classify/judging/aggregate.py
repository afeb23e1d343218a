"""From the frame scores of a clip to one score, and from validation videos to the rule and the threshold.

Every rule is count-free: it sees the distribution of a clip's frame scores, never their number, so a clip is not faker
for being longer and n copies of each frame give the same answer. That rules out "more than k fake frames" at the few
frames a clip has here (about five). Every rule maps [0, 1] to [0, 1], does not look at the order of the frames, and
never falls when a frame score rises.

What this module does not know: frames without a face. They have no score, and a clip without any score has no
aggregate; calling a rule with nothing is an error, never .5.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import OptionsError

if TYPE_CHECKING:
    import numpy as np

EPS = 1e-6            # scores are clipped to [EPS, 1 - EPS] before a logarithm: one saturated frame weighs 13.8 logits
TOP_SHARE = 0.3       # top_k: share of the highest frames; about the third that a partial or flickering swap leaves
TRIM_SHARE = 0.2      # trimmed: share cut off at each end; one frame at either end of five
MIN_VIDEOS = 5        # of each class, below which a rule is not chosen: 4 x 4 videos move an AUC in steps of .06
DEFAULT_RULE = "mean_logit"
DEFAULT_THRESHOLD = 0.5


def _mean_logit(scores: np.ndarray) -> float:
    """Sigmoid of the mean logit: frames as independent votes, their evidence averaged instead of summed."""
    import numpy as np

    clipped = np.clip(scores, EPS, 1 - EPS)
    return float(1 / (1 + np.exp(-np.mean(np.log(clipped) - np.log1p(-clipped)))))


def _mean(scores: np.ndarray) -> float:
    """Mean probability."""
    return float(scores.mean())


def _median(scores: np.ndarray) -> float:
    """Median; the middle of the two middle ones where n is even."""
    import numpy as np

    return float(np.median(scores))


def _top_k(scores: np.ndarray) -> float:
    """Mean of the highest `TOP_SHARE` of the frames; at up to three frames that is the highest one."""
    return _mean_of_share(scores, 1 - TOP_SHARE, 1.0)


def _trimmed(scores: np.ndarray) -> float:
    """Mean without the lowest and the highest `TRIM_SHARE` of the frames."""
    return _mean_of_share(scores, TRIM_SHARE, 1 - TRIM_SHARE)


def _noisy_or(scores: np.ndarray) -> float:
    """Count-free noisy-or: 1 - (product of (1 - p))^(1/n).

    The textbook form 1 - product of (1 - p) goes to 1 with the number of frames: ten frames at .2 would be .89. The
    n-th root takes the length out and keeps what the rule is for: one confident frame outweighs many doubtful ones.
    """
    import numpy as np

    return float(-np.expm1(np.mean(np.log1p(-np.clip(scores, 0.0, 1 - EPS)))))


def _mean_of_share(scores: np.ndarray, low: float, high: float) -> float:
    """Mean of the sorted scores between two shares of the clip, a frame on the border counted in part.

    Counting in part, not rounding to whole frames, is what makes n copies of each frame give the same answer.
    """
    import numpy as np

    ordered = np.sort(scores)
    edges = np.arange(len(ordered) + 1) / len(ordered)
    weights = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
    return float(weights @ ordered / weights.sum())


# The order is the tie rule of `choose_aggregation`: the first of equals is taken.
AGGREGATIONS: dict[str, Callable[[np.ndarray], float]] = {
    "mean_logit": _mean_logit,
    "mean": _mean,
    "median": _median,
    "top_k": _top_k,
    "trimmed": _trimmed,
    "noisy_or": _noisy_or,
}


@dataclass(frozen=True)
class ChosenRule:
    """The aggregation that validation chose, and why."""

    rule: str                   # a name in AGGREGATIONS
    reason: str                 # one sentence for people
    n_videos: int               # validation videos with a score
    aucs: dict[str, float] = field(default_factory=dict)  # video AUC of each rule; empty where none could be chosen


@dataclass(frozen=True)
class ChosenThreshold:
    """The threshold that validation chose, and why. A score >= value is fake."""

    value: float                # in [0, 1]
    reason: str                 # one sentence for people
    n_videos: int               # validation videos with a score
    balanced_accuracy: float | None = None  # on those videos; None where none could be chosen


def aggregate(scores: Sequence[float] | np.ndarray, rule: str = DEFAULT_RULE) -> float:
    """One P(fake) in [0, 1] from the frame scores of one clip, shape [n_faces], each P(fake) in [0, 1], n >= 1.

    Raises OptionsError for a rule that does not exist, ValueError for no scores, NaN or a score outside [0, 1]: a clip
    without a score is undecided, which its caller must say; it has no aggregate.
    """
    import numpy as np

    if rule not in AGGREGATIONS:
        raise OptionsError(f"no aggregation is called {rule!r}; there are {', '.join(AGGREGATIONS)}")
    values = np.sort(np.asarray(scores, dtype=np.float64).ravel())  # sorted: the last bit must not depend on the order
    if values.size == 0:
        raise ValueError("no frame scores to aggregate: a clip without a face is undecided, not a score")
    if not (values[0] >= 0 and values[-1] <= 1):  # NaN sorts last and fails both ways
        raise ValueError(f"frame scores must lie in [0, 1], got {values[0]} to {values[-1]}")
    return min(1.0, max(0.0, AGGREGATIONS[rule](values)))


def auc(scores: Sequence[float] | np.ndarray, labels: Sequence[int] | np.ndarray) -> float | None:
    """Area under the ROC curve: the share of (real, fake) pairs in which the fake scores higher, ties half.

    scores: [n], higher is faker; labels: [n], 0 real, 1 fake. None where a class is missing. Same number as
    scikit-learn's `roc_auc_score`, without its second of import (Hanley and McNeil 1982).
    """
    import numpy as np

    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels) == 1
    n_fake, n_real = int(truth.sum()), int((~truth).sum())
    if not n_fake or not n_real:
        return None
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse.ravel()]  # from 1, ties share their mean rank
    return float((ranks[truth].sum() - n_fake * (n_fake + 1) / 2) / (n_fake * n_real))


def choose_aggregation(scores: Sequence[np.ndarray], labels: Sequence[int] | np.ndarray,
                       thing: str = "video") -> ChosenRule:
    """Pick the rule with the highest video AUC on validation; among equals the first in AGGREGATIONS.

    scores: for each validation video its frame scores, shape [n_faces], n >= 1 (videos without a face are left out by
    the caller); labels: [n_videos], 0 real, 1 fake; thing: what the reason calls them. With fewer than `MIN_VIDEOS` of
    either class the default stays.
    """
    n_fake = sum(int(label) == 1 for label in labels)
    n_real = len(scores) - n_fake
    if min(n_real, n_fake) < MIN_VIDEOS:
        return ChosenRule(DEFAULT_RULE, f"the default: validation has {n_real} real and {n_fake} fake {thing}s with a "
                          f"score, and choosing needs {MIN_VIDEOS} of each", len(scores))
    aucs = {rule: auc([aggregate(clip, rule) for clip in scores], labels) or 0.0 for rule in AGGREGATIONS}
    best = max(aucs.values())
    rule = next(name for name, value in aucs.items() if value >= best - 1e-12)
    n_best = sum(value >= best - 1e-12 for value in aucs.values())
    tied = f", first of {n_best} with that AUC" if n_best > 1 else ""
    reason = f"highest {thing} AUC on validation, {best:.3f} on {n_real} real and {n_fake} fake {thing}s{tied}"
    return ChosenRule(rule, reason, len(scores), aucs)


def choose_threshold(scores: Sequence[float] | np.ndarray, labels: Sequence[int] | np.ndarray,
                     thing: str = "video") -> ChosenThreshold:
    """The threshold with the highest balanced accuracy on validation videos, where a score >= threshold is fake.

    scores: [n] video scores in [0, 1]; labels: [n], 0 real, 1 fake. Balanced accuracy is constant between two
    neighbouring scores, so the middle of the best such interval is taken. Among equals the widest interval, then the
    one nearest .5, then the lowest. With one class only, or where no threshold beats guessing, it stays at .5.
    """
    import numpy as np

    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels) == 1
    n_fake, n_real = int(truth.sum()), int((~truth).sum())
    if not n_fake or not n_real:
        return ChosenThreshold(DEFAULT_THRESHOLD, f"the default: validation has {n_real} real and {n_fake} fake "
                               f"{thing}s with a score, and choosing needs both", len(values))
    cuts = np.unique(values)
    middles = (cuts[:-1] + cuts[1:]) / 2  # outside them everything is called the same, which is guessing
    balanced = np.array([((values[truth] >= cut).mean() + (values[~truth] < cut).mean()) / 2 for cut in middles])
    if not len(middles) or balanced.max() <= 0.5 + 1e-12:
        return ChosenThreshold(DEFAULT_THRESHOLD, f"the default: on {n_real} real and {n_fake} fake validation "
                               f"{thing}s no threshold beats guessing", len(values), 0.5)
    best = np.flatnonzero(balanced >= balanced.max() - 1e-12)
    widths = np.diff(cuts).round(12)
    chosen = min(best, key=lambda i: (-widths[i], abs(middles[i] - 0.5).round(12), middles[i]))
    reason = (f"highest balanced accuracy on validation, {balanced[chosen]:.3f} on {n_real} real and {n_fake} fake "
              f"{thing}s")
    return ChosenThreshold(float(middles[chosen]), reason, len(values), float(balanced[chosen]))
