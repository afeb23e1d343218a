"""Fixtures that the tests of several stages share."""
from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def shared():
    """shared("lists", "x.txt") is that file of the shared material, or the test is skipped and says why.

    It lies beside the project, or where DEEPFAKE_SHARED points; it holds corpora that may not be copied into here.
    """
    root = Path(os.environ.get("DEEPFAKE_SHARED") or Path(__file__).parents[2] / "shared")

    def find(*parts: str) -> Path:
        path = root.joinpath(*parts)
        if not path.exists():
            pytest.skip(f"{path} is not here (DEEPFAKE_SHARED names the folder)")
        return path

    return find
