"""The tables that one stage hands to the next: their columns, written whole or not at all.

A table is a CSV file that a spreadsheet opens. It is written under a temporary name, synced and renamed, and last of
all that a stage writes: a table that exists is finished. Rows are sorted by the table's keys, so the same input gives
the same bytes. `label` is 0 for real and 1 for fake everywhere.
"""
from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable

from pipeline.errors import TableError
from pipeline.storage import Remote, place

if TYPE_CHECKING:
    import pandas as pd

# Columns in order with their pandas types. Strings are never missing: "" says that a thing is not known.
INDEX = {
    "video_id": "str",      # path relative to the corpus root, with /; of frames their folder, or prefix*.jpg
    "label": "int64",       # 0 real, 1 fake
    "dataset": "str",       # the layout it was recognised as, "Celeb-DF-v2"
    "method": "str",        # what made the fake, "" for reals
    "target_id": "str",     # the person filmed; the person whose pictures drive the fake
    "source_id": "str",     # the person whose face a fake wears; "" for reals
    "original": "str",      # video_id of the real a fake was made from, "" where unknown and for reals
    "official": "str",      # part in the corpus' official list: train, val, test or ""
    "modality": "str",      # video or image
}
COPIES = {                  # beside the index (bytes), and below OUT/faces (samples, near)
    "video_id": "str",
    "same_as": "str",       # the first video_id, in order, that shows the same
    "how": "str",           # what is the same: bytes, samples (decoded frames) or near (looks; extract/copies.py)
}
VIDEOS = {
    "video_id": "str",
    "label": "int64",
    "status": "str",        # ok, no_face, unreadable, error, timeout; no_score in scores of another detector
    "reason": "str",        # one sentence where the status is not ok, or where frames are missing
    "n_asked": "int64",     # frames that the time marks ask for
    "n_read": "int64",      # frames that could be read
    "n_faces": "int64",     # frames with a main face, and so crops
    "width_px": "int64",    # of the displayed picture (after rotation)
    "height_px": "int64",
    "duration_s": "float64",  # last minus first displayed timestamp
}
FACES = {
    "video_id": "str",
    "time_s": "float64",    # from the first displayed frame
    "frame": "int64",       # number of the frame in display order, from 0
    "face": "int64",        # number of the face in its frame, the main face is 0
    "x0": "float64", "y0": "float64", "x1": "float64", "y1": "float64",  # px of the full frame, origin top left
    **{f"{axis}_{name}": "float64" for name in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
       for axis in "xy"},   # left and right as seen by the viewer
    "confidence": "float64",  # of the detector, [0, 1]
    "n_faces": "int64",     # faces in this frame
    "track": "int64",       # person within the clip, 0 for the one with the largest total area of boxes
    "crop": "str",          # crop file relative to the faces folder, "" for a face that is not the main one
}
SPLIT = {
    "video_id": "str",
    "label": "int64",
    "part": "str",          # train, val, test or dropped
    "group": "str",         # what was kept whole: an identity component, a source video, or the video itself
}
FRAME_SCORES = {
    "video_id": "str",
    "time_s": "float64",
    "frame": "int64",
    "score": "float64",     # P(fake) in [0, 1]
    "crop": "str",
}
METHOD_GUESSES = {         # of fakes, by a network with a second head
    "video_id": "str",
    "part": "str",
    "method": "str",        # as in INDEX
    "guess": "str",         # the likeliest of the methods that the network has learned
    "share": "float64",     # its probability, mean over the crops, were the video a fake
}
VIDEO_SCORES = {
    "video_id": "str",
    "label": "int64",
    "part": "str",          # val or test
    "method": "str",
    "group": "str",         # identity group or source video: what bootstrap intervals resample
    "status": "str",        # as in VIDEOS
    "reason": "str",
    "n_asked": "int64",
    "n_read": "int64",
    "n_faces": "int64",
    "score": "float64",     # P(fake) aggregated over frames; missing where the verdict is undecided for want of faces
    "verdict": "str",       # real, fake, undecided
}
# Of test videos whose crops were altered (classify.evaluation.corruptions).
ALTERED_SCORES = {"alteration": "str", **VIDEO_SCORES}
DEMO_MARK = "DEMO.txt"    # a corpus that holds this file was drawn by data.demo.make; pages made from it say so
# Values that a column may hold, checked when a table is read: a set of words, or the ends of a range.
PARTS = ("train", "val", "test", "dropped")
STATUSES = ("ok", "no_face", "unreadable", "error", "timeout", "no_score")
VALUES: dict[str, tuple[str, ...] | tuple[float, float]] = {
    "label": (0, 1), "part": PARTS, "status": STATUSES, "verdict": ("real", "fake", "undecided"), "score": (0.0, 1.0),
    "share": (0.0, 1.0), "confidence": (0.0, 1.0), "n_asked": (0, 10 ** 9), "n_read": (0, 10 ** 9),
    "n_faces": (0, 10 ** 9), "frame": (0, 10 ** 12), "face": (0, 10 ** 6), "track": (-1, 10 ** 9),
    "width_px": (0, 10 ** 6), "height_px": (0, 10 ** 6), "duration_s": (0.0, 1e9), "time_s": (-1e9, 1e9)}
