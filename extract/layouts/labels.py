"""What the names of folders tell: real or fake, the method of a fake, and the part (train, val, test).

The level that decides is the outermost one at which both classes stand side by side: below `deepfakes/` with `real/`
and `fake/` in it, real is real. Where no folder holds both, it is the outermost level at which both occur anywhere
(`a/real`, `b/fake`); where only one class occurs at all, the outermost folder that names it. Names are split into words
at whatever is no letter, never inside a word: `0_real` and `training_fake` tell a class, `LivePortrait` does not. The
methods of FaceForensics++ are known by their whole names.
"""
from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Iterable

REAL_WORDS = frozenset("real reals original originals genuine pristine authentic live bonafide unmanipulated nature "
                       "realart".split())
FAKE_WORDS = frozenset("fake fakes manipulated manipulation synthesis synthesized synthetic deepfake deepfakes forged "
                       "forgery forgeries swapped faceswap generated tampered spoof ai aigenerated aiartdata".split())
# Methods of FaceForensics++ whose names hold no word of FAKE_WORDS: a folder of that name holds fakes.
METHOD_NAMES = frozenset(("face2face", "neuraltextures", "faceshifter", "deepfakedetection"))
PART_WORDS = {**dict.fromkeys(("train", "training"), "train"), **dict.fromkeys(("test", "testing", "eval"), "test"),
              **dict.fromkeys(("val", "valid", "validation", "dev"), "val")}
# Folders that sort files and say nothing of them; compared in lower case.
CONTAINERS = frozenset("frames frame videos video clips clip images image faces face crops crop pictures sequences "
                       "video_frames extracted_frames raw c0 c23 c40".split())
# Beside the faces, and no faces: never data.
NOT_FACES = frozenset("mask masks landmark landmarks flow flows optical_flow depth heatmap heatmaps segmentation "
                      "segmentations".split())
SHOWN = 5


@dataclass(frozen=True)
class Told:
    """What a folder's path tells. label: None where it tells none. depth: number of the part of the path that
    decides, -1 for none. method: "" for reals. part: train, val, test or "". opposite: a deeper part of the path that
    says the other class, "" for none."""

    label: int | None = None
    depth: int = -1
    method: str = ""
    part: str = ""
    opposite: str = ""


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case: "0_Real-faces" is real, faces."""
    return [word for word in re.split(r"[^a-z]+", name.lower()) if word]


@functools.lru_cache(maxsize=65536)
def class_of(name: str) -> int | None:
    """Return 0 for the name of one folder that says real, 1 for fake, None for neither or both.

    Where a name has words of both classes, the words real and fake themselves decide: "Fake (Deep-Live-Cam)" is fake.
    """
    if re.sub(r"[^a-z0-9]", "", name.lower()) in METHOD_NAMES:
        return 1
    words = set(words_of(name))
    for reals, fakes in ((REAL_WORDS, FAKE_WORDS), ({"real", "reals"}, {"fake", "fakes"})):
        real, fake = bool(words & reals), bool(words & fakes)
        if real != fake:
            return int(fake)
    return None


def part_of(folder: str) -> str:
    """Return the part that a folder's path names, the innermost one that does; "" for none."""
    for name in reversed(folder.split("/")):
        if named := [PART_WORDS[word] for word in words_of(name) if word in PART_WORDS]:
            return named[0]
    return ""


def is_no_face(name: str) -> bool:
    """Whether a file lies below a folder of masks, landmarks or the like."""
    return any(place in NOT_FACES for place in name.lower().split("/")[:-1])


def told_by(folders: Iterable[str]) -> dict[str, Told]:
    """Return what each folder tells, seen among all. folders: paths below the corpus, with /; "" is the corpus."""
    paths = {folder: folder.split("/") if folder else [] for folder in set(folders)}
    inside: dict[str, set[int | None]] = defaultdict(set)  # folder -> classes of the folders in it
    at: dict[int, set[int | None]] = defaultdict(set)      # depth -> classes of the folders there
    children: dict[str, set[str]] = defaultdict(set)
    for parts in paths.values():
        for depth, name in enumerate(parts):
            place = "/".join(parts[:depth])
            inside[place].add(class_of(name))
            at[depth].add(class_of(name))
            children[place].add(name)
    return {folder: _told(parts, inside, at, children) for folder, parts in paths.items()}


def contradictions(told: dict[str, Told], folder_of: Iterable[str]) -> list[str]:
    """Return notes on folders whose names say the opposite of what was decided. folder_of: of each file."""
    odd: Counter[tuple[str, int, str, str]] = Counter()
    for folder in folder_of:
        found = told.get(folder, Told())
        if found.opposite and found.label is not None:
            parts = folder.split("/")
            place = "/".join(parts[:parts.index(found.opposite, found.depth + 1) + 1])
            odd[place, found.label, "/".join(parts[:found.depth + 1]), found.opposite] += 1
    lines = []
    for (place, label, decider, name), n in list(sorted(odd.items()))[:SHOWN]:
        meant = "fake" if label else "real"
        saying = sorted(set(words_of(name)) & (FAKE_WORDS if not label else REAL_WORDS)) or [name]
        lines.append(f"{place}/ ({n:,}) counts as {meant}, because {decider}/ is the outermost folder that tells the "
                     f"class; the word {saying[0]!r} in its own name was not used")
    if len(odd) > SHOWN:
        lines.append(f"… and {len(odd) - SHOWN:,} more folders whose names say the opposite of the folder that decides")
    return lines


def _told(parts: list[str], inside: dict[str, set[int | None]], at: dict[int, set[int | None]],
          children: dict[str, set[str]]) -> Told:
    naming = [depth for depth, name in enumerate(parts) if class_of(name) is not None]
    part = part_of("/".join(parts))
    if not naming:
        return Told(part=part)
    side_by_side = [depth for depth in naming if {0, 1} <= inside["/".join(parts[:depth])]]
    anywhere = [depth for depth in naming if {0, 1} <= at[depth]]
    depth = (side_by_side or anywhere or naming)[0]
    label = class_of(parts[depth])
    opposite = next((name for name in parts[depth + 1:] if class_of(name) not in (None, label)), "")
    return Told(label, depth, _method(parts, depth, children) if label else "", part, opposite)


def _method(parts: list[str], depth: int, children: dict[str, set[str]]) -> str:
    """The folder below the deciding one that names a method, else the deciding one itself, "fake" where it names a
    part."""
    for place, name in enumerate(parts[depth + 1:], depth + 1):
        words = words_of(name)
        if (not words or name.lower() in CONTAINERS or set(words) <= PART_WORDS.keys() | REAL_WORDS | FAKE_WORDS
                or _are_numbered(children["/".join(parts[:place])])):
            continue
        return name
    return "fake" if set(words_of(parts[depth])) & PART_WORDS.keys() else parts[depth]


def _are_numbered(names: set[str]) -> bool:
    """Whether folders differ in their numbers alone (id0, id1, …): people or clips, no methods."""
    return len(names) > 1 and len({re.sub(r"\d+", "#", name) for name in names}) == 1
