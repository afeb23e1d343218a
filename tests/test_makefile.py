import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(*arguments):
    """`make` in the project with this interpreter's environment as its .venv."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", "-C", str(ROOT), f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.done", *arguments],
                          capture_output=True, text=True, env={**environment, "SIZE": "999", "TEST": "x"})
    return done.returncode, done.stdout, done.stderr


def test_make_alone_lists_every_target():
    listed = set(re.findall(r"^  make ([\w-]+)", make()[1], re.M))
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    assert listed == set(targets) - {"help", "FORCE"}


def test_a_stage_without_a_corpus_says_what_to_give(tmp_path):
    status, _, errors = make("extract", f"OUT={tmp_path}/out")
    assert status and "corpus path unknown; pass CORPUS=folder" in errors


def test_check_prints_what_is_there_and_writes_nothing(demo_corpus, tmp_path):
    status, said, _ = make("check", f"CORPUS={demo_corpus}", f"OUT={tmp_path}/out")
    assert status == 0 and "6 Celeb-real" in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize("target, options, said", [
    ("train", ["FRAMEWORK=jax"], "choose from"), ("compare", ["RECIPE=baseline"], "RECIPES="),
    ("augment-sheet", ["EPOCH=1"], "did you mean EPOCHS?")])
def test_an_option_that_cannot_be_is_refused(demo_run, target, options, said):
    status, _, errors = make(target, f"OUT={demo_run}", *options)
    assert status and said in errors and "Traceback" not in errors


@pytest.mark.slow
def test_the_whole_path_runs_once_and_then_only_what_is_stale(demo_corpus, tmp_path):
    options = ["report", f"OUT={tmp_path}/out", "EVERY=1", "BACKBONE=tf_efficientnet_lite0", "SIZE=64", "EPOCHS=1",
               "WORKERS=0", "DEVICE=cpu"]
    status, said, errors = make(*options, f"CORPUS={demo_corpus}")
    assert status == 0, errors
    made = {name: tmp_path / "out" / name for name in ("index.csv", "faces/videos.csv", "split.csv",
                                                       "model/model.safetensors", "scores/videos.csv",
                                                       "report/report.html")}
    assert "train: tf_efficientnet_lite0-" in said and all(path.is_file() for path in made.values())

    def remade(*arguments):
        before = {name: path.stat().st_mtime_ns for name, path in made.items()}
        status, _, errors = make(*arguments)
        assert status == 0, errors
        return {name for name, path in made.items() if path.stat().st_mtime_ns != before[name]}

    assert remade(*options) == set()  # and the corpus is remembered
    assert remade(*options, "TITLE=Another") == {"report/report.html"}
    assert remade("report", f"OUT={tmp_path}/out", "WORKERS=1") == set()
    assert remade("report", f"OUT={tmp_path}/out", "DEVICE=cpu", "SEED=1") == {
        "model/model.safetensors", "scores/videos.csv", "report/report.html"}
