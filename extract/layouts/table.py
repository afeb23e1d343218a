"""The CSV of labels: a path and a label a line, and what else is known of a clip."""
from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from extract.decoding.frame_files import frame_files
from extract.decoding.kinds import modality_by_name, modality_to_index
from extract.layouts.base import Corpus, counted, read_csv, row
from extract.layouts.frames import group_frames, notes_on
from extract.layouts.walk import fits_a_table
from pipeline.errors import CorpusError

LABEL_NAMES = ("real", "fake")
LABEL_WORDS = {"0": 0, "1": 1, "real": 0, "fake": 1}
OPTIONAL = ("original", "method", "target_id", "source_id", "dataset")
LARGEST = 2 ** 29   # bytes; millions of lines. What is larger, or holds zero bytes, is no table
LOOKED_AT = 2 ** 16

Line = dict[str, Any]  # number, label and the optional columns of a line


def read_labels(path: Path, group: str = "auto") -> Corpus:
    """Return the corpus that a CSV path,label lists; label 0, 1, real or fake.

    Paths are relative to the CSV's folder, or absolute; a path may be a folder that holds the frames of a video. The
    CSV may have the columns original, the path of the real that a fake was made from; method; target_id, the person
    filmed; source_id, the one whose face a fake wears; dataset, where the clip comes from. A fake without a target_id
    has that of its original.

    Args:
        path: the file.
        group: how pictures are grouped into videos, of extract.layouts.frames.GROUPS; "auto" groups those alone whose
            names leave no doubt.

    Raises CorpusError for what is no such table, contradicts itself, or names no file that is here.
    """
    _check_is_table(path)
    folder = Path(os.path.abspath(path.parent))
    lines, doubled, odd = _lines(path, folder)
    here = {file: line for file, line in lines.items() if _is_there(file)}
    missing = [str(file) for file in lines if file not in here]
    if not here:
        raise CorpusError(f"{path} names {counted(len(missing), 'file')}, of which none exists (e.g. {missing[0]})"
                          if missing else f"{path} names no file that can be used")
    root = folder
    if not all(file.is_relative_to(root) for file in here):
        root = Path(os.path.commonpath([file.parent for file in here]))
    named = {file.relative_to(root).as_posix(): line for file, line in here.items()}
    grouping = []
    kinds = {name: modality_to_index(root / name) if (root / name).is_file() else "video" for name in named}
    if pictures := [name for name, kind in kinds.items() if kind == "image"]:
        grouped = group_frames(pictures, group, only_sure=group == "auto")
        # Frames of one video that are called real and fake are no frames of one video.
        grouped.clips = {clip: frames for clip, frames in grouped.clips.items()
                         if len({named[name]["label"] for name in frames}) == 1}
        for clip, frames in grouped.clips.items():
            named[clip] = named[frames[0]]
            for name in frames:
                del named[name]
        grouping = notes_on(grouped, group)
    rows = [_row(name, line, root, lines, kinds.get(name) or "video") for name, line in sorted(named.items())]
    found = Counter(LABEL_NAMES[entry["label"]] for entry in rows)
    notes = [f"{len(odd)} left out: the name is no UTF-8 or has a line break"] if odd else []
    known = sum(bool(entry["target_id"]) for entry in rows)
    if 0 < known < len(rows):
        notes.append(f"{len(rows) - known:,} of {len(rows):,} have no target_id: each is taken for a person of its own")
    if missing:
        notes.append(f"{counted(len(missing), 'file')} of the table not here (e.g. {missing[0]}): left out")
    return Corpus("table path,label", "table", rows, {name: found[name] for name in LABEL_NAMES}, missing=missing,
                  doubled=doubled, notes=notes, root=root, grouping=grouping)


def _is_there(file: Path) -> bool:
    try:
        return file.is_file() or file.is_dir() and bool(frame_files(file))
    except OSError:  # a path that is too long for the file system
        return False


def _check_is_table(path: Path) -> None:
    """Raises CorpusError for a file that is no text of a sane size, before it is read."""
    modality = modality_by_name(path)
    if modality == "video":
        raise CorpusError(f"{path} is a video: CORPUS= must name a folder of videos or a CSV path,label "
                          f"(`python -m classify.video {path}` judges one video)")
    if modality == "image":
        raise CorpusError(f"{path} is a picture: CORPUS= must name a folder of pictures or a CSV path,label "
                          f"(`python -m classify.image {path}` judges one picture)")
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(LOOKED_AT)
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from None
    if size > LARGEST or b"\0" in start:
        why = f"it has {size / 1e6:,.0f} MB" if size > LARGEST else "it is no text"
        raise CorpusError(f"{path} is no CSV path,label ({why}): CORPUS= must name a folder, a CSV, a zip or a tar; "
                          "unpack other archives and name the folder")


def _lines(path: Path, folder: Path) -> tuple[dict[Path, Line], list[tuple[str, ...]], list[str]]:
    """(absolute path -> line, doubled, names that no table can hold)."""
    lines: dict[Path, Line] = {}
    doubled: list[tuple[str, ...]] = []
    odd: list[str] = []
    for number, cells in read_csv(path, ("path", "label"), OPTIONAL):
        word = cells["label"].strip().lower()
        if word not in LABEL_WORDS:
            raise CorpusError(f"{path}, line {number}: the label is {cells['label']!r}, expected 0, 1, real or fake")
        if not cells["path"]:
            raise CorpusError(f"{path}, line {number}: the path is empty")
        file, label = Path(os.path.normpath(folder / cells["path"])), LABEL_WORDS[word]
        if file in lines:
            if lines[file]["label"] != label:
                raise CorpusError(f"{path}, line {number}: {cells['path']} is {word} here, but line "
                                  f"{lines[file]['number']} says the opposite")
            doubled.append((cells["path"], cells["path"]))
        elif not fits_a_table(str(file)):
            odd.append(cells["path"])
        else:
            original = cells["original"] if label else ""
            lines[file] = {"number": number, "label": label, "method": (cells["method"] or "fake") if label else "",
                           "dataset": cells["dataset"], "target_id": cells["target_id"],
                           "source_id": cells["source_id"] if label else "",
                           "original": os.path.normpath(folder / original) if original else ""}
    return lines, doubled, odd


def _row(name: str, line: Line, root: Path, lines: dict[Path, Line], modality: str
         ) -> dict[str, Any]:
    original = line["original"]
    target = line["target_id"] or (lines.get(Path(original), {}).get("target_id", "") if original else "")
    return row(name, line["label"], line["dataset"] or "table", line["method"], target, line["source_id"],
               Path(os.path.relpath(original, root)).as_posix() if original else "",
               modality=modality)
