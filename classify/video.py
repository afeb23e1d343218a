"""`python -m classify.video clip.mp4 [more…]`: one line per clip, REAL, FAKE or UNDECIDED."""
from __future__ import annotations

import argparse
import functools
import json
import math
import os
import sys
from pathlib import Path
from typing import Any, Callable, Iterable

from extract.decoding.kinds import IMAGE_SUFFIXES, suffix_of
from extract.decoding.media import Limits, set_limits
from pipeline.errors import OptionsError, PipelineError, VideoError, command, fail
from pipeline.options import add_flags, from_flags

SHIPPED = Path(__file__).parent / "release" / "detector.onnx"  # judges where no --model is named
BAR = 24  # characters of a full bar
BAR_SIGNS = "█·"  # of its score, and of the rest
LONGEST_FACT = 200  # characters of a line; --json has all that was kept


def line(verdict) -> str:
    """One line for people. verdict: a classify.judging.judge.Verdict."""
    score = "no score" if verdict.score is None else f"score {verdict.score:.3f} (fake from {verdict.threshold:.3f})"
    why = f": {verdict.reason}" if verdict.verdict == "undecided" or verdict.people else ""
    damage = f" of {verdict.n_asked} asked" if verdict.n_asked != verdict.n_read else ""
    damage += f" ({verdict.reason})" if damage and not why else ""
    return (f"{printable(verdict.path)}  {verdict.verdict.upper()}{why}  {score}  "
            f"a face in {verdict.n_faces} of {verdict.n_read} frames{damage}")


def by(model: Path) -> str:
    """What the line says of the model that judged: nothing of one that was named."""
    return "  (shipped detector)" if model == SHIPPED else ""


def bars(verdict) -> list[str]:
    """A bar per frame with a face: seconds, score, and the score drawn."""
    full, empty = tuple(BAR_SIGNS if _can_print(BAR_SIGNS) else "#.")
    return [f"  {f['time_s']:8.2f} s  {f['score']:.3f}  {full * round(f['score'] * BAR):{empty}<{BAR}}"
            for f in verdict.frames]


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def fact_lines(facts: dict) -> list[str]:
    """What a file says of itself, a line each; no verdict rests on it."""
    def plain(value) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        return printable(" ".join(text.split()))[:LONGEST_FACT]

    return [f"  {name.replace('_', ' ')}: {plain(value)}" for name, value in facts.items()
            if value not in ("", None, {})]


def clips(paths: list[str]) -> list[str]:
    """Return the paths as given; a folder stands for all videos below it, in order, which may be folders of their
    frames. One that is the frames of a clip, or holds no video, stands for itself."""
    return files_below(paths, "video")


def files_below(paths: list[str], modality: str) -> list[str]:
    """Return the same for videos or images ("video", "image"), found as an index finds them."""
    found: list[str] = []
    for path in paths:
        inside = _inside(Path(path), modality) if os.path.isdir(path) else []
        found += [os.path.join(path, name) if name else path for name in inside] or [path]
    return found


def _inside(folder: Path, modality: str) -> list[str]:
    """The files of a folder, or the folders of frames where no file is a video; "" is the folder itself."""
    from extract.layouts.frames import clips_below
    from extract.layouts.walk import walk

    found = walk(folder)
    inside = found.names(modality)
    if modality == "video" and all(suffix_of(name) in IMAGE_SUFFIXES for name in inside):
        inside += clips_below(folder, found.names("image"))
    return sorted(inside)


def check_is_file(path: str, thing: str) -> None:
    """Raises VideoError for a folder that is not the frames of one clip. thing: "video" or "picture"."""
    from extract.layouts.frames import is_clip

    if os.path.isdir(path) and not (thing == "video" and is_clip(Path(path))):
        raise VideoError(nothing_in(path, thing))


def printable(path: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in path)


def nothing_in(folder: str, thing: str) -> str:
    """Return why there is nothing to judge in a folder. thing: "video" or "picture", what was looked for."""
    from extract.layouts.walk import walk

    other, module = ("image", "picture") if thing == "video" else ("video", "video")
    n = len(walk(Path(folder)).names(other))
    hint = f", but {n:,} {module}{'s' * (n != 1)}: python -m classify.{other} judges them" if n else ""
    return f"no {thing} in this folder{hint}"


def judge_each(paths: Iterable[str], judge: Callable[[str], Any], lines: Callable[[Any], list[str]] | None,
               model_id: str, thing: str, time_limit: float) -> int:
    """Judge and print path after path; one that cannot be judged is a line on stderr. Returns the exit status.

    time_limit: in seconds, which a file's size adds to; where it is over, this process ends.
    lines: what to print for people of a Verdict; None prints JSON. thing: what a folder here has none of.
    """
    from classify.judging.judge import as_object
    from extract.store import stamp_of
    from pipeline.parallel import TimedOut, time_limit_of, watchdog

    def late(path: str, error: TimedOut) -> None:
        if not lines:
            print(json.dumps(as_object(path=path, error=str(error), model=model_id)))
        fail(f"{printable(path)}: {error}. Files after it were not judged: with --csv they would be")

    failed = 0
    for path in paths:
        try:
            check_is_file(path, thing)
            with watchdog(time_limit_of((stamp_of(Path(path)) or [0])[0], time_limit), functools.partial(late, path)):
                verdict = judge(path)
        except PipelineError as error:
            failed = fail(f"{printable(path)}: {error}")
            if not lines:
                print(json.dumps(as_object(path=path, error=str(error), model=model_id)), flush=True)
            continue
        print("\n".join(lines(verdict)) if lines else json.dumps(verdict.as_json()), flush=True)
    return failed


