"""`--csv out.csv`: many clips judged to a table, a row each, which a killed run goes on with.

A row is written as soon as its clip is judged and is kept while the file's size and time of change stay what they were,
one that could not be read too: remove its row to try again. Rows of other files stay where they are, rows of one run
come as they finish: on a CPU each core judges a clip of its own. A cell that a spreadsheet would take for a formula, or
that holds control characters, is written as text (`as_cell`) and read back as it was. All rows are one model's.
"""
from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import IO, Any, Callable, Iterable, Iterator, Sequence

from classify.judging.inputs import check_is_file, printable
from extract.decoding.media import Limits, set_limits
from extract.store import stamp_of
from pipeline.errors import TableError, VideoError, fail
from pipeline.progress import progress_bar
from pipeline.tables import write_bytes
from pipeline.workers import TimedOut, WorkerDied

COLUMNS = ("path", "verdict", "score", "probability", "threshold", "reason", "n_asked", "n_read", "n_faces",
           "people",                 # how many were judged where several were, else empty
           "model", "error",         # error: why there is no verdict, else empty
           "size_bytes", "mtime_ns")  # of the file when it was judged, empty where it could not be asked
VERDICTS = ("fake", "undecided", "real")
FORMULA = ("=", "+", "-", "@", "'")  # how a cell begins that a spreadsheet computes, and one that `as_cell` wrote
CODEC: Any = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}  # names may hold odd bytes

Row = dict[str, str]


def judge_all(paths: Sequence[str], judged: Callable[[list[str]], Iterable[tuple[str, Any]]], model_id: str,
              table: Path, thing: str) -> list[Row]:
    """Judge what has no row yet and return the rows of `paths`, progress and errors on stderr.

    judged: paths -> (path, its classify.judging.judge.Verdict or what was raised) in any order, as of map_unordered.
    thing:
    "clip" or "picture", for the lines.
    Raises TableError where `table` is something else or another model's, or is being written to.
    """
    paths = list({os.path.abspath(path): path for path in reversed(paths)}.values())[::-1]  # the first way to name it
    with _opened(table, model_id, set(map(os.path.abspath, paths))) as (rows, file):
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        todo = [path for path in paths if os.path.abspath(path) not in rows]
        with progress_bar(total=len(paths), initial=len(paths) - len(todo), unit=thing, file=sys.stderr) as bar:
            for path, found in judged(todo):
                row = rows[os.path.abspath(path)] = _row(path, found, model_id)
                writer.writerow(_as_line(row))
                file.flush()
                if row["error"]:
                    with bar.external_write_mode(file=sys.stderr):
                        fail(f"{printable(path)}: {row['error']}")
                bar.update()
    return [rows[os.path.abspath(path)] for path in paths]


def add_row(table: Path, path: str, found: Any, model_id: str) -> None:
    """Add the row of one file to a table. found: its Verdict, or what was raised."""
    with open(table, "a", **CODEC) as file:
        csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(_as_line(_row(path, found, model_id)))


_judge: dict[str, Any] = {}  # of a worker, or of this process


def start_worker(model: Path, device: str, thing: str, most: Limits) -> None:
    """What judges in a process of its own: one model, one thread."""
    from classify.judging.judge import Judge
    from classify.models.load import use_one_thread

    set_limits(most)
    use_one_thread(model)
    take(Judge(model, device), thing)


def take(judge: Any, thing: str) -> None:
    """`judge_one` judges with this Judge from now on."""
    _judge["thing"] = "video" if thing == "clip" else thing
    _judge["one"] = judge.judge if thing == "clip" else lambda path: judge.judge_picture(path)[0]


def judge_one(path: str) -> Any:
    """The Verdict on a file. Raises VideoError."""
    check_is_file(path, _judge["thing"])
    return _judge["one"](path)


def summary(rows: Sequence[Row], table: Path, thing: str) -> str:
    """Return one line: how many of each verdict, and how many could not be read."""
    n = Counter("error" if row["error"] else row["verdict"] for row in rows)
    counts = ", ".join(f"{n[verdict]} {verdict.upper()}" for verdict in VERDICTS)
    return f"{table}: {len(rows)} {thing}{'s' * (len(rows) != 1)}, {counts}, {n['error']} could not be read"


