"""`python -m serve.samples`: draw the two sample clips of the page, one person with her own face and with another's.

They are clips of the demo corpus (data.demo.make): nobody who lives is shown. The page offers them to those who have no
clip at hand. The shipped detector answers REAL and FAKE; other clips of the demo corpus, which it has not learned from,
it misses.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data.demo.make import DemoOptions, Job, stage
from data.demo.scene import write_clips
from pipeline.errors import command

HERE = Path(__file__).parent
REAL, SWAPPED = "sample-real.mp4", "sample-swapped.mp4"
OPTIONS = DemoOptions(identities=8, clips=1)
JOB = Job(person=3, clip=0, real=REAL, fakes=((2, SWAPPED),), test=False)


def draw_samples(folder: Path) -> None:
    """Draw both clips into a folder."""
    scene, overlays, quality = stage(OPTIONS, JOB)
    frames = (scene.draw(i / OPTIONS.fps, overlays) for i in range(round(OPTIONS.seconds * OPTIONS.fps)))
    write_clips(frames, [folder / REAL, folder / SWAPPED], OPTIONS.fps, quality)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    argparse.ArgumentParser(prog="python -m serve.samples", description="Draw the sample clips of the page into "
                            "serve/.").parse_args(argv)
    draw_samples(HERE)


if __name__ == "__main__":
    sys.exit(main())
