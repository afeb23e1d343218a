"""`make soak`: mutated files through one long-lived judging process, as --csv uses it. Not in CI.

Drawn clips and pictures of 14 kinds are mutated (flipped bytes, holes of noise, cut ends, repeated parts, numbers of
headers) and judged one after the other, in turn. Before them come whole files of the same kinds with as many pixels as
the limits allow. What is counted: bugs (any exception that is not a VideoError), deaths and timeouts of the worker, the
longest time of a file, and how far the process' memory grew beyond its peak while it judged an ordinary clip. The peak
is taken anew for each file (Linux alone).
"""
from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
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
MOST_FILES = 100_000
FRAME = (4096, 2304)     # width and height of a video's frame, below the limit of 10 megapixels
PICTURE = (8000, 6200)   # the same of a picture, below 50 megapixels
PICTURES_AT_LIMIT = {"JPEG": (18000, 13800), "WebP": (5150, 3880)}  # below 250 and 20
FRAMES_AT_LIMIT = 6


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


def at_the_limits(folder: Path) -> dict[str, Path]:
    """Write one whole file of each kind with as many pixels as the limits of extract.decoding.media allow."""
    import cv2
    import numpy as np
    from PIL import Image

    from extract.decoding.sampling import Clip, FrameOptions
    from tests.clips import write_clip

    face = next(iter(Clip(next((folder / "demo").rglob("*.mp4")), FrameOptions(every=.2)).frames())).rgb
    frame = np.ascontiguousarray(cv2.resize(face, FRAME))
    made = {}
    for kind, (name, codec, pixel_format) in CLIPS.items():
        options = {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx-vp9" else None
        size = (4088, 2304) if codec == "mpeg2video" else FRAME  # MPEG-2 has 12 bits for a side, and not all of them
        times = [n * .2 for n in range(FRAMES_AT_LIMIT)]
        made[kind] = write_clip(folder / f"most-{name}", times, codec, 12, 0, options,
                                pixel_format, lambda _, size=size: np.ascontiguousarray(frame[:size[1], :size[0]]))
    for kind, (name, more) in PICTURES.items():
        made[kind] = folder / f"most-{name}"
        picture = np.ascontiguousarray(cv2.resize(face, PICTURES_AT_LIMIT.get(kind, PICTURE)))
        Image.fromarray(picture).save(made[kind], **({**more, "compress_level": 1} if kind == "PNG" else more))
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


def judged(job: tuple[str, str, int | None]) -> tuple[str, float, float]:
    """In the worker: (what became of a file, seconds, MB at the process' peak meanwhile).

    job: kind, path, and the seed of what is changed in a copy of it, None to judge it as it is.
    """
    from classify.judging.csv_output import judge_one
    from pipeline.errors import VideoError

    _, path, seed = job
    target = Path(path)
    if seed is not None:
        target = target.with_name(f"mutated-{seed}{target.suffix}")
        target.write_bytes(mutate(Path(path).read_bytes(), random.Random(seed)))
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    began = time.monotonic()
    try:
        ended = str(judge_one(str(target)).verdict)
    except VideoError:
        ended = "unreadable"
    took_s = time.monotonic() - began
    if seed is not None:
        target.unlink()
    return ended, took_s, peak_mb()


def peak_mb() -> float:
    """Return the most memory that this process has held since /proc/self/clear_refs was written to, MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main(argv: list[str] | None = None) -> int:
    from classify.judging.csv_output import start_worker
    from classify.models.shipped import SHIPPED
    from extract.decoding.media import limits

    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description="Judge mutated files.")
    parser.add_argument("--minutes", type=float, default=20, help="how long (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default 0)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        whole = originals(Path(folder))
        jobs = [("ordinary", str(path), None) for path in whole.values()] * 2
        n_ordinary = len(jobs)
        jobs += [(f"{kind} at the limit", str(path), None) for kind, path in at_the_limits(Path(folder)).items()]
        kinds = list(whole)
        jobs += [(kinds[n % len(kinds)], str(whole[kinds[n % len(kinds)]]), arguments.seed * MOST_FILES + n)
                 for n in range(MOST_FILES)]
        found: dict[str, list[Any]] = {kind: [] for kind, _, _ in jobs}
        ends = time.monotonic() + 60 * arguments.minutes
        results = map_unordered(judged, jobs, 1, start_worker, (SHIPPED, "cpu", "clip", limits()),
                                limit_s=lambda _: 120.0)
        for (kind, _, _), result in results:
            found[kind].append(result)
            if time.monotonic() > ends and len(found["ordinary"]) == n_ordinary:
                results.close()
                break
    base = found.pop("ordinary")[len(whole)][2]  # the first kind's second time: an ordinary clip, all loaded
    return table(found, base)


def table(found: dict[str, list[Any]], base: float) -> int:
    """Print a row for each kind and return 1 where a goal was missed. base: MB while an ordinary clip was judged."""
    bad = 0
    print(f"An ordinary clip: {base:.0f} MB. All: {sum(map(len, found.values())):,} files.")
    print("| kind | files | judged | unreadable | bugs, deaths, timeouts | longest s | MB beyond an ordinary clip |")
    print("|---|---|---|---|---|---|---|")
    for kind, results in found.items():
        good = [result for result in results if not isinstance(result, Exception)]
        lost = [result for result in results if isinstance(result, Exception)]
        longest, more = max((result[1] for result in good), default=0.0), max((r[2] - base for r in good), default=0.0)
        n_unreadable = sum(result[0] == "unreadable" for result in good)
        print(f"| {kind} | {len(results)} | {len(good) - n_unreadable} | {n_unreadable} | {len(lost)} | {longest:.1f} "
              f"| {max(0.0, more):.0f} |")
        bad += len(lost) + (longest > LIMIT_S) + (more > MEMORY_MB)
        for error in lost[:3]:
            print(f"{kind}: {type(error).__name__}: {error}", file=sys.stderr)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
