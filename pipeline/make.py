"""What `make` runs: reads the variables of make's command line, and runs the target with the stages before it.

    python -m pipeline report          as `make report`; variables come from make, in MAKEFLAGS

A variable is an option with its name in capitals: EVERY=1 is --every 1 of the stage that has it. Values are handed over
as arguments of processes and never pass through a shell.
"""
from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import re
import subprocess
import sys
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from pipeline import stages
from pipeline.errors import OptionsError, PipelineError, command
from pipeline.run_record import RunRecord, column
from pipeline.stages import STAGES, TRAINING, Stage, Work, show

SETUP = ("OUT", "PYTHON", "VENV", "EXTRAS", "TORCH_INDEX", "DEEPFAKE_SHARED", "MAKEFLAGS", "SHELL")
YES, NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off", "")
SCORE = "classify.evaluation.options:ScoreOptions"


@dataclass(frozen=True)
class Target:
    """A target that is not a stage.

    Attributes:
        module: its command.
        before: stages that must be done first.
        options: classes of options that become flags, as of `Stage.options`.
        flags: further variables that become flags of the same name.
        words: variables whose words become arguments.
        out: whether the command takes --out.
    """

    module: str
    before: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    out: bool = True


TARGETS = {
    "compare": Target("reports.sweep", ("index", "extract", "split"), ("classify.training.sweep:CompareOptions",
                                                                       *TRAINING)),
    "augment-sheet": Target("classify.training.preview", ("index", "extract", "split"), TRAINING),
    "ensemble": Target("classify.training.ensemble", (), (SCORE,), words=("MODELS",)),
    "export": Target("classify.export", flags=("MODEL", "BITS", "CROPS")),
    "export-deepfakebench": Target("data.export_deepfakebench", ("index", "extract", "split"),
                                   flags=("TO", "SIDE_PX")),
    "export-tables": Target("data.export_tables", ("index", "extract"), flags=("TO", "FORMAT")),
    "hub": Target("classify.hub", flags=("MODEL", "TO")),
    "restore": Target("classify.training.replaced", flags=("MODEL_ID",)),
    "check": Target("extract.corpus", (), ("extract.corpus:IndexOptions",), out=False),
    "serve": Target("serve.app", options=("serve.options:ServeOptions", "extract.decoding.media:Limits"),
                    flags=("TOKEN", "MODEL"), out=False),
    "bench-quality": Target("classify.evaluation.cross_corpus", out=False,
                            flags=("MODEL", "AGAINST", "DEVICE", "SOURCES", "TALKING", "CACHE")),
    "calibrate": Target("classify.calibrate", flags=("REALS", "FALSE_ALARMS", "MODEL", "DEVICE"), out=False),
    "bench-extract": Target("tests.benchmarks.extract", out=False),
    "bench-judge": Target("tests.benchmarks.judge", out=False),
    "bench-train": Target("tests.benchmarks.train", flags=("BACKBONE", "SIZE", "BATCH", "DEVICE"), out=False),
    "soak": Target("tests.benchmarks.soak", flags=("MINUTES",), out=False),
    "bench-serve": Target("tests.benchmarks.serve", flags=("CLIP", "REQUESTS", "CLIENTS"), out=False),
    "demo": Target("data.demo.make", flags=("DEMO_OUT",), out=False),
    "docs-pictures": Target("tests.docs_pictures", flags=("DEMO_OUT",), out=False),
    "detector": Target("classify.release.detector", out=False,
                       flags=("DFDC", "PHOTOS", "CROPS", "DETECTOR_OUT", "SOURCES")),
    "options": Target("", out=False), "plan": Target("", tuple(STAGES), out=False),
}
ORDER = ("index", "extract", "split", "train", "score", "robustness", "report")
HIDDEN = ("robustness",)  # runs with `make report ROBUST=1`


def variables(flags: str) -> dict[str, str]:
    """Read the variables of make's command line from MAKEFLAGS.

    Make writes them after " -- ", with a backslash before blanks and backslashes, and with doubled dollar signs.
    """
    parts = re.split(r"(?:^|\s)--\s", flags, maxsplit=1)
    if len(parts) < 2:
        return {}
    found = {}
    for word in re.findall(r"(?:\\.|[^\\\s])+", parts[1], re.S):
        name, equals, value = re.sub(r"\\(.)", r"\1", word, flags=re.S).replace("$$", "$").partition("=")
        if equals:
            found[name.rstrip(":+?")] = value
    return found


