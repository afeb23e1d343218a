"""A leak-free labelled split with its audit, and crops as augmented batches.

What programs use to split an index can be imported from here: docs/python-api.md has examples. Nothing is loaded
before it is used.
"""
from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.split import Split, SplitOptions, split_corpus

_HOMES = {
    "data.split": ("Split", "SplitOptions", "split_corpus"),
}
__all__ = ["Split", "split_corpus", "SplitOptions"]


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` when it is first used."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if sys.argv[:1] == ["-m"]:  # run as a command: a data.py in the working directory must not hide our packages
    sys.path.insert(0, __path__[0].rpartition("/")[0])
