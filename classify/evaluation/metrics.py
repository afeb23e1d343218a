"""How good the scores are: the numbers of a report, each with its interval or the reason why there is none.

Fake is the positive class, higher scores are faker, a score >= threshold is called fake. A number that cannot be
computed is None with a reason, never .5 and never NaN. Videos that could not be judged are counted in two ways:

left_out   only judged videos count
as_wrong   a failed video is a wrong call; where a score is needed a failed real has 1 and a failed fake 0, the worst
           there is. Log-loss would then depend on the clipping alone, so it is None as soon as one video failed.

Numbers and intervals of one set of scores come from bootstrap.py; here they are put together for videos and frames, per
method, per group and per way of counting.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from classify.evaluation.bootstrap import (
    LEVEL,
    METRICS,
    MIN_GROUPS,
    RESAMPLES,
    SEED,
    counts_above,
    interval,
    numbers,
    resample,
    resampled_by,
)
from classify.judging.calibration import BINS, reliability
from pipeline.errors import TableError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MIN_RANKED = 2        # of each class for AUC, AP and EER: with one, they tell that clip and not the model
MIN_CALIBRATION = 50  # scores for a calibration error: five a bin; below, it measures the sample and not the model

Cell = dict[str, Any]  # a Metric as it stands in metrics.json


@dataclass(frozen=True)
class Metric:
    """A number with its interval.

    Attributes:
        value: the number; None if it is undefined.
        low, high: the ends of its 95 % interval; None if no interval is computed.
        reason: why one of them is None; else empty.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def measure(labels: Sequence[int], scores: Sequence[float], threshold: float, groups: Sequence[Any] | None = None
            ) -> dict[str, Metric]:
    """Compute every metric of judged videos, with intervals.

    Args:
        labels: 0 real, 1 fake.
        scores: P(fake) in [0, 1], one a label.
        threshold: a score at or above it is called fake.
        groups: what each video belongs to (a person, a source video); whole groups are resampled. None: each video is
            a group of its own.

    Returns:
        A Metric for each name in classify.evaluation.bootstrap.METRICS.

    Raises:
        TableError: lengths differ, or a label or score does not exist.
    """
    import pandas as pd

    names = list(range(len(labels))) if groups is None else list(groups)
    if not len(labels) == len(scores) == len(names):
        raise TableError(f"as many labels as scores and groups are needed, got {len(labels)}, {len(scores)} and "
                         f"{len(names)}")
    if not all(label in (0, 1) for label in labels) or not all(0 <= score <= 1 for score in scores):
        raise TableError("labels must be 0 or 1 and scores must be from 0 to 1")
    rows = pd.DataFrame({"label": [int(label) for label in labels], "score": [float(score) for score in scores],
                         "group": names})
    rows = rows.assign(call=(rows["score"] >= threshold).astype("int64"), source=rows["group"])
    return _measured(rows, 0, "video", "")[2]


def evaluate(videos: pd.DataFrame, frames: pd.DataFrame, threshold: float, part: str = "test",
             originals: Mapping[str, str] | None = None, thing: str = "video") -> dict[str, Any]:
    """All numbers of one part, ready for JSON.

    videos, frames: tables with the columns of VIDEO_SCORES and FRAME_SCORES. threshold: in [0, 1], the one the verdicts
    were made with; frames are called with it too. originals: video_id of each fake -> the real it was made from. Where
    there are too few groups, intervals then resample source videos instead, and their `by` says so. thing: what a row
    is, "video" or "picture".

    Returns {part, threshold, thing, bootstrap, n, video, frame, calibration}. `video` and `frame` hold `all`, `methods`
    and `groups` (a method's fakes against all reals; groups of at least two videos), each with a block per way of
    counting {n_real, n_fake, n_groups, by, note, confusion, metrics: {name: {value, low, high, reason}}}. Frames know
    only left_out.
    Raises TableError where the tables contradict themselves or the threshold.
    """
    rows = videos_of(videos, part, threshold, originals)
    if not frames["score"].between(0, 1).all():
        raise TableError("the frame scores have a score outside [0, 1] or none: score the videos again")
    faces = frames[["video_id", "score"]].merge(rows.drop(columns="score"), on="video_id", how="inner")
    faces["judged"], faces["call"] = True, (faces["score"] >= threshold).astype("int64")
    faces = faces.sort_values(["video_id", "score"], kind="stable", ignore_index=True)
    failed = rows[~rows["judged"]]
    return {
        "part": part, "threshold": float(threshold), "thing": thing,
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED, "level": LEVEL, "min_groups": MIN_GROUPS},
        "n": {"videos": len(rows), "real": int((rows["label"] == 0).sum()), "fake": int((rows["label"] == 1).sum()),
              "judged": int(rows["judged"].sum()), "failed": len(failed),
              "failed_real": int((failed["label"] == 0).sum()), "failed_fake": int((failed["label"] == 1).sum()),
              "frames": len(faces), "groups": int(rows["group"].nunique())},
        "video": _level(rows, thing),
        "frame": _level(faces, "frame", "" if thing == "video" else "a picture is one frame: see its own interval"),
        "calibration": {"video": calibration(rows[rows["judged"]]), "frame": calibration(faces)},
    }