def chain(target: str, given: dict[str, str], record: RunRecord | None) -> list[str]:
    """Return the stages that a target runs, in order."""
    if target in TARGETS:
        return list(TARGETS[target].before)
    names = list(ORDER[:ORDER.index(target) + 1])
    if "robustness" in names and not _robust(given, record):
        names.remove("robustness")
    if target == "report" and given.get("SCORES"):
        # Nothing is decoded. A split that is there, or named here, says which videos are held out.
        split = record and record.done("split") is not None or _options_of(STAGES["split"].options) & given.keys()
        return ["index", *["split"] * bool(split), "report"]
    if target in ("score", "report") and given.get("MODEL"):
        # A model from elsewhere needs crops; the run's own training and scores stay as they are.
        names = [name for name in names if name not in ("split", "train")]
        if record and record.done("split") is not None:
            names.insert(2, "split")
    return names


def _robust(given: dict[str, str], record: RunRecord | None) -> bool:
    if "ROBUST" in given:
        return given["ROBUST"].lower() in YES
    return bool(record and record.named("report").get("robust"))


def arguments(classes: Sequence[str], given: dict[str, str]) -> list[str]:
    """Return the flags that the variables are for the options of these classes.

    Raises:
        OptionsError: a switch is neither yes nor no.
    """
    found: list[str] = []
    for entry in classes:
        module, _, name = entry.partition(":")
        cls: Any = getattr(importlib.import_module(module), name)
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            variable, flag = field.name.upper(), "--" + field.name.replace("_", "-")
            if variable not in given or found and any(word.startswith(flag + "=") or word == flag for word in found):
                continue
            value = given[variable]
            if value == "default":
                found += ["--default", field.name]
            elif hints[field.name] is bool:
                if value.lower() not in (*YES, *NO):
                    raise OptionsError(f"{variable} is a switch: {variable}=1 or {variable}=0, got {value!r}")
                found.append(flag if value.lower() in YES else "--no-" + flag[2:])
            else:
                found.append(f"{flag}={value}")
    return found


def check_names(given: dict[str, str], goals: Sequence[str], record: RunRecord | None) -> None:
    """Check that every variable is an option of what is asked for.

    Raises:
        OptionsError: it is not known, with the nearest name; or it belongs to a stage that is not run.
    """
    if not set(given) - {"OUT", "CORPUS"}:
        return
    run = {name for goal in goals if goal in STAGES or goal in TARGETS for name in chain(goal, given, record)}
    known = {name: _options_of(STAGES[name].options) for name in ORDER}
    for name, target in TARGETS.items():
        known[name] = {*_options_of(target.options), *target.flags, *target.words}
    allowed = {*SETUP, *(option for name in {*run, *goals} for option in known.get(name, ()))}
    if {"report", "score"} & set(goals):
        allowed |= {"ROBUST", "MODEL"}
    for variable in given:
        if variable in allowed or variable == "CORPUS":
            continue
        owners = [name for name, options in known.items() if variable in options and name not in HIDDEN]
        if owners:
            what = " and ".join(f"`make {goal}`" for goal in goals)
            raise OptionsError(f"{what} does not use {variable}: it is an option of `make {owners[0]}`")
        every = sorted({*SETUP, *(option for options in known.values() for option in options)})
        near = difflib.get_close_matches(variable, every, 1, 0.5)
        raise OptionsError(f"{variable} is not an option" + (f"; did you mean {near[0]}?" if near else ""))


def _options_of(classes: Sequence[str]) -> set[str]:
    found = set()
    for entry in classes:
        module, _, name = entry.partition(":")
        found |= {field.name.upper() for field in dataclasses.fields(getattr(importlib.import_module(module), name))}
    return found


def run_stages(names: Sequence[str], given: dict[str, str], out: str) -> int:
    """Run stages in order until one fails; those that are up to date say so. Returns an exit status."""
    for name in names:
        stage = STAGES[name]
        argv = ["--out", out, *flags_of(stage, given)]
        work = Work(stage, argv, "")
        decision = work.decide()
        if not decision.reasons:
            stages.up_to_date(work, decision)
        elif status := start(stage.command, argv):
            return status
        elif work.given.get("shard"):
            return 0  # the tables come with the last run, without SHARD
    return 0


def flags_of(stage: Stage, given: dict[str, str]) -> list[str]:
    """Return the command-line flags of a stage for the variables of a make command."""
    found = arguments(stage.options, given) if set(given) - {"OUT"} else []
    # An option of extraction, and a flag of every other stage.
    return [*found, "--verify"] if given.get("VERIFY", "").lower() in YES and "--verify" not in found else found


