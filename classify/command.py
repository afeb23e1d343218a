"""What `classify.video` and `classify.image` share: flags, checks of what was asked, judging one file after another."""
from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Sequence

from classify.judging.inputs import check_is_file, files_below, printable
from classify.models.shipped import SHIPPED
from extract.decoding.media import Limits, limits, set_limits
from pipeline.errors import OptionsError, PipelineError, fail
from pipeline.options import add_flags, from_flags

LONGEST_FACT = 200  # characters of a line; --json has all that was kept


def by(model: Path) -> str:
    """What the line says of the model that judged: nothing of one that was named."""
    return "  (shipped detector)" if model == SHIPPED else ""


def fact_lines(facts: dict) -> list[str]:
    """What a file says of itself, a line each; no verdict rests on it."""
    def plain(value) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        return printable(" ".join(text.split()))[:LONGEST_FACT]

    return [f"  {name.replace('_', ' ')}: {plain(value)}" for name, value in facts.items()
            if value not in ("", None, {})]


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


def judge_for(arguments: argparse.Namespace, modality: str, thing: str) -> tuple:
    """Return the paths to judge and the Judge asked for. modality: "video" or "image", what is looked for in folders.

    Raises CheckpointError and OptionsError, what can be known at once before seconds of imports.
    """
    from classify.models.card import read_card

    set_limits(from_flags(Limits, arguments))
    read_card(arguments.model)
    paths = files_below(arguments.paths, modality)
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
    if arguments.csv and getattr(arguments, "frames_csv", None):
        raise OptionsError("--frames-csv lists the frames and --csv the verdicts: run the command once for each")
    for name in ("csv", "frames_csv", "report", "annotate", "picture"):
        target = getattr(arguments, name, None)
        if target is None:
            continue
        if target.is_dir():
            raise OptionsError(f"--{name.replace('_', '-')} {target} is a folder: name the file to write")
        if name in ("csv", "frames_csv"):
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


def judge_each(paths: Iterable[str], judge: Callable[[str], Any], lines: Callable[[Any], list[str]] | None,
               model_id: str, thing: str, time_limit: float) -> int:
    """Judge and print path after path; one that cannot be judged is a line on stderr. Returns the exit status.

    time_limit: in seconds, which a file's size adds to; where it is over, this process ends.
    lines: what to print for people of a Verdict; None prints JSON. thing: what a folder here has none of.
    """
    from classify.judging.judge import as_object
    from extract.store import stamp_of
    from pipeline.parallel import watchdog
    from pipeline.workers import TimedOut, time_limit_of

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


def judge_to_csv(arguments: Any, paths: Sequence[str], judge: Any, thing: str) -> int:
    """The command: judge the files and folders asked for, print what was found, return the exit status.

    arguments: of `add_judge_flags`. paths: what their `paths` stand for. judge: a
    classify.judging.judge.Judge.
    """
    from classify.evaluation.recall import labels_below, recall_lines
    from classify.judging import csv_output
    from extract.store import stamp_of
    from pipeline.parallel import map_unordered
    from pipeline.workers import TimedOut, cpu_count, time_limit_of

    def judged(todo: list[str]) -> Iterator[tuple[str, Any]]:
        workers = arguments.workers
        if workers is None:
            workers = cpu_count() if judge.device == "cpu" else 0

        def limit_s(path: str) -> float:
            return time_limit_of((stamp_of(Path(path)) or [0])[0], arguments.time_limit)

        if min(workers, len(todo)) < 2:  # this process has the model already
            return map_unordered(csv_output.judge_one, todo, 0, csv_output.take, (judge, thing), limit_s=limit_s,
                                 expired=expired)
        return map_unordered(csv_output.judge_one, todo, workers, csv_output.start_worker,
                             (arguments.model, judge.device, thing, limits()), limit_s=limit_s)

    def expired(path: str, error: TimedOut) -> None:
        """Write the row of a file that hangs in this process, which then ends."""
        csv_output.add_row(arguments.csv, path, error, judge.card["model_id"])
        fail(f"{printable(path)}: {error}. The same command goes on with the {thing}s after it")

    rows = csv_output.judge_all(paths, judged, judge.card["model_id"], arguments.csv, thing)
    print("\n".join([csv_output.summary(rows, arguments.csv, thing),
                     *recall_lines(rows, labels_below(arguments.paths, thing), thing)]))
    return int(any(row["error"] for row in rows))