SORT_KEYS = ("video_id", "frame", "face")
CELLS: dict[str, Any] = {"str": lambda value: "" if value is None else str(value), "int64": int,
                         "float64": lambda value: math.nan if value is None else float(value)}


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all: temporary name in the same folder, fsync, rename; elsewhere a single put."""
    if isinstance(remote := place(path), Remote):
        remote.write_bytes(content)
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="." + path.name[:40] + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON whole or not at all; NaN is refused, since JSON has none."""
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises TableError when it is missing, damaged or no object."""
    if not path.is_file():
        raise TableError(f"{path} does not exist: run the stage that makes it first (`make` lists the stages)")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TableError(f"{path} is not JSON ({error}): remove it and make it again") from None
    if not isinstance(record, dict):
        raise TableError(f"{path} holds no object: remove it and make it again")
    return record


def write_table(path: str | Path, rows: pd.DataFrame | list[dict[str, Any]], columns: dict[str, str],
                only_if_changed: bool = False) -> bool:
    """Write a table with exactly `columns`, sorted by its keys. Returns whether the file was written.

    A list of rows needs no pandas, and gives the same bytes as a data frame does.

    only_if_changed: leave a file with the same bytes untouched, so that make does not think it newer.
    Raises TableError when a column is missing or a value does not fit its type.
    """
    content = (_text_of_rows(path, rows, columns) if isinstance(rows, list) else _text_of_frame(path, rows, columns)
               ).encode()
    if only_if_changed and place(path).is_file() and place(path).read_bytes() == content:
        return False
    write_bytes(path, content)
    return True


def _text_of_frame(path: str | Path, frame: pd.DataFrame, columns: dict[str, str]) -> str:
    _check_columns(path, frame.columns, columns)
    frame = frame[list(columns)].astype(columns)
    frame = frame.sort_values([k for k in SORT_KEYS if k in columns], kind="stable")
    text = io.StringIO()
    # 10 digits: far below a pixel or a microsecond, and the same text on every machine.
    frame.to_csv(text, index=False, float_format="%.10g", lineterminator="\n")
    return text.getvalue()


def _text_of_rows(path: str | Path, rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    """The same from rows, without pandas."""
    cells = [(name, CELLS[kind], kind == "float64") for name, kind in columns.items()]
    keys = [(key, CELLS[columns[key]]) for key in SORT_KEYS if key in columns]

    def key_of(row: dict[str, Any]) -> list[Any]:
        _check_columns(path, row, columns)
        return [cell(row[key]) for key, cell in keys]

    def line_of(row: dict[str, Any]) -> list[Any]:
        return [_shown(cell(row[name])) if rounded else cell(row[name]) for name, cell, rounded in cells]

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    row: dict[str, Any] = {}
    try:
        for row in sorted(rows, key=key_of):
            writer.writerow(line_of(row))
    except (TypeError, ValueError) as error:
        raise TableError(f"{path}: a row of {row.get('video_id')} does not fit its columns ({error})") from None
    return text.getvalue()


def _check_columns(path: str | Path, there: Iterable[str], columns: dict[str, str]) -> None:
    if missing := [name for name in columns if name not in there]:
        raise TableError(f"{path}: the rows lack {missing}")


def _shown(value: str | int | float) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    return str(value)


def read_rows(path: str | Path, columns: dict[str, str]) -> list[dict[str, Any]]:
    """Read a table written by `write_table` as a dict a row, without pandas. Raises TableError as `read_table` does."""
    file = place(path)
    if not file.is_file():
        raise TableError(f"{path} does not exist: run the stage that makes it first (`make` lists the stages)")
    number = 1
    try:
        lines = csv.reader(io.StringIO(file.read_bytes().decode()), strict=True)
        header = next(lines, [])
        if header != list(columns):
            raise TableError(f"{path} has the columns {header}, expected {list(columns)}: remove it and make it again")
        rows = []
        for number, line in enumerate(lines, 2):
            if len(line) != len(columns):
                raise ValueError(f"line {number} has {len(line)} values instead of {len(columns)}")
            rows.append({name: math.nan if kind == "float64" and text == "" else CELLS[kind](text)
                         for (name, kind), text in zip(columns.items(), line)})
    except (ValueError, csv.Error) as error:
        raise TableError(f"{path} is not a table of this version (line {number}: {error}): remove it and make it again"
                         ) from None
    for number, row in enumerate(rows, 2):
        for name, value in row.items():
            if expected := _impossible(name, value):
                raise TableError(f"{path}, line {number}: {name} is {value!r}, expected {expected}")
    return rows


def _impossible(name: str, value: Any) -> str:
    """What a column may hold, where `value` is not among it; else ""."""
    if name == "video_id":
        return "" if value else "a path"
    if (allowed := VALUES.get(name)) is None:
        return ""
    if isinstance(allowed[0], str):
        return "" if value in allowed else _one_of(allowed)
    low, high = allowed
    return f"{low:g} to {high:g}" if value < low or value > high else ""


def _one_of(allowed: tuple[Any, ...]) -> str:
    return " or ".join([", ".join(map(str, allowed[:-1])), str(allowed[-1])])


def read_table(path: str | Path, columns: dict[str, str], exact: bool = True) -> pd.DataFrame:
    """Read a table written by `write_table`, and check its values.

    Args:
        path: the file.
        columns: name -> pandas type.
        exact: whether further columns are an error; else they are left out.

    Raises:
        TableError: the table is missing, empty, damaged, has other columns, or a row holds an impossible value. The
            message names the file and the row.
    """
    import pandas as pd

    file = place(path)
    if not file.is_file():
        raise TableError(f"{path} does not exist: run the stage that makes it first (`make` lists the stages)")
    try:
        source = io.BytesIO(file.read_bytes()) if isinstance(file, Remote) else file
        frame = pd.read_csv(source, dtype=columns, keep_default_na=False,
                            na_values={c: [""] for c, kind in columns.items() if kind == "float64"})
    except (ValueError, pd.errors.ParserError) as error:
        raise TableError(f"{path} is not a table of this version ({error}): remove it and make it again") from None
    if not exact and set(columns) <= set(frame.columns):
        frame = frame[list(columns)]
    if list(frame.columns) != list(columns):
        raise TableError(f"{path} has the columns {list(frame.columns)}, expected {list(columns)}: "
                         "remove it and make it again")
    _check_values(path, frame)
    return frame


def _check_values(path: str | Path, frame: pd.DataFrame) -> None:
    """Raise TableError for the first row that holds an impossible value."""
    for name in frame.columns:
        column = frame[name]
        if name == "video_id":
            wrong, expected = column == "", "a path"
        elif (allowed := VALUES.get(name)) is None:
            continue
        elif isinstance(allowed[0], str):
            wrong, expected = ~column.isin(allowed), _one_of(allowed)
        else:
            low, high = allowed
            wrong, expected = (column < low) | (column > high), f"{low:g} to {high:g}"
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            value = column.tolist()[row]  # a plain number, not numpy's
            raise TableError(f"{path}, line {row + 2}: {name} is {value!r}, expected {expected}")
