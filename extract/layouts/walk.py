"""One way of walking through folders: what is there, videos and pictures apart, what is left out counted by kind.

Links are followed, but a folder is read once, so a link that leads in a circle ends there. Hidden files and folders,
thumbnails and what this project wrote itself (an OUT inside the corpus) are never data.
"""
from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extract.decoding.kinds import modality_by_name, modality_to_index, suffix_of
from extract.layouts.base import counted, left_out, shown
from pipeline.errors import CorpusError
from pipeline.own_files import is_own
from pipeline.run_record import RECORD, is_record
from pipeline.storage import Remote
from pipeline.tables import INDEX

SIDE_SUFFIXES = frozenset((".txt", ".json", ".csv"))  # lists and metadata that a layout may read
# Of systems and viewers; compared in lower case.
SKIPPED = frozenset(("__macosx", "thumbs", "thumbnails", "@eadir", "$recycle.bin", "system volume information",
                     "lost+found"))
# What the stages write directly into OUT, where OUT is the corpus itself.
OWN = frozenset(("faces", "scores", "model", "report", "compare", "packed", "corpus", "corpora", "others",
                 "augment.png"))
OWN_INDEX = ",".join(list(INDEX)[:3]).encode() + b","


@dataclass
class Found:
    """What a folder or archive holds. All names are relative to it, with /.

    media: name -> "video" or "image". side: lists and metadata. others: suffix -> files that are neither. own: folders
    that this project wrote. notes: what a user should know.
    """

    media: dict[str, str] = field(default_factory=dict)
    side: dict[str, Any] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    own: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def names(self, modality: str) -> list[str]:
        """Return the names of the videos or of the images, sorted."""
        return sorted(name for name, found in self.media.items() if found == modality)

    def add(self, name: str, file: Any, modality: str) -> bool:
        """Take a file in. modality: "" for one that is no media. Returns whether a table can hold its name."""
        if modality:
            if not fits_a_table(name):
                return False
            self.media[name] = modality
        elif suffix_of(name) in SIDE_SUFFIXES:
            self.side[name] = file
        else:
            self.others[suffix_of(name)] += 1
        return True

    def left_out(self) -> list[str]:
        """Return a note on the files of other kinds, "" counting as a suffix."""
        kinds = ", ".join(f"{n:,} {suffix or 'without a suffix'}" for suffix, n in self.others.most_common(8))
        more = f" and {len(self.others) - 8} more kinds" if len(self.others) > 8 else ""
        return [f"left out, neither video nor picture: {kinds}{more}"] if kinds else []


def walk(root: Any) -> Found:
    """Return what lies below a folder, here or elsewhere. Raises CorpusError at a folder that cannot be read."""
    return _walk_remote(root) if isinstance(root, Remote) else _walk_local(Path(root))


def is_skipped(name: str) -> bool:
    """Whether one part of a path is hidden, a thumbnail folder or a system's."""
    return name.startswith(".") or name.lower() in SKIPPED


def fits_a_table(name: str) -> bool:
    """Whether a table can hold a name: UTF-8 without line breaks."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\n" not in name and "\r" not in name


def _walk_local(root: Path) -> Found:
    found, odd, repeated, own_files = Found(), list[str](), list[str](), list[str]()
    visited: set[tuple[int, int]] = set()
    todo, links = [""], list[str]()
    while todo or links:
        # Links last: a folder that lies here goes by its own name, not by that of a link to it.
        place = todo.pop() if todo else links.pop()
        folder = root / place
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited:
                repeated.append(place)
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            raise CorpusError(f"{folder} cannot be read: {error.strerror}; mend its permissions or take it away"
                              ) from None
        here = {entry.name for entry in entries}
        wrote = _wrote(folder, here)
        if wrote and place:
            found.own.append(place)
            continue
        for entry in entries:
            name = f"{place}/{entry.name}" if place else entry.name
            if is_skipped(entry.name):
                continue
            if wrote == "OUT" and entry.name in OWN:
                found.own.append(name)
                continue
            kind = _kind(entry)
            if kind == "folder":
                (links if entry.is_symlink() else todo).append(name)
            elif kind == "file":
                if is_own(entry.path):
                    own_files.append(name)
                elif not found.add(name, Path(entry.path), modality_to_index(entry.path)):
                    odd.append(name)
            else:
                found.others[suffix_of(entry.name)] += 1
    if odd:
        thing = "picture" if modality_by_name(odd[0]) == "image" else "video"
        found.notes.append(f"{counted(len(odd), thing)} left out: the name is no UTF-8 or has a line break (e.g. "
                           f"{shown(min(odd))}); rename to use")
    if repeated:
        found.notes.append(f"{shown(min(repeated))} leads to a folder that was read already, so it is not followed")
    if own_files:
        found.notes.append(f"{counted(len(own_files), 'file')} written by this project for people left out (e.g. "
                           f"{shown(min(own_files))}): annotated clips, pictures and tables of verdicts are no data")
    if found.own:
        found.notes.append(f"{shown(min(found.own))} was written by this project: not part of the corpus")
    return found


def _walk_remote(root: Remote) -> Found:
    """With one listing; a file with an unknown suffix is left out, since a look at it would be a request."""
    found, odd = Found(), 0
    files = [name for name in root.files() if not any(map(is_skipped, name.split("/")))]
    if not files:
        raise CorpusError(f"{root} is not there or is empty: CORPUS= must name a folder of videos (a CSV of labels "
                          "must be a local file)")
    own = sorted({name.rpartition("/")[0] for name in files if name.endswith("/index.csv")
                  and (root / name).read_bytes().startswith(OWN_INDEX)})
    for name in files:
        if any(name.startswith(folder + "/") for folder in own):
            continue
        odd += not found.add(name, root / name, modality_by_name(name))
    found.own = own
    found.notes = left_out(odd, "the name has a line break")
    if own:
        found.notes.append(f"{own[0]} was written by this project: not part of the corpus")
    return found


def _wrote(folder: Path, names: set[str]) -> str:
    """ "OUT" for the results of a run, "crops" for a folder of its crops, "" for what others wrote."""
    if RECORD in names and is_record(folder / RECORD):
        return "OUT"
    if "index.csv" in names and _begins(folder / "index.csv", OWN_INDEX):
        return "OUT"
    if "options.json" in names and names & {"videos.csv", ".lock", ".partial"}:
        return "crops"
    return "crops" if "row.json" in names and _begins(folder / "row.json", b'{"video": {"status"') else ""


def _begins(path: Path, start: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def _kind(entry: os.DirEntry) -> str:
    """ "file", "folder" or "" (a link into nowhere or onto itself, a socket)."""
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else ""
    except OSError:
        return ""
