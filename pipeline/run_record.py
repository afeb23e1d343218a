"""What a run was made with: OUT/run.json, a section per stage, written by the stages and read by a person.

    "train": {
      "named": {"lr": {"value": 0.001, "since": "2026-11-25 09:14:02"}},   what a command line named, until renamed
      "done":  {"options": {...}, "inputs": {...}, "outputs": {...}, ...}  what the finished result was made with
    }

A file is recorded with its size, its times and the SHA-256 of its content. The digest is computed again when size or a
time differs; a time alone never makes a result stale. `named` is written when a stage starts and `done` when it has
finished, so that a killed stage is not done and its options are still known.
"""
from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import os
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Any, Iterable, Iterator

from pipeline.errors import PipelineError, TableError
from pipeline.storage import Remote, place
from pipeline.tables import write_bytes

RECORD, PREVIOUS, LOCK = "run.json", "run.previous.json", ".lock"
FORMAT = 1
INDEX_WAIT_S = 600  # that a process waits for another one that makes the same index
# Files that only a run of an earlier version has without a record beside them.
MADE_BEFORE = ("index.csv", "split.csv", "faces/videos.csv", "model/model.safetensors", ".options")

File = dict[str, Any]     # sha256, size, mtime_ns, ctime_ns of a file
Section = dict[str, Any]  # "named" and "done" of a stage


class RunRecord:
    """The record of one run.

    Attributes:
        out: folder of the run, a Path or a storage.Remote.
        stages: name of a stage -> its section.
    """

    def __init__(self, out: Any):
        """Read OUT/run.json; a folder without one is a new run.

        Raises:
            TableError: the record is damaged, was written by a newer version, or is missing from a folder that holds
                results already.
            PipelineError: OUT is a file.
        """
        self.out = place(out)
        self.stages: dict[str, Section] = {}
        if not isinstance(self.out, Remote) and self.out.exists() and not self.out.is_dir():
            raise PipelineError(f"OUT={self.out} is a file: OUT= must name a folder, which is made if it is missing")
        path = self.out / RECORD
        if path.is_file():
            self.stages = _read(path)
        elif not isinstance(self.out, Remote):
            if found := [name for name in MADE_BEFORE if (self.out / name).exists()]:
                raise TableError(
                    f"{self.out} holds {found[0]} but no {RECORD}, so what it was made with is not known (it was made "
                    f"by an earlier version, or {RECORD} was removed): choose another OUT=. A model in it can still be "
                    "used with MODEL=")

    def section(self, stage: str) -> Section:
        """Return the section of a stage, empty for one that never ran."""
        return self.stages.setdefault(stage, {"named": {}, "done": None})

    def named(self, stage: str) -> dict[str, Any]:
        """Return option -> value of what was named for a stage."""
        return {name: entry["value"] for name, entry in self.section(stage)["named"].items()}

    def done(self, stage: str) -> dict[str, Any] | None:
        """Return what the finished result of a stage was made with, or None."""
        return self.section(stage)["done"]

    def name(self, stage: str, values: dict[str, Any]) -> None:
        """Replace the named options of a stage; a value that is named again unchanged keeps its date."""
        before, now = self.section(stage)["named"], timestamp()
        self.section(stage)["named"] = {
            option: before[option] if option in before and before[option]["value"] == value
            else {"value": value, "since": now} for option, value in sorted(values.items())}

    def write(self) -> None:
        """Write the record whole or not at all; the one before is kept as run.previous.json."""
        body = {"format": FORMAT, "stages": self.stages}
        content = (json.dumps({"sha256": _digest(body), **body}, indent=1, allow_nan=False) + "\n").encode()
        path = self.out / RECORD
        if path.is_file():
            before = path.read_bytes()
            if before == content:
                return
            write_bytes(self.out / PREVIOUS, before)
        write_bytes(path, content)


