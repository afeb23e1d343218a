"""What a command is asked to judge: files, and the videos or pictures below folders."""
from __future__ import annotations

import os
from pathlib import Path

from extract.decoding.kinds import IMAGE_SUFFIXES, suffix_of
from extract.layouts.frames import clips_below, is_clip
from extract.layouts.walk import walk
from pipeline.errors import VideoError


def files_below(paths: list[str], modality: str) -> list[str]:
    """Return the paths as given, and for a folder all videos or pictures below it, in order.

    Args:
        paths: files and folders. A folder that holds none of them stands for itself, as do the frames of one clip.
        modality: "video" or "image". They are found as an index finds them; a video may be a
            folder of its frames.
    """
    found: list[str] = []
    for path in paths:
        inside = _inside(Path(path), modality) if os.path.isdir(path) else []
        found += [os.path.join(path, name) if name else path for name in inside] or [path]
    return found


def _inside(folder: Path, modality: str) -> list[str]:
    """The files of a folder, or the folders of frames where no file is a video; "" is the folder itself."""
    found = walk(folder)
    inside = found.names(modality)
    if modality == "video" and all(suffix_of(name) in IMAGE_SUFFIXES for name in inside):
        inside += clips_below(folder, found.names("image"))
    return sorted(inside)


def check_is_file(path: str, thing: str) -> None:
    """Refuse a folder that is not the frames of one clip.

    Args:
        path: what is to be judged.
        thing: "video" or "picture", what it should be.

    Raises:
        VideoError: it is such a folder.
    """
    if os.path.isdir(path) and not (thing == "video" and is_clip(Path(path))):
        raise VideoError(nothing_in(path, thing))


def nothing_in(folder: str, thing: str) -> str:
    """Return why there is nothing to judge in a folder. thing: "video" or "picture", what was looked for."""
    other, module = ("image", "picture") if thing == "video" else ("video", "video")
    n = len(walk(Path(folder)).names(other))
    hint = f", but {n:,} {module}{'s' * (n != 1)}: python -m classify.{other} judges them" if n else ""
    return f"no {thing} in this folder{hint}"


def printable(path: str) -> str:
    """Return a text fit for a terminal: characters that are not printable become �."""
    return "".join(c if c.isprintable() else "�" for c in path)
