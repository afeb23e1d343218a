"""UADFV, from the names of its files.

    real/0000.mp4
    fake/0000_fake.mp4      made from real/0000.mp4

All fakes wear one face, and nothing says who is in the reals: a source video and its fake are kept together.
"""
from __future__ import annotations

import re

from extract.layouts.base import Corpus, Side, clip_stem, left_out, row, without_copies, word
from pipeline.errors import CorpusError

EXPECTED = {"real": 49, "fake": 49}  # of its paper
NAME = re.compile(r"(\d{1,4})(_fake)?$", re.I)
LABELS = {"real": 0, "fake": 1}


def uadfv(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Return the rows of UADFV: fakes called <n>_fake in a folder fake, as nearly all files there are.

    Raises CorpusError when a clip lies in the folder of the other class.
    """
    if not any("_fake" in name.lower() for name in names):
        return None
    told = {name: match for name in names if (match := NAME.match(clip_stem(name)))
            and name.split("/")[0].lower() in LABELS and "/" in name}
    fakes = [name for name, match in told.items() if match[2]]
    in_fake = [name for name in names if name.lower().startswith("fake/")]
    if not fakes or len(fakes) * 2 <= len(in_fake) or len(told) * 2 <= len(names):
        return None
    for name, match in told.items():
        label = LABELS[name.split("/")[0].lower()]
        if label != bool(match[2]):
            raise CorpusError(f"{name} is named as a {word(1 - label)} but lies in a folder of {word(label)}s: move or "
                              "rename it")
    kept, doubled = without_copies(list(told))
    reals = {told[name][1]: name for name in kept if not told[name][2]}
    rows, missing = [], []
    for name in kept:
        original = ""
        if told[name][2]:
            number = told[name][1]
            original = reals.get(number) or f"real/{number}{name[name.rfind('.'):]}"
            missing += [original] * (number not in reals)
        rows.append(row(name, int(bool(original)), "UADFV", "UADFV" if original else "", original=original))
    return Corpus("UADFV", "UADFV", rows, {"real": len(reals), "fake": len(rows) - len(reals)}, EXPECTED,
                  missing=missing, doubled=doubled, notes=left_out(len(names) - len(told), "the name is none of UADFV"),
                  clip_s=11.0)
