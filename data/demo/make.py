"""A corpus that needs no download and shows no real person: talking heads and face swaps between them, drawn.

    OUT_DIR/
    ├── DEMO.txt                                    seed and options; the mark by which later stages say "demo"
    ├── List_of_testing_videos.txt                  `1 Celeb-real/…` real, `0 Celeb-synthesis/…` fake: 1 is real
    ├── Celeb-real/id{A}_{NNNN}.mp4
    ├── Celeb-synthesis/id{A}_id{B}_{NNNN}.mp4      made on Celeb-real/id{A}_{NNNN}.mp4, wearing B's face
    └── YouTube-real/{NNNNN}.mp4                    where asked for; each shows another person

The layout is Celeb-DF v2's. Swaps stay inside small groups of identities, so that a split by identity drops no clip;
the test list names the clips of the last groups. What is learned here says nothing about real fakes.

`python -m data.demo.make OUT_DIR` draws it. Same options, same frames; on one machine the same bytes.
"""
from __future__ import annotations

import argparse
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline.errors import CorpusError, command
from pipeline.options import add_flags, as_record, from_flags, option
from pipeline.parallel import map_unordered
from pipeline.progress import progress_bar
from pipeline.tables import DEMO_MARK, write_bytes
from pipeline.workers import cpu_count

if TYPE_CHECKING:  # drawing imports cv2 and numpy, asking for --help should not
    from data.demo.scene import Overlay, Scene

TEST_LIST = "List_of_testing_videos.txt"
TEST_SHARE = 0.2  # of the groups of identities, and of YouTube-real; at least one where there are two
UNFINISHED = "This drawing is not finished: run the same command again.\n"
DRAWING = 3  # version of the drawing: raised when the same options draw other frames, so that a corpus is redrawn


@dataclass(frozen=True)
class DemoOptions:
    """What is drawn: how many people and clips, and how large."""

    identities: int = option(12, "people who swap faces with each other")
    clips: int = option(3, "real clips of each of them")
    fakes: int = option(1, "fakes made from each real clip, each with another face; below the group size")
    group: int = option(2, "people in a group; faces are swapped inside groups only")
    youtube: int = option(0, "further real clips, each of another person")
    seconds: float = option(6.0, "length of a clip in seconds")
    fps: int = option(15, "frames per second")
    width: int = option(384, "width of the picture in pixels, even")
    height: int = option(288, "height of the picture in pixels, even")
    seed: int = option(0, "another seed draws other people")

    def __post_init__(self) -> None:
        if self.group < 2 or self.identities < self.group:
            raise ValueError(f"--group {self.group}, --identities {self.identities}: a group needs two people or more, "
                             "and there must be one whole group")
        if not 0 <= self.fakes < self.group:
            raise ValueError(f"--fakes {self.fakes}: a group of {self.group} has {self.group - 1} other faces to wear")
        if self.clips < 1 or self.youtube < 0 or self.seed < 0 or self.fps < 1 or self.seconds * self.fps < 1:
            raise ValueError("--clips, --fps and the frames of a clip are at least 1, --youtube and --seed at least 0")
        if self.width % 2 or self.height % 2 or min(self.width, self.height) < 96:
            raise ValueError(f"--width {self.width} --height {self.height}: even numbers of 96 or more are needed")


class Job(NamedTuple):
    """One scene: the person, the real clip's path, and per fake the other person and the path."""
    person: int
    clip: int
    real: str
    fakes: tuple[tuple[int, str], ...]
    test: bool


class DemoCorpus(NamedTuple):
    """What `make_demo` did. n_drawn counts clips drawn now, 0 when the corpus was there."""
    root: Path
    n_real: int
    n_fake: int
    n_test: int
    n_drawn: int


