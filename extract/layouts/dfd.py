"""DeepFakeDetection (DFD, of Google and Jigsaw) by itself, from the names of its files; FaceForensics++ may hold it.

    DFD_original sequences/01__walking.mp4                          actor 1 in a scene
    DFD_manipulated_sequences/01_02__walking__ABCDEFGH.mp4          the same with the face of actor 2

There is no official split: actors are kept together.
"""
from __future__ import annotations

import re
from typing import Any

from extract.layouts.base import FACE_FORENSICS, Corpus, Side, clip_stem, left_out, row, without_copies, word
from extract.layouts.labels import class_of
from pipeline.errors import CorpusError

EXPECTED = {"real": 363, "fake": 3068}  # of the README of FaceForensics++
NAME = re.compile(r"(\d\d)(?:_(\d\d))?__(.+?)(?:__([A-Z0-9]{8}))?$")


def dfd(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Return the rows of DFD: at least half of the names are its own.

    Raises CorpusError when a clip lies in a folder of the other class.
    """
    if not any("__" in name for name in names):
        return None
    told = {name: match for name in names
            if (match := NAME.match(clip_stem(name))) and bool(match[2]) == bool(match[4])}
    if len(told) * 2 < len(names) or not any(match[2] for match in told.values()):
        return None
    kept, doubled = without_copies(list(told))
    reals = {clip_stem(name): name for name in kept if not told[name][2]}
    rows = [_row(name, told[name], reals) for name in kept]
    fakes = sum(entry["label"] for entry in rows)
    return Corpus("DFD (actors)", "DFD", rows, {"real": len(rows) - fakes, "fake": fakes}, EXPECTED, doubled=doubled,
                  notes=left_out(len(names) - len(told), "the name is none of DFD"), clip_s=28.0)


def _row(name: str, match: re.Match[str], reals: dict[str, str]) -> dict[str, Any]:
    target, source, scene = match[1], match[2], match[3]
    label = int(bool(source))
    for place in name.split("/")[:-1]:
        if class_of(place) == 1 - label:
            raise CorpusError(f"{name} is named as a {word(label)} but lies in {place}: move or rename it")
    # As FaceForensics++ calls them, whose actors these are.
    target_id, source_id = (f"{FACE_FORENSICS}/actor{actor}" if actor else "" for actor in (target, source))
    clip = f"{target}__{scene}"
    original = reals.get(clip, f"{FACE_FORENSICS}/{clip}") if label else ""
    return row(name, label, "DFD", "DeepFakeDetection" if label else "", target_id, source_id, original)
