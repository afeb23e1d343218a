"""Crops as one memory map of network inputs: decoded once, then a batch costs what copying it costs.

    OUT/packed/<size>-<centre>.npy    uint8 (n, size, size, 3) RGB, one picture per crop of faces.csv, in its order
    OUT/packed/<size>-<centre>.json   what it was made from; a pack made from anything else is made again
"""
from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Sequence

import numpy as np

from data.loading.crops import read_crop, to_input
from pipeline.parallel import cpu_count
from pipeline.tables import FACES, read_json, read_table, write_json

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
        if not _is_from(path, made_from):
            _write(path, crops, folder, size_px, centre, whole)
            write_json(path.with_suffix(".json"), {"made_from": made_from, "n": len(crops)})
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
    return Path(options["crop_folder"]) if whole else out / "faces", whole


def read_stored(file: Path, whole: bool, px: int) -> np.ndarray:
    """A square as it is before `to_input`: a stored crop, or a whole picture at px. uint8 RGB (side, side, 3)."""
    from extract.decoding.image import read_picture, whole_square

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
    try:
        return path.is_file() and json.loads(path.with_suffix(".json").read_text())["made_from"] == made_from
    except (OSError, ValueError, KeyError):
        return False


def _write(path: Path, crops: list[str], folder: Path, size_px: int, centre: float, whole: bool) -> None:
    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)  # of an older pack: never beside a newer one
    partial = path.with_name(f".{path.name}.partial")
    pictures = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(crops), size_px, size_px, 3))

    def fill(number: int) -> None:
        crop = read_stored(folder / crops[number], whole, round(size_px / centre))
        pictures[number] = to_input(crop, size_px, centre)

    try:
        with ThreadPoolExecutor(cpu_count()) as pool:  # OpenCV lets go of the interpreter
            for _ in tqdm(pool.map(fill, range(len(crops))), total=len(crops), desc="pack", unit="crop", leave=False):
                pass
        pictures.flush()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
