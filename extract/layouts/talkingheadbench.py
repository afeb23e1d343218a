"""TalkingHeadBench, from the names of its files.

    fake/<generator>/<part>/<image>--<driver>--<generator>.mp4      a portrait, moved by a clip of CelebV-HQ
    fake/additional_dataset/<generator>/…                           for test alone
    real/…/<clip>.mp4, true/…/<clip>.mp4                            clips of CelebV-HQ, and FaceForensics++ by number

The person seen is that of the portrait (FFHQ); the driver, who moves it, is kept in the same part.
"""
from __future__ import annotations

import re
from collections import Counter
from typing import Any

from extract.layouts.base import FACE_FORENSICS, Corpus, Side, clip_stem, left_out, row, without_copies
from extract.layouts.faceforensics_lists import person
from extract.layouts.labels import part_of
from pipeline.errors import CorpusError

EXPECTED = {"fake": 2_994}  # of its list of files
LABELS = {"fake": 1, "real": 0, "true": 0}
EXTRA = "additional_dataset"


def talkingheadbench(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Return the rows of TalkingHeadBench: nearly all fakes are called <image>--<driver>--<generator>.

    Raises CorpusError when a clip of that name lies below a folder of reals.
    """
    if not any("--" in name for name in names):
        return None
    inside = {name: label for name in names if (label := _label(name)) is not None}
    fakes = {name for name, label in inside.items() if label}
    named = {name for name in inside if clip_stem(name).count("--") == 2}
    if not named & fakes or len(named & fakes) * 2 <= len(fakes):
        return None
    if odd := sorted(named - fakes):
        raise CorpusError(f"{odd[0]} is named as a fake but lies in a folder of reals: move or rename it")
    kept, doubled = without_copies(sorted((set(inside) - fakes) | named))
    reals = {clip_stem(name): name for name in kept if name not in fakes}
    rows = [_fake(name, reals) if name in fakes else _real(name) for name in kept]
    found = Counter("fake" if entry["label"] else "real" for entry in rows)
    notes = left_out(len(names) - len(kept) - sum(len(group) - 1 for group in doubled),
                     "outside fake and real, or not called <image>--<driver>--<generator>")
    odd = [name for name in kept if name in fakes and not _agrees(name)]
    if odd:
        notes.append(f"{len(odd):,} name another generator than their folder (e.g. {odd[0]}): the name is used")
    return Corpus("TalkingHeadBench", "TalkingHeadBench", rows, {kind: found[kind] for kind in ("real", "fake")},
                  EXPECTED, doubled=doubled, notes=notes, clip_s=8.0)


def _label(name: str) -> int | None:
    return next((LABELS[part.lower()] for part in name.split("/")[:-1] if part.lower() in LABELS), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _agrees(name: str) -> bool:
    """Whether the folder of a fake and its name say the same generator, or the folder says none."""
    places = [part for part in name.split("/")[:-1] if part.lower() not in (*LABELS, EXTRA) and not part_of(part)]
    said = _plain(clip_stem(name).split("--")[2])
    return not places or any(_plain(place) in said or said in _plain(place) for place in places)


def _real(name: str) -> dict[str, Any]:
    stem = clip_stem(name)
    known = f"{FACE_FORENSICS}/{person(stem)}" if re.fullmatch(r"\d{3}", stem) else f"CelebV-HQ/{stem}"
    return row(name, 0, "TalkingHeadBench", target_id=known, official=part_of(name.rpartition("/")[0]))


def _fake(name: str, reals: dict[str, str]) -> dict[str, Any]:
    image, driver, generator = clip_stem(name).split("--")
    official = "test" if f"/{EXTRA}/" in name.lower() else part_of(name.rpartition("/")[0])
    return row(name, 1, "TalkingHeadBench", generator, f"FFHQ/{image}", f"CelebV-HQ/{driver}",
               reals.get(driver, f"CelebV-HQ/{driver}"), official)
