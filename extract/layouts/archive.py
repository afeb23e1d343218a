"""A zip of a corpus: listed by its names, or unpacked once beside the index, safely.

    OUT/corpus/<name>/          what was unpacked, whole or not at all
    OUT/corpus/.<name>.json     size and time of the zip it came from; another zip is unpacked anew

Only regular files with suffixes that a corpus has are written, and only below that folder: a name with `..`, an
absolute one, a link or a device is left out and counted.
"""
from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, Iterator

from extract.layouts.base import left_out
from pipeline.errors import CorpusError
from pipeline.tables import write_json

MOST_FILES = 5_000_000
MOST_RATIO = 50         # pictures and videos hardly shrink; a zip that grows more, and beyond SMALL, is a bomb
SMALL = 2 ** 30         # bytes that any zip may unpack to
CHUNK = 2 ** 20
LONGEST_NAME = 255      # bytes of a part of a path


def is_archive(path: Any) -> bool:
    return isinstance(path, Path) and path.suffix.lower() == ".zip" and path.is_file()


def listed(path: Path, suffixes: frozenset[str]) -> tuple[list[str], dict[str, Any], list[str], Counter]:
    """As corpus.walk, of the names in a zip: those with these suffixes, lists and metadata, notes, all suffixes."""
    with _opened(path) as archive:
        members, notes = _members(archive)
    names = [name for name in members if _suffix(name) in suffixes]
    side = {name: zipfile.Path(str(path), members[name].filename) for name in members
            if _suffix(name) in (".txt", ".json", ".csv")}
    return sorted(names), side, notes, Counter(map(_suffix, members))


def unpacked(path: Path, below: Path, suffixes: frozenset[str]) -> Path:
    """The folder below `below` with the zip's files of these suffixes; unpacked now where it is not there yet.

    Raises CorpusError for a damaged, encrypted or unreasonable zip, and where the disk has no room for it.
    """
    final, stamp_file = below / path.stem, below / f".{path.stem}.json"
    below.mkdir(parents=True, exist_ok=True)
    with open(below / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be unpacking it: then it is there when this one goes on
        status = path.stat()
        stamp = {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "suffixes": sorted(suffixes)}
        with contextlib.suppress(OSError, ValueError):
            if final.is_dir() and json.loads(stamp_file.read_text()) == stamp:
                return final
        partial = below / f".{path.stem}.partial"
        for old in (partial, final):
            shutil.rmtree(old, ignore_errors=True)
        try:
            with _opened(path) as archive:
                members, _ = _members(archive)
                wanted = {name: info for name, info in members.items() if _suffix(name) in suffixes}
                _check_room(path, wanted, below)
                _write(archive, wanted, partial)
            os.rename(partial, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        write_json(stamp_file, stamp)
    return final


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        # RuntimeError is zipfile's for "encrypted", NotImplementedError for a compression it does not know.
        raise CorpusError(f"{path} cannot be unpacked ({error}): fetch it again, or unzip it and name the folder"
                          ) from None


def _members(archive: zipfile.ZipFile) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    """The files that may be written, by their name with /; notes on the others."""
    infos = archive.infolist()
    if len(infos) > MOST_FILES:
        raise ValueError(f"it holds {len(infos):,} entries, at most {MOST_FILES:,} are unpacked")
    members: dict[str, zipfile.ZipInfo] = {}
    unsafe: list[str] = []
    for info in infos:
        if info.is_dir() or _hidden(info.filename):
            continue
        if info.flag_bits & 1:
            raise RuntimeError(f"{info.filename} is encrypted")
        if _safe(info) and info.filename not in members:
            members[info.filename] = info
        else:
            unsafe.append(info.filename)
    shown = ascii(unsafe[0]) if unsafe else ""
    why = f"a link, a device, a name twice, or a path that leads outside (e.g. {shown})"
    return members, left_out(len(unsafe), why, "unsafe file")


def _safe(info: zipfile.ZipInfo) -> bool:
    name, kind = info.filename, stat.S_IFMT(info.external_attr >> 16)
    parts = name.split("/")
    try:
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:
        return False
    return (kind in (0, stat.S_IFREG) and not any(part in ("", ".", "..") for part in parts)
            and longest <= LONGEST_NAME and name.isprintable() and "\\" not in name and ":" not in parts[0])


def _hidden(name: str) -> bool:
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in name.split("/"))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _check_room(path: Path, members: dict[str, zipfile.ZipInfo], below: Path) -> None:
    """The sizes that the zip declares; zipfile reads no byte more than declared. Raises CorpusError."""
    total = sum(info.file_size for info in members.values())
    if total > max(SMALL, MOST_RATIO * path.stat().st_size):
        raise CorpusError(f"{path} would unpack to {total / 1e9:,.1f} GB, {total / path.stat().st_size:,.0f} times its "
                          f"size (at most {MOST_RATIO} times is unpacked): it looks like a bomb; if it is none, unzip "
                          "it yourself and name the folder")
    if total > (free := shutil.disk_usage(below).free):
        raise CorpusError(f"{path} unpacks to {total / 1e9:,.1f} GB and {below} has room for {free / 1e9:,.1f}: name "
                          "another OUT=, or unzip it elsewhere and name the folder")


def _write(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], folder: Path) -> None:
    from tqdm import tqdm

    folder.mkdir()
    for name, info in tqdm(members.items(), desc="unzip", unit="file", leave=False):
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, open(target, "xb") as file:
                shutil.copyfileobj(source, file, CHUNK)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise ValueError(f"{name} is a file and a folder") from None
        except zipfile.BadZipFile:
            raise
        except Exception as error:  # zlib, lzma and bz2 have errors of their own
            if isinstance(error, OSError) and error.errno:
                raise
            raise ValueError(f"{name} is damaged: {error}") from None
