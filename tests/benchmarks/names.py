"""What it costs to index and split a corpus of a million names: CPU seconds and memory of each process.

    python -m tests.benchmarks.names --names 1000000

Prints both, beside the floor (drawing, sorting and writing the same names and nothing else), and exits with 1 where
index and split take more than 25 CPU seconds together or one of them more than 1 GB. No clip is made: the names are
handed over.
"""
from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

MOST_S, MOST_MB = 25.0, 1000.0
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=KINDS, default="folders", help="layout and shape of the groups")
    given = parser.parse_args()
    total, highest = 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for step in (_floor, _index, _split):  # each in a process of its own, as the commands are
            if not (child := os.fork()):
                step(given.kind, given.names, Path(folder))
                os._exit(0)
            _, status, used = os.wait4(child, 0)
            if status:
                return 1
            spent, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
            print(f"{step.__name__[1:]}, {given.kind}, {given.names:,} names: {spent:.1f} CPU s, peak {peak:,.0f} MB",
                  flush=True)
            if step is not _floor:
                total, highest = total + spent, max(highest, peak)
    print(f"together {total:.1f} CPU s (at most {MOST_S:g}), peak {highest:,.0f} MB (at most {MOST_MB:,.0f})")
    return int(total > MOST_S or highest > MOST_MB)


def _floor(kind: str, n: int, out: Path) -> None:
    (out / "names.csv").write_text("\n".join(sorted(f"{name},0,,,,,,," for name in KINDS[kind](n))))


def _index(kind: str, n: int, out: Path) -> None:
    """What `make index` does but the walk through folders."""
    from extract import corpus
    from extract.layouts.walk import Found
    from pipeline.tables import INDEX, write_table

    (out / "corpus").mkdir()
    found = Found(dict.fromkeys(KINDS[kind](n), "video"))
    corpus.walk = lambda path: found  # the same names without a million files on a disk
    write_table(out / "index.csv", corpus.find_corpus(out / "corpus").rows, INDEX)


def _split(kind: str, n: int, out: Path) -> None:
    """What `make split` does."""
    from data.split import split_corpus
    from pipeline.tables import INDEX, SPLIT, read_table, write_table

    write_table(out / "split.csv", split_corpus(read_table(out / "index.csv", INDEX)).rows, SPLIT)


def _folders(n: int) -> list[str]:
    return [f"{('real', 'fake')[i % 2]}/{i // 2:07d}.mp4" for i in range(n)]


def _faceforensics(n: int) -> list[str]:
    """A target and its partner, four methods of each: groups of two people."""
    names, i = [], 0
    while len(names) < n:
        names.append(f"original_sequences/youtube/c23/videos/{i:07d}.mp4")
        names += [f"manipulated_sequences/{method}/c23/videos/{i:07d}_{i ^ 1:07d}.mp4" for method in METHODS]
        i += 1
    return names[:n]


def _kodf(n: int) -> list[str]:
    """400 people who all swap faces in rings of ten."""
    names = [f"original_videos/{i % 400:03d}_{i:06d}.mp4" for i in range(n // 4)]
    for i in range(n - n // 4):
        person, donor = i % 400, i % 400 // 10 * 10 + (i + 1) % 10
        names.append(f"synthesized_videos/{person:03d}_{donor:03d}_{i % 5 + 1}_{i:06d}.mp4")
    return names


KINDS = {"folders": _folders, "faceforensics": _faceforensics, "kodf": _kodf}


if __name__ == "__main__":
    sys.exit(main())
