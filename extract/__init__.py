"""Corpus layouts to an index, frames by timestamp, faces, square crops.

What programs use to index a corpus, read frames and find faces can be imported from here: docs/python-api.md has
examples. Nothing is loaded before it is used.
"""
from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extract.corpus import find_corpus
    from extract.decoding.in_memory import FramesInMemory
    from extract.decoding.sampling import Clip, FrameOptions
    from extract.faces.detector import Detector, FaceOptions, WholeFrame
    from extract.faces.face import Face
    from extract.layouts.base import Corpus
    from extract.video import Extraction, Outcome, extract_video

_HOMES = {
    "extract.corpus": ("find_corpus",),
    "extract.decoding.in_memory": ("FramesInMemory",),
    "extract.decoding.sampling": ("Clip", "FrameOptions"),
    "extract.faces.detector": ("Detector", "FaceOptions", "WholeFrame"),
    "extract.faces.face": ("Face",),
    "extract.layouts.base": ("Corpus",),
    "extract.video": ("Extraction", "Outcome", "extract_video"),
}
__all__ = [
    "Clip", "Corpus", "Detector", "extract_video", "Extraction", "Face", "FaceOptions", "find_corpus",
    "FrameOptions", "FramesInMemory", "Outcome", "WholeFrame"
]


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` when it is first used."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if sys.argv[:1] == ["-m"]:  # run as a command: a data.py in the working directory must not hide our packages
    sys.path.insert(0, __path__[0].rpartition("/")[0])
