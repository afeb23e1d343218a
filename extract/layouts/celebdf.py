"""Celeb-DF v1, v2 and ++, from the names of their files and the official list of test clips.

    Celeb-real/id0_0003.mp4              clip 3 of person 0
    YouTube-real/00170.mp4               a clip of somebody who is in no other clip
    Celeb-synthesis/id0_id16_0003.mp4    clip 3 of person 0 with the face of person 16; ++ sorts these by method
    Celeb-synthesis/TalkingFace/FLOAT/id0_0003_test_id08701_aaa.mp4     the same clip, moved by a clip of VoxCeleb2

Who moves a talking face is not seen in it, nor in any other clip, so nobody is tied to it. Names do not tell v1 from a
subset of v2, which goes by v2 then. Lists and disks differ in case, suffix and a `videos/` more or less, so clips are
compared by `clip_key`. The corpus that data.demo.make draws is laid out like this too.
"""
from __future__ import annotations

import re
from collections import Counter
from typing import Any

from extract.layouts.base import (
    Corpus,
    Side,
    clip_key,
    clip_stem,
    left_out,
    nameless,
    read_text,
    row,
    without_copies,
    word,
)
from extract.layouts.labels import CONTAINERS
from pipeline.errors import CorpusError
from pipeline.tables import DEMO_MARK

FOLDERS = {"celeb-real": "Celeb-real", "youtube-real": "YouTube-real", "celeb-synthesis": "Celeb-synthesis"}
FAKES = "Celeb-synthesis"
KINDS = {
    # Clips per folder: the README files of yuezunli/celeb-deepfakeforensics; v2 counted in the full list of names.
    "Celeb-DF-v1": ("Celeb-DF v1", {"Celeb-real": 158, "YouTube-real": 250, "Celeb-synthesis": 795}),
    "Celeb-DF-v2": ("Celeb-DF v2", {"Celeb-real": 590, "YouTube-real": 300, "Celeb-synthesis": 5639}),
    "Celeb-DF++": ("Celeb-DF++", {"Celeb-real": 590, "YouTube-real": 300, "methods": 22, "FaceSwap": 8,
                                  "FaceReenact": 7, "TalkingFace": 7}),
    "demo": ("demo corpus (drawn, in the layout of Celeb-DF)", {}),
}
LIST = "list_of_testing_videos.txt"  # compared in lower case
V2_LIST_LINES = 518
V1_PEOPLE = 13
METHOD_KINDS = {"faceswap": "FaceSwap", "facereenact": "FaceReenact", "talkingface": "TalkingFace"}  # of ++
REAL = re.compile(r"(id\d+)_\d+$", re.I)
FAKE = re.compile(r"(id\d+)_(id\d+)_(\d+)$", re.I)
FAKE_PP = re.compile(r"(id\d+)_(?:(id\d+)_)?(\d+)(?:_.*)?$", re.I)  # talking faces may have no second person


