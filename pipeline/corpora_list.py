"""A list of corpora: a text file with a folder and a short name a line, which CORPUS= may name.

    # a comment
    /data/FaceForensics++    ff
    ../DF40_train            df40

The last word of a line is the name; it begins each video_id of that corpus. A path is relative to the list.
"""
from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pipeline.errors import CorpusError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def is_corpora_list(path: Any) -> bool:
    """Whether this is a text file other than a table path,label."""
    if not isinstance(path, Path) or path.suffix.lower() != ".txt" or not path.is_file():
        return False
    with open(path, "rb") as file:
        return not re.match(rb"(?:\xef\xbb\xbf)?\s*\"?(?:path|label)\"?\s*,", file.read(64), re.I)


def read_corpora(path: Path) -> dict[str, Path]:
    """Return short name -> path of each corpus of a list, in its order.

    Raises CorpusError at a line without a name, a name or corpus that is there twice, and an empty list.
    """
    found: dict[str, Path] = {}
    for number, line in enumerate(path.read_text("utf-8-sig", "surrogateescape").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where, _, name = line.strip().replace("\t", " ").rpartition(" ")
        if not where or not NAME.fullmatch(name):
            raise CorpusError(f"{path}, line {number}: expected a folder and a short name of letters, such as "
                              f"`/data/FaceForensics++ ff`, got {line.strip()[:80]!r}")
        corpus = Path(os.path.abspath(path.parent / where.strip()))
        if name in found or corpus in found.values():
            raise CorpusError(f"{path}, line {number}: {name if name in found else corpus} is in the list twice")
        found[name] = corpus
    if not found:
        raise CorpusError(f"{path} names no corpus: a folder and a short name a line, such as "
                          "`/data/FaceForensics++ ff`")
    return found
