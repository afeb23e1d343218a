"""How far apart crops of copies and of other clips are: what ALIKE_BITS of extract/copies.py was chosen from.

    python -m tests.benchmarks.near_copies FOLDER [FOLDER…]

Each real clip below the folders is encoded anew three times (crf 34; half the size with crf 26 and with crf 36). All
are sampled and hashed as extraction does. Printed are the median Hamming distances, over the crops at the same place,
of each version to its clip and of each two clips, the nearest by name.
"""
from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np

VERSIONS = {"crf34": (1.0, 34), "half26": (.5, 26), "half36": (.5, 36)}
LONGEST_S = 60.0
NEAREST = 8


def hashes_of(clip: Path) -> list[str]:
    """The hashes of a clip's crops in display order, "" without a face."""
    from extract.copies import fingerprint
    from extract.decoding.sampling import FrameOptions
    from extract.faces.detector import Detector, FaceOptions
    from extract.video import extract_video

    found = extract_video(clip, Detector(FaceOptions(), "cpu"), FrameOptions(), digest=True)
    return fingerprint(found.digests, found.crops)["hashes"]


def distance(one: list[str], other: list[str]) -> float | None:
    """The median distance in bits, None where fewer than LEAST_CROPS crops stand at the same places."""
    from extract.copies import LEAST_CROPS

    bits = [(int(a, 16) ^ int(b, 16)).bit_count() for a, b in zip(one, other) if a and b]
    return float(np.median(bits)) if len(bits) >= LEAST_CROPS else None


def main(argv: list[str] | None = None) -> int:
    from classify.video import clips
    from extract.decoding.sampling import Clip, FrameOptions
    from tests.extract.test_copies import reencoded

    parser = argparse.ArgumentParser(description="Measure how far apart copies and other clips are.")
    parser.add_argument("folders", nargs="+")
    hashes, copies = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for clip in map(Path, clips(parser.parse_args(argv).folders)):
            if Clip(clip, FrameOptions()).duration_s > LONGEST_S:
                continue
            hashes[clip.name] = hashes_of(clip)
            for version, (scale, crf) in VERSIONS.items():
                again = reencoded(clip, Path(folder) / f"{version}.mp4", scale, crf)
                bits = distance(hashes[clip.name], hashes_of(again))
                if bits is not None:
                    copies.append((bits, f"{clip.name} {version}"))
            print(f"{clip.name}: {copies[-3:]}", file=sys.stderr, flush=True)
    others = sorted((bits, f"{a} {b}") for a, b in itertools.combinations(hashes, 2)
                    if (bits := distance(hashes[a], hashes[b])) is not None)
    copies.sort(reverse=True)
    middle = np.median([bits for bits, _ in copies])
    print(f"{len(hashes)} clips. Versions: {len(copies)}, median {middle} bits, farthest:")
    print(*(f"  {bits:g}  {name}" for bits, name in copies[:NEAREST]), sep="\n")
    print(f"Other clips: {len(others)} pairs, median {np.median([bits for bits, _ in others])} bits, nearest:")
    print(*(f"  {bits:g}  {name}" for bits, name in others[:NEAREST]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
