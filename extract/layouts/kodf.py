"""KoDF, from the names of its files.

    <target>_<source>_<method, 1 to 5>_<number>.mp4       a fake
    <person>_<number>.mp4 in a folder of originals        a real

The name of a real is not certain, so a name of that form is taken for one only below a folder that says original or
real; others are left out and counted.
"""
from __future__ import annotations

import re
from typing import Any

from extract.layouts.base import Corpus, Side, clip_stem, left_out, row, without_copies
from extract.layouts.labels import class_of
from pipeline.errors import CorpusError

EXPECTED = {"real": 62_166, "fake": 175_776}  # of its paper
FAKE = re.compile(r"(\d+)_(\d+)_([1-5])_(\d+)$")
REAL = re.compile(r"(\d+)_(\d+)$")
MOST = 0.9  # of the names are KoDF's own, where no folder says that it is KoDF


def kodf(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Return the rows of KoDF, any subset of it that has fakes.

    Raises CorpusError when a fake lies in a folder of reals, or a real in one of fakes.
    """
    if not any(name.count("_") >= 3 for name in names):
        return None
    stems = {name: clip_stem(name) for name in names}
    fakes = {name for name, stem in stems.items() if FAKE.match(stem)}
    reals = {name for name in names if REAL.match(stems[name])} - fakes
    named = "kodf" in folder.lower() or any("kodf" in name.lower() for name in names[:1])
    if not fakes or len(fakes) + len(reals) < (0.5 if named else MOST) * len(names):
        return None
    if not named and sum(_class(name) == 0 for name in fakes) > (1 - MOST) * len(fakes) + 1:
        return None  # names of this form in folders of reals: another corpus
    reals = {name for name in reals if _class(name) != -1}
    kept, doubled = without_copies(sorted(fakes | reals))
    rows = [_row(name, stems[name], name in fakes) for name in kept]
    n_fake = sum(entry["label"] for entry in rows)
    notes = left_out(len(names) - len(fakes) - len(reals), "no name of KoDF, or no folder says that it is real")
    return Corpus("KoDF", "KoDF", rows, {"real": len(rows) - n_fake, "fake": n_fake}, EXPECTED, doubled=doubled,
                  notes=notes, clip_s=15.0)


def _class(name: str) -> int:
    """What the innermost folder that tells a class says, -1 where none does."""
    told = [found for place in name.split("/")[:-1] if (found := class_of(place)) is not None]
    return told[-1] if told else -1


def _row(name: str, stem: str, fake: bool) -> dict[str, Any]:
    if _class(name) == 1 - fake:
        raise CorpusError(f"{name} is named as a {'fake' if fake else 'real'} but its folder says the opposite: move "
                          "or rename it")
    if not fake:
        return row(name, 0, "KoDF", target_id=stem.split("_")[0])
    target, source, method, _ = stem.split("_")
    return row(name, 1, "KoDF", f"method {method}", target, source)