def _read(path: Any) -> dict[str, Section]:
    try:
        record = json.loads(path.read_bytes())
        digest = record.pop("sha256")
        version = record["format"]
    except (ValueError, KeyError, AttributeError, TypeError):
        digest = version = None
    if version is not None and version != FORMAT:
        raise TableError(f"{path} has format {version}, this version reads {FORMAT}: choose another OUT=")
    if digest is None or digest != _digest(record):
        raise TableError(f"{path} is damaged or was edited by hand: copy {PREVIOUS} over it, the record before its "
                         "last change, or choose another OUT= (options are changed by naming them: make train LR=1e-3)")
    return record["stages"]


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def timestamp() -> str:
    """Return the local time as text, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def look(path: Any, before: File | None = None, verify: bool = False) -> File | None:
    """Describe a file by size, times and digest.

    Args:
        path: the file, a Path or a Remote.
        before: what an earlier look found. Its digest is taken over where size and times are unchanged.
        verify: compute the digest in any case.

    Returns:
        None where there is no such file.
    """
    if isinstance(path, Remote):
        return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} if path.is_file() else None
    try:
        status = os.stat(path)
        stamp = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
        if before and not verify and all(before.get(name) == value for name, value in stamp.items()):
            return before
        with open(path, "rb") as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), **stamp}
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def same(one: File | None, other: File | None) -> bool:
    """Tell whether two looks found the same content."""
    return (one or {}).get("sha256") == (other or {}).get("sha256")


def stamps(root: Any, names: Iterable[str]) -> str:
    """Return a digest of names, sizes and times of many files below a folder; a missing file counts as missing."""
    digest = hashlib.sha256()
    if isinstance(root, Remote):
        listed = root.files()
        for name in names:
            digest.update(f"{name}\0{listed.get(name)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
    for name in names:
        stamp = " ".join(_stamps_of(f"{root}/{name}")) or "missing"
        digest.update(f"{name}\0{stamp}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _stamps_of(path: str) -> list[str]:
    """Sizes and times of a file, or of the pictures that a video's name stands for: a folder, or folder/prefix*.jpg."""
    try:
        found = [os.stat(path)]
        if stat.S_ISDIR(found[0].st_mode):
            with os.scandir(path) as scan:
                found += [entry.stat() for entry in sorted(scan, key=lambda entry: entry.name)]
    except OSError:
        folder, _, prefix = path.partition("*")[0].rpartition("/")
        if "*" not in path or not os.path.isdir(folder):
            return []
        with os.scandir(folder) as scan:
            found = [entry.stat() for entry in sorted(scan, key=lambda entry: entry.name)
                     if entry.name.startswith(prefix)]
    return [f"{one.st_size} {one.st_mtime_ns} {one.st_ctime_ns}" for one in found]


def is_record(path: str | Path) -> bool:
    """Return whether a file is the record of a run: what lies beside it was written by this project."""
    try:
        with open(path, "rb") as file:
            return "stages" in json.loads(file.read())
    except (OSError, ValueError):
        return False


def column(path: Any, name: str) -> list[str]:
    """Read one column of a table, here or elsewhere, without pandas; [] where the table or the column is missing."""
    try:
        text = path.read_bytes().decode()
        return [row[name] or "" for row in csv.DictReader(io.StringIO(text, newline=""))]
    except (OSError, KeyError, ValueError, csv.Error):
        return []


@contextlib.contextmanager
def locked(out: Any, stage: str) -> Iterator[None]:
    """Hold the run while a stage works. A Remote cannot be locked.

    Raises:
        PipelineError: another process is at work in this folder; the message says which, and since when.
    """
    if isinstance(out, Remote):
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    with open(out / LOCK, "a+") as file:
        until = time.monotonic() + INDEX_WAIT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                who = file.read().strip() or "another process"
                # The jobs of an array that extract its shards all begin with the index: one makes it, the others wait.
                if stage != "index" or "`index`" not in who or time.monotonic() > until:
                    raise PipelineError(f"{out} is in use by {who}: wait until it has ended, or choose another OUT="
                                        ) from None
                time.sleep(0.5)
        file.truncate(0)
        file.write(f"`{stage}` (process {os.getpid()} on {socket.gethostname()}, since {timestamp()})")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def say(stage: str, text: str) -> None:
    """Print one line of a stage at once, so that it stands before what the stage writes to stderr."""
    print(f"{stage}: {text}", flush=True)
    sys.stdout.flush()
