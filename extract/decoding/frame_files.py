"""Pictures that are the frames of one video: which files they are, in which order, and how they are read.

A video whose frames are pictures is named by its folder (`real/v01`), or by what its files have in common, with a star
for the number (`real/v01_*.jpg`). No timestamps are known: time is the frame's number over NOMINAL_FPS, and the place
in the order where the names hold no single number that grows. Frames were picked when they were written, so at least
LEAST_FRAMES are looked at, or all where there are fewer, whatever the distance asked for.
"""
from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from extract.decoding.kinds import IMAGE_SUFFIXES, suffix_of
from pipeline.errors import VideoError

if TYPE_CHECKING:
    import numpy as np

NOMINAL_FPS = 25.0
LEAST_FRAMES = 32     # DeepfakeBench's number of frames a video, the usual size of such folders
SAME_SHAPE = 0.9      # share of the pictures of a folder whose names must be alike but for their numbers
LONGEST_NUMBER = 7    # digits of a frame number; longer ones are dates and ids


def shape_of(stem: str) -> str:
    """Return the name of a picture with # for each number: "frame_0012" is "frame_#", "" where it has none."""
    numbers = re.findall(r"\d+", stem)
    return re.sub(r"\d+", "#", stem) if numbers and max(map(len, numbers)) <= LONGEST_NUMBER else ""


def numbers_of(name: str) -> tuple[int, ...]:
    """Return the numbers in the stem of a file name, by which frames are sorted."""
    return tuple(map(int, re.findall(r"\d+", os.path.splitext(os.path.basename(name))[0])))


def frames_among(names: list[str]) -> list[str]:
    """Return the frames among the pictures of one folder, in order.

    Where most names are alike but for their numbers these are the frames; else all are, by name.
    """
    shapes = Counter(shape_of(os.path.splitext(os.path.basename(name))[0]) for name in names)
    shape, n = shapes.most_common(1)[0] if shapes else ("", 0)
    if not shape or n < SAME_SHAPE * len(names):
        return sorted(names)
    kept = [name for name in names if shape_of(os.path.splitext(os.path.basename(name))[0]) == shape]
    return sorted(kept, key=lambda name: (numbers_of(name), name))


def frame_files(path: Path) -> list[Path]:
    """Return the frames of the video that a folder or a pattern names, in order; [] where there are none.

    path: a folder, or folder/prefix*.jpg, which is a name and not a glob.
    """
    pattern = "" if path.is_dir() else path.name
    folder = path.parent if pattern else path
    if pattern.count("*") != 1 and pattern or not folder.is_dir():
        return []
    with os.scandir(folder) as scan:
        names = [entry.name for entry in scan if suffix_of(entry.name) in IMAGE_SUFFIXES
                 and not entry.name.startswith(".") and entry.is_file()]
    if not pattern:
        return [folder / name for name in frames_among(names)]
    prefix, _, suffix = pattern.partition("*")
    alike = re.compile(re.escape(prefix) + r"\d+" + re.escape(suffix))
    return [folder / name for name in sorted(filter(alike.fullmatch, names), key=lambda name: (numbers_of(name), name))]


def files_of(path: Path) -> list[Path]:
    """Return the files that a video consists of: itself, or its frames."""
    return [path] if path.is_file() else frame_files(path)


class FrameFiles:
    """A reader as in readers.py. times_s: when each frame is shown, s from the first. Raises VideoError."""

    name = "pictures"
    promised_s = held_s = 0.0
    frame_px, is_cut = 0, False
    key_numbers: list[int] = []

    def __init__(self, path: Path):
        self.files = frame_files(path)
        if not self.files:
            raise VideoError("no such file" if not path.exists() else "no video: a folder without pictures"
                             if path.is_dir() else "not a file")
        numbers = [numbers_of(file.name) for file in self.files]
        changing = [column for column in zip(*numbers) if len(set(column)) > 1]
        counted = changing[0] if len(changing) == 1 and len(set(map(len, numbers))) == 1 else range(len(numbers))
        if len(set(counted)) < len(self.files):
            counted = range(len(self.files))
        self.times_s = [(number - counted[0]) / NOMINAL_FPS for number in counted]

    def read(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield pairs of number and RGB in order; a picture that cannot be read is left out."""
        from extract.decoding.image import read_picture

        for number in wanted:
            try:
                yield number, read_picture(self.files[number])
            except VideoError:
                continue
