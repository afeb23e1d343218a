"""The stages of a run: what each reads and makes, whether it is up to date, and how a stage's command runs.

A stage decides by itself. It merges the options named now with those that the run remembers, compares options, inputs
and outputs with what the finished result was made with, says in one line what it does and why, works, and records the
result last. A stage that is up to date imports neither numpy nor torch.
"""
from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import importlib
import os
import sys
import time
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Sequence, TypeVar

from pipeline.corpora_list import is_corpora_list, read_corpora
from pipeline.errors import OptionsError, TableError
from pipeline.options import add_flags, as_record, from_values
from pipeline.run_record import RECORD, RunRecord, column, is_record, locked, look, same, say, stamps, timestamp
from pipeline.storage import Remote, place

T = TypeVar("T")

LISTS = (".csv", ".json", ".txt")  # files of a corpus whose content an index depends on
OTHERS = "others"                  # folder of OUT for models that were trained elsewhere: others/<model id>/
NOT_A_PATH = ("imagenet", "none", "new", "keep")
MOST_REASONS = 3
CHECK = "sizes or times of"


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: as in `make NAME`.
        command: module whose `main` does it.
        options: "module:Class" of the dataclasses of options that it reads.
        inputs, outputs: files below OUT. An output that is optional ends in "?".
        paths: options that name a file or a folder.
    """

    name: str
    command: str
    options: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def classes(self) -> list[type]:
        """Import the dataclasses of the stage's options."""
        return [getattr(importlib.import_module(module), name)
                for module, name in (entry.split(":") for entry in self.options)]

    def fields(self) -> dict[str, dataclasses.Field[Any]]:
        """Return option name -> field, of all classes of the stage."""
        return {f.name: f for cls in self.classes() for f in dataclasses.fields(cls)}

    def types(self) -> dict[str, Any]:
        """Return option name -> type hint."""
        return {name: hint for cls in self.classes() for name, hint in typing.get_type_hints(cls).items()}


TRAINING = ("classify.training.recipes:RecipeOptions", "classify.models.options:ModelOptions",
            "classify.training.recipes:TrainOptions", "data.loading.options:AugmentOptions",
            "classify.evaluation.options:ScoreOptions")
STAGES = {stage.name: stage for stage in (
    Stage("index", "extract.corpus", ("extract.corpus:IndexOptions",), (), ("index.csv", "copies.csv?"), ("corpus",)),
    Stage("extract", "extract.run", ("extract.decoding.sampling:FrameOptions", "extract.faces.detector:FaceOptions",
                                     "extract.options:RunOptions", "extract.decoding.media:Limits"),
          ("index.csv",), ("faces/faces.csv", "faces/options.json", "faces/sheet.png", "faces/videos.csv",
                           "faces/copies.csv?")),
    Stage("split", "data.split", ("data.split:SplitOptions",), ("index.csv", "copies.csv", "faces/copies.csv"),
          ("split.json", "split.csv"), ("split",)),
    Stage("train", "classify.train", TRAINING,
          ("index.csv", "split.csv", "faces/faces.csv", "faces/options.json"), (), ("begin", "replay_from", "weights")),
    Stage("score", "classify.score", ("classify.evaluation.options:ScoreOptions",
                                      "classify.evaluation.options:ModelChoice"),
          ("index.csv", "split.csv", "split.json", "faces/faces.csv", "faces/options.json", "faces/videos.csv"),
          ("scores/frames.csv", "scores/run.json", "scores/videos.csv"), ("model",)),
    Stage("robustness", "classify.evaluation.robustness", ("classify.evaluation.options:ScoreOptions",
                                                           "classify.evaluation.options:ModelChoice"),
          ("scores/run.json", "scores/videos.csv"), ("scores/altered.csv",), ("model",)),
    Stage("report", "reports.page", ("reports.options:ReportOptions", "classify.evaluation.options:ModelChoice",
                                     "classify.evaluation.options:ForeignScoresOptions"),
          ("index.csv", "faces/videos.csv", "split.csv", "scores/frames.csv", "scores/run.json", "scores/videos.csv"),
          ("report/metrics.csv", "report/metrics.json", "report/report.html"), ("against", "model", "scores")),
)}


