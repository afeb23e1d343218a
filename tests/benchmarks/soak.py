"""`make soak`: mutated files through one long-lived judging process, as --csv uses it. Not in CI.

Drawn clips and pictures of 14 kinds are mutated (flipped bytes, holes of noise, cut ends, repeated parts, numbers of
headers) and judged one after the other. What is counted: bugs (any exception that is not a VideoError), deaths and
timeouts of the worker, the longest time of a file, and how far memory grew beyond that of ordinary files.
"""
from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from pipeline.parallel import map_unordered

CLIPS = {"H.264 .mp4": ("a.mp4", "libx264", "yuv420p"), "MPEG-4 .avi": ("a.avi", "mpeg4", "yuv420p"),
         "VP9 .mkv": ("a.mkv", "libvpx-vp9", "yuv420p"), "H.264 .ts": ("a.ts", "libx264", "yuv420p"),
         "H.264 .flv": ("a.flv", "libx264", "yuv420p"), "MPEG-2 .mpg": ("a.mpg", "mpeg2video", "yuv420p"),
         "PNG .mov": ("a.mov", "png", "rgb24")}
PICTURES = {"JPEG": ("a.jpg", {}), "progressive JPEG": ("b.jpg", {"progressive": True}), "PNG": ("a.png", {}),
            "GIF": ("a.gif", {}), "WebP": ("a.webp", {}), "BMP": ("a.bmp", {}), "TIFF": ("a.tif", {})}
LIMIT_S = 20.0
MEMORY_MB = 400.0


def originals(folder: Path) -> dict[str, Path]:
    """Draw one file of each kind."""
    import cv2
    import numpy as np
    from PIL import Image

    from data.demo.make import DemoOptions, make_demo
    from extract.decoding.sampling import Clip, FrameOptions
    from tests.clips import write_clip

    make_demo(folder / "demo", DemoOptions(identities=2, clips=1, seconds=4, fps=5, width=320, height=240))
    drawn = [frame.rgb for frame in Clip(next((folder / "demo").rglob("*.mp4")), FrameOptions(every=.2)).frames()]
    made = {kind: write_clip(folder / name, [n * .2 for n in range(len(drawn))], codec, 12, 0, None, pixel_format,
                             lambda number: drawn[number]) for kind, (name, codec, pixel_format) in CLIPS.items()}
    for kind, (name, options) in PICTURES.items():
        Image.fromarray(np.ascontiguousarray(cv2.resize(drawn[0], (640, 480)))).save(folder / name, **options)
        made[kind] = folder / name
    return made


def mutate(data: bytes, dice: random.Random) -> bytes:
    """Change a file in one of five ways, more often near its beginning."""
    out, way = bytearray(data), dice.randrange(5)
    reach = dice.choice((200, 2000, len(out)))
    at = dice.randrange(min(len(out), reach))
    if way == 0:
        for _ in range(dice.randint(1, 30)):
            out[dice.randrange(min(len(out), reach))] = dice.randrange(256)
    elif way == 1:
        length = dice.randint(1, 400)
        out[at:at + length] = dice.randbytes(length)
    elif way == 2:
        del out[dice.randrange(1, len(out)):]
    elif way == 3:
        out[at:at] = out[at:at + dice.randint(1, 4000)] * dice.randint(1, 20)
    else:
        out[at:at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\0\0"))
    return bytes(out)


def judged(job: tuple[str, str]) -> tuple[str, float, float]:
    """In the worker: (what became of a file, seconds, MB at the process' peak)."""
    from classify.judging.csv_output import judge_one
    from pipeline.errors import VideoError

    began = time.monotonic()
    try:
        ended = str(judge_one(job[1]).verdict)
    except VideoError:
        ended = "unreadable"
    return ended, time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: list[str] | None = None) -> int:
    from classify.judging.csv_output import start_worker
    from classify.models.shipped import SHIPPED
    from extract.decoding.media import limits

    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description="Judge mutated files.")
    parser.add_argument("--minutes", type=float, default=20, help="how long (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default 0)")
    arguments = parser.parse_args(argv)
    dice, ends = random.Random(arguments.seed), time.monotonic() + 60 * arguments.minutes
    found: dict[str, list[Any]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        whole = originals(Path(folder))
        n_ordinary = len(whole)
        batch = [(kind, str(path)) for kind, path in whole.items()]
        for _ in range(100_000):
            if time.monotonic() > ends:
                break
            for kind, path in whole.items():
                for n in range(40):
                    target = Path(folder) / f"m{len(batch)}{path.suffix}"
                    target.write_bytes(mutate(path.read_bytes(), dice))
                    batch.append((kind, str(target)))
            base = 0.0
            results = map_unordered(judged, batch, 1, start_worker, (SHIPPED, "cpu", "clip", limits()),
                                    limit_s=lambda _: 120.0)
            for number, ((kind, path), result) in enumerate(results):
                if number < n_ordinary:
                    base = max(base, result[2])
                    continue
                found[kind].append((result, base))
                Path(path).unlink()
            batch = batch[:n_ordinary]
    bad = 0
    print("| kind | files | judged | unreadable | bugs, deaths, timeouts | longest s | MB beyond ordinary files |")
    print("|---|---|---|---|---|---|---|")
    for kind, results in found.items():
        good = [(result, base) for result, base in results if not isinstance(result, Exception)]
        lost = [result for result, _ in results if isinstance(result, Exception)]
        longest = max((result[1] for result, _ in good), default=0.0)
        more = max((result[2] - base for result, base in good), default=0.0)
        n_unreadable = sum(result[0] == "unreadable" for result, _ in good)
        print(f"| {kind} | {len(results)} | {len(good) - n_unreadable} | {n_unreadable} | {len(lost)} | {longest:.1f} "
              f"| {more:.0f} |")
        bad += len(lost) + (longest > LIMIT_S) + (more > MEMORY_MB)
        for error in lost[:3]:
            print(f"{kind}: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"{sum(map(len, found.values()))} files")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
