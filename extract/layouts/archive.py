"""A zip or tar of a corpus: listed by its names, or unpacked once beside the index, safely.

    OUT/corpus/<name>/          what was unpacked, whole or not at all
    OUT/corpus/.<name>.json     size and time of the archive it came from, and what was left in it; another archive is
                                unpacked anew

Only regular files with suffixes that a corpus has are written, and only below that folder: a name with `..`, an
absolute one, a link or a device is left out and counted. A backslash in a name stands for a slash: some programs of
Windows write them.
"""
from __future__ import annotations

import contextlib
import fcntl
import json
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Iterator

from extract.decoding.kinds import modality_by_name, suffix_of
from extract.layouts.base import left_out
from extract.layouts.walk import SIDE_SUFFIXES, Found, is_skipped
from pipeline.errors import CorpusError
from pipeline.progress import progress_bar
from pipeline.tables import write_json

MOST_FILES = 5_000_000
MOST_RATIO = 50         # pictures and videos hardly shrink; what grows more, and beyond SMALL, is refused
SMALL = 2 ** 30         # bytes that any archive may unpack to
CHUNK = 2 ** 20
LONGEST_NAME = 255      # bytes of a part of a path
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# Packed, and not unpacked here; by suffix or first bytes.
OTHERS = (".7z", ".rar", ".gz", ".bz2", ".xz", ".zst")
OTHER_STARTS = (b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\x28\xb5\x2f\xfd")
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error,
          lzma.LZMAError)


@dataclass(frozen=True)
class Member:
    """A file in an archive. name: with /. n_bytes: unpacked. entry: as zipfile or tarfile has it."""

    name: str
    n_bytes: int
    entry: Any


@dataclass(frozen=True)
class SideFile:
    """A list or metadata in an archive, with what a layout needs of a Path."""

    archive: Path
    name: str

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"

    def read_bytes(self) -> bytes:
        """Return the whole content of the entry."""
        with _opened(self.archive) as archive:
            found = next(member for member in _entries(archive) if _name(member) == self.name)
            with _content(archive, found) as file:
                return file.read()


def is_archive(path: Any) -> bool:
    """Whether a path is a zip or tar, by name or content. Raises CorpusError for an archive that is not unpacked."""
    if not isinstance(path, Path) or not path.is_file():
        return False
    name = path.name.lower()
    if name.endswith((".zip", *TAR_SUFFIXES)):
        return True
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError:
        return False
    if name.endswith(OTHERS) or start.startswith(OTHER_STARTS):
        raise CorpusError(f"{path} is an archive that is not unpacked here (zip and tar are): unpack it and name the "
                          "folder")
    return start.startswith(b"PK\x03\x04") or start[257:262] == b"ustar"


def listed(path: Path) -> Found:
    """Return what an archive holds, as walk.walk does of a folder, by the names alone."""
    found = Found()
    with _opened(path) as archive:
        members, notes = _members(path, archive)
    for name in members:
        found.add(name, SideFile(path, name), modality_by_name(name))
    found.notes = notes
    return found


