"""How figures look, and a figure as SVG, PDF and PNG: same drawing, same bytes.

Blue and round, or plain, is real; orange and square, or hatched, is fake (Okabe and Ito's colours, distinguished by the
colour-blind and, thanks to shapes and hatching, in black and white). Text of an SVG is drawn as outlines, so it looks
alike on every machine; a PDF embeds its font.
"""
from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REAL, FAKE, OTHER = "#0072B2", "#D55E00", "#555555"  # Okabe and Ito 2008
SIZE_IN = (5.0, 3.9)        # inches; at 390 px of a phone the 11 pt text is still 8 px high
FEW = 60                    # points up to which every single one is marked
STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 11, "axes.titlesize": 11, "axes.titlelocation": "left",
    "legend.fontsize": 10, "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#dddddd", "axes.axisbelow": True, "hatch.linewidth": 0.6,
    "svg.hashsalt": "report", "svg.fonttype": "path",
    "pdf.fonttype": 42,     # TrueType: journals refuse matplotlib's default, Type 3
}
# What each format says of itself. Without a time the same drawing is the same file.
UNSAID: dict[str, dict[str, Any]] = {"svg": {"Date": None, "Creator": None},
                                     "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
                                     "png": {"Software": None}}
DPI = 200                   # of the PNG: 1,000 px wide

Drawn = dict[str, bytes]    # suffix -> file


def figure_of(n_rows: int, title: str) -> tuple[Figure, list[Axes]]:
    """Return an empty figure with a title and `n_rows` axes below each other."""
    figure = Figure(figsize=SIZE_IN, layout="constrained")  # without pyplot: no global state, no display
    axes = list(figure.subplots(n_rows, 1, squeeze=False)[:, 0])
    axes[0].set_title(title, pad=18 if n_rows > 1 else 10)
    return figure, axes


def axes_of(title: str) -> tuple[Figure, Axes]:
    """Return an empty figure with a title and its only axes."""
    figure, axes = figure_of(1, title)
    return figure, axes[0]


def files_of(figure: Figure) -> Drawn:
    """The figure in each format."""
    files = {}
    for suffix, metadata in UNSAID.items():
        target = io.BytesIO()
        figure.savefig(target, format=suffix, metadata=metadata, dpi=DPI)
        files[suffix] = target.getvalue()
        figure.set_layout_engine(None)  # laid out once is laid out for all
    return files


def unit_square(axes: Axes, x: str, y: str) -> None:
    """Set both axes to 0 to 1 and name them."""
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=x, ylabel=y)
