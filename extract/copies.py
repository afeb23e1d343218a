"""Which files of a corpus show the same thing: what must not be in two parts of a split.

bytes     files with the same bytes, found while indexing (`same_bytes`)
samples   videos whose sampled frames decode to the same pixels: in another container, with other metadata or sound
          (`same_samples`, from digests that extraction keeps)
near      reals whose crops look the same at the same moments: another bitrate or size (`near_copies`, from perceptual
          hashes that extraction keeps). A fake is a near-copy of its real by nature and is no finding.

Each answer maps a name to the first of its group, which itself is not in the answer. All three sort into buckets and
compare within one: the time grows with the number of files and not with that of pairs. What is not found: copies that
were cut, slowed down, mirrored or cropped.
"""
from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping

import numpy as np

TAIL = 4096      # bytes at the end of a file: files of one size differ there, their first bytes are often alike
SMALLEST = 512   # bytes; smaller "videos" are place holders, and their equality says nothing
EVERY_ROW = 4    # of a frame's rows one in four is digested: enough to tell two frames apart, in a quarter of the time
# Hamming distances of `crop_hash`, median over the crops of a clip, on 40 real clips and three versions of each (crf
# 34, and half the size with crf 26 and 36): of copies 4 in the median, 8 or less of 118 of 120, 10 at most; of two
# clips 16 at least, but for two pairs of one person cut from one recording (10, 12).
ALIKE_BITS = 8
BANDS = 4        # parts of a hash; copies share at least one of them in at least one crop (measured: all 120 do)
LEAST_CROPS = 3  # crops at the same moments; fewer say nothing
SAME_LENGTH_S = 0.2
WINDOW = 16      # clips of nearly the same length in one bucket that a clip is compared with


def same_bytes(root: Path, names: Iterable[str], smallest: int = 0) -> dict[str, str]:
    """Find files with the same bytes: name -> the first of those names in order.

    Only files of one size can be copies; of those the last 4 kB are read, and the whole only where these are the same.
    A file that cannot be read, or has fewer than `smallest` bytes, is nobody's copy.
    """
    def size(name: str) -> int:
        if (n_bytes := os.stat(root / name).st_size) < smallest:
            raise OSError
        return n_bytes

    alike = _told_apart([sorted(names)], size)
    alike = _told_apart(alike, lambda name: _tail(root / name))
    alike = _told_apart(alike, lambda name: _digest(root / name))
    return _firsts(alike)


def frame_digest(rgb: np.ndarray) -> bytes:
    """Digest one frame, uint8 RGB (height, width, 3)."""
    return hashlib.sha256(repr(rgb.shape).encode() + np.ascontiguousarray(rgb[::EVERY_ROW]).tobytes()).digest()


def fingerprint(digests: Mapping[int, bytes], crops: Mapping[int, np.ndarray]) -> dict[str, Any]:
    """Return what a video's row keeps for finding its copies.

    Args:
        digests: number of each frame that was read -> `frame_digest`.
        crops: number of a frame -> crop of its main face, uint8 RGB (side, side, 3).

    Returns:
        digest: hex of 128 bits over all frames; hashes: one a frame in display order, `crop_hash` or "" without a face.
    """
    if not digests:
        return {"digest": "", "hashes": []}
    numbers = sorted(digests)
    return {"digest": hashlib.sha256(b"".join(digests[number] for number in numbers)).hexdigest()[:32],
            "hashes": [crop_hash(crops[number]) if number in crops else "" for number in numbers]}


