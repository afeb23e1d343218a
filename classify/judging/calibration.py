"""From a video score to a probability and to three answers, chosen on clips that the network has not learned from.

Probability: Platt scaling (1999), a logistic curve through the logits of video scores, each class weighing the same: it
holds in a world with as many fakes as reals.

Band: FAKE from `high`, REAL below `low`, between them UNDECIDED. Both are quantiles of the scores of real clips as in
split conformal prediction (Vovk et al. 2005), where every origin (a camera, a site, a collection) weighs the same
however many clips it has: clips of one origin score alike, and a new clip comes from a new one. With an origin for each
clip it is the k-th smallest score of n, k = ceil((n + 1)(1 - share)). `low` is that of clips as they are; `high` too,
or higher, that of the clips together with copies of them, scaled down, blurred and compressed as clips get on their
way: a network that can see little says .5, and that must not be FAKE.
How often it errs on an origin that chose nothing is measured (`false_alarms_by_origin`), not guaranteed. It says
nothing of fakes: how many of those are found is measured, too.
"""
from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

from classify.judging.aggregate import EPS

if TYPE_CHECKING:
    import numpy as np

FALSE_ALARMS = 0.04   # share of real clips called FAKE: less than the .05 that is wanted, new origins fare worse
UNSURE = 0.16         # share of real clips that are not called REAL, FAKE and UNDECIDED together: of .20 that is wanted
BINS = 10             # of `reliability`
RIDGE = 1e-2          # pull of the curve's slope towards 1: few clips that are separated by chance would make it a step


@dataclass(frozen=True)
class Calibration:
    """low, high: of the band, in [0, 1]. slope, offset: probability = sigmoid(slope logit(score) + offset)."""

    low: float
    high: float
    slope: float
    offset: float

    def probability(self, score: float) -> float:
        """Calibrated P(fake) in [0, 1] of a video score in [0, 1]."""
        return 1 / (1 + math.exp(-(self.slope * logit(score) + self.offset)))

    def as_record(self) -> dict[str, float]:
        """Return the band as entries of a model card."""
        return {name: round(value, 6) for name, value in asdict(self).items()}

    @classmethod
    def of(cls, card: dict[str, Any]) -> Calibration | None:
        """That of a model card, None where it has none."""
        return cls(**card["calibration"]) if card.get("calibration") else None


def logit(score: float) -> float:
    """Return the logit of a score, clipped to finite values."""
    clipped = min(max(score, EPS), 1 - EPS)
    return math.log(clipped / (1 - clipped))


class Copy(NamedTuple):
    """The score of an altered copy of a real clip, and the origin of the clip."""

    score: float
    origin: str


def fit(scores: Sequence[float] | np.ndarray, labels: Sequence[int] | np.ndarray, origins: Sequence[str] = (),
        altered: Sequence[Copy] = (), false_alarms: float = FALSE_ALARMS, unsure: float = UNSURE) -> Calibration:
    """Choose a calibration.

    Args:
        scores: video scores in [0, 1].
        labels: 0 real and 1 fake, of each at least one.
        origins: where each clip comes from; none given: each from an origin of its own.
        altered: scores of altered copies of the reals.
        false_alarms: share of reals that are called FAKE at most, every origin weighing the same.
        unsure: share of reals that are not called REAL at most.

    Returns:
        The calibration. With fewer origins than 1 / share - 1 the quantile does not exist, and the highest real score
        stands for it.
    """
    origins = origins or [str(number) for number in range(len(labels))]
    reals = [Copy(float(score), origin) for score, label, origin in zip(scores, labels, origins) if not label]
    high = max(quantile(reals, false_alarms), quantile([*reals, *altered], false_alarms))
    slope, offset = _platt([logit(float(s)) for s in scores], [int(label) for label in labels])
    return Calibration(min(quantile(reals, unsure), high), high, slope, offset)


