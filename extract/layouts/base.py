"""What the corpus layouts share: from the names of files to rows of the index, without opening a single video.

Each layout is a function `layout(names, side, folder) -> Corpus | None` (None: not laid out like this).
names: the videos relative to the root, with /: files, or what names the frames of one (decoding/frame_files.py). side:
relative path -> Path of the .txt, .json and .csv files that lie there, of which a layout reads only those it knows.
folder: name of the root, a weak hint.

Each known corpus has a module; class_folders.py knows folders called real and fake, several.py joins corpora. None
knows whether a file can be decoded, nor whether two files have the same content.
"""
from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable

from extract.decoding.kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from pipeline.errors import CorpusError

Side = dict[str, Path]
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES

# Corpora that others were made from. A person of theirs is written FACE_FORENSICS/000 there, and so is a clip.
FACE_FORENSICS, CELEB_DF = "FaceForensics++", "Celeb-DF"


@dataclass
class Corpus:
    """What a corpus holds. Rows have the columns of tables.INDEX; root / video_id is the file."""

    title: str                     # what it was recognised as, for people: "Celeb-DF v2"
    dataset: str                   # the same for tables: "Celeb-DF-v2"
    rows: list[dict[str, Any]]
    found: dict[str, int]          # clips indexed of each kind, in the order of the report
    expected: dict[str, int] = field(default_factory=dict)  # clips the whole corpus has of each kind, where known
    listed: tuple[int, int] = (0, 0)  # clips of the official list that are here, and lines of that list
    missing: list[str] = field(default_factory=list)  # named by a list, metadata or table, but not here
    doubled: list[tuple[str, ...]] = field(default_factory=list)  # copies of one clip; only the first is indexed
    notes: list[str] = field(default_factory=list)    # what a user should know: left out, undecidable, …
    clip_s: float = 10.0           # typical length of a clip in seconds, to estimate the work
    root: Path = Path()
    labels: list[str] = field(default_factory=list)   # where labels come from, in lines for people
    grouping: list[str] = field(default_factory=list)  # how pictures were grouped into videos, in lines for people

    @property
    def thing(self) -> str:
        """What people call a row: video or picture."""
        return thing_of(entry["modality"] for entry in self.rows)


def row(video_id: str, label: int, dataset: str, method: str = "", target_id: str = "", source_id: str = "",
        original: str = "", official: str = "", modality: str = "video") -> dict[str, Any]:
    """Return one row of the index."""
    return {"video_id": video_id, "label": label, "dataset": dataset, "method": method, "target_id": target_id,
            "source_id": source_id, "original": original, "official": official, "modality": modality}


def without_copies(names: list[str], nested: bool = True) -> tuple[list[str], list[tuple[str, ...]]]:
    """The names without copies of one clip, and the copies.

    Copies differ only in case, in suffix (a.mp4, a.avi) or, where the layout has such folders, by a `videos/` more or
    less. The shortest name, then the first in order, is kept: a copy in another part of a split would be a leak.
    """
    # Keys of a million names are long; their hashes say which few of them may be there more than once.
    seen, again = set[int](), set[int]()
    hashes = [hash(clip_key(name, nested)) for name in names]
    for key in hashes:
        (again if key in seen else seen).add(key)
    copies: dict[str, list[str]] = defaultdict(list)
    for name, key in zip(names, hashes):
        if key in again:
            copies[clip_key(name, nested)].append(name)
    groups = [sorted(group, key=lambda name: (name.count("/"), name)) for group in copies.values()]
    kept = [name for name, key in zip(names, hashes) if key not in again] + [group[0] for group in groups]
    return sorted(kept), sorted(tuple(group) for group in groups if len(group) > 1)


def clip_key(name: str, nested: bool = True) -> str:
    """Return a name as lists and disks may differ about it: lower case, no suffix, no `videos/` or `frames/`."""
    *folders, last = name.replace("\\", "/").lower().split("/")
    if nested and ("videos" in folders or "frames" in folders):
        folders = [folder for folder in folders if folder not in ("videos", "frames")]
    return "/".join([*folders, clip_stem(last)])


def clip_stem(name: str) -> str:
    """Return the name of a clip without folders and suffix, and without the star that stands for its frames' numbers.

    A folder of frames may have a dot in its name, so only suffixes of videos and pictures are taken off.
    """
    last = name[name.rfind("/") + 1:]
    dot = last.rfind(".")
    stem = last[:dot] if dot > 0 and last[dot:].lower() in MEDIA_SUFFIXES else last
    return re.sub(r"[ _-]*(?:frame)?[ _-]*\*$", "", stem, flags=re.I) if stem.endswith("*") else stem


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
    """Return a count with its noun, "1 video" or "2 videos"."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def left_out(n: int, why: str, thing: str = "video") -> list[str]:
    """A note on videos that are not indexed."""
    return [f"{counted(n, thing)} left out: {why}"] if n else []


def nameless(rows: list[dict[str, Any]]) -> list[str]:
    """A note on names that should tell a person but do not."""
    strange = [entry["video_id"] for entry in rows if not entry["target_id"]]
    return [f"{counted(len(strange), 'name')} without a person (e.g. {strange[0]}): each counts as a person of its own"
            ] if strange else []


def thing_of(modalities: Iterable[str]) -> str:
    """Return what people call the rows of an index with these modalities: "picture" where all are images, else
    "video"."""
    return "picture" if set(modalities) == {"image"} else "video"


def shown(name: str) -> str:
    """Return a file name fit for a terminal: what is not printable or no UTF-8 is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def word(label: int | None) -> str:
    """Return "fake" or "real" for a label."""
    return "fake" if label else "real"
