"""FaceForensics++, from the names of its files and the official lists of pairs.

    original_sequences/youtube/c23/videos/071.mp4                    a real, by itself a person
    manipulated_sequences/Deepfakes/c23/videos/071_054.mp4           071 with the face of 054
    manipulated_sequences/DeepFakeDetection/…/01_02__walking__ABCDEFGH.mp4   actor 01 with the face of 02 in a scene
    original/071.mp4  Deepfakes/071_054.mp4  Face2Face/071_054.mp4          the same, sorted by method alone

Every compression of a clip is a video of its own here; data.splitting.groups knows that they are one source.
"""
from __future__ import annotations

import re
from collections import Counter
from typing import Any

from extract.layouts.base import Corpus, Side, clip_key, clip_stem, left_out, nameless, row, without_copies
from extract.layouts.faceforensics_lists import known_parts, official_parts, person, torn

TOPS = ("original_sequences", "manipulated_sequences")
COMPRESSIONS = ("raw", "c0", "c23", "c40")
EXPECTED = {"youtube": 1000, "actors": 363, "Deepfakes": 1000, "Face2Face": 1000, "FaceSwap": 1000,
            "NeuralTextures": 1000, "FaceShifter": 1000, "DeepFakeDetection": 3068}  # per compression; its README
METHODS = {method.lower(): method for method in EXPECTED}
REALS = ("original", "originals", "real", "reals", "youtube", "actors")  # folders of reals beside those of methods
NAME = re.compile(r"(\d+)(?:_(\d+))?(__.+)?$")


def faceforensics(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """FaceForensics++ with any methods, compressions and actors, as videos or as frames.

    Raises CorpusError when an official split (train.json, val.json, test.json) is malformed.
    """
    inside = [name for name in names if name.lower().startswith(TOPS) and name.count("/") >= 2]
    by_method = not inside and _is_by_method(names)
    if by_method:
        inside = [name for name in names if _top(name) in REALS or _top(name) in METHODS]
    if not inside:
        return None
    kept, doubled = without_copies(inside)
    listed = official_parts(side)
    official = listed or known_parts()
    spelled = {clip_key(name): name for name in kept}
    rows, counts, seen = [], Counter[str](), set()
    for name in kept:
        entry = _row(name, spelled)
        if entry["target_id"].isdecimal():  # actors are in no official part
            stem = clip_stem(name)
            entry["official"] = official.get(stem, "")
            seen.add(stem)
        compression = next((part for part in name.lower().split("/") if part in COMPRESSIONS), "")
        reals = "actors" if "__" in name else "youtube"
        kind = entry["method"] or (reals if by_method else name.split("/")[1].lower())
        counts[f"{kind} {compression}".strip()] += 1
        rows.append(entry)
    order = {kind: i for i, kind in enumerate(EXPECTED)}
    found = dict(sorted(counts.items(), key=lambda item: (order.get(item[0].split()[0], len(order)), item[0])))
    where = "the folders of reals and of methods" if by_method else "original_sequences and manipulated_sequences"
    notes = left_out(len(names) - len(inside), f"outside {where}")
    notes += torn(official, seen)
    return Corpus("FaceForensics++", "FaceForensics++", rows, found,
                  {kind: EXPECTED[kind.split()[0]] for kind in found if kind.split()[0] in EXPECTED},
                  (sum(stem in seen for stem in listed), len(listed)),
                  [stem for stem in listed if stem not in seen], doubled, notes + nameless(rows), clip_s=17.0)


def _top(name: str) -> str:
    return name.split("/")[0].lower()


def _is_by_method(names: list[str]) -> bool:
    """Whether clips are sorted into a folder for each method, all of them named like those of FaceForensics++."""
    fakes = [name for name in names if "/" in name and _top(name) in METHODS and _top(name) not in REALS]
    reals = [name for name in names if "/" in name and _top(name) in REALS]
    return bool(fakes) and all((match := NAME.match(clip_stem(name))) and bool(match[2]) == fake
                               for group, fake in ((fakes, True), (reals, False)) for name in group)


def _row(name: str, spelled: dict[str, str]) -> dict[str, Any]:
    """spelled: clip_key -> name of every video that is here."""
    parts = name.split("/")
    by_method = not name.lower().startswith(TOPS)
    fake = _top(name) not in REALS if by_method else not parts[0].lower().startswith("original")
    stem, last = clip_stem(name), parts[-1]
    match = NAME.match(stem)
    folder = parts[0 if by_method else 1]
    method = METHODS.get(folder.lower(), folder) if fake else ""
    if not match or bool(match[2]) != fake:
        return row(name, int(fake), "FaceForensics++", method)
    target, source, scene = match[1], match[2] or "", match[3] or ""
    prefix = "actor" if scene else ""
    original = ""
    if fake:
        # The real of an actor's fake has the scene but not the eight characters at the end.
        clip = target + (scene.rpartition("__")[0] if scene.count("__") > 1 else scene)
        tops = [[top] for top in REALS] if by_method else [["original_sequences", "actors" if scene else "youtube"]]
        places = ["/".join([*top, *parts[1 if by_method else 2:-1], clip + last[len(stem):]]) for top in tops]
        original = next((spelled[clip_key(place)] for place in places if clip_key(place) in spelled), places[0])
    return row(name, int(fake), "FaceForensics++", method, prefix + person(target), source and prefix + person(source),
               original)