def start(module: str, argv: Sequence[str], environment: dict[str, str] | None = None) -> int:
    """Run a command of this project in a process of its own. Returns its exit status, 130 for Ctrl-C."""
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "pipeline", "--run", module, *argv],
                               env={**os.environ, **(environment or {})})
    interrupted = False
    while True:
        try:
            status = process.wait()
            return 130 if interrupted or status == -2 else status if status >= 0 else 128 - status
        except KeyboardInterrupt:  # the process got it, too, and says so
            interrupted = True


def plan(given: dict[str, str], out: str) -> list[str]:
    """Say what each stage would do now and why, with the time and disk that the run's own rates suggest."""
    lines, behind = [], ""
    for name in ORDER:
        if name in HIDDEN and not _robust(given, RunRecord(out)):
            continue
        work = Work(STAGES[name], ["--out", out, *flags_of(STAGES[name], given)], "")
        decision, done = work.decide(), work.record.done(name)
        reasons = decision.reasons or ([f"{behind} is done again before it"] if behind else [])
        if not reasons:
            lines.append("; ".join([f"{name}: up to date", *decision.notes]))
            continue
        behind = behind or name
        said = f"{name}: would run: {', '.join(reasons)}"
        if done and done["amount"]:
            amount = len(column(Path(out) / "index.csv", "video_id")) if name == "extract" else done["amount"]
            seconds = done["seconds"] / done["amount"] * (amount or done["amount"])
            said += f"; about {_duration(seconds)}, as it took {_duration(done['seconds'])} for {done['amount']:,}"
            if done.get("bytes"):
                said += f"; about {done['bytes'] / done['amount'] * amount / 1e6:,.0f} MB"
        else:
            said += "; no estimate before it ran once"
        lines.append(said)
    return lines


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def remembered(out: str) -> list[str]:
    """List what a run remembers: stage, option, value, since when; then the default of everything else."""
    record, lines = RunRecord(out), []
    for name in ORDER:
        work = Work(STAGES[name], ["--out", out], "")
        section, fields = record.section(name)["named"], STAGES[name].fields()
        values = work.values
        for option, entry in section.items():
            lines.append(f"{name:10} {option.upper():16} {show(entry['value']):24} since {entry['since']}")
        others = [f"{option.upper()}={show(values[option])}" for option in values
                  if option not in section and fields[option].metadata.get("remembered", True)]
        if others:
            lines.append(f"{name:10} defaults: {' '.join(others)}")
    return lines


def main_of(target: str, given: dict[str, str], goals: Sequence[str]) -> int:
    """Run one target of make. Returns an exit status."""
    out = given.get("OUT") or "out"
    uses_run = target in STAGES or target in ("options", "plan") or TARGETS[target].out
    record = RunRecord(out) if uses_run else None
    check_names(given, goals, record)
    if target in STAGES and record:
        return run_stages(chain(target, given, record), given, out)
    if target in ("options", "plan"):
        print("\n".join(remembered(out) if target == "options" else plan(given, out)))
        return 0
    special = {"demo": _demo, "detector": _detector, "check": _check, "bench-quality": _bench_quality,
               "bench-extract": _bench_extract, "bench-judge": _bench_judge}
    if target in special:
        return special[target](given)
    own = TARGETS[target]
    of_stages = {name: value for name, value in given.items()
                 if name not in _options_of(own.options) or name in ("CORPUS", "DEVICE", "WORKERS")}
    if status := run_stages(own.before, of_stages, out):
        return status
    argv = ["--out", out] if own.out else []
    argv += [f"--{name.lower().replace('_', '-')}={given[name]}" for name in own.flags
             if name in given and name != "TOKEN"] + arguments(own.options, given)
    for name in own.words:
        argv += given.get(name, "").split()
    # A token goes by the environment: everyone on a machine sees the flags of its processes.
    return start(own.module, argv, {"SERVE_TOKEN": given.get("TOKEN", "")} if target == "serve" else None)


def _check(given: dict[str, str]) -> int:
    corpus = given.get("CORPUS") or RunRecord(given.get("OUT") or "out").named("index").get("corpus")
    if not corpus:
        raise OptionsError("corpus path unknown; pass CORPUS=folder")
    own = {name: value for name, value in given.items() if name != "CORPUS"}
    return start("extract.corpus", [corpus, "--check", *arguments(TARGETS["check"].options, own)])