@dataclass
class Decision:
    """What a stage would do: nothing where `reasons` is empty.

    Attributes:
        reasons: why there is something to do, most important first.
        notes: what a person should know although it changes nothing.
        inputs: name -> look at it now.
        refreshed: whether times of recorded files are to be written again.
    """

    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    refreshed: bool = False


class Work:
    """A stage at work on a run.

    Attributes:
        out: folder of the run.
        folder: where a stage that depends on the model writes: `out`, or out/others/<id> for MODEL= and SCORES=.
        stage: the stage. key: its section in the record.
        record: of the run.
        named: option -> value, remembered ones and those of this command line.
        again: options that were named now and differ from what the result was made with.
    """

    def __init__(self, stage: Stage, argv: Sequence[str] | None, description: str):
        self.stage = stage
        given = _parse(stage, argv, description)
        self.out = given.pop("out")
        self.back: list[str] = given.pop("default")
        self.given = given
        self.began, self.reasons = time.monotonic(), list[str]()
        self.inputs, self.places = dict[str, Any](), dict[str, Any]()
        model, scores = given.get("model"), given.get("scores")
        self.key, self.folder = stage.name, self.out
        if model is not None and scores is not None:
            raise OptionsError("MODEL= is scored here, SCORES= were made elsewhere: pass one of the two")
        model_id = foreign_scores(Path(scores)) if scores is not None else \
            foreign_model(self.out, Path(model)) if model is not None else ""
        if model_id:
            self.key, self.folder = f"{stage.name}:{model_id}", self.out / OTHERS / model_id
        self.read()

    def read(self) -> None:
        """Read the record and merge what it remembers with what was named now."""
        self.__dict__.pop("values", None)
        self.record = RunRecord(self.out)
        remembered = self.record.named(self.key)
        if "recipe" in self.given:  # sets all options of training
            remembered = {}
        persistent = {name: value for name, value in self.given.items() if _remembered(self.stage, name)}
        self.named = {**{k: v for k, v in remembered.items() if k not in self.back}, **persistent}
        done = self.record.done(self.key)
        self.changed = bool(self.back or persistent) or done is not None and done["named"] != self.named

    @functools.cached_property
    def values(self) -> dict[str, Any]:
        """Every option of the stage -> value: named now, remembered, of the finished result, or the default."""
        named = {**self.named, **self.given}
        chosen: list[Any] = [from_values(cls, named if hasattr(cls, "presets") else {}) for cls in self.stage.classes()]
        base = {name: value for options in chosen for name, value in as_record(options).items()}
        for options in chosen:
            if hasattr(options, "presets"):  # a choice that sets others, as RECIPE does
                base.update(options.presets())
        return {**base, **named}

    def options(self, cls: type[T]) -> T:
        """Build one of the stage's dataclasses of options. Raises OptionsError for a value that it refuses."""
        return from_values(cls, self.values)

    def forget(self, name: str) -> None:
        """Take back an option that holds for this time only: it is not remembered."""
        self.given.pop(name, None)
        self.named.pop(name, None)
        self.__dict__.pop("values", None)
        self.record.name(self.key, self.named)

    def remembered_values(self) -> dict[str, Any]:
        """Return the values of the options that a result depends on."""
        fields = self.stage.fields()
        return {name: value for name, value in self.values.items() if fields[name].metadata.get("remembered", True)}

    def file(self, name: str) -> Any:
        """Return an input or output of the stage: of a foreign model's folder where it has one, else of the run."""
        own = self.folder / name
        return own if self.folder == self.out or _of_model(name) or own.is_file() else self.out / name

    def decide(self) -> Decision:
        """Compare options, inputs and outputs with what the finished result was made with."""
        decision, done = Decision(), self.record.done(self.key)
        verify = bool(self.given.get("verify"))
        before = done["inputs"] if done else {}
        decision.inputs = self._inputs(before, verify, decision.notes)
        if done is None:
            begun = self.record.section(self.key)["named"] or self.record.section(self.key).get("begun")
            decision.reasons.append("it was not finished" if begun else "not done yet")
            return decision
        for name in ("verify", "retry_failed"):
            if self.given.get(name) and self.stage.name == "extract":
                decision.reasons.append(f"{name.upper()}=1")
        if self.changed:
            decision.reasons += _differences(done["options"], self.remembered_values(), self.named, done["named"])
        for name, now in decision.inputs.items():
            if now is None and name in ("corpus", "videos"):
                continue  # not at hand: going on with what there is
            if not same(now, before.get(name)):
                what = f"{CHECK} videos changed" if name == "videos" else f"{name} changed"
                decision.reasons.append(what if name in before else f"{name} is new")
            decision.refreshed |= now != before.get(name)
            before[name] = now
        for name, recorded in done["outputs"].items():
            now = self._output(name, recorded, verify)
            if not same(now, recorded):
                decision.reasons.append(f"{CHECK} crops changed" if name == "crops" else
                                        f"{name} is missing" if now is None else f"{name} was changed since")
            decision.refreshed |= now != recorded
            done["outputs"][name] = now if same(now, recorded) else recorded
        return decision

    def _inputs(self, before: dict[str, Any], verify: bool, notes: list[str]) -> dict[str, Any]:
        found = {name: look(self.file(name), before.get(name), verify) for name in self.stage.inputs}
        values = {**(self.record.done(self.key) or {"options": {}})["options"], **self.named, **self.given}
        if self.stage.name == "index":
            found["corpus"] = _corpus(values.get("corpus"), self.out, before.get("corpus"))
            if found["corpus"] is None and values.get("corpus"):
                notes.append(f"{values['corpus']} is not here now")
        elif self.stage.name == "extract":
            root = corpus_root(self.record)
            if root is not None and (isinstance(root, Remote) or Path(root).exists()):
                found["videos"] = {"sha256": stamps(root, column(self.out / "index.csv", "video_id"))}
            else:
                found["videos"] = None
                notes.append("the corpus is not here now")
        elif self.stage.name in ("score", "robustness"):
            model = values.get("model") or own_model(self.record)
            found["model"] = look(Path(model), before.get("model"), verify) if model else None
        elif self.stage.name == "report":
            for name in ("scores/altered.csv", "model/epochs.csv"):
                found[name] = look(self.file(name), before.get(name), verify)
        for name in self.stage.paths:
            value = values.get(name)
            if value and name not in ("corpus", "model") and value not in NOT_A_PATH:
                path = Path(value)
                files = [path / "split.csv", path / "faces" / "faces.csv"] if name == "replay_from" else \
                    [path / "scores" / "videos.csv"] if name == "against" and not path.is_file() else [path]
                for file in files:
                    found[str(file)] = look(file, before.get(str(file)), verify)
        return {name: now for name, now in found.items() if now is not None or name in before}

    def _output(self, name: str, recorded: Any, verify: bool) -> Any:
        if name == "crops":
            return {"sha256": stamps(self.out / "faces", column(self.out / "faces" / "faces.csv", "crop"))}
        return look(self.folder / name, recorded, verify)

    def start(self, decision: Decision) -> None:
        """Begin the work that was decided on: from now its time and its inputs count."""
        self.began, self.reasons, self.inputs = time.monotonic(), decision.reasons, decision.inputs
        self.places = {name: self.file(name) for name in self.stage.inputs}

    def wrote(self, names: Sequence[str]) -> None:
        """Say that the stage wrote these inputs itself: as they are when it finishes, they count."""
        for name in names:
            self.inputs.pop(name, None)

    def _inputs_used(self) -> dict[str, Any]:
        """Inputs as they were when the work began: one that somebody changed meanwhile is then seen as changed.

        An input that the stage wrote itself, or that it reads elsewhere since, counts as it is now.
        """
        now = self._inputs(self.inputs, False, [])  # a file that is as it was is not read again
        moved = {name for name, place in self.places.items() if self.file(name) != place}
        return {name: (name not in moved and self.inputs.get(name)) or found for name, found in now.items()
                if found is not None}

    def finish(self, amount: int, outputs: Sequence[str] = (), **more: Any) -> None:
        """Record that the stage is done.

        Args:
            amount: how many videos, crops or rows it worked on, for later estimates.
            outputs: further files that it made, beside those that the stage always makes.
            more: further entries, readable by later stages.
        """
        names = [*self.stage.outputs, *outputs]
        made = {name.rstrip("?"): look(self.folder / name.rstrip("?")) for name in names}
        if missing := [name for name in names if not name.endswith("?") and made[name] is None]:
            raise TableError(f"{self.stage.name} did not write {missing[0]}")
        if self.stage.name == "extract":
            made["crops"] = self._output("crops", None, False)
        self.record.section(self.key)["done"] = {
            "finished": timestamp(), "seconds": round(time.monotonic() - self.began, 1), "amount": amount,
            "options": self.remembered_values(), "named": self.named, "inputs": self._inputs_used(),
            "outputs": {name: found for name, found in made.items() if found is not None}, **more}
        self.record.section(self.key).pop("begun", None)
        self.record.write()