def crop_hash(crop: np.ndarray) -> str:
    """Hash what a crop looks like: 64 bits as hex, near for crops that look alike. crop: uint8 RGB (side, side, 3).

    pHash (Zauner 2010): whether each of the 8 x 8 lowest frequencies of 32 x 32 grey pixels is above their median. Of
    OpenCV's DCT, since the library for it, ImageHash, brings SciPy and PyWavelets along.
    """
    import cv2

    grey = cv2.cvtColor(cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    low = cv2.dct(grey.astype(np.float32))[:8, :8]
    return np.packbits(low > np.median(low)).tobytes().hex()


def same_samples(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Find videos whose sampled frames have the same pixels: video_id -> the first of those, in order.

    rows: of an extract.store.Store, with `digest`. A video without a face counts for nothing.
    """
    return _firsts(_told_apart([sorted(name for name in rows if rows[name].get("digest") and rows[name]["faces"])],
                               lambda name: rows[name]["digest"]))


def near_copies(rows: Mapping[str, Mapping[str, Any]], labels: Mapping[str, int]) -> dict[str, str]:
    """Find reals that look like others all along: video_id -> the first of those, in order.

    rows: of an extract.store.Store, with `hashes`: one a sampled frame in display order, "" without a face. labels:
    video_id -> 0 or 1. Reals with the same digest are `same_samples` and not in this answer.
    """
    exact = same_samples(rows)
    reals = sorted(name for name in rows if not labels[name] and name not in exact
                   and sum(map(bool, rows[name].get("hashes", ()))) >= LEAST_CROPS)
    hashes = {name: [int(text, 16) if text else None for text in rows[name]["hashes"]] for name in reals}
    length_s = {name: rows[name]["video"]["duration_s"] for name in reals}
    buckets: dict[tuple, list[str]] = defaultdict(list)
    width = 64 // BANDS
    for name in reals:
        for place, value in enumerate(hashes[name]):
            if value is not None:
                for band in range(BANDS):
                    buckets[place, band, value >> band * width & (1 << width) - 1].append(name)
    pairs: set[tuple[str, str]] = set()
    for bucket in buckets.values():
        bucket.sort(key=lambda name: (length_s[name], name))
        for at, name in enumerate(bucket):
            pairs.update((min(name, other), max(name, other)) for other in bucket[at + 1:at + 1 + WINDOW]
                         if length_s[other] - length_s[name] <= SAME_LENGTH_S)
    return joined(*({b: a} for a, b in sorted(pairs) if _look_alike(hashes[a], hashes[b])))


def joined(*found: Mapping[str, str]) -> dict[str, str]:
    """Join answers of this module: what is a copy of a copy is one of the first, too."""
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while first.get(name, name) != name:
            first[name] = name = first.get(first[name], first[name])
        return name

    for same_as in found:
        for name, other in same_as.items():
            a, b = sorted((root(name), root(other)))
            first[b] = a
            first.setdefault(a, a)
    return {name: root(name) for name in first if root(name) != name}


def notes(same_as: Mapping[str, str], rows: list[dict[str, Any]], thing: str) -> list[str]:
    """Say of copies to the byte how many there are, how many in two parts, how many labelled real and fake.

    rows: of an index. thing: what a row is, "video" or "picture".
    """
    by_name = {entry["video_id"]: entry for entry in rows}
    pairs = [(by_name[name], by_name[first]) for name, first in same_as.items()]
    lines = []
    if pairs:
        copy, first = pairs[0]
        lines.append(f"{len(pairs):,} of {len(rows):,} {thing}s have the content of another, e.g. {copy['video_id']} "
                     f"= {first['video_id']}; `make split` keeps copies together or drops them")
    for why, key in (("are copies of one in another part", "official"), ("are copies of one with the other label",
                                                                         "label")):
        unlike = [(copy["video_id"], first["video_id"]) for copy, first in pairs if copy[key] != first[key]]
        if unlike:
            lines.append(f"{len(unlike):,} {why}, e.g. {' = '.join(unlike[0])}; `make split` says what it does with "
                         "them")
    return lines


def _look_alike(one: list[int | None], other: list[int | None]) -> bool:
    bits = sorted((a ^ b).bit_count() for a, b in zip(one, other) if a is not None and b is not None)
    # The median, twice: numpy's takes ten times as long for a handful of numbers.
    return len(bits) >= LEAST_CROPS and bits[(len(bits) - 1) // 2] + bits[len(bits) // 2] <= 2 * ALIKE_BITS


def _firsts(groups: list[list[str]]) -> dict[str, str]:
    return {name: group[0] for group in groups for name in group[1:]}


def _told_apart(groups: list[list[str]], key: Callable[[str], Any]) -> list[list[str]]:
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
