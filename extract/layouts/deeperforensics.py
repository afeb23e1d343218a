"""DeeperForensics-1.0, from the names of its files and its lists of parts.

    manipulated_videos/end_to_end/000_M101.mp4        clip 000 of FaceForensics++ with the face of actor M101
    source_videos/M101/BlendShape/…/0.mp4             actor M101, a real
    lists/splits/train.txt                            000_M101.mp4 a line

The ten folders beside end_to_end hold the same clips, distorted. The reals of the corpus are those of FaceForensics++;
those people are written with its name, so that a list of corpora (several.py) keeps them with it.
"""
from __future__ import annotations

import re
from collections import Counter
from typing import Any

from extract.layouts.base import FACE_FORENSICS, Corpus, Side, clip_stem, left_out, read_text, row, without_copies
from extract.layouts.faceforensics_lists import person

FAKES, REALS = "manipulated_videos", "source_videos"  # perhaps with _part_07 behind it
PER_FOLDER = 1000  # fakes of each of the eleven kinds; by its README
NAME = re.compile(r"(\d{3})_([MW]\d{3})$", re.I)
ACTOR = re.compile(r"[MW]\d{3}", re.I)


def deeperforensics(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Return the rows of DeeperForensics, any subset that has fakes."""
    fakes = {name for name in names if name.lower().startswith(FAKES) and NAME.match(clip_stem(name))}
    if not fakes:
        return None
    reals = {name for name in names if name.lower().startswith(REALS) and _actor(name)}
    kept, doubled = without_copies(sorted(fakes | reals))
    official = _official(side)
    rows = [_row(name, name in fakes, official) for name in kept]
    kinds = Counter(entry["method"] or "source videos" for entry in rows)
    stems = {clip_stem(name).lower() for name in fakes}
    notes = left_out(len(names) - len(fakes) - len(reals), "the name is none of DeeperForensics, or tells no actor")
    notes.append("its reals are those of FaceForensics++: name both in a list of corpora")
    return Corpus("DeeperForensics-1.0", "DeeperForensics", rows, dict(sorted(kinds.items())),
                  {kind: PER_FOLDER for kind in kinds if kind != "source videos"},
                  (sum(stem in stems for stem in official), len(official)),
                  sorted(stem for stem in official if stem not in stems), doubled, notes, clip_s=17.0)


def _actor(name: str) -> str:
    return next((part.upper() for part in name.split("/")[1:-1] if ACTOR.fullmatch(part)), "")


def _row(name: str, fake: bool, official: dict[str, str]) -> dict[str, Any]:
    if not fake:
        return row(name, 0, "DeeperForensics", target_id=_actor(name))
    places = [part for part in name.split("/")[1:-1] if part.lower() != "videos"]
    clip, actor = clip_stem(name).split("_")
    return row(name, 1, "DeeperForensics", places[-1] if places else "end_to_end",
               f"{FACE_FORENSICS}/{person(clip)}", actor.upper(), f"{FACE_FORENSICS}/{clip}",
               official.get(clip_stem(name).lower(), ""))


def _official(side: Side) -> dict[str, str]:
    """Stem of a fake -> part, from the lists train.txt, val.txt and test.txt."""
    official: dict[str, str] = {}
    for file in sorted(side):
        part = file.rpartition("/")[2].lower().removesuffix(".txt")
        if part in ("train", "val", "test") and file.lower().endswith(".txt"):
            lines = (line.split()[0] for line in read_text(side[file]).splitlines() if line.strip())
            official.update({stem: part for line in lines if NAME.match(stem := clip_stem(line).lower())})
    return official