def celeb(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Celeb-DF v1, v2 or ++, any subset, with or without `videos/`, folders in any case.

    Raises CorpusError when the official list is malformed or contradicts a folder.
    """
    inside = [name for name in names if _folder(name)]
    if not inside:
        return None
    kept, doubled = without_copies(inside)
    listed = _official_list(side)
    dataset, notes = _which(kept, len(listed), side, folder)
    title, expected = KINDS[dataset]
    reals = {clip_stem(name).lower(): name for name in kept if _folder(name) == "Celeb-real"}
    shape = _shape(kept, reals)
    rows = [_row(name, dataset, reals, shape) for name in kept]
    here = {_key(name): entry for name, entry in zip(kept, rows)}
    for key, entry in here.items() if listed else ():
        truth = listed[key][1] if key in listed else None
        if truth not in (None, entry["label"]):
            raise CorpusError(f"{entry['video_id']} lies in a folder of {word(entry['label'])}s, but the official list "
                              f"calls it {word(truth)} (in the list 1 is real): move the file or mend the list")
        entry["official"] = "train" if truth is None else "test"
    found = Counter(map(_folder, kept))
    counts = {kind: found[kind] for kind in FOLDERS.values()}
    if dataset == "Celeb-DF++":
        methods = {entry["method"] for entry in rows if entry["label"]}
        counts["methods"] = len(methods)
        of_kind = Counter(METHOD_KINDS.get(method.split("/")[0].lower(), "") for method in methods)
        counts.update({kind: of_kind[kind] for kind in METHOD_KINDS.values()})
        if odd := of_kind[""]:
            notes.append(f"{odd:,} folders of fakes lie below none of {', '.join(METHOD_KINDS.values())}")
    notes += left_out(len(names) - len(inside), "outside the three folders of Celeb-DF") + nameless(rows)
    return Corpus(title, dataset, rows, counts, expected, (sum(key in here for key in listed), len(listed)),
                  [name for key, (name, _) in listed.items() if key not in here], doubled, notes,
                  clip_s=6.0 if dataset == "demo" else 13.0)


def _folder(name: str) -> str:
    """Which of the three folders a file lies in, "" outside."""
    head, _, rest = name.partition("/")
    return FOLDERS.get(re.sub("[_ ]", "-", head.lower()), "") if rest else ""


def _key(name: str) -> str:
    return clip_key(_folder(name) + "/" + name.partition("/")[2])


def _row(name: str, dataset: str, reals: dict[str, str], shape: tuple[str, str]) -> dict[str, Any]:
    stem = clip_stem(name)
    if _folder(name) == "YouTube-real":  # every clip shows another person
        return row(name, 0, dataset, target_id=f"yt{stem}")
    if _folder(name) == "Celeb-real":
        match = REAL.match(stem)
        return row(name, 0, dataset, target_id=match[1].lower() if match else "")
    methods = [part for part in name.split("/")[1:-1] if part.lower() not in CONTAINERS]
    method = "/".join(methods) or FAKES
    match = (FAKE_PP if methods else FAKE).match(stem)
    if not match:
        return row(name, 1, dataset, method)
    target, source, number = match[1].lower(), (match[2] or "").lower(), match[3]
    folder, suffix = shape
    original = reals.get(f"{target}_{number}") or f"{folder}/{target}_{number}{suffix}"
    return row(name, 1, dataset, method, target, source, original)


def _shape(kept: list[str], reals: dict[str, str]) -> tuple[str, str]:
    """Folder and ending that a clip of Celeb-real would have here, for those that a subset lacks."""
    if like := next(iter(reals.values()), ""):
        return like.rpartition("/")[0], _ending(like)
    inside = next((part for name in kept for part in name.lower().split("/") if part in ("videos", "frames")), "")
    return f"Celeb-real/{inside}".rstrip("/"), _ending(kept[0])


def _ending(name: str) -> str:
    """What follows the stem of a clip: its suffix, or _*.png of frames."""
    return name.rpartition("/")[2][len(clip_stem(name)):]


def _official_list(side: Side) -> dict[str, tuple[str, int]]:
    """The official list of test clips: key -> (name, our label). Its own 1 means real; it has no header."""
    path = next((side[name] for name in sorted(side) if name.lower() == LIST), None)
    listed: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(read_text(path).splitlines() if path else [], 1):
        if not line.strip():
            continue
        match = re.match(r"\s*([01])[\s,]+(\S.*?)\s*$", line)
        name = match[2].replace("\\", "/").removeprefix("./") if match else ""
        folder = _folder(name)
        if not match or not folder:
            raise CorpusError(f"{path}, line {number}: expected `1 YouTube-real/00170.mp4` (1 real, 0 fake), got "
                              f"{line.strip()[:80]!r}")
        label = 1 - int(match[1])
        if label != (folder == FAKES):
            raise CorpusError(f"{path}, line {number}: calls {match[2]} {word(label)} (in this list 1 is real), but "
                              f"{folder} holds {word(1 - label)}s: mend the line")
        listed[_key(name)] = name, label
    return listed


def _which(kept: list[str], n_listed: int, side: Side, folder: str) -> tuple[str, list[str]]:
    """Which Celeb-DF this is, and a note where a subset could be of either."""
    if DEMO_MARK in side:
        return "demo", []
    if any(part.lower() in METHOD_KINDS for name in kept if _folder(name) == FAKES for part in name.split("/")[1:-1]):
        return "Celeb-DF++", []
    found = Counter(map(_folder, kept))
    v1 = KINDS["Celeb-DF-v1"][1]
    people = {person.lower() for name in kept for person in re.findall(r"id\d+", clip_stem(name), re.I)}
    youtube = [int(stem) for name in kept if _folder(name) == "YouTube-real"
               for stem in [clip_stem(name)] if stem.isdecimal()]
    if (n_listed == V2_LIST_LINES or len(people) > V1_PEOPLE or max(youtube, default=0) >= v1["YouTube-real"]
            or any(found[kind] > v1[kind] for kind in v1)):
        return "Celeb-DF-v2", []
    if dict(found) == v1 or re.search(r"v1\b", folder, re.I):
        return "Celeb-DF-v1", []
    return "Celeb-DF-v2", ["the names fit Celeb-DF v2 and v1 alike, so it is taken for a subset of v2"]
