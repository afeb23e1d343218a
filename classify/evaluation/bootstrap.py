"""The numbers of a set of scores, and how far they would have come out otherwise with other people.

Every number is computed from the scores and a weight for each, for many sets of weights at once. All weights 1 give
the value. A resample draws as many groups (what the split kept whole) as there are, with replacement, and weighs each
score by how often its group was drawn: clips of one person are no independent trials, so they come and go together.
The interval is the middle 95 % of 2,000 resamples, and there is none where the groups are too few to tell. `exact` is
for counts of which no more is known than k of n.
"""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc", "ap", "eer", "log_loss")
RESAMPLES = 2000      # a percentile interval needs at least 1,000 (Efron and Tibshirani 1993, section 13.3)
SEED = 0
LEVEL = 0.95
# Groups that must hold a real, and as many that must hold a fake. With three groups every ninth resample is one group
# three times, so the ends of the interval are just the best and the worst group; with five it is one in 625.
MIN_GROUPS = 5
FEW_GROUPS = 20       # below, bootstraps of groups tend to be too narrow (Cameron, Gelbach and Miller 2008): said aloud
MAX_UNDEFINED = 0.05  # share of resamples without a value (a class was not drawn) above which there is no interval
EPS = 1e-7            # log-loss clips scores to [EPS, 1 - EPS]
_CHUNK = 4_000_000    # weights held at once by the bootstrap, 32 MB


def numbers(labels: np.ndarray, scores: np.ndarray, calls: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric for each row of weights [n_draws, n], n >= 1: [n_draws], NaN where undefined.

    AP is the sum of precision times the step in recall (no interpolation, as in scikit-learn); EER is where the false
    positive rate equals the miss rate on the straight lines between the points of the ROC curve.
    """
    import numpy as np

    fake, called = labels == 1, calls == 1
    tp, fn, fp, tn = (weights @ mask.astype(float)
                      for mask in (fake & called, fake & ~called, ~fake & called, ~fake & ~called))
    clipped = np.clip(scores, EPS, 1 - EPS)
    loss = -np.where(fake, np.log(clipped), np.log1p(-clipped))
    above_fp, above_tp = counts_above(labels, scores, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, specificity = tp / (tp + fn), tn / (tn + fp)
        fpr, tpr = above_fp / above_fp[:, -1:], above_tp / above_tp[:, -1:]
        precision = np.nan_to_num(above_tp[:, 1:] / (above_tp[:, 1:] + above_fp[:, 1:]))  # 0/0 has no step in recall
        gap = fpr - (1 - tpr)                               # rises from -1 to 1
        after = np.maximum(1, np.argmax(gap >= 0, axis=1))
        at = np.arange(len(weights))
        share = -gap[at, after - 1] / (gap[at, after] - gap[at, after - 1])
        eer = fpr[at, after - 1] + share * (fpr[at, after] - fpr[at, after - 1])
        both = np.where((tp + fn > 0) & (tn + fp > 0), 1.0, np.nan)
        return {
            "accuracy": (tp + tn) / (tp + fn + fp + tn),
            "balanced_accuracy": (recall + specificity) / 2,
            "precision": np.where(tp + fn > 0, tp / (tp + fp), np.nan),
            "recall": recall,
            "f1": np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan),
            "auc": both * (np.diff(fpr, axis=1) * (tpr[:, 1:] + tpr[:, :-1]) / 2).sum(axis=1),
            "ap": both * (np.diff(tpr, axis=1) * precision).sum(axis=1),
            "eer": both * eer,
            "log_loss": weights @ loss / weights.sum(axis=1),
        }


def counts_above(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the reals (fp) and of the fakes (tp) at or above each distinct score, highest first, after a zero.

    weights: [n_draws, n]; returns two arrays [n_draws, n_cuts + 1].
    """
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # ties are passed together
    ordered, fake = weights[:, order], labels[order] == 1
    start = np.zeros((len(weights), 1))
    fp, tp = (np.hstack([start, np.cumsum(ordered * of_class, axis=1)[:, ends]]) for of_class in (~fake, fake))
    return fp, tp


def resampled_by(rows: pd.DataFrame) -> tuple[str, str, str]:
    """What to resample, `group` or `source` or "" for nothing; a remark on the interval; why there is none."""
    counts = {}
    for column in ("group", "source"):
        n_real, n_fake = (rows.loc[rows["label"] == label, column].nunique() for label in (0, 1))
        if min(n_real, n_fake) >= MIN_GROUPS:
            n = rows[column].nunique()
            few = "" if n >= FEW_GROUPS else f"from {n} {column}s only, so rather too narrow"
            known = "" if column == "group" else "for other clips of these same people, not for other people"
            return column, "; ".join(filter(None, (known, few))), ""
        counts[column] = n_real, n_fake
    n_real, n_fake = counts["group"]
    return "", "", (f"no interval: groups that hold a real: {n_real}, a fake: {n_fake}; resampling them needs "
                    f"{MIN_GROUPS} of each")


def resample(labels: np.ndarray, scores: np.ndarray, calls: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    """Each metric on `RESAMPLES` draws of whole groups with replacement, [RESAMPLES], NaN where it is undefined."""
    import numpy as np

    names, member = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    step = max(1, _CHUNK // len(labels))
    parts = [numbers(labels, scores, calls, drawn[i:i + step, member].astype(float))
             for i in range(0, RESAMPLES, step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in METRICS}


def interval(draws: np.ndarray) -> tuple[float | None, float | None, str]:
    """Percentile interval of the resamples, or why there is none."""
    import numpy as np

    known = draws[~np.isnan(draws)]
    if (undefined := 1 - len(known) / len(draws)) > MAX_UNDEFINED:
        return None, None, f"no interval: {undefined:.0%} of the resamples have no such number"
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if high - low < 1e-9:
        return None, None, "no interval: all resamples agree, the sample is too small or too easy to show its spread"
    return float(low), float(high), ""


def exact(k: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share, clips taken as independent."""
    tail = (1 - LEVEL) / 2
    # The share at which k or more, and k or fewer, of n come with probability `tail`; without a second of SciPy.
    return (_share_where(lambda p: _at_least(k, n, p) - tail) if k else 0.0,
            _share_where(lambda p: tail - 1 + _at_least(k + 1, n, p)) if k < n else 1.0)


def _share_where(rising: Callable[[float], float]) -> float:
    """Where a rising function of a share in [0, 1] is 0."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def _at_least(k: int, n: int, p: float) -> float:
    """The probability of k or more of n, each with probability p in (0, 1)."""
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p)
            + (n - i) * math.log1p(-p) for i in range(k, n + 1)]
    return math.fsum(map(math.exp, logs))
