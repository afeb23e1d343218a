"""`make compare`: recipes trained on one split, their table and its figure.

    OUT/compare/compare.csv   of classify/training/sweep.py, which says what may be chosen by it
    OUT/compare/compare.png   its AUCs with their intervals, a line per recipe
"""
from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

from classify.judging.sheet.style import FAKE, OTHER, REAL, STYLE
from classify.training.sweep import CompareOptions, compare
from pipeline.errors import OptionsError, command, fail
from pipeline.options import add_flags, from_flags
from pipeline.own_files import MARK
from pipeline.tables import write_bytes

if TYPE_CHECKING:
    import pandas as pd

WIDTH_IN, LINE_IN, EDGE_IN = 8.0, 0.62, 1.9  # inches: whole width, height a line, height of title, axis and legend
DPI = 150
# column, legend, marker, colour, how far below the line's middle
SHOWN = (("val_video_auc", "validation videos (gives the order)", "D", OTHER, -.22),
         ("test_video_auc", "test videos", "o", REAL, 0.0), ("test_frame_auc", "test frames", "^", FAKE, .22))


@matplotlib.rc_context(STYLE)
def figure(table: pd.DataFrame) -> bytes:
    """The AUCs of a table of classify.training.sweep as PNG, first row on top; rows without a result say so."""
    drawn = Figure(figsize=(WIDTH_IN, EDGE_IN + LINE_IN * len(table)), layout="constrained")
    axes = drawn.subplots()
    axes.set_title("AUC of recipes on one split, 95 % intervals over whole groups")
    for column, label, marker, colour, below in SHOWN:
        known = table[table[column].notna()]
        ends = known[known[f"{column}_low"].notna()]
        axes.hlines(ends.index + below, ends[f"{column}_low"], ends[f"{column}_high"], color=colour, lw=1.5)
        axes.plot(known[column], known.index + below, marker, color=colour, ms=7, mec="white", mew=.7, label=label,
                  clip_on=False, zorder=4)
    lowest = table[[column + end for column, *_ in SHOWN for end in ("", "_low")]].min().min()
    left = min(.45, lowest - .02) if lowest == lowest else .45  # NaN where no row has an AUC
    for place in table.index[table["test_video_auc"].isna() & table["val_video_auc"].isna()]:
        axes.text(.5, place, "no result" if table["model_id"][place] == "" else "no AUC", ha="center", va="center",
                  color=OTHER, transform=axes.get_yaxis_transform())
    axes.axvline(.5, ls=":", color=OTHER, lw=1, label="guessing")
    axes.set(xlim=(left, 1.005), ylim=(len(table) - .5, -.5), xlabel="AUC")
    axes.set_yticks(range(len(table)), table["name"].tolist())
    axes.grid(False, axis="y")
    drawn.legend(loc="outside lower center", ncols=2)
    target = io.BytesIO()
    drawn.savefig(target, format="png", dpi=DPI, metadata={"Software": MARK})
    return target.getvalue()


def as_text(table: pd.DataFrame) -> str:
    """The table for a terminal, and how to read it."""
    known = table[table["model_id"] != ""]
    lines = [f"{'':34} {'val video':>9}  {'test video AUC':^21} {'test frame AUC':^21} {'accuracy':>8} "
             f"{'params':>7} {'ms a face, 1 / 32':>18} {'training s':>10} {'epoch':>5}"]
    for row in known.to_dict("records"):
        lines.append(
            f"{row['name']:34} {_number(row['val_video_auc']):>9}  {_with_interval(row, 'test_video_auc'):^21} "
            f"{_with_interval(row, 'test_frame_auc'):^21} {_number(row['test_accuracy']):>8} "
            f"{row['n_params'] / 1e6:6.2f}M {row['ms_per_face_1']:8.2f} / {row['ms_per_face_32']:7.2f} "
            f"{row['training_s']:10.0f} {row['best_epoch']:5.0f}")
    for row in table[table["model_id"] == ""].to_dict("records"):
        lines.append(f"{row['name']:34} not trained: {row['reason']}")
    if len(known):
        lines.append(f"Milliseconds on {known['device'].iloc[0]}. In brackets 95 % intervals over whole groups; why "
                     "one is missing says the column `reason`.")
    return "\n".join([*lines, "In the order of validation video AUC, which may choose. Choosing by a test "
                              "column would be a leak."])


def _number(value: float) -> str:
    return "n/a" if value != value else f"{value:.3f}"  # NaN is no number


def _with_interval(row: dict[str, Any], column: str) -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    return _number(row[column]) + ("" if low != low else f" ({low:.3f} to {high:.3f})")


@command
def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m reports.sweep", allow_abbrev=False, description=(
        "Train several recipes on one split and compare them. Flags that are not listed here are those of "
        "classify.train, for all recipes."))
    parser.add_argument("--out", type=Path, required=True, help="folder of the run (OUT)")
    add_flags(parser, CompareOptions)
    arguments, others = parser.parse_known_args(argv)
    if any("tensorflow" in word for word in others):
        raise OptionsError("make compare trains with torch only: leave out FRAMEWORK")
    if any(word.startswith("--recipe") for word in others):
        raise OptionsError("several recipes are compared: RECIPES='baseline two-phase', not RECIPE")
    table = compare(arguments.out, from_flags(CompareOptions, arguments), others)
    folder = arguments.out / "compare"
    write_bytes(folder / "compare.png", figure(table))
    print(f"{as_text(table)}\ncompare: {folder / 'compare.csv'} and compare.png", flush=True)
    failed = table.loc[table["model_id"] == "", "name"].tolist()
    return fail(f"{len(failed)} of {len(table)} have no result: {', '.join(failed)}") if failed else 0


if __name__ == "__main__":
    sys.exit(main())