def _demo(given: dict[str, str]) -> int:
    """Draw a small corpus, run every stage on it, judge a real and a fake test clip of it."""
    out = Path(given.get("DEMO_OUT") or "out/demo")
    if status := start("data.demo.make", [str(out / "corpus")]):
        return status
    options = {"CORPUS": str(out / "corpus"), "EVERY": "1", "BACKBONE": "tf_efficientnet_lite0", "LR": "3e-4"}
    if status := run_stages([name for name in ORDER if name not in HIDDEN], options, str(out)):
        return status
    scores = out / "scores" / "videos.csv"
    rows = list(zip(*(column(scores, name) for name in ("video_id", "label", "part", "status"))))
    clips = [next(video for video, own, part, status in rows if (own, part, status) == (label, "test", "ok"))
             for label in ("0", "1")]
    return start("classify.video", ["-v", "--model", str(out / "model" / "model.safetensors"),
                                    *(str(out / "corpus" / clip) for clip in clips)])


def _clips() -> list[str]:
    folder = Path(os.environ.get("DEEPFAKE_SHARED") or "../shared") / "corpus"
    return ["--corpus", str(folder / "Celeb-DF-v2"), "--corpus", str(folder / "FaceForensics++"), "--natural",
            str(folder / "natural")]


def _bench_quality(given: dict[str, str]) -> int:
    flags = [f"--{name.lower()}={given[name]}" for name in TARGETS["bench-quality"].flags if name in given]
    checks = Path(os.environ.get("DEEPFAKE_SHARED") or "../shared") / "checks"
    more = ["--corpus", str(checks / "ffpp-c40"), "--talking", str(checks / "talking"), "--robustness"]
    return start("classify.evaluation.cross_corpus", [*flags, *_clips(), *more, "--out", "out/quality"]) \
        or start("reports.cross_corpus", ["--out", "out/quality"])


def _bench_extract(given: dict[str, str]) -> int:
    folder = Path(os.environ.get("DEEPFAKE_SHARED") or "../shared") / "corpus"
    return start("tests.benchmarks.extract", ["--corpus", str(folder)] if folder.is_dir() else [])


def _bench_judge(given: dict[str, str]) -> int:
    folder = Path(os.environ.get("DEEPFAKE_SHARED") or "../shared") / "corpus"
    return start("tests.benchmarks.judge", ["--corpus", str(folder)])


def _detector(given: dict[str, str]) -> int:
    """Train the shipped detector from DFDC's crops, photos and crops of clips, at two sizes, then choose its band."""
    if not given.get("DFDC"):
        raise OptionsError("pass DFDC=folder with faces_224/ and metadata.csv, and PHOTOS=\"folders\"")
    out = Path(given.get("DETECTOR_OUT") or "out/detector")
    more = [word for name in ("PHOTOS", "CROPS") if given.get(name)
            for word in (f"--{name.lower()}", *given[name].split())]
    if status := start("classify.release.training_corpus", ["--dfdc", given["DFDC"], *more, "--out",
                                                            str(out / "corpus")]):
        return status
    sources = ["--sources", given["SOURCES"]] if given.get("SOURCES") else []
    names = ["index", "extract", "split", "train"]
    options = {"CORPUS": str(out / "corpus" / "corpus.csv"), "RECIPE": "detector", "VAL": ".02", "TEST": ".02",
               "BATCH": "48"}
    first, larger = str(out / "model" / "model.safetensors"), out / "larger"
    return run_stages(names, options, str(out)) \
        or run_stages(names, {**options, "BEGIN": first, "BEGIN_SIZE": "192", "LR": "5e-4"},
                      str(larger)) \
        or start("classify.release.detector", ["--model", str(larger / "model" / "model.safetensors"), *_clips(),
                                               *sources, "--out", "classify/release/detector.safetensors"]) \
        or start("classify.export", ["classify/release/detector.safetensors", "--crops", str(out / "corpus")]) \
        or start("classify.release.pin", [])


@command
def main(argv: list[str] | None = None) -> int:
    """Run the targets that `make` was asked for; return the exit status."""
    words = sys.argv[1:] if argv is None else argv
    target = words[0] if words else ""
    if target not in STAGES and target not in TARGETS:
        raise PipelineError(f"no target {target!r}: `make` lists them")
    goals = [goal for goal in os.environ.get("GOALS", target).split() if goal in STAGES or goal in TARGETS] or [target]
    return main_of(target, variables(os.environ.get("MAKEFLAGS", "")), goals)
