"""What a command is asked to judge: files, and the videos or pictures below folders."""
from __future__ import annotations

import os
from pathlib import Path

from extract.layouts.walk import walk


def files_below(paths: list[str], modality: str) -> list[str]:
    """Return the paths as given, and for a folder all videos or pictures below it, in order.

    Args:
        paths: files and folders. A folder that holds none of them stands for itself.
        modality: "video" or "image". They are found as an index finds them.
    """
    found: list[str] = []
    for path in paths:
        inside = walk(Path(path)).names(modality) if os.path.isdir(path) else []
        found += [os.path.join(path, name) for name in inside] or [path]
    return found


def nothing_in(folder: str, thing: str) -> str:
    """Return why there is nothing to judge in a folder. thing: "video" or "picture", what was looked for."""
    other, module = ("image", "picture") if thing == "video" else ("video", "video")
    n = len(walk(Path(folder)).names(other))
    hint = f", but {n:,} {module}{'s' * (n != 1)}: python -m classify.{other} judges them" if n else ""
    return f"no {thing} in this folder{hint}"


def printable(path: str) -> str:
    """Return a text fit for a terminal: characters that are not printable become �."""
    return "".join(c if c.isprintable() else "�" for c in path)
