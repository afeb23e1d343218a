"""Recognise the files that this project writes for people: they may lie in a corpus, and are never part of it.

A video or picture carries MARK in its metadata: an annotated clip as its comment, a PNG as its software. The crops of a
run carry none, since they are made to be learned from; they are recognised by the folder of the run.
"""
from __future__ import annotations

import zlib
from pathlib import Path

MARK = "written by deepfake-detection for people to look at"
VERDICTS = b"path,verdict,score,probability,"  # how a table of --csv begins
VIDEOS, PICTURES = (".mp4", ".mov", ".mkv"), (".png",)  # in which MARK is looked for
REACH = 2 ** 16      # bytes at both ends of a video that hold its metadata
PNG_HEAD = 33        # bytes of the signature and the first chunk, behind which MARK stands


def marked_png(png: bytes) -> bytes:
    """Return a PNG file with MARK in it, its pixels as they were. png: content of a file without a mark."""
    said = b"tEXtSoftware\0" + MARK.encode()
    chunk = (len(said) - 4).to_bytes(4, "big") + said + zlib.crc32(said).to_bytes(4, "big")
    return png[:PNG_HEAD] + chunk + png[PNG_HEAD:]


def is_own(path: str | Path) -> bool:
    """Whether a file was written by this project for people: an annotated clip, a picture, or a table of verdicts.

    Only the ends of files with a suffix that such a file has are read. One that cannot be read is not. A PNG whose name
    is a number is taken for a frame of a video and not read: there may be millions.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*VIDEOS, *PICTURES, ".csv") or suffix in PICTURES and path.stem.isdigit():
        return False
    try:
        with open(path, "rb") as file:
            if suffix == ".csv":
                return file.read(len(VERDICTS)) == VERDICTS
            if suffix in PICTURES:
                return MARK.encode() in file.read(PNG_HEAD + 128)
            found = MARK.encode() in file.read(REACH)
            file.seek(max(0, file.seek(0, 2) - REACH))
            return found or MARK.encode() in file.read(REACH)
    except OSError:
        return False
