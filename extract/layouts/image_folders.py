"""Pictures with the same content: found by the bytes of their files. No picture is decoded."""
from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from pathlib import Path
from typing import Callable, Iterable

TAIL = 4096  # bytes at the end of a file: pictures of one size differ there, their first bytes are often alike


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
