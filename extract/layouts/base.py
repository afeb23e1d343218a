"""What the corpus layouts share: from the names of files to rows of the index, without opening a single video.

Each layout is a function `layout(names, side, folder) -> Corpus | None` (None: not laid out like this).
names: paths of the videos relative to the root, with /. side: relative path -> Path of the .txt, .json and .csv files
that lie there, of which a layout reads only those it knows. folder: name of the root, a weak hint.

The layouts of known corpora are in celeb.py, faceforensics.py and dfdc.py; here is only the one that knows nearly any
folder. None knows whether a file can be decoded, nor whether two files have the same content.
"""
from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable

from pipeline.errors import CorpusError

Side = dict[str, Path]
IMAGE_SUFFIXES = frozenset(".jpg .jpeg .png .webp .bmp .tif .tiff".split())  # compared in lower case


@dataclass
class Corpus:
    """What a corpus holds. Rows have the columns of tables.INDEX; root / video_id is the file."""

    title: str                     # what it was recognised as, for people: "Celeb-DF v2"
    dataset: str                   # the same for tables: "Celeb-DF-v2"
    rows: list[dict[str, Any]]
    found: dict[str, int]          # clips indexed of each kind, in the order they are told
    expected: dict[str, int] = field(default_factory=dict)  # clips the whole corpus has of each kind, where known
    listed: tuple[int, int] = (0, 0)  # clips of the official list that are here, and lines of that list
    missing: list[str] = field(default_factory=list)  # named by a list, metadata or table, but not here
    doubled: list[tuple[str, ...]] = field(default_factory=list)  # copies of one clip; only the first is indexed
    notes: list[str] = field(default_factory=list)    # what a user should know: left out, undecidable, …
    clip_s: float = 10.0           # typical length of a clip in seconds, to estimate the work
    root: Path = Path()
    thing: str = "video"           # what a row is: video or picture


def row(video_id: str, label: int, dataset: str, method: str = "", target_id: str = "", source_id: str = "",
        original: str = "", official: str = "") -> dict[str, Any]:
    """One row of the index."""
    return {"video_id": video_id, "label": label, "dataset": dataset, "method": method, "target_id": target_id,
            "source_id": source_id, "original": original, "official": official}


def without_copies(names: list[str], nested: bool = True) -> tuple[list[str], list[tuple[str, ...]]]:
    """The names without copies of one clip, and the copies.

    Copies differ only in case, in suffix (a.mp4, a.avi) or, where the layout has such folders, by a `videos/` more or
    less. The shortest name, then the first in order, is kept: a copy in another part of a split would be a leak.
    """
    copies: dict[str, list[str]] = defaultdict(list)
    for name in names:
        copies[clip_key(name, nested)].append(name)
    groups = [sorted(group, key=lambda name: (name.count("/"), name)) for group in copies.values()]
    return sorted(group[0] for group in groups), sorted(tuple(group) for group in groups if len(group) > 1)


def clip_key(name: str, nested: bool = True) -> str:
    """A name as lists and disks may differ about it: lower case, no suffix, no `videos/`."""
    *folders, last = name.replace("\\", "/").lower().split("/")
    stem = last[:last.rindex(".")] if "." in last[1:] else last
    return "/".join([f for f in folders if not nested or f != "videos"] + [stem])


def read_text(path: Path) -> str:
    """A text file of unknown origin: byte order mark, line ends and stray bytes are tolerated.

    Raises CorpusError when it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from None


def read_json(path: Path) -> Any:
    """A JSON file. Raises CorpusError when it is none."""
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise CorpusError(f"{path} is no JSON: {error}") from None


def read_csv(path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()
             ) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file as (line number, {column: value}), blank lines left out; further columns are ignored.

    optional: columns that are "" where the file has none.

    Raises CorpusError when the header lacks a column or a row is too short.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    wanted = f"expected a CSV with the header {','.join(columns)}"
    rows: list[tuple[int, dict[str, str]]] = []
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip().lower() for cell in cells]
                if not set(columns) <= set(header):
                    raise CorpusError(f"{path}, line {reader.line_num}: {wanted}, got {','.join(cells)[:80]!r}")
                continue
            if len(cells) < len(header):
                raise CorpusError(f"{path}, line {reader.line_num}: {len(cells)} values where the header has "
                                  f"{len(header)}")
            found = dict(zip(header, cells))
            rows.append((reader.line_num, {column: found.get(column, "") for column in columns + optional}))
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: {wanted} ({error})") from None
    if header is None:
        raise CorpusError(f"{path} is empty: {wanted}")
    return rows


def counted(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def left_out(n: int, why: str, thing: str = "video") -> list[str]:
    """A note on videos that are not indexed."""
    return [f"{counted(n, thing)} left out: {why}"] if n else []


def nameless(rows: list[dict[str, Any]]) -> list[str]:
    """A note on names that should tell a person but do not."""
    strange = [entry["video_id"] for entry in rows if not entry["target_id"]]
    return [f"{counted(len(strange), 'name')} without a person (e.g. {strange[0]}): each counts as a person of its own"
            ] if strange else []


def is_picture(name: str | Path) -> bool:
    """Whether a file is a picture by its suffix."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def thing_of(names: Iterable[str]) -> str:
    """What a corpus of these names is made of: "picture" where all are, else "video"."""
    kinds = {is_picture(name) for name in names}
    return "picture" if kinds == {True} else "video"


def word(label: int | None) -> str:
    return "fake" if label else "real"


# ------------------------------------------------------------------------------------------------ real and fake folders

REAL_WORDS = frozenset("real reals original originals genuine pristine authentic live bonafide unmanipulated "
                       "nature".split())
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")  # RealArt, AiArtData
FAKE_WORDS = frozenset("fake fakes manipulated manipulation synthesis synthesized synthetic deepfake deepfakes forged "
                       "forgery forgeries swapped faceswap generated tampered spoof ai aigenerated".split())


def folders(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Folders called real, fake or a synonym, at any depth; the nearest one decides."""
    kept, doubled = without_copies(names, nested=False)
    rows, without = [], []
    for name in kept:
        label, method = folder_label(name.rpartition("/")[0])
        if label is None:
            without.append(name)
        else:
            rows.append(row(name, label, "folders", method))
    if not rows:
        return None
    notes = left_out(len(without), f"below no folder called real or fake (e.g. {without[0]})" if without else "")
    found = Counter("fake" if entry["label"] else "real" for entry in rows)
    return Corpus("folders real and fake", "folders", rows, {kind: found[kind] for kind in ("real", "fake")},
                  doubled=doubled, notes=notes)


def folder_label(folder: str) -> tuple[int | None, str]:
    """(label, method) that a folder's path tells: the nearest part called real or fake decides. (None, "") for none."""
    for part in reversed(folder.split("/")):
        for spelled in (part, CAMEL.sub(" ", part)):
            words = set(re.split(r"[^a-z]+", spelled.lower()))
            real, fake = bool(words & REAL_WORDS), bool(words & FAKE_WORDS)
            if real != fake:  # a folder "real_vs_fake" says nothing; one further up may
                return int(fake), part if fake else ""
            if real:
                break
    return None, ""
