"""FaceForensics++, from the names of its files and the official lists of pairs.

    original_sequences/youtube/c23/videos/071.mp4                    a real, by itself a person
    manipulated_sequences/Deepfakes/c23/videos/071_054.mp4           071 with the face of 054
    manipulated_sequences/DeepFakeDetection/…/01_02__walking__ABCDEFGH.mp4   actor 01 with the face of 02 in a scene

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
NAME = re.compile(r"(\d+)(?:_(\d+))?(__.+)?$")


def faceforensics(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """FaceForensics++ with any methods, compressions and actors, as videos or as frames.

    Raises CorpusError when an official split (train.json, val.json, test.json) is malformed.
    """
    inside = [name for name in names if name.lower().startswith(TOPS) and name.count("/") >= 2]
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
        counts[f"{entry['method'] or name.split('/')[1].lower()} {compression}".strip()] += 1
        rows.append(entry)
    order = {kind: i for i, kind in enumerate(EXPECTED)}
    found = dict(sorted(counts.items(), key=lambda item: (order.get(item[0].split()[0], len(order)), item[0])))
    notes = left_out(len(names) - len(inside), "outside original_sequences and manipulated_sequences")
    notes += torn(official, seen)
    return Corpus("FaceForensics++", "FaceForensics++", rows, found,
                  {kind: EXPECTED[kind.split()[0]] for kind in found if kind.split()[0] in EXPECTED},
                  (sum(stem in seen for stem in listed), len(listed)),
                  [stem for stem in listed if stem not in seen], doubled, notes + nameless(rows), clip_s=17.0)


def _row(name: str, spelled: dict[str, str]) -> dict[str, Any]:
    """spelled: clip_key -> name of every video that is here."""
    parts = name.split("/")
    fake = not parts[0].lower().startswith("original")
    stem, last = clip_stem(name), parts[-1]
    match = NAME.match(stem)
    method = METHODS.get(parts[1].lower(), parts[1]) if fake else ""
    if not match or bool(match[2]) != fake:
        return row(name, int(fake), "FaceForensics++", method)
    target, source, scene = match[1], match[2] or "", match[3] or ""
    prefix = "actor" if scene else ""
    original = ""
    if fake:
        # The real of an actor's fake has the scene but not the eight characters at the end.
        clip = target + (scene.rpartition("__")[0] if scene.count("__") > 1 else scene)
        place = ["original_sequences", "actors" if scene else "youtube", *parts[2:-1]]
        original = "/".join([*place, clip + last[len(stem):]])
        original = spelled.get(clip_key(original), original)
    return row(name, int(fake), "FaceForensics++", method, prefix + person(target), source and prefix + person(source),
               original)