def add_judge_flags(parser: argparse.ArgumentParser, thing: str, files: str) -> None:
    """The flags that clips and pictures share. thing, files: what one is called, and the files of many."""
    parser.add_argument("paths", nargs="+", metavar=thing, help=f"{files}, or folders of them")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="model file, .onnx, .safetensors or .keras "
                        "(default: the shipped detector)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line, for machines")
    form.add_argument("--csv", type=Path, metavar="OUT.csv", help=f"a row per {thing} into this table instead of a "
                      "line; a killed run goes on. Where folders tell what is fake: recall per method, worst first")
    parser.add_argument("--report", type=Path, metavar="SHEET.html", help=f"also write a page about this {thing}: "
                        "verdict in words, every face with what moved its score, what the file says of itself; .png "
                        "for a slide")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that judge for --csv, a few "
                        "hundred MB each (default: one a core; on a GPU this one alone, 0)")
    parser.add_argument("--time-limit", type=float, default=300.0, metavar="S", help=f"seconds that one {thing} may "
                        "take, and 10 more for each MB of it (default 300)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default auto)")
    add_flags(parser, Limits)


def judge_for(arguments: argparse.Namespace, below: Callable[[list[str]], list[str]], thing: str) -> tuple:
    """(paths to judge, the Judge asked for). below: `clips`, or classify.image.pictures.

    Raises CheckpointError and OptionsError, what can be known at once before seconds of imports.
    """
    from classify.models.card import read_card

    set_limits(from_flags(Limits, arguments))
    read_card(arguments.model)
    paths = below(arguments.paths)
    one_each(arguments, paths, thing)
    from classify.judging.judge import Judge
    from classify.models.load import use_one_thread

    use_one_thread(arguments.model)
    judge = Judge(arguments.model, arguments.device)
    if judge.card.get("demo"):
        print(f"note: this model was trained on drawn faces, it knows nothing about real {thing}s", file=sys.stderr)
    return paths, judge


def one_each(arguments: argparse.Namespace, paths: list[str], thing: str) -> None:
    """Raises OptionsError for what cannot be done as asked: before minutes of judging."""
    if not 0 < arguments.time_limit < math.inf:
        raise OptionsError(f"--time-limit must be more than 0 seconds, got {arguments.time_limit}")
    if arguments.workers is not None and (arguments.workers < 0 or not arguments.csv):
        raise OptionsError(f"--workers is how many processes judge for --csv, at least 0, got {arguments.workers}")
    for name in ("csv", "report", "annotate", "picture"):
        target = getattr(arguments, name, None)
        if target is None:
            continue
        if target.is_dir():
            raise OptionsError(f"--{name} {target} is a folder: name the file to write")
        if name == "csv":
            continue
        if arguments.csv:
            raise OptionsError(f"--{name} is about one {thing} and --csv about many: leave one out")
        if len(paths) != 1:
            raise OptionsError(f"--{name} is one file and these are {len(paths)} {thing}s: name one")
        if name == "annotate":
            from classify.judging.annotate import check_annotate

            check_annotate(target, paths[0])
        elif name == "report":
            from classify.judging.sheet.write import check_report

            check_report(target)


def explained(judge, arguments: argparse.Namespace) -> Callable[[str], Any]:
    """A function path -> Verdict that also writes the sheet, and the clip with its boxes, that were asked for."""
    from classify.judging.evidence import gather

    def judged(path: str):
        evidence = gather(judge, path, pictures=arguments.report is not None)
        if arguments.report:
            from classify.judging.sheet.write import write_sheet

            write_sheet(arguments.report, evidence, shipped=arguments.model == SHIPPED)
        if getattr(arguments, "annotate", None):
            from classify.judging.annotate import annotate

            annotate(arguments.annotate, evidence)
        return evidence.verdict

    return judged


@command
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m classify.video", description="Was the face in this video swapped? One line per clip; the score "
        "is P(fake), higher is faker. Status 1 if a clip could not be read.")
    add_judge_flags(parser, "clip", "video files")
    parser.add_argument("--annotate", type=Path, metavar="OUT.mp4", help="also write the clip with its boxes and "
                        "scores drawn in, sound kept")
    parser.add_argument("-v", "--verbose", action="store_true", help="also the score of every frame as a bar, and what "
                        "the file says of itself")
    arguments = parser.parse_args(argv)

    paths, judge = judge_for(arguments, clips, "clip")
    if arguments.csv:
        from classify.judging.csv_output import judge_to_csv

        return judge_to_csv(arguments, paths, judge, "clip")

    def lines(verdict) -> list[str]:
        more = bars(verdict) + fact_lines(verdict.facts or {}) if arguments.verbose else []
        return [line(verdict) + by(arguments.model), *more]

    judged = explained(judge, arguments) if arguments.report or arguments.annotate else judge.judge
    return judge_each(paths, judged, None if arguments.json else lines, judge.card["model_id"], "video",
                      arguments.time_limit)


if __name__ == "__main__":
    sys.exit(main())
