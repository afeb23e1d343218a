"""`make compare`: recipes trained on one split, their table and its figure.

    OUT/compare/compare.csv   of classify/compare.py, which also says what may be chosen by it
    OUT/compare/compare.png   its AUCs with their intervals, a line per recipe
"""
from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure

from classify import compare
from pipeline.errors import command
from pipeline.tables import write_bytes
from reports.figures import FAKE, OTHER, REAL, STYLE

if TYPE_CHECKING:
    import pandas as pd

WIDTH_IN, LINE_IN, EDGE_IN = 8.0, 0.62, 1.9  # inches: whole width, height a line, height of title, axis and legend
DPI = 150
# column, legend, marker, colour, how far below the line's middle
SHOWN = (("val_video_auc", "validation videos (gives the order)", "D", OTHER, -.22),
         ("test_video_auc", "test videos", "o", REAL, 0.0), ("test_frame_auc", "test frames", "^", FAKE, .22))


@matplotlib.rc_context(STYLE)
def figure(table: pd.DataFrame) -> bytes:
    """The AUCs of a table of classify.compare as PNG, first row on top; rows without a result say so."""
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
    drawn.savefig(target, format="png", dpi=DPI, metadata={"Software": None})
    return target.getvalue()


@command
def main(argv: list[str] | None = None) -> int:
    out, table = compare.run(argv, "python -m reports.compare")
    write_bytes(out / "compare" / "compare.png", figure(table))
    print(f"compare: {out / 'compare' / 'compare.csv'} and compare.png")
    return compare.status(table)


if __name__ == "__main__":
    sys.exit(main())
