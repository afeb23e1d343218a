"""The figures of a report: tables and metrics that are there already, drawn; nothing is computed here."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classify.evaluation.bootstrap import exact
from classify.evaluation.metrics import curves
from classify.judging.sheet.style import (
    FAKE,
    FEW,
    OTHER,
    REAL,
    SIZE_IN,
    STYLE,
    Drawn,
    axes_of,
    figure_of,
    files_of,
    unit_square,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes


def draw_all(metrics: dict[str, Any], rows: pd.DataFrame, faces: pd.DataFrame, epochs: pd.DataFrame | None,
             best_epoch: int | None = None) -> dict[str, Drawn | str]:
    """Every figure of the report: name -> its files, or a sentence that says why it cannot be drawn.

    metrics: of `classify.evaluation.metrics.evaluate`. rows: videos of the part (`videos_of`); faces: their frame
    scores, with
    `label` and `score`. epochs: the training's table, None where there is none.
    """
    judged, threshold, things = rows[rows["judged"]], metrics["threshold"], metrics["thing"] + "s"
    levels = {"video": judged, "frame": faces}
    if things == "pictures":  # of one frame each: the same again
        del levels["frame"]
    figures: dict[str, Drawn | str] = {}
    figures["confusion"] = confusion(metrics) if len(rows) else f"there are no {things} to call"
    aucs = {level: metrics[level]["all"]["left_out"]["metrics"]["auc"] for level in levels}
    ranked = {level: table for level, table in levels.items() if aucs[level]["value"] is not None}
    figures["roc"] = roc(ranked, judged, metrics) if ranked else aucs["video"]["reason"]
    figures["precision_recall"] = precision_recall(ranked, judged, things) if ranked else aucs["video"]["reason"]
    for level, name in (("video", things), ("frame", "frames")):
        none = "a picture has no frames" if level not in levels else f"there are no {name}"
        some = len(levels.get(level, ()))
        figures[f"histogram_{level}s"] = histogram(levels[level], threshold, name) if some else none
        if some and not metrics.get("probabilities", True):
            none, some = "the scores are no probabilities", 0
        figures[f"calibration_{level}s"] = calibration(metrics["calibration"][level], name) if some else none
    figures["robustness"] = robustness(metrics["robustness"], things) if metrics["robustness"] else \
        "make report ROBUST=1 judges the test crops compressed, blurred, darker, …"
    for name in ("accuracy", "loss"):
        figures[f"epochs_{name}"] = ("there is no table of epochs beside the model" if epochs is None
                                     else training(epochs, name, best_epoch, metrics["thing"]))
    return figures


@matplotlib.rc_context(STYLE)
def confusion(metrics: dict[str, Any]) -> Drawn:
    """Counts of what each class was called, the videos that could not be judged in a column of their own."""
    counts, n = metrics["video"]["all"]["left_out"]["confusion"], metrics["n"]
    cells = [[counts["real_as_real"], counts["real_as_fake"], n["failed_real"]],
             [counts["fake_as_real"], counts["fake_as_fake"], n["failed_fake"]]]
    columns = 3 if n["failed"] else 2
    figure, axes = axes_of(f"What {n['videos']} {metrics['part']} {metrics['thing']}s were called")
    shares = [[cell / max(1, sum(row)) for cell in row[:columns]] for row in cells]
    axes.imshow(shares, cmap=matplotlib.colormaps["Blues"], vmin=0, vmax=1.2, aspect="auto")
    for i, row in enumerate(cells):
        for j, cell in enumerate(row[:columns]):
            axes.text(j, i, f"{cell}\n{shares[i][j]:.0%}" if sum(row) else "0", ha="center", va="center",
                      fontsize=15, color="white" if shares[i][j] > .6 else "black")
    axes.set_xticks(range(columns), ["called REAL", "called FAKE", "not judged"][:columns])
    axes.set_yticks([0, 1], [f"real\n(n = {sum(cells[0])})", f"fake\n(n = {sum(cells[1])})"])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return files_of(figure)


@matplotlib.rc_context(STYLE)
def roc(levels: dict[str, pd.DataFrame], judged: pd.DataFrame, metrics: dict[str, Any]) -> Drawn:
    """ROC curves of videos and frames, with the point where the threshold stands."""
    figure, axes = axes_of(f"ROC: fakes found against reals called FAKE\n{_n(judged)} {metrics['thing']}s judged")
    axes.plot([0, 1], [0, 1], ":", color=OTHER, lw=1, label="guessing")
    for level, table in levels.items():
        points = curves(table["label"].to_numpy(), table["score"].to_numpy())
        value = metrics[level]["all"]["left_out"]["metrics"]["auc"]["value"]
        name = metrics["thing"] if level == "video" else level
        _curve(axes, points["fpr"], points["tpr"], level, f"{name}s: AUC {value:.3f}")
    counts = metrics["video"]["all"]["left_out"]["confusion"]
    n_real, n_fake = (judged["label"] == 0).sum(), (judged["label"] == 1).sum()
    if n_real and n_fake:
        axes.plot(counts["real_as_fake"] / n_real, counts["fake_as_fake"] / n_fake, "X", color=FAKE, ms=11, mec="white",
                  zorder=5, clip_on=False, label=f"at the threshold {metrics['threshold']:.3f}")
    unit_square(axes, "share of reals called FAKE", "share of fakes found")
    axes.legend(loc="lower right")
    return files_of(figure)


@matplotlib.rc_context(STYLE)
def precision_recall(levels: dict[str, pd.DataFrame], judged: pd.DataFrame, things: str) -> Drawn:
    """Precision against recall, in the steps that AP adds up; the level of guessing is the share of fakes."""
    import numpy as np

    figure, axes = axes_of(f"Precision and recall of fakes\n{_n(judged)} {things} judged")
    for level, table in levels.items():
        points = curves(table["label"].to_numpy(), table["score"].to_numpy())
        rises = points["recall"] > np.concatenate([[-1.0], points["recall"][:-1]])  # precision only drops in between
        _curve(axes, points["recall"][rises], points["precision"][rises], level,
               things if level == "video" else "frames", "steps-pre")
    share = next(iter(levels.values()))["label"].mean()
    axes.axhline(share, ls=":", color=OTHER, lw=1, label=f"guessing ({share:.2f})")
    unit_square(axes, "recall: share of fakes found", "precision: fakes among\nthose called FAKE")
    axes.legend(loc="lower left")
    return files_of(figure)


@matplotlib.rc_context(STYLE)
def histogram(table: pd.DataFrame, threshold: float, name: str) -> Drawn:
    """Scores of reals above, of fakes below, on the same axis with the threshold; single marks where there are few."""
    import numpy as np

    figure, (upper, lower) = figure_of(2, f"Scores, higher is faker\n{_n(table)} {name}")
    bins = np.linspace(0, 1, 21)
    for axes, label, colour, marker, hatch in ((upper, 0, REAL, "o", ""), (lower, 1, FAKE, "s", "////")):
        scores = table.loc[table["label"] == label, "score"].to_numpy()
        word = ("real", "fake")[label]
        if len(scores):
            fill, edge = (colour, "white") if label == 0 else ("white", colour)
            axes.hist(scores, bins.tolist(), color=fill, edgecolor=edge, hatch=hatch, lw=.8)
        if 0 < len(scores) <= FEW:  # an empty line would upset the layout
            axes.plot(scores, np.zeros(len(scores)), marker, color=colour, ms=5, mec="white", mew=.7, clip_on=False,
                      zorder=4)
        axes.axvline(threshold, color="black", ls="--", lw=1.2)
        axes.set_ylabel(f"{word}\n(n = {len(scores)})")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_ylim(0, max(1, axes.get_ylim()[1]))
        axes.set_xlim(0, 1)
    upper.text(threshold, 1.02, f"threshold {threshold:.3f}", transform=upper.get_xaxis_transform(), fontsize=10,
               ha="center" if .2 < threshold < .8 else "left" if threshold <= .2 else "right")
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("score = P(fake)")
    return files_of(figure)


@matplotlib.rc_context(STYLE)
def calibration(reliability: dict[str, Any], name: str) -> Drawn:
    """Share of fakes against score, one mark per bin with n beside it.

    Videos and pictures get an exact 95 % interval per bin, as if they were independent; frames of one clip are not, so
    theirs would be far too narrow. Shares whose classes weigh alike (reports.cross_corpus) count nothing, and get none.
    """
    figure, axes = axes_of(f"Calibration: do scores mean what they say?\nn = {reliability['n']} {name}")
    axes.plot([0, 1], [0, 1], ":", color=OTHER, lw=1, label="scores that are shares")
    bins = [b for b in reliability["bins"] if b["n"]]
    x, y = [b["mean_score"] for b in bins], [b["share_fake"] for b in bins]
    if name in ("videos", "pictures"):
        lows, highs = zip(*(exact(round(b["share_fake"] * b["n"]), b["n"]) for b in bins))
        axes.vlines(x, lows, highs, color=REAL, lw=1.2, alpha=.7)
    axes.plot(x, y, "o-", color=REAL, ms=6, lw=1, clip_on=False, label=f"{name} by score")
    for b in bins:
        axes.annotate(str(b["n"]), (b["mean_score"], b["share_fake"]), xytext=(6, -11 if b["share_fake"] > .9 else 5),
                      textcoords="offset points", fontsize=9, color="black")
    unit_square(axes, "mean score of the bin", "share that is fake")
    axes.legend(loc="lower right" if sum(y) / len(y) > .4 else "upper left")
    return files_of(figure)


@matplotlib.rc_context(STYLE)
def robustness(summaries: list[dict[str, Any]], things: str, altered: str = "crops") -> Drawn:
    """AUC, and shares called FAKE, under each alteration (of classify.evaluation.robustness), a line each, unaltered
    on top.

    things: what was judged; altered: what of it, stored crops or whole frames.
    """
    figure = Figure(figsize=(SIZE_IN[0], 1.3 + .24 * len(summaries)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(summaries))
    for axes, name, total, marker, colour in ((left, "auc", "", "D", OTHER),
                                              (right, "real_as_fake", "n_real", "o", REAL),
                                              (right, "fake_as_fake", "n_fake", "s", FAKE)):
        shares = [row["auc"]["here"] if name == "auc" else row[name] / row[total] if row[total] else None
                  for row in summaries]
        known = [(share, place) for share, place in zip(shares, places) if share is not None]
        label = None if name == "auc" else f"{total[2:]}s, n = {summaries[0][total]}"
        # Fakes are open: both are seen where they meet.
        look: dict[str, Any] = {"ms": 8, "mfc": "none", "mew": 1.4} if marker == "s" else {"ms": 6}
        axes.plot([share for share, _ in known], [place for _, place in known], marker, color=colour, clip_on=False,
                  label=label, zorder=4, **look)
        if shares[0] is not None:
            axes.axvline(shares[0], color=colour, ls="--", lw=1)
    left.set_yticks(places, [row["name"] for row in summaries], fontsize=9)
    left.set(xlabel=f"AUC of {things}", ylim=(len(summaries) - .5, -.5), xlim=(min(.5, left.get_xlim()[0]), 1))
    right.set(xlabel="share called FAKE", xlim=(0, 1))
    right.set_xticks([0, .5, 1], ["0", ".5", "1"])
    figure.suptitle(f"Altered {altered}; dashed: as they are", x=0, ha="left", fontsize=11)
    figure.legend(loc="outside lower right", ncols=2)
    return files_of(figure)


@matplotlib.rc_context(STYLE)
def training(epochs: pd.DataFrame, quantity: str, best_epoch: int | None = None, thing: str = "video") -> Drawn | str:
    """Accuracy or loss over the epochs, of training and validation; a sentence where no epoch has any."""
    lines = [(column, text, colour, style) for column, text, colour, style in (
        (f"train_{quantity}", "training", REAL, "o-"), (f"val_{quantity}", "validation", FAKE, "s--"),
        *([("val_video_auc", f"validation, {thing} AUC", OTHER, "^:")] if quantity == "accuracy" else []))
        if column in epochs and epochs[column].notna().any()]
    if not lines or "epoch" not in epochs:
        return f"the table of epochs has no {quantity}"
    figure, axes = axes_of(f"{quantity.capitalize()} over {len(epochs)} epoch{'s' * (len(epochs) != 1)}")
    for column, text, colour, style in lines:
        known = epochs[epochs[column].notna()]
        axes.plot(known["epoch"], known[column], style, color=colour, ms=5, lw=1.5, label=text)
    if best_epoch is not None:
        axes.axvline(best_epoch, color="black", lw=1, alpha=.6, label=f"epoch kept: {best_epoch}")
    if quantity == "accuracy":
        axes.set_ylim(min(.5, axes.get_ylim()[0]), 1.02)
    else:
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.set_xlabel("epoch")
    crops = "pictures" if thing == "picture" else "frames"
    axes.set_ylabel(f"accuracy of {crops}" if quantity == "accuracy" else "loss (lower is better)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
    return files_of(figure)


def _curve(axes: Axes, x: np.ndarray, y: np.ndarray, level: str, label: str, drawstyle: str = "default") -> None:
    """Videos or pictures thick, with a mark per point where there are few; frames thin."""
    videos = level == "video"
    axes.plot(x, y, "-" if videos else "--", color=REAL if videos else OTHER, lw=2 if videos else 1.2, label=label,
              marker="o" if videos and len(x) <= FEW else "", ms=4, drawstyle=drawstyle, clip_on=False)


def _n(table: pd.DataFrame) -> str:
    """`12 real and 14 fake`, from the column `label`."""
    return f"{(table['label'] == 0).sum()} real and {(table['label'] == 1).sum()} fake"