def run(name: str, argv: Sequence[str] | None, description: str, do: Callable[[Work], int | None]) -> int | None:
    """Run one stage: say what is to be done and why, do it under the run's lock, or say that it is up to date.

    Args:
        name: of the stage.
        argv: its flags, None for those of the process.
        description: of the command, for `--help`.
        do: does the work, and calls `Work.finish` when all is written. Its return value is the exit status.

    Raises:
        PipelineError: another process is at work on this run, or the stage fails.
    """
    stage = STAGES[name]
    work = Work(stage, argv, description)
    if (decision := work.decide()).reasons:
        for cls in stage.classes():
            work.options(cls)  # a value that is refused ends here, before it is remembered
        # The shards of one extraction run side by side, on several machines; they write no table and record nothing.
        # Of the processes that torchrun starts, the first one writes and records.
        if work.given.get("shard") or int(os.environ.get("RANK", 0)):
            return do(work)
        with locked(work.out, stage.name):
            work.read()
            if (decision := work.decide()).reasons:
                say(name, _line(decision, work.record.done(work.key) is not None))
                work.record.name(work.key, work.named)
                work.record.section(work.key)["begun"] = timestamp()
                work.record.write()
                work.start(decision)
                return do(work)
    up_to_date(work, decision)
    return None


def up_to_date(work: Work, decision: Decision) -> None:
    """Say that a stage is up to date, and remember what was named and how the files look now."""
    say(work.stage.name, "; ".join(["up to date", *decision.notes]))
    done = work.record.done(work.key)
    if done is not None and (decision.refreshed or work.changed):
        work.record.name(work.key, work.named)
        done["named"] = work.named
        with contextlib.suppress(PermissionError):  # a run that may only be read is up to date all the same
            work.record.write()