def videos_of(videos: pd.DataFrame, part: str, threshold: float,
              originals: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The videos of one part sorted by video_id, with `judged` (bool), `call` (0, 1, meaningless where not judged),
    `source` (its original, itself for a real) and named methods.

    Raises TableError where the table contradicts itself or the threshold.
    """
    rows = videos[videos["part"] == part].sort_values("video_id", ignore_index=True)
    if len(double := rows.loc[rows["video_id"].duplicated(), "video_id"]):
        raise TableError(f"the video scores have {double.iloc[0]} twice: score the videos again")
    if len(strange := rows[~rows["label"].isin([0, 1]) | ~rows["verdict"].isin(["real", "fake", "undecided"])
                           | (rows["score"].notna() & ~rows["score"].between(0, 1))]):
        raise TableError(f"the video scores of {strange.iloc[0]['video_id']} have a label, a verdict or a score that "
                         "does not exist: score the videos again")
    judged = (rows["status"] == "ok") & (rows["verdict"] != "undecided") & rows["score"].notna()
    call = (rows["verdict"] == "fake").astype("int64")
    # The verdict was made from the full score, the table keeps ten digits of it.
    far = judged & ((rows["score"] >= threshold) != (call == 1)) & ((rows["score"] - threshold).abs() > 1e-9)
    if far.any():
        row = rows[far].iloc[0]
        raise TableError(f"{row['video_id']} is called {row['verdict']} at score {row['score']:.4f}, but the threshold "
                         f"is {threshold:.4f}: scores and run record are not of one run, score the videos again")
    source = rows["video_id"].map(lambda name: (originals or {}).get(name) or name) if originals else ""
    method = rows["method"].where((rows["label"] == 0) | (rows["method"] != ""), "unnamed")
    return rows.assign(judged=judged, call=call, source=source, method=method.where(rows["label"] == 1, ""))


def curves(labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Points of the ROC and the precision-recall curve: the origin, then one per distinct score from the highest down.

    labels: [n], 0 or 1, both present; scores: [n]. Returns fpr, tpr, precision, recall, each [n_cuts + 1] in [0, 1];
    precision at recall 0 repeats the first one.
    """
    import numpy as np

    fp, tp = (c[0] for c in counts_above(labels, scores, np.ones((1, len(labels)))))
    precision = tp[1:] / (tp[1:] + fp[1:])
    return {"fpr": fp / fp[-1], "tpr": tp / tp[-1], "precision": np.concatenate([precision[:1], precision]),
            "recall": tp / tp[-1]}


def calibration(rows: pd.DataFrame) -> dict[str, Any]:
    """Reliability of scores: {bins: [{low, high, n, mean_score, share_fake}], ece: cell, n}; rows need score, label.

    ece is the mean distance of score and share of fakes over the bins, weighted by n (Naeini et al. 2015). It is to be
    read with the share of fakes in the corpus in mind: another corpus has another share.
    """
    found = reliability(rows["score"].to_numpy(float), rows["label"].to_numpy(), alike=False)
    if len(rows) < MIN_CALIBRATION:
        ece = Metric(reason=f"{len(rows)} scores; a calibration error over {BINS} bins needs {MIN_CALIBRATION}")
    else:
        ece = Metric(found["ece"], reason="no interval is computed for it")
    return {**found, "ece": asdict(ece)}


def without_probabilities(metrics: dict[str, Any]) -> None:
    """Take out of `evaluate`'s result what only scores that are probabilities have: log-loss and calibration error."""
    none = asdict(Metric(reason="the scores are no probabilities: they were scaled to 0 to 1"))
    for level in ("video", "frame"):
        for blocks in (metrics[level]["all"], *metrics[level]["methods"].values(), *metrics[level]["groups"].values()):
            for block in blocks.values():
                block["metrics"]["log_loss"] = none
        metrics["calibration"][level]["ece"] = none
    metrics["probabilities"] = False


def to_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """`evaluate`'s result as a long table: level, subset, counting, metric, value, low, high, n, reason.

    subset is all, method:NAME or group:NAME; counts (n_real, real_as_fake, …) are metrics like the others; n is the
    number of videos or frames behind the value. None stays None.
    """
    rows = []

    def add(level: str, subset: str, counting: str, metric: str, cell: Cell, n: int) -> None:
        rows.append({"level": level, "subset": subset, "counting": counting, "metric": metric,
                     **{key: cell[key] for key in ("value", "low", "high")}, "n": n, "reason": cell["reason"]})

    for level in ("video", "frame"):
        subsets = {"all": metrics[level]["all"],
                   **{f"method:{name}": countings for name, countings in metrics[level]["methods"].items()},
                   **{f"group:{name}": countings for name, countings in metrics[level]["groups"].items()}}
        for subset, countings in subsets.items():
            for counting, block in countings.items():
                cells = {**{name: asdict(Metric(block[name])) for name in ("n_real", "n_fake", "n_groups")},
                         **{name: asdict(Metric(count)) for name, count in block["confusion"].items()},
                         **block["metrics"]}
                for metric, cell in cells.items():
                    add(level, subset, counting, metric, cell, block["n_real"] + block["n_fake"])
        add(level, "all", "left_out", "ece", metrics["calibration"][level]["ece"], metrics["calibration"][level]["n"])
    return rows


def _level(rows: pd.DataFrame, level: str, no_interval: str = "") -> dict[str, Any]:
    """The rows as a whole, per method (its fakes against all reals) and per group of at least two videos.

    level: what a row is: video, picture or frame. no_interval: why the whole has none.
    """
    fakes = rows[rows["label"] == 1]
    # A resample costs as much as there are frames, so there only the whole part gets intervals.
    why = "" if level != "frame" else "intervals of single methods and groups are computed for videos only"
    whole = _countings(rows, level, no_interval)
    sizes = rows.groupby("group")["video_id"].nunique()
    several = rows[rows["group"].isin(sizes.index[sizes > 1])]
    methods = sorted(fakes["method"].unique())
    return {
        "all": whole,
        "methods": {name: whole if methods == [name] and why == no_interval else
                    _countings(rows[(rows["label"] == 0) | (rows["method"] == name)], level, why) for name in methods},
        "groups": {str(name): _countings(group, level, why) for name, group in several.groupby("group", sort=True)},
    }


def _countings(rows: pd.DataFrame, level: str, no_interval: str) -> dict[str, Any]:
    """One block per way of counting."""
    blocks = {"left_out": _block(rows[rows["judged"]], 0, level, no_interval)}
    if level != "frame":
        n_failed = int((~rows["judged"]).sum())
        blocks["as_wrong"] = _block(_as_wrong(rows), n_failed, level, no_interval) if n_failed else blocks["left_out"]
    return blocks


def _as_wrong(rows: pd.DataFrame) -> pd.DataFrame:
    """Failed videos turned into the most wrong calls."""
    wrong = 1 - rows["label"]
    return rows.assign(call=rows["call"].where(rows["judged"], wrong),
                       score=rows["score"].where(rows["judged"], wrong.astype(float)))


def _block(rows: pd.DataFrame, n_failed: int, level: str, no_interval: str) -> dict[str, Any]:
    """The numbers of one subset in one way of counting, with intervals unless `no_interval` says why not."""
    labels, calls = rows["label"].to_numpy(), rows["call"].to_numpy()
    confusion = {f"{real}_as_{called}": int(((labels == i) & (calls == j)).sum())
                 for i, real in enumerate(("real", "fake")) for j, called in enumerate(("real", "fake"))}
    by, note, metrics = _measured(rows, n_failed, level, no_interval)
    return {"n_real": int((labels == 0).sum()), "n_fake": int((labels == 1).sum()),
            "n_groups": int(rows["group"].nunique()), "by": by, "note": note, "confusion": confusion,
            "metrics": {name: asdict(metric) for name, metric in metrics.items()}}


def _measured(rows: pd.DataFrame, n_failed: int, level: str, no_interval: str) -> tuple[str, str, dict[str, Metric]]:
    """Return what was resampled, a remark on that, and the metrics."""
    import numpy as np

    labels, scores, calls = rows["label"].to_numpy(), rows["score"].to_numpy(float), rows["call"].to_numpy()
    undefined = _undefined(labels, calls, n_failed, level)
    point = numbers(labels, scores, calls, np.ones((1, len(rows)))) if len(rows) else {}
    by, note, why = ("", "", no_interval) if no_interval else resampled_by(rows)
    draws = resample(labels, scores, calls, rows[by].to_numpy()) if by else {}
    metrics = {}
    for name in METRICS:
        if name in undefined:
            metrics[name] = Metric(reason=undefined[name])
        else:
            low, high, reason = interval(draws[name]) if by else (None, None, why)
            metrics[name] = Metric(float(point[name][0]), low, high, reason)
    return by, note, metrics


def _undefined(labels: np.ndarray, calls: np.ndarray, n_failed: int, level: str) -> dict[str, str]:
    """Metric -> why these videos have no such number."""
    one = f"judged {level}"
    if not len(labels):
        return dict.fromkeys(METRICS, f"no {one}")
    reasons = {}
    if not (calls == 1).any():
        reasons["precision"] = f"no {level} was called fake"
    if not (labels == 1).any():
        reasons.update(dict.fromkeys(("precision", "recall", "f1"), f"no fake among the {one}s"))
    if (labels == labels[0]).all():
        missing = "fake" if labels[0] == 0 else "real"
        reasons.update(dict.fromkeys(("balanced_accuracy", "auc", "ap", "eer"), f"no {missing} among the {one}s"))
    elif min((labels == 0).sum(), (labels == 1).sum()) < MIN_RANKED:
        reasons.update(dict.fromkeys(("auc", "ap", "eer"), f"{(labels == 0).sum()} real and {(labels == 1).sum()} fake "
                                     f"among the {one}s; a ranking needs {MIN_RANKED} of each"))
    if n_failed:
        reasons["log_loss"] = (f"{n_failed} failed {level}{'s have' if n_failed > 1 else ' has'} no score; "
                               f"see the count that leaves failed {level}s out")
    return reasons