def quantile(reals: Sequence[Copy], share: float) -> float:
    """Return the smallest score that at most `share` of the reals of a new origin reach, were origins alike."""
    sizes = Counter(real.origin for real in reals)
    wanted = (len(sizes) + 1) * (1 - share)
    below = 0.0
    ordered = sorted(reals)
    for real in ordered:
        below += 1 / sizes[real.origin]
        if below >= wanted - 1e-9:
            return math.nextafter(real.score, 1.0)
    return math.nextafter(ordered[-1].score, 1.0)


def false_alarms_by_origin(scores: Sequence[float], labels: Sequence[int], origins: Sequence[str],
                           altered: Sequence[Copy] = ()) -> dict[str, tuple[int, int, int]]:
    """Judge the reals of each origin by the band that the other origins choose.

    Returns:
        For each origin with a real how many of its reals are called FAKE, UNDECIDED, and how many there are.
    """
    found = {}
    for origin in sorted({origin for origin, label in zip(origins, labels) if not label}):
        kept = [number for number, other in enumerate(origins) if other != origin]
        band = fit([scores[n] for n in kept], [labels[n] for n in kept], [origins[n] for n in kept],
                   [copy for copy in altered if copy.origin != origin])
        own = [score for score, label, other in zip(scores, labels, origins) if other == origin and not label]
        fake = sum(score >= band.high for score in own)
        found[origin] = fake, sum(score >= band.low for score in own) - fake, len(own)
    return found


def _platt(logits: Sequence[float], labels: Sequence[int]) -> tuple[float, float]:
    """Slope and offset by Newton's method, each class of weight one half, with Platt's softened targets."""
    import numpy as np

    x, y = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    n_fake, n_real = y.sum(), len(y) - y.sum()
    targets = np.where(y == 1, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))
    weights = np.where(y == 1, .5 / n_fake, .5 / n_real)
    columns, beta = np.stack([x, np.ones_like(x)], 1), np.array([1.0, 0.0])
    pull = np.diag([RIDGE, 0.0])

    def loss(beta: np.ndarray) -> float:
        z = columns @ beta
        return float(weights @ (np.logaddexp(0, z) - targets * z) + RIDGE / 2 * (beta[0] - 1) ** 2)

    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(columns @ beta, -500, 500)))
        gradient = columns.T @ (weights * (p - targets)) + pull @ (beta - [1.0, 0.0])
        step = np.linalg.solve((columns * (weights * p * (1 - p))[:, None]).T @ columns + pull + 1e-9 * np.eye(2),
                               gradient)
        while loss(beta - step) > loss(beta) and np.abs(step).max() > 1e-10:
            step = step / 2  # a whole step overshoots where most scores are saturated
        beta = beta - step
        if np.abs(step).max() < 1e-10:
            break
    return float(beta[0]), float(beta[1])


def reliability(scores: Sequence[float] | np.ndarray, labels: Sequence[int] | np.ndarray, alike: bool = True
                ) -> dict[str, Any]:
    """Do scores mean what they say: {bins: [{low, high, n, mean_score, share_fake}], ece, n}, BINS of equal width.

    alike: the classes weigh the same, as in the world that calibrated probabilities are of; else every score does. ece,
    in [0, 1]: mean over bins, by weight, of |mean_score - share_fake| (Naeini et al. 2015). An empty bin has None.
    """
    import numpy as np

    p, y = np.asarray(scores, np.float64), np.asarray(labels)
    n_fake = int((y == 1).sum())
    weights = np.where(y == 1, .5 / max(1, n_fake), .5 / max(1, len(y) - n_fake)) if alike else np.ones(len(y))
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    found: list[dict[str, Any]] = []
    error = 0.0
    for b in range(BINS):
        inside = place == b
        weight = float(weights[inside].sum())
        mean = share = None
        if weight:
            mean, share = (float((weights * values)[inside].sum()) / weight for values in (p, y))
            error += weight * abs(mean - share)
        found.append({"low": b / BINS, "high": (b + 1) / BINS, "n": int(inside.sum()), "mean_score": mean,
                      "share_fake": share})
    return {"bins": found, "ece": error / float(weights.sum()) if len(p) else 0.0, "n": len(p)}