def _row(path: str, found: Any, model_id: str) -> Row:
    """The row of one clip, judged now; empty fields for what is not known. found: its Verdict, or what was raised."""
    size, mtime, *_ = stamp_of(Path(path)) or (None, None)
    known = {"path": path, "model": model_id, "size_bytes": size, "mtime_ns": mtime}
    if isinstance(found, (VideoError, WorkerDied, TimedOut)):
        known["error"] = str(found)
    elif isinstance(found, Exception):
        raise found
    else:
        said = found.as_json()
        known.update({name: said[name] for name in COLUMNS if name in said and name != "path"})
        known["people"] = len(said["people"]) if said["people"] else None
    return {name: "" if known.get(name) is None else str(known[name]) for name in COLUMNS}


@contextlib.contextmanager
def _opened(table: Path, model_id: str, asked: set[str]) -> Iterator[tuple[dict[str, Row], IO[str]]]:
    """(rows to keep by absolute path, the file to append to), which nobody else writes to meanwhile.

    asked: absolute paths. A relative path and the absolute one of the same file are one row.
    """
    table.parent.mkdir(parents=True, exist_ok=True)
    with open(table, "a", **CODEC) as held:
        _lock(held, table)
        text = table.read_bytes().decode(CODEC["encoding"], CODEC["errors"])
        rows = _parsed(text, table)
        if other := next((row["model"] for row in rows if row["model"] != model_id), None):
            raise TableError(f"{table} holds verdicts of {other}, and this is {model_id}: name another file")
        by_path = {os.path.abspath(row["path"]): row for row in rows}
        kept = {path: row for path, row in by_path.items() if path not in asked or _unchanged(row)}
        content = io.StringIO()
        writer = csv.DictWriter(content, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_as_line, kept.values()))
        if content.getvalue() != text:  # new, or with rows of changed files, or with a line that was cut off
            write_bytes(table, content.getvalue().encode(CODEC["encoding"], CODEC["errors"]))
        with open(table, "a", **CODEC) as file:
            if not os.path.samestat(os.fstat(held.fileno()), os.fstat(file.fileno())):
                _lock(file, table)
            yield kept, file


def _lock(file: IO[str], table: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TableError(f"another run is writing to {table}: wait for it, or name another file") from None


def _parsed(text: str, table: Path) -> list[Row]:
    """The finished rows; a last line that a killed run left unfinished is left out. Raises TableError."""
    header = ",".join(COLUMNS) + "\n"
    if header.startswith(text):  # empty, or killed within the first line
        return []
    if not text.startswith(header):
        raise TableError(f"{table} is not a table of verdicts: name another file, this one is left as it is")
    lines = list(csv.reader(io.StringIO(text)))[1:]
    if not text.endswith("\n") or len(lines[-1]) != len(COLUMNS):
        lines.pop()
    if any(len(line) != len(COLUMNS) for line in lines):
        raise TableError(f"{table} is damaged: {next(n for n, x in enumerate(lines, 1) if len(x) != len(COLUMNS))}. "
                         "row has other columns than the first line; remove that row")
    return [dict(zip(COLUMNS, map(from_cell, line))) for line in lines]


def as_cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet computes and no terminal obeys.

    What begins like a formula (= + - @), with a quote, or holds characters that are not printable begins with a quote
    instead; in it backslashes and those characters are \\xNN or \\uNNNN. Odd bytes of names stay as they are.
    """
    if all(map(_is_harmless, text)) and not text.startswith(FORMULA) or _is_number(text):
        return text
    return "'" + "".join(c if _is_harmless(c) and c != "\\" else
                         f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" if ord(c) < 65536 else
                         f"\\U{ord(c):08x}" for c in text)


def from_cell(cell: str) -> str:
    """Return the text that `as_cell` wrote."""
    if not cell.startswith("'"):
        return cell
    return re.sub(r"\\(?:x(..)|u(....)|U(.{8}))", lambda m: chr(int(m[1] or m[2] or m[3], 16)), cell[1:])


def _is_harmless(character: str) -> bool:
    """Whether a terminal prints it; a surrogate stands for a byte of a name that is no UTF-8."""
    return character.isprintable() or "\udc80" <= character <= "\udcff"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", text) is not None


def _as_line(row: Row) -> Row:
    return {name: as_cell(text) for name, text in row.items()}


def _unchanged(row: Row) -> bool:
    stamp = stamp_of(Path(row["path"]))
    return stamp is not None and [str(n) for n in stamp[:2]] == [row["size_bytes"], row["mtime_ns"]]
