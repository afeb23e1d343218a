"""Fixtures that the tests of several stages share."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports torch: two threads that wait for each other on a busy machine cost a test its minute.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


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


@pytest.fixture(scope="session")
def demo_corpus(tmp_path_factory) -> Path:
    """Six drawn people in three groups, one real clip and one fake of each: 12 clips of 4 s."""
    from data.demo.make import DemoOptions, make_demo

    root = tmp_path_factory.mktemp("corpus") / "demo"
    make_demo(root, DemoOptions(identities=6, clips=1, seconds=4, fps=5, width=256, height=192))
    return root


@pytest.fixture(scope="session")
def demo_run(demo_corpus, tmp_path_factory) -> Path:
    """The whole path on `demo_corpus` through the commands, with one epoch of a small network: OUT, report included."""
    from classify import score, train
    from data import split
    from extract import corpus, run
    from reports import page

    out = tmp_path_factory.mktemp("out")
    steps = [(corpus, ["--out", str(out), "--corpus", str(demo_corpus)]),
             (run, ["--out", str(out), "--every", "1", "--workers", "0", "--device", "cpu"]),
             (split, ["--out", str(out)]),
             (train, ["--out", str(out), "--backbone", "tf_efficientnet_lite0", "--size", "64", "--epochs", "1",
                      "--device", "cpu"]),
             (score, ["--out", str(out), "--device", "cpu"]),
             (page, ["--out", str(out)])]
    for module, arguments in steps:
        assert module.main(arguments) == 0, module.__name__
    return out