def corpus_root(record: RunRecord) -> Any:
    """Return the folder that the index' video_ids are relative to, or None where no index is recorded."""
    done = record.done("index")
    if done is None:
        return None
    root = done["root"]
    return record.out / root["inside"] if "inside" in root else place(root["path"])


def own_model(record: RunRecord) -> Path | None:
    """Return the model that was trained in this run, or None."""
    done = record.done("train")
    names = [name for name in (done or {"outputs": {}})["outputs"] if name.startswith("model/model.")]
    return Path(record.out) / names[0] if names else None


def foreign_model(out: Any, model: Path) -> str:
    """Return the model_id of a model that is not OUT's own, "" for OUT's own. Raises CheckpointError."""
    read_card = importlib.import_module("classify.models.card").read_card
    if model.resolve() in [(Path(out) / "model" / f"model.{kind}").resolve() for kind in ("safetensors", "keras")]:
        return ""
    return str(read_card(model)["model_id"])


def foreign_scores(path: Path) -> str:
    """Return the id of a file of scores: its stem, and a digest of its content. Raises OptionsError."""
    if (found := look(path)) is None:
        raise OptionsError(f"SCORES={path} is no file: name a CSV with the columns video_id and score")
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in path.stem)[:40]
    return f"{stem}-{found['sha256'][:8]}"


def _of_model(name: str) -> bool:
    return name.startswith(("scores/", "report/", "model/"))