def unpacked(path: Path, below: Path) -> Path:
    """Return the folder below `below` with the archive's files, unpacked now where it is not there yet.

    Videos, pictures, and lists and metadata of layouts are unpacked. Raises CorpusError for a damaged, encrypted or
    unreasonable archive, and where the disk has no room for it.
    """
    stem = _stem(path)
    final, stamp_file = below / stem, below / f".{stem}.json"
    below.mkdir(parents=True, exist_ok=True)
    with open(below / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be unpacking it: then it is there when this one goes on
        status = path.stat()
        stamp = {"version": 3, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
        with contextlib.suppress(OSError, ValueError):
            if final.is_dir() and {**json.loads(stamp_file.read_text()), "notes": []} == {**stamp, "notes": []}:
                return final
        partial = below / f".{stem}.partial"
        for old in (partial, final):
            shutil.rmtree(old, ignore_errors=True)
        try:
            with _opened(path) as archive:
                members, notes = _members(path, archive)
                wanted = {name: member for name, member in members.items()
                          if modality_by_name(name) or suffix_of(name) in SIDE_SUFFIXES}
                _check_room(path, sum(member.n_bytes for member in wanted.values()), below)
                _write(archive, wanted, partial)
            os.rename(partial, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        others = Found(others=Counter(suffix_of(name) for name in members if name not in wanted))
        write_json(stamp_file, {**stamp, "notes": notes + others.left_out()})
    return final


def left_packed(path: Path, below: Path) -> list[str]:
    """Return notes on what `unpacked` left in an archive, for people. path, below: as given to it."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return json.loads((below / f".{_stem(path)}.json").read_text())["notes"]
    return []


def _stem(path: Path) -> str:
    """The name of an archive without its suffixes."""
    return path.name[:-len(_tar_suffix(path.name))] if _tar_suffix(path.name) else path.stem


def _tar_suffix(name: str) -> str:
    return next((suffix for suffix in sorted(TAR_SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix)), "")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    try:
        if zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield archive
        else:
            with tarfile.open(path) as archive:
                yield archive
    except DAMAGE as error:
        # RuntimeError is zipfile's for "encrypted", NotImplementedError for a compression it does not know.
        raise CorpusError(f"{path} cannot be unpacked ({error}): fetch it again, or unpack it and name the folder"
                          ) from None


def _entries(archive: zipfile.ZipFile | tarfile.TarFile) -> Iterator[Any]:
    """The entries in the order in which they lie there; of a tar each is read when it is asked for."""
    return iter(archive.infolist()) if isinstance(archive, zipfile.ZipFile) else iter(archive)


def _members(path: Path, archive: zipfile.ZipFile | tarfile.TarFile) -> tuple[dict[str, Member], list[str]]:
    """The files that may be written, by their name with /; notes on the others."""
    members: dict[str, Member] = {}
    unsafe: list[str] = []
    total = 0
    for number, entry in enumerate(_entries(archive), 1):
        if number > MOST_FILES:
            n = len(archive.infolist()) if isinstance(archive, zipfile.ZipFile) else number
            raise ValueError(f"it holds {n:,} entries or more, at most {MOST_FILES:,} are unpacked")
        name = _name(entry)
        if _is_dir(entry) or any(is_skipped(part) for part in name.split("/") if part not in ("", ".", "..")):
            continue
        if isinstance(entry, zipfile.ZipInfo) and entry.flag_bits & 1:
            raise RuntimeError(f"{name} is encrypted")
        member = Member(name, entry.file_size if isinstance(entry, zipfile.ZipInfo) else entry.size, entry)
        total += member.n_bytes
        if isinstance(archive, tarfile.TarFile):
            _check_size(path, total)  # only reading on tells the size of a tar.gz, so it is checked on the way
        if _is_safe(member) and name not in members:
            members[name] = member
        else:
            unsafe.append(name)
    why = f"a link, a device, a name twice, or a path that leads outside (e.g. {ascii(unsafe[0]) if unsafe else ''})"
    return members, left_out(len(unsafe), why, "unsafe file")


def _name(entry: Any) -> str:
    name = entry.filename if isinstance(entry, zipfile.ZipInfo) else entry.name
    return name.replace("\\", "/").removeprefix("./")


def _is_dir(entry: Any) -> bool:
    return entry.filename.endswith(("/", "\\")) if isinstance(entry, zipfile.ZipInfo) else entry.isdir()


def _is_safe(member: Member) -> bool:
    parts = member.name.split("/")
    try:
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:
        return False
    if isinstance(member.entry, zipfile.ZipInfo):
        regular = stat.S_IFMT(member.entry.external_attr >> 16) in (0, stat.S_IFREG)
    else:
        regular = member.entry.isreg()
    return (regular and not any(part in ("", ".", "..") for part in parts) and longest <= LONGEST_NAME
            and member.name.isprintable() and ":" not in parts[0])


def _check_size(path: Path, total: int) -> None:
    """Raises CorpusError for an archive that grows beyond reason. total: bytes that it unpacks to, as it declares;
    neither zipfile nor tarfile reads a byte more than declared."""
    packed = path.stat().st_size
    if total > max(SMALL, MOST_RATIO * packed):
        raise CorpusError(f"{path} would unpack to {total / 1e9:,.1f} GB or more, {total / packed:,.0f} times its size "
                          f"(at most {MOST_RATIO} times is unpacked), as a decompression bomb would; if it is none, "
                          "unpack it yourself and name the folder")


def _check_room(path: Path, total: int, below: Path) -> None:
    _check_size(path, total)
    if total > (free := shutil.disk_usage(below).free):
        raise CorpusError(f"{path} unpacks to {total / 1e9:,.1f} GB and {below} has room for {free / 1e9:,.1f}: name "
                          "another OUT=, or unpack it elsewhere and name the folder")


def _write(archive: zipfile.ZipFile | tarfile.TarFile, members: dict[str, Member], folder: Path) -> None:
    folder.mkdir()
    with progress_bar(total=len(members), desc="unpack", unit="file", leave=False) as progress:
        for name, member in members.items():
            target = folder / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with _content(archive, member.entry) as source, open(target, "xb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
                    if file.tell() != member.n_bytes:
                        raise EOFError(f"{name} ends early")
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise ValueError(f"{name} is a file and a folder") from None
            except (zipfile.BadZipFile, EOFError):
                raise
            except Exception as error:  # zlib, lzma and bz2 have errors of their own
                if isinstance(error, OSError) and error.errno:
                    raise
                raise ValueError(f"{name} is damaged: {error}") from None
            progress.update()


def _content(archive: zipfile.ZipFile | tarfile.TarFile, entry: Any) -> IO[bytes]:
    if isinstance(archive, zipfile.ZipFile):
        return archive.open(entry)
    file = archive.extractfile(entry)
    assert file is not None  # it is a regular file
    return file
