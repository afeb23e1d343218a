"""What it costs to index and split a corpus of a million names: CPU seconds and memory of a process of its own.

    python -m tests.benchmarks.names --names 1000000

Prints seconds of each step and the peak of resident memory, beside the floor (listing, sorting and writing the same
names and nothing else), and exits with 1 above 25 CPU seconds or 1 GB. No file is made: the names are handed over.
"""
from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

MOST_S, MOST_MB = 25.0, 1000.0
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=KINDS, default="folders", help="layout and shape of the groups")
    parser.add_argument("--floor", action="store_true", help="only list, sort and write the names")
    given = parser.parse_args()
    names = KINDS[given.kind](given.names)
    start, spent, before = time.process_time(), {}, _peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        if given.floor:
            (Path(folder) / "index.csv").write_text("\n".join(sorted(f"{name},0,,,,,,," for name in names)))
            spent["floor"] = time.process_time() - start
        else:
            spent = _index_and_split(names, Path(folder))
    total, peak = sum(spent.values()), _peak_mb()
    print(f"{given.kind}, {given.names:,} names: " + ", ".join(f"{step} {s:.1f} s" for step, s in spent.items())
          + f"; together {total:.1f} CPU s, peak {peak:,.0f} MB (the names alone {before:,.0f} MB)")
    return int(not given.floor and (total > MOST_S or peak > MOST_MB))


def _index_and_split(names: list[str], out: Path) -> dict[str, float]:
    """CPU seconds of each step of `make index` and `make split` but the walk."""
    from data.split import describe, split_corpus
    from extract import corpus
    from extract.layouts.walk import Found
    from pipeline.tables import INDEX, SPLIT, read_table, write_table

    spent: dict[str, float] = {}

    def timed(step, function, *arguments):
        start = time.process_time()
        found = function(*arguments)
        spent[step] = time.process_time() - start
        print(f"  {step}: {spent[step]:.1f} CPU s, peak {_peak_mb():,.0f} MB", flush=True)
        return found

    root = out / "corpus"
    root.mkdir()
    found = Found(dict.fromkeys(names, "video"))
    names.clear()
    corpus.walk = lambda path: found  # the same names without a million files on a disk
    indexed = timed("index", corpus.find_corpus, root)
    timed("write", write_table, out / "index.csv", indexed.rows, INDEX)
    del indexed
    found.media.clear()
    index = timed("read", read_table, out / "index.csv", INDEX)
    split = timed("split", split_corpus, index)
    timed("write split", write_table, out / "split.csv", split.rows, SPLIT)
    print("\n".join(describe(split)[:5]))
    return spent


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


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
