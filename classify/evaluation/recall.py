"""How much of each method was found in a table of verdicts, where folders tell what is fake."""
from __future__ import annotations

import contextlib
import os
from collections import Counter
from pathlib import Path
from typing import Sequence

from classify.evaluation.bootstrap import exact
from classify.judging.csv_output import Row
from pipeline.errors import CorpusError


def labels_below(paths: Sequence[str], thing: str = "clip") -> dict[str, tuple[int, str]]:
    """Return absolute path -> (label, method) of what the folders among `paths` tell, by the rule of an index; nothing
    of a folder without a layout. thing: "clip" or "picture", what is judged."""
    from extract.corpus import find_corpus

    known: dict[str, tuple[int, str]] = {}
    for path in filter(os.path.isdir, paths):
        with contextlib.suppress(CorpusError):
            corpus = find_corpus(path) if thing == "clip" else find_corpus(path, group="none", modality="image")
            known.update({os.path.abspath(Path(corpus.root) / row["video_id"]): (row["label"], row["method"])
                          for row in corpus.rows})
    return known


def recall_lines(rows: Sequence[Row], labels: dict[str, tuple[int, str]], thing: str) -> list[str]:
    """How many fakes of each method were called FAKE, worst first, and how many reals.

    labels: of `labels_below`. UNDECIDED is not found, and no false alarm; what could not be read is counted apart.
    Intervals are exact ones, which take clips as independent: those of one person are not, so rather too narrow.
    """
    labelled = [(row, *labels[os.path.abspath(row["path"])]) for row in rows if os.path.abspath(row["path"]) in labels]
    if not labelled:
        return []
    fakes = {method or "unnamed": [row for row, label, m in labelled if label and m == method]
             for method in sorted({method for _, label, method in labelled if label})}
    counts = sorted((_counts(name, own) for name, own in fakes.items()), key=lambda c: (c[1] / max(1, c[2]), c[0]))
    width = max(len(name) for name in [*fakes, "reals"])
    lines = [f"recall per method, worst first: {thing}s called FAKE of those that could be read (exact 95 % interval)"]
    lines += [_line(count, width) for count in counts] or ["  n/a: no fake here"]
    reals = [row for row, label, _ in labelled if not label]
    return lines + ["false alarms:", _line(_counts("reals", reals), width) if reals else "  n/a: no real here"]


def _counts(name: str, rows: list[Row]) -> tuple[str, int, int, int, int]:
    """(name, called FAKE, read, UNDECIDED, not read)."""
    n = Counter("error" if row["error"] else row["verdict"] for row in rows)
    return name, n["fake"], len(rows) - n["error"], n["undecided"], n["error"]


def _line(counts: tuple[str, int, int, int, int], width: int) -> str:
    name, called, n, undecided, errors = counts
    low, high = exact(called, n) if n else (0.0, 1.0)
    share = f"{called / n:.3f} ({low:.3f} to {high:.3f})" if n else "n/a"
    rest = [f"{undecided} UNDECIDED"] * bool(undecided) + [f"{errors} could not be read"] * bool(errors)
    return f"  {name:<{width}}  {called:4d} of {n:4d}  {share}{'  ' + ', '.join(rest) if rest else ''}"
