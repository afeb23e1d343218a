"""What it costs to find copies, beside indexing, extraction and the split, on a corpus drawn for it.

    python -m tests.benchmarks.corpora --clips 3000

Draws clips of 2 s (128 x 96 px; the people of the demo corpus in other colours), of which 5 % are copies with the same
bytes, 5 % the same packets in another container and 2 % cut off. Prints CPU seconds of this process, which does all,
for a quarter, half and the whole of the corpus, and exits with 1 where a copy that was made is not found, or finding
copies costs more than a fifth of extraction.
"""
from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

MOST_SHARE = 0.2  # of extraction
SIZE = 128, 96    # px
PEOPLE = 12       # drawn clips that all others are coloured from


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=3000, help="clips of the whole corpus, copies included")
    clips = parser.parse_args().clips
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        people = _people(Path(folder) / "demo")
        print(f"{'clips':>6}{'index':>8}{'bytes':>8}{'check':>8}{'extract':>9}{'digests':>9}{'hashes':>8}{'samples':>9}"
              f"{'near':>8}{'split':>8}   copies ÷ extraction, found of made  (CPU seconds)")
        for n in (clips // 4, clips // 2, clips):
            root = Path(folder) / str(n)
            made = _draw(root, n, people)
            share, found, line = _measure(root, Path(folder) / f"out-{n}", n)
            print(f"{line}   {share:.1%}, {len(made & found)} of {len(made)}", flush=True)
            failed |= share > MOST_SHARE or not made <= found
            shutil.rmtree(root)
    return int(failed)


def _measure(root: Path, out: Path, n: int) -> tuple[float, set[tuple[str, str]], str]:
    """Share of extraction that finding copies costs, pairs found, and a line of the table."""
    from data.split import split_corpus
    from data.splitting.duplicates import read_copies
    from extract import copies, run, store, video
    from extract.corpus import describe, find_corpus, plan, same_content
    from extract.decoding.sampling import FrameOptions
    from extract.faces.detector import FaceOptions
    from extract.options import RunOptions
    from pipeline.tables import COPIES, INDEX, read_table, write_table

    spent = dict.fromkeys(("index", "bytes", "check", "extract", "digests", "hashes", "samples", "near", "split"), 0.0)

    def timed(name, function, *arguments):
        start = time.process_time()
        try:
            return function(*arguments)
        finally:
            spent[name] += time.process_time() - start

    def counted(name, function):
        return lambda *arguments: timed(name, function, *arguments)

    corpus = timed("index", find_corpus, root)
    same = timed("bytes", same_content, corpus)
    timed("check", lambda: describe(corpus) + plan(corpus))
    write_table(out / "copies.csv", same, COPIES)
    write_table(out / "index.csv", corpus.rows, INDEX)
    index = read_table(out / "index.csv", INDEX)
    video.frame_digest = counted("digests", copies.frame_digest)
    store.fingerprint = counted("hashes", copies.fingerprint)
    run.same_samples, run.near_copies = counted("samples", copies.same_samples), counted("near", copies.near_copies)
    timed("extract", run.extract_corpus, root, index, out / "faces", FrameOptions(), FaceOptions(),
          RunOptions(workers=0, device="cpu"))
    known = read_copies(out / "index.csv")
    timed("split", lambda: split_corpus(index, copies=known))
    finding = sum(spent[name] for name in ("bytes", "digests", "hashes", "samples", "near"))
    line = f"{n:6}" + "".join(f"{spent[name]:{width}.2f}" for name, width in zip(spent, (8, 8, 8, 9, 9, 8, 9, 8, 8)))
    return finding / (spent["extract"] - finding + spent["bytes"]), set(known.same.items()), line


def _people(folder: Path) -> list[list[np.ndarray]]:
    """Frames, uint8 RGB, of drawn people."""
    from data.demo.make import DemoOptions, make_demo

    make_demo(folder, DemoOptions(identities=6, clips=1, seconds=2, fps=4, width=256, height=192))
    found = []
    for path in sorted(folder.rglob("*.mp4"))[:PEOPLE]:
        with av.open(str(path)) as container:
            found.append([cv2.resize(frame.to_ndarray(format="rgb24"), SIZE, interpolation=cv2.INTER_AREA)
                          for frame in container.decode(video=0)])
    return found


def _draw(root: Path, n: int, people: list[list[np.ndarray]]) -> set[tuple[str, str]]:
    """Draw n clips below real/ and fake/. Returns pairs of a copy and the first of its kind, by name."""
    from tests.clips import remux

    dice, made = np.random.default_rng(0), set()
    n_copies, n_cut = n * 5 // 100, n * 2 // 100
    n_own = n - 2 * n_copies
    names = [f"{('real', 'fake')[i % 2]}/{i:05d}.mp4" for i in range(n_own)]
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        _encode(root / name, people[i % len(people)], dice)
    for i in range(n_cut):  # the last ones, which no copy is made of
        path = root / names[-1 - i]
        path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    for i in range(n_copies):
        name, other = names[i], names[n_copies + i]
        copy, again = f"{name[:-4]} (1).mp4", f"{other[:5]}x{other[5:-4]}.mkv"
        shutil.copy(root / name, root / copy)
        remux(root / other, root / again, title="another")
        made |= {tuple(sorted((name, copy))[::-1]), tuple(sorted((other, again))[::-1])}
    return made


def _encode(path: Path, frames: list[np.ndarray], dice: np.random.Generator) -> None:
    gain, shift = dice.uniform(0.6, 1.4, 3), dice.integers(-6, 7, 2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 4)
        stream.codec_context.options = {"qscale": "3"}
        for number, frame in enumerate(frames):
            picture = np.clip(np.roll(frame, shift, (0, 1)) * gain + dice.normal(0, 2, frame.shape), 0, 255)
            encoded = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            encoded.pts, encoded.time_base = number, Fraction(1, 4)
            container.mux(stream.encode(encoded))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    sys.exit(main())
