"""`python -m classify.live 0`: a rolling verdict on each person before a camera, in a file, or in raw frames on stdin.

A line is printed at each look, one a second: time, and of each person REAL, FAKE or UNDECIDED. Lines of JSON hold the
same for machines. What is shown goes on changing: a verdict rests on the last looks only.
"""
from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Iterator

from classify.judging.inputs import printable
from classify.models.shipped import SHIPPED
from extract.decoding.media import Limits, set_limits
from extract.decoding.streams import PIXELS, frames_of_camera, frames_of_clip, frames_of_raw, paced, picture_size
from pipeline.errors import OptionsError, command
from pipeline.options import add_flags, from_flags, option

if TYPE_CHECKING:
    from classify.judging.rolling import Look
    from extract.decoding.frame import Frame

RAW = "-"   # the source that is standard input


@dataclass(frozen=True)
class LiveOptions:
    """How a stream is looked at."""

    every: float = option(1.0, "seconds between two looks")
    window: int = option(30, "looks that a verdict rests on, the last ones; from 3 to 1000")
    fps: float = option(25.0, "frames a second of raw frames")
    pixels: str = option("rgb24", "order of the bytes of raw frames", PIXELS)
    loop: bool = option(False, "play a file again when it ends, until Ctrl-C")
    fast: bool = option(False, "go through a file as fast as it can be judged, not by the clock")

    def __post_init__(self) -> None:
        if not 0.04 <= self.every <= 3600:
            raise ValueError(f"every must be from 0.04 to 3600 seconds, got {self.every}")
        if not 3 <= self.window <= 1000:
            raise ValueError(f"window must be from 3 to 1000 looks, got {self.window}")
        if not 0 < self.fps < math.inf:
            raise ValueError(f"fps must be more than 0, got {self.fps}")


def frames_from(source: str, options: LiveOptions, size: str | None = None) -> Iterator[Frame]:
    """Open a source of frames.

    Args:
        source: number of a camera, "-" for raw frames on standard input, else a file.
        options: how it is looked at.
        size: of raw frames, "640x360".

    Raises:
        OptionsError: raw frames without their size, or a size with anything else.
    """
    if (source == RAW) != (size is not None):
        raise OptionsError("--size is the size of raw frames on standard input: python -m classify.live - --size "
                           "640x360")
    if source == RAW:
        width, height = picture_size(str(size))
        return frames_of_raw(sys.stdin.buffer, width, height, options.fps, options.every, options.pixels)
    if source.isdecimal() and len(source) < 4:
        return frames_of_camera(int(source), options.every)
    frames = frames_of_clip(Path(source), options.every, options.loop)
    return frames if options.fast else paced(frames)


def line(look: Look) -> str:
    """One line for people."""
    said = [f"{person.track}{' ' + person.where if person.where else ''}: {person.verdict.upper()}"
            + (f" {person.score:.3f}" if person.score is not None else "")
            + (f" ({person.reason})" if person.verdict == "undecided" else "") for person in look.people]
    return f"{look.time_s:8.1f} s  " + ("  |  ".join(said) or f"UNDECIDED ({look.reason})")


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m classify.live", description="A rolling verdict on each person in a stream, a line a second. "
        "UNDECIDED until there are enough faces. Ctrl-C ends it.")
    parser.add_argument("source", help="number of a camera (0), a video file, or - for raw frames on standard input")
    parser.add_argument("--size", metavar="WxH", help="width and height of raw frames in px, such as 640x360")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="model file (default: the shipped detector)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default auto)")
    parser.add_argument("--json", action="store_true", help="print a JSON object a look instead of a line")
    parser.add_argument("--log", type=Path, metavar="OUT.jsonl", help="also append the JSON objects to this file")
    add_flags(parser, LiveOptions, Limits)
    arguments = parser.parse_args(argv)
    options = from_flags(LiveOptions, arguments)
    set_limits(from_flags(Limits, arguments))
    frames = frames_from(arguments.source, options, arguments.size)
    if arguments.log is not None and arguments.log.is_dir():
        raise OptionsError(f"--log {printable(str(arguments.log))} is a folder: name the file to write")
    from classify.judging.judge import Judge
    from classify.judging.rolling import Rolling
    from classify.models.load import use_one_thread

    use_one_thread(arguments.model)
    judge = Judge(arguments.model, arguments.device)
    if judge.whole:
        raise OptionsError(f"{arguments.model} judges whole pictures, and a stream is judged by its faces: name "
                           "another model")
    if judge.card.get("demo"):
        print("note: this model was trained on drawn faces, it knows nothing about real people", file=sys.stderr)
    rolling = Rolling(judge, options.window)
    log = open(arguments.log, "a", encoding="utf-8") if arguments.log else None
    try:
        for frame in frames:
            look = rolling.look(frame)
            said = json.dumps(look.as_json())
            print(said if arguments.json else line(look), flush=True)
            if log:
                log.write(said + "\n")
                log.flush()
    except KeyboardInterrupt:  # the usual end of a stream
        pass
    finally:
        if log:
            log.close()


if __name__ == "__main__":
    sys.exit(main())
