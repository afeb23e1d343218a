"""Crops as one memory map of network inputs: decoded once, then a batch costs what copying it costs.

    OUT/packed/<size>-<centre>.npy    uint8 (n, size, size, 3) RGB, one picture per crop of faces.csv, in its order
    OUT/packed/<size>-<centre>.json   what it was made from; a pack made from anything else is made again
"""
from __future__ import annotations

import errno
import hashlib
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Sequence

import numpy as np

from data.loading.crops import read_crop, to_input
from extract.decoding.image import read_picture, whole_square
from pipeline.errors import TableError
from pipeline.progress import progress_bar
from pipeline.tables import FACES, read_json, read_table, write_json
from pipeline.workers import cpu_count

VERSION = 1  # raised when the same crop and options give another picture


class Pack:
    """The crops below OUT at one input size.

    pictures: uint8 (n, size_px, size_px, 3) RGB, a read-only memory map. centre: share of the stored crop that is kept.
    Raises TableError where a crop is missing or damaged.
    """

    def __init__(self, out: Path, size_px: int, centre: float):
        faces = read_table(out / "faces" / "faces.csv", FACES)
        crops = faces.loc[faces["crop"] != "", "crop"].tolist()
        folder, whole = crop_folder(out)
        self._number = {crop: number for number, crop in enumerate(crops)}
        path = out / "packed" / f"{size_px}-{centre:g}.npy"
        made_from = _fingerprint(crops, folder, size_px, centre)
        if crops and not _is_from(path, made_from):
            _write(path, crops, folder, size_px, centre, whole, {} if whole else _checksums(folder, crops))
            write_json(path.with_suffix(".json"), {"made_from": made_from, "n": len(crops), "sha256": _sha256(path)})
        self.pictures = np.load(path, mmap_mode="r") if crops else np.empty((0, size_px, size_px, 3), np.uint8)

    def numbers(self, crops: Sequence[str]) -> np.ndarray:
        """Places in `pictures` of these crops, int64 (n,)."""
        return np.array([self._number[crop] for crop in crops], np.int64)


class Joined:
    """Two arrays of pictures (n, …) and (m, …) as one of n + m that is never copied whole: taken from by places."""

    def __init__(self, first: np.ndarray, second: np.ndarray):
        self.first, self.second = first, second
        self.nbytes = first.nbytes + second.nbytes
        self.shape = (len(first) + len(second), *first.shape[1:])

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """places: int (k,). Returns (k, …)."""
        taken = np.empty((len(places), *self.first.shape[1:]), self.first.dtype)
        here = places < len(self.first)
        taken[here] = self.first[places[here]]
        taken[~here] = self.second[places[~here] - len(self.first)]
        return taken


def crop_folder(out: Path) -> tuple[Path, bool]:
    """What the column `crop` of OUT's faces is relative to, and whether it names pictures that are judged whole: then
    it is the corpus itself. Raises TableError."""
    options = read_json(out / "faces" / "options.json")
    whole = "crop_folder" in options
    return out / options["crop_folder"] if whole else out / "faces", whole  # relative where it is inside OUT


def read_stored(file: Path, whole: bool, px: int) -> np.ndarray:
    """A square as it is before `to_input`: a stored crop, or a whole picture at px. uint8 RGB (side, side, 3)."""
    # As classify.judging.judge does with a picture that it judges whole.
    return whole_square(read_picture(file), px) if whole else read_crop(file)


def _fingerprint(crops: list[str], folder: Path, size_px: int, centre: float) -> str:
    digest = hashlib.sha256(repr((VERSION, size_px, centre)).encode())
    for crop in crops:
        try:
            status = os.stat(folder / crop)
            digest.update(f"{crop}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{crop}\0missing\n".encode())  # reading it says what is wrong
    return digest.hexdigest()


def _is_from(path: Path, made_from: str) -> bool:
    """Whether a pack was made from these crops and is still what was written: all of it is read, at a GB a second."""
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        return bool(record["made_from"] == made_from) and record["sha256"] == _sha256(path)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(file: Path) -> int | None:
    try:
        return zlib.crc32(file.read_bytes())
    except OSError:
        return None


def _checksums(folder: Path, crops: Sequence[str]) -> dict[str, int]:
    """CRC-32 of each crop as extraction wrote it; crops of a video without a record are left out."""
    found: dict[str, int] = {}
    for video in sorted({os.path.dirname(crop) for crop in crops}):
        try:
            row = json.loads((folder / video / "row.json").read_bytes())
            found.update({f"{video}/{name}": crc for name, crc in row["crc32"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _write(path: Path, crops: list[str], folder: Path, size_px: int, centre: float, whole: bool,
           checksums: dict[str, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)  # of an older pack: never beside a newer one
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    for left in path.parent.glob(f".{path.name}*.partial"):
        left.unlink(missing_ok=True)  # of a killed run: only one stage works on a run at a time
    pictures = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(crops), size_px, size_px, 3))
    _allocate(partial)

    def fill(number: int) -> None:
        name = crops[number]
        if name in checksums and _checksum(folder / name) != checksums[name]:
            raise TableError(f"{folder / name} is not the crop that extraction wrote: `make extract VERIFY=1` makes it "
                             "again")
        crop = read_stored(folder / crops[number], whole, round(size_px / centre))
        pictures[number] = to_input(crop, size_px, centre)

    try:
        with ThreadPoolExecutor(cpu_count()) as pool:  # OpenCV lets go of the interpreter
            filled = pool.map(fill, range(len(crops)))
            for _ in progress_bar(filled, total=len(crops), desc="pack", unit="crop", leave=False):
                pass
        pictures.flush()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _allocate(path: Path) -> None:
    """Take the disk space of a file: a memory map of a sparse file on a full disk ends the process (SIGBUS).

    Raises:
        OSError: the disk is full.
    """
    try:
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    except AttributeError:  # not there on macOS
        pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, error.strerror, str(path.parent)) from None