def _parse(stage: Stage, argv: Sequence[str] | None, description: str) -> dict[str, Any]:
    """The options given, and out. Without any option no class of options is imported."""
    parser = argparse.ArgumentParser(prog=f"python -m {stage.command}", description=description, allow_abbrev=False)
    parser.add_argument("--out", type=place, required=True, help="folder of the run (OUT)")
    parser.add_argument("--default", action="append", default=[], metavar="OPTION",
                        help="set a remembered option back to its default")
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) == 2 and words[0] == "--out":
        return vars(parser.parse_args(words))
    add_flags(parser, *stage.classes())
    if "verify" not in stage.fields():
        parser.add_argument("--verify", action="store_true", default=argparse.SUPPRESS,
                            help="compare every file with what was recorded, not only those whose times changed")
    given = vars(parser.parse_args(argv))
    fields = stage.fields()
    given["default"] = [name.lower().replace("-", "_") for name in given["default"]]
    if unknown := [name for name in given["default"] if name not in fields]:
        raise OptionsError(f"{stage.name} has no option {unknown[0]}")
    for name in stage.paths:
        if given.get(name) and given[name] not in NOT_A_PATH and "://" not in str(given[name]):
            given[name] = os.path.abspath(given[name])
    return given


def _remembered(stage: Stage, name: str) -> bool:
    fields = stage.fields()
    return name in fields and fields[name].metadata.get("remembered", True)


def _differences(before: dict[str, Any], now: dict[str, Any], named: dict[str, Any],
                 named_before: dict[str, Any]) -> list[str]:
    """"EVERY was 3, now 1". A default that another version of this project changed is no reason."""
    asked = {*named, *named_before}
    if "recipe" in asked and named.get("recipe") != named_before.get("recipe"):
        asked |= set(now)
    return [f"{name.upper()} was {show(before.get(name))}, now {show(now[name])}" for name in sorted(asked)
            if name in now and before.get(name) != now[name]]


def show(value: Any) -> str:
    """Return an option's value as a person would type it."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _line(decision: Decision, again: bool) -> str:
    reasons = decision.reasons[:MOST_REASONS]
    if len(decision.reasons) > MOST_REASONS:
        reasons.append(f"and {len(decision.reasons) - MOST_REASONS} more changes")
    # A new time is no change yet: the stage looks at the content, and does again what is another.
    verb = "checking" if all(reason.startswith(CHECK) for reason in decision.reasons) else \
        "again" if again else "starting"
    return "; ".join([f"{verb}: {', '.join(reasons)}", *decision.notes])


def _corpus(path: str | None, out: Any, before: Any) -> Any:
    """A look at a corpus: the names below a folder and its lists; the content of a file. None where it is not here."""
    if not path:
        return None
    corpus = place(path)
    if isinstance(corpus, Remote):
        return {"sha256": hashlib.sha256("\n".join(sorted(corpus.files())).encode()).hexdigest()}
    if is_corpora_list(corpus):
        members = [_corpus(str(member), out, None) for member in read_corpora(corpus).values()]
        looks = [(look(corpus) or {"sha256": ""})["sha256"], *(str((member or {}).get("sha256")) for member in members)]
        return {"sha256": hashlib.sha256("\n".join(looks).encode()).hexdigest()}
    if corpus.is_file():
        found = look(corpus, before)
        if corpus.suffix.lower() == ".csv" and found:
            there = [name for name in column(corpus, "path") if os.path.exists(corpus.parent / name)]
            return {**found, "sha256": hashlib.sha256("\n".join([found["sha256"], *there]).encode()).hexdigest()}
        return found
    if not corpus.is_dir():
        return None
    digest = hashlib.sha256()
    for name in _names(str(corpus), os.path.abspath(str(out))):
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        if name.lower().endswith(LISTS):
            listed = look(corpus / name)
            digest.update((listed or {"sha256": ""})["sha256"].encode())
    return {"sha256": digest.hexdigest()}


def _names(root: str, out: str) -> list[str]:
    """Names of all files below a folder, links followed, each folder once; without hidden ones and without runs."""
    found, visited, todo = list[str](), set[tuple[int, int]](), [""]
    while todo:
        place = todo.pop()
        folder = f"{root}/{place}" if place else root
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited or os.path.abspath(folder) == out:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as scan:
                entries = [entry for entry in scan if not entry.name.startswith(".")]
        except OSError:
            continue
        if any(entry.name == RECORD and is_record(entry.path) for entry in entries):
            continue
        for entry in entries:
            name = f"{place}/{entry.name}" if place else entry.name
            try:
                (todo if entry.is_dir() else found).append(name)
            except OSError:
                continue
    return sorted(found)
