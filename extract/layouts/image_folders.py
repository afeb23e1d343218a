"""Folders of pictures: real and fake by the names of folders, with the parts train, val and test where they are given.

    real/ fake/                      also training_real, 0_real, FAKE, ai, nature, … at any depth
    train|val|test/real|fake/        also Train, training, valid, validation, testing
    train|test/REAL|FAKE/            CIFAKE

A row of the index is a picture, its video_id the path relative to the root. No picture is decoded here; `copies` reads
the ends of files to tell which have the same content.
"""
from __future__ import annotations

import functools
import hashlib
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Callable, Iterable

from extract.layouts.base import Corpus, folder_label, left_out, row

PART_WORDS = {**dict.fromkeys(("train", "training"), "train"), **dict.fromkeys(("test", "testing", "eval"), "test"),
              **dict.fromkeys(("val", "valid", "validation", "dev"), "val")}
CIFAKE = re.compile(r"(?:train|test)/(?:REAL|FAKE)/\d+(?: \(\d+\))?\.jpg")
CIFAKE_HAS = {"train real": 50_000, "train fake": 50_000, "test real": 10_000, "test fake": 10_000}
TAIL = 4096  # bytes at the end of a file: pictures of one size differ there, their first bytes are often alike


def images(names: list[str], folder: str = "") -> Corpus | None:
    """Rows of pictures below folders called real, fake or a synonym; the nearest folder decides, likewise for parts.

    names: paths relative to the root, with /. None where no picture has a label. A validation part without a test part
    is the test part: what was held out judges, and validation is carved out of training.
    """
    cifake = all(CIFAKE.fullmatch(name) for name in names)
    dataset = "CIFAKE" if cifake else "images"
    rows, without = [], []
    for name in names:
        label, method, part = _told_by(os.path.dirname(name))
        if label is None:
            without.append(name)
        else:
            rows.append(row(name, label, dataset, method, official=part))
    if not rows:
        return None
    notes = left_out(len(without), f"below no folder called real or fake (e.g. {without[0]})" if without else "",
                     "picture")
    parts = {entry["official"] for entry in rows}
    if "val" in parts and "test" not in parts:
        notes.append("there is no test part: the validation part judges, and validation is carved out of training")
        for entry in rows:
            entry["official"] = entry["official"].replace("val", "test")
    found = Counter(f"{entry['official']} {'fake' if entry['label'] else 'real'}".strip() for entry in rows)
    kinds = [f"{part} {kind}".strip() for part in ("train", "val", "test", "") for kind in ("real", "fake")]
    return Corpus("CIFAKE" if cifake else "pictures in folders real and fake", dataset, rows,
                  {kind: found[kind] for kind in kinds if found[kind]}, expected=CIFAKE_HAS if cifake else {},
                  notes=notes, thing="picture")


@functools.lru_cache(maxsize=4096)
def _told_by(folder: str) -> tuple[int | None, str, str]:
    """Label, method and part of the pictures in a folder."""
    label, method = folder_label(folder)
    words = (re.split(r"[^a-z]+", place.lower()) for place in reversed(folder.split("/")))
    parts = ([PART_WORDS[w] for w in found if w in PART_WORDS] for found in words)
    return label, method, next((part[0] for part in parts if part), "")


def copies(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Files with the same content: name -> the first of those names in order, which itself is not in the answer.

    Only files of one size can be copies; of those the last 4 kB are read, and the whole only where these are the same.
    A file that cannot be read is nobody's copy.
    """
    alike = _told_apart([sorted(names)], lambda name: os.stat(root / name).st_size)
    alike = _told_apart(alike, lambda name: _tail(root / name))
    alike = _told_apart(alike, lambda name: _digest(root / name))
    return {name: group[0] for group in alike for name in group[1:]}


def across(same_as: dict[str, str], rows: list[dict]) -> list[str]:
    """Notes on copies: how many, those in two parts, those labelled real and fake."""
    by_name = {entry["video_id"]: entry for entry in rows}
    pairs = [(by_name[name], by_name[first]) for name, first in same_as.items()]
    notes = []
    if pairs:
        copy, first = pairs[0]
        notes.append(f"{len(pairs):,} of {len(rows):,} pictures have the content of another, e.g. {copy['video_id']} "
                     f"= {first['video_id']}")
    for why, key in (("are copies of one in another part", "official"), ("are copies of one with the other label",
                                                                         "label")):
        unlike = [(copy["video_id"], first["video_id"]) for copy, first in pairs if copy[key] != first[key]]
        if unlike:
            notes.append(f"{len(unlike):,} {why}, e.g. {' = '.join(unlike[0])}; `make split` says what it does with "
                         "them")
    return notes


def _told_apart(groups: list[list[str]], key: Callable) -> list[list[str]]:
    """Groups split by a key of their members; those of one member are gone."""
    found = []
    for group in groups:
        by_key: dict = defaultdict(list)
        for name in group:
            try:
                by_key[key(name)].append(name)
            except OSError:
                continue
        found += [names for names in by_key.values() if len(names) > 1]
    return found


def _tail(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        return hashlib.blake2b(file.read(TAIL), digest_size=16).digest()


def _digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
