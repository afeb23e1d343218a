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


def test_every_option_of_a_command_can_be_given_to_make():
    """The lists in the Makefile are the fields of the options that the stages read."""
    import dataclasses

    from classify.evaluation.options import ScoreOptions
    from classify.models.options import ModelOptions
    from classify.training.recipes import TrainOptions
    from data.loading.options import AugmentOptions
    from data.split import SplitOptions
    from extract.decoding.sampling import FrameOptions
    from extract.faces.detector import FaceOptions
    from extract.run import RunOptions
    from reports.options import ReportOptions

    text = (ROOT / "Makefile").read_text()
    for variables, classes in ((("EXTRACT_OPTIONS", "EXTRACT_RUNNING", "EXTRACT_SWITCHES"),
                                (FrameOptions, FaceOptions, RunOptions)),
                               (("SPLIT_OPTIONS",), (SplitOptions,)),
                               (("TRAIN_OPTIONS", "TRAIN_SWITCHES", "TRAIN_RUNNING"),
                                (ModelOptions, TrainOptions, AugmentOptions, ScoreOptions)),
                               (("SCORE_RUNNING",), (ScoreOptions,)),
                               (("REPORT_OPTIONS", "REPORT_SWITCHES"), (ReportOptions,))):
        lists = [re.search(rf"^{name} := ((?:.*\\\n)*.*)$", text, re.M)[1] for name in variables]
        listed = {word for line in lists for word in line.replace("\\", "").split()}
        own = {"RESUME", "RECIPE"}  # the one is written out in the rule, the other is a choice of defaults
        fields = {f.name.upper() for cls in classes for f in dataclasses.fields(cls)}
        assert listed - own == fields - own, variables


def test_a_stage_without_a_corpus_says_what_to_give(tmp_path):
    status, _, errors = make("extract", f"OUT={tmp_path}/out")
    assert status and "make extract CORPUS=folder" in errors


def test_check_prints_what_is_there_and_writes_nothing(demo_corpus, tmp_path):
    status, said, _ = make("check", f"CORPUS={demo_corpus}", f"OUT={tmp_path}/out")
    assert status == 0 and "6 Celeb-real" in said and not (tmp_path / "out").exists()


def test_framework_tensorflow_trains_on_keras_and_all_that_follows_judges_with_its_file(tmp_path):
    asked = "-n", f"OUT={tmp_path}/out", f"CORPUS={tmp_path}"
    status, said, errors = make("report", *asked, "FRAMEWORK=tensorflow", "EPOCHS=2")
    assert status == 0, errors
    assert "classify.training.keras --out" in said and "classify.train " not in said
    assert re.search(rf"classify.score .*--model {tmp_path}/out/model/model.keras", said)
    for torch in ("FRAMEWORK=torch", "EPOCHS=2"):
        said = make("report", *asked, torch)[1]
        assert "classify.train --out" in said and "model.keras" not in said


@pytest.mark.parametrize("target, framework, said", [("train", "jax", "FRAMEWORK is torch or tensorflow, not jax"),
                                                     ("compare", "tensorflow", "make compare trains on torch only")])
def test_a_framework_that_is_not_there_is_one_line(tmp_path, target, framework, said):
    status, out, errors = make(target, "-n", f"OUT={tmp_path}/out", f"FRAMEWORK={framework}")
    assert status and said in errors and len(errors.splitlines()) == 1 and "python" not in out


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
    assert remade(*options, "TITLE=Another", "WORKERS=1") == set()
    options[-2:] = ["DEVICE=cpu", "TITLE=Another", "SEED=1"]
    assert remade(*options) >= {"model/model.safetensors", "scores/videos.csv", "report/report.html"}