def plan(options: DemoOptions) -> list[Job]:
    """Every scene of the corpus in the order of names; nothing is drawn."""
    jobs = []
    n_groups = options.identities // options.group  # people left over join the last group
    n_test = min(max(1, round(TEST_SHARE * n_groups)), n_groups - 1)
    for person in range(options.identities):
        group = min(person // options.group, n_groups - 1)
        first = group * options.group
        last = options.identities if group == n_groups - 1 else first + options.group
        others = [first + (person - first + step) % (last - first) for step in range(1, last - first)]
        for clip in range(options.clips):
            # Clips take turns, so that with fewer fakes than others every face is used equally often.
            turned = others[clip % len(others):] + others[:clip % len(others)]
            fakes = tuple((other, f"Celeb-synthesis/id{person}_id{other}_{clip:04d}.mp4")
                          for other in sorted(turned[:options.fakes]))
            jobs.append(Job(person, clip, f"Celeb-real/id{person}_{clip:04d}.mp4", fakes, group >= n_groups - n_test))
    n_test = round(TEST_SHARE * options.youtube)
    for i in range(options.youtube):
        jobs.append(Job(options.identities + i, 0, f"YouTube-real/{i:05d}.mp4", (), i >= options.youtube - n_test))
    return jobs


def make_demo(root: str | Path, options: DemoOptions = DemoOptions(), workers: int | None = None,
              progress=lambda drawn, total: drawn) -> DemoCorpus:
    """Draw the corpus into `root`, or leave it alone when it is there with the same options.

    workers: processes, by default one per core; the bytes do not depend on it. An interrupted drawing goes on where
    it was. A demo corpus of other options is replaced. Raises CorpusError when `root` holds anything else.
    """
    root = Path(root)
    jobs = plan(options)
    text, mark = _describe(options), root / DEMO_MARK
    found = mark.read_text() if mark.is_file() else None
    if found is None and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise CorpusError(f"{root} holds something else than a demo corpus (no {DEMO_MARK}): name a new folder")
    videos = [path for job in jobs for path in (job.real, *(name for _, name in job.fakes))]
    if found == text and all((root / name).is_file() for name in videos):
        todo: list[Job] = []
    else:
        same = found in (text, text + UNFINISHED)
        _clear(root, keep=set(videos) if same else set())
        write_bytes(mark, (text + UNFINISHED).encode())
        todo = [job for job in jobs
                if not all((root / name).is_file() for name in (job.real, *(name for _, name in job.fakes)))]
        for folder in sorted({Path(name).parent for name in videos}):
            (root / folder).mkdir(parents=True, exist_ok=True)
        _draw_all(root, options, todo, cpu_count() if workers is None else workers, progress)
        listed = sorted([f"1 {job.real}" for job in jobs if job.test]
                        + [f"0 {name}" for job in jobs if job.test for _, name in job.fakes], reverse=True)
        write_bytes(root / TEST_LIST, "".join(line + "\n" for line in listed).encode())
        write_bytes(mark, text.encode())
    return DemoCorpus(root, len(jobs), len(videos) - len(jobs), sum(1 + len(job.fakes) for job in jobs if job.test),
                      sum(1 + len(job.fakes) for job in todo))


def _describe(options: DemoOptions) -> str:
    return ("A demo corpus: drawn by data/demo/make.py, no clip shows a real person. The faces come from a\n"
            "model (attribution: data/demo/face_model.npz). Results on it say nothing about real fakes.\n"
            + json.dumps({"drawing": DRAWING, **as_record(options)}, sort_keys=True) + "\n")


def _clear(root: Path, keep: set[str]) -> None:
    """Remove clips, finished or not, of another demo corpus; nothing that a demo does not write."""
    (root / TEST_LIST).unlink(missing_ok=True)
    for folder in ("Celeb-real", "Celeb-synthesis", "YouTube-real"):
        for path in (root / folder).glob("*.mp4"):
            if f"{folder}/{path.name}" not in keep:
                path.unlink()


def _draw_all(root: Path, options: DemoOptions, jobs: list[Job], workers: int, progress) -> None:
    draw = functools.partial(_draw, root, options)
    for _, result in progress(map_unordered(draw, jobs, min(workers, len(jobs)) if workers > 1 else 0), len(jobs)):
        if isinstance(result, Exception):
            raise result


def stage(options: DemoOptions, job: Job) -> tuple[Scene, list[Overlay], int]:
    """The scene of a job, what turns it into each of its fakes, and x264's constant rate factor for all of them."""
    import numpy as np

    from data.demo import face_model, scene

    model = face_model.load_model()

    def identity(person: int) -> face_model.Identity:
        return face_model.sample_identity(model, np.random.default_rng([options.seed, 1, person]))

    rng = np.random.default_rng([options.seed, 2, job.person, job.clip])
    quality = int(rng.integers(20, 28))  # of clips found on the web
    drawn = scene.Scene(identity(job.person), model, (options.width, options.height), options.seconds, rng)
    overlays = [scene.make_overlay(drawn, identity(other), model,
                                   np.random.default_rng([options.seed, 3, job.person, job.clip, other]))
                for other, _ in job.fakes]
    return drawn, overlays, quality


def _draw(root: Path, options: DemoOptions, job: Job) -> None:
    import cv2

    from data.demo.scene import write_clips

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # there is one process per core already
    try:
        scene, overlays, quality = stage(options, job)
        frames = (scene.draw(i / options.fps, overlays) for i in range(round(options.seconds * options.fps)))
        names = (job.real, *(name for _, name in job.fakes))
        write_clips(frames, [root / name for name in names], options.fps, quality)
    finally:
        cv2.setNumThreads(threads)


def _progress(drawn, total: int):
    return progress_bar(drawn, total=total, unit="scene", desc="draw")


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m data.demo.make", description="Draw the demo corpus.")
    parser.add_argument("root", type=Path, metavar="OUT_DIR", help="folder to draw into, new or of an earlier demo")
    parser.add_argument("--workers", type=int, default=None, help="processes to draw with (default one per core)")
    add_flags(parser, DemoOptions)
    arguments = parser.parse_args(argv)
    made = make_demo(arguments.root, from_flags(DemoOptions, arguments), arguments.workers, _progress)
    print(f"{made.root}: {made.n_real} real and {made.n_fake} fake clips, {made.n_test} of them listed for testing; "
          f"{made.n_drawn} drawn now")


if __name__ == "__main__":
    raise SystemExit(main())
