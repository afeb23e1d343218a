"""FakeAVCeleb v1.2, from its folders and meta_data.csv.

    RealVideo-RealAudio/African/men/id00076/00109.mp4                        a real
    FakeVideo-RealAudio/African/men/id00076/00109_id00478_faceswap.mp4       the same clip with the face of another
    RealVideo-FakeAudio/African/men/id00076/00109_fake.mp4                   another voice: its pictures are real

The header of meta_data.csv ends in a comma: its last column, the folder, has no name. Folders decide the label. People
are VoxCeleb2's, so their ids are those of other corpora made from it.
"""
from __future__ import annotations

import re
from collections import Counter
from typing import Any

from extract.layouts.base import Corpus, Side, clip_key, clip_stem, left_out, nameless, read_csv, row, without_copies
from pipeline.errors import CorpusError

EXPECTED = {"RealVideo-RealAudio": 500, "FakeVideo-FakeAudio": 10835, "FakeVideo-RealAudio": 9709,
            "RealVideo-FakeAudio": 500}  # of its README
KINDS = {kind.lower(): kind for kind in EXPECTED}
COLUMNS = ("source", "target1", "method", "type", "path", "")
PERSON = re.compile(r"id\d+", re.I)


def fakeavceleb(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Return the rows of FakeAVCeleb, any subset; methods and face donors need its meta_data.csv.

    Raises CorpusError when meta_data.csv is malformed or contradicts a folder.
    """
    inside = [name for name in names if _kind(name)]
    if not inside:
        return None
    kept, doubled = without_copies(inside)
    spelled = {clip_key(name): name for name in kept}
    known, missing = _metadata(side, spelled)
    rows = [_row(name, known.get(name), spelled) for name in kept]
    found = Counter(map(_kind, kept))
    notes = left_out(len(names) - len(inside), "outside the four folders of FakeAVCeleb") + nameless(rows)
    if voices := found["RealVideo-FakeAudio"]:
        notes.append(f"{voices:,} of RealVideo-FakeAudio count as real: only their voice is fake")
    if known and len(known) < len(kept):
        notes.append(f"{len(kept) - len(known):,} are not in meta_data.csv: their method is not known")
    return Corpus("FakeAVCeleb", "FakeAVCeleb", rows, {kind: found[kind] for kind in EXPECTED}, EXPECTED,
                  missing=missing, doubled=doubled, notes=notes, clip_s=8.0)


def _kind(name: str) -> str:
    """Which of the four folders a file lies in, "" outside."""
    head, slash, _ = name.partition("/")
    return KINDS.get(head.lower(), "") if slash else ""


def _row(name: str, cells: dict[str, str] | None, spelled: dict[str, str]) -> dict[str, Any]:
    kind, places, stem = _kind(name), name.split("/")[1:-1], clip_stem(name)
    person = next((place.lower() for place in reversed(places) if PERSON.fullmatch(place)), "")
    if kind.startswith("Real"):
        return row(name, 0, "FakeAVCeleb", target_id=person)
    donor = cells["target1"].strip().lower() if cells else ""
    if not donor and (others := [found.lower() for found in PERSON.findall(stem) if found.lower() != person]):
        donor = others[0]
    original = "/".join(["RealVideo-RealAudio", *places, stem.split("_")[0] + name[name.rfind("."):]])
    return row(name, 1, "FakeAVCeleb", cells["method"].strip() if cells else kind, person,
               donor if PERSON.fullmatch(donor) else "", spelled.get(clip_key(original), original))


def _metadata(side: Side, spelled: dict[str, str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """(name -> line of meta_data.csv, listed but not here)."""
    known, missing = dict[str, dict[str, str]](), list[str]()
    path = next((side[name] for name in sorted(side) if name.rpartition("/")[2].lower() == "meta_data.csv"), None)
    for number, cells in read_csv(path, COLUMNS) if path else ():
        places = cells[""].replace("\\", "/").strip("/").split("/")
        start = next((i for i, place in enumerate(places) if place.lower() in KINDS), None)
        if start is None:
            raise CorpusError(f"{path}, line {number}: the last column is {cells['']!r}, expected a folder such "
                              "as FakeAVCeleb/RealVideo-RealAudio/African/men/id00076")
        listed = "/".join([*places[start:], cells["path"].strip()])
        if cells["type"].strip().lower() != places[start].lower():
            raise CorpusError(f"{path}, line {number}: {listed} is called {cells['type']} but lies in "
                              f"{places[start]}: mend the line or move the file")
        if name := spelled.get(clip_key(listed)):
            known[name] = cells
        else:
            missing.append(listed)
    return known, missing
