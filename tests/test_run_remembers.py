"""Facts about what a run remembers, through real `make` on a small drawn corpus."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from classify.models.card import read_card
from data.loading.pack import Pack
from pipeline.errors import TableError
from pipeline.make import variables
from pipeline.run_record import RunRecord
from pipeline.stages import STAGES, Work, run
from pipeline.tables import SPLIT, read_table

ROOT = Path(__file__).parents[1]
TINY = ("BACKBONE=resnet10t", "WEIGHTS=none", "SIZE=32", "EPOCHS=1", "DEVICE=cpu")


def start(*arguments):
    """`make` in the project with this interpreter's environment as its .venv."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "GOALS"))}
    return subprocess.Popen(["make", "--no-print-directory", "-C", str(ROOT), f"VENV={sys.prefix}", "-o",
                             f"{sys.prefix}/.done", *arguments], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, start_new_session=True,
                            env={**environment, "SIZE": "999", "TEST": "x"})


def make(*arguments, status=0):
    """Run `make` and return its stdout and stderr; its exit status must be `status` (make's own is 2)."""
    process = start(*arguments)
    out, errors = process.communicate()
    assert (process.returncode == 0) == (status == 0), out + errors
    assert "Traceback" not in errors + out
    return out if status == 0 else errors


@pytest.fixture
def out(demo_run, tmp_path):
    """A finished run that may be changed."""
    return Path(shutil.copytree(demo_run, tmp_path / "a run"))


def model_of(out):
    return json.loads((out / "scores" / "run.json").read_text())["model_id"]


def bytes_of(out, *folders):
    return {str(path.relative_to(out)): path.read_bytes() for folder in folders
            for path in sorted((out / folder).rglob("*")) if path.is_file()}


# ------------------------------------------------------------------------------------------------- what make hands over

@pytest.mark.parametrize("flags, found", [
    ("", {}), ("s", {}), (" -- Q=1", {"Q": "1"}), ("-j4 --jobserver-auth=3,4 -- B=2 A=1", {"A": "1", "B": "2"}),
    (r"s -- TITLE=Anna's\ clips CORPUS=/a\ b/$$x\\y", {"TITLE": "Anna's clips", "CORPUS": r"/a b/$x\y"}),
    (r" -- A=x\ --\ y", {"A": "x -- y"}), (" -- EMPTY=", {"EMPTY": ""})])
def test_variables_of_the_command_line_are_read_as_they_were_typed(flags, found):
    assert variables(flags) == found


def test_the_makefile_needs_no_newer_make_than_3_81():
    text = (ROOT / "Makefile").read_text()
    newer = ["$(file ", ".ONESHELL", ".SHELLFLAGS", "!=", "undefine ", "$(guile", "private ", "::=", "$(let ", "&:"]
    assert [word for word in newer if word in text] == []
    assert len(text.splitlines()) < 110


# ------------------------------------------------------------------------------------------ a finished run is finished

def test_a_finished_run_is_up_to_date_without_torch_pandas_or_numpy(demo_run):
    script = ("import sys; from pipeline.make import main; assert main(['report']) == 0; "
              "print(sorted({'torch', 'pandas', 'numpy', 'cv2'} & set(sys.modules)))")
    environment = {**os.environ, "MAKEFLAGS": f" -- OUT={demo_run}", "GOALS": "report"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment)
    lines = done.stdout.splitlines()
    assert lines[:-1] == [f"{name}: up to date" for name in ("index", "extract", "split", "train", "score", "report")]
    assert lines[-1] == "[]", done.stderr


def test_a_moved_run_and_a_copied_one_with_new_times_stay_finished(out, tmp_path):
    moved = tmp_path / "t12:30"
    out.rename(moved)
    before = bytes_of(moved, "faces", "model", "scores")
    for path in moved.rglob("*"):
        os.utime(path, (10 ** 9, 10 ** 9))  # as after a copy, or with the clock set back
    said = make("report", f"OUT={moved}", "-j4")
    for name in ("split", "train", "score", "report"):
        assert f"{name}: up to date" in said
    after = bytes_of(moved, "faces", "model", "scores")
    assert {k: v for k, v in after.items() if not k.endswith("row.json")} == {
        k: v for k, v in before.items() if not k.endswith("row.json")}
    assert make("report", f"OUT={moved}").count("up to date") == 6


# ----------------------------------------------------------------------------------------------- options are remembered

@pytest.mark.slow
def test_a_recipe_named_for_train_is_the_one_that_is_reported_also_after_a_kill(out):
    asked = ("RECIPE=small-cnn", "SIZE=32", "EPOCHS=1", "DEVICE=cpu")
    process = start("train", f"OUT={out}", *asked)
    wait_for(lambda: (out / "model" / "next" / "run").is_dir())
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    old = model_of(out)
    said = make("report", f"OUT={out}")
    assert "train: again: RECIPE was baseline, now small-cnn" in said or "it was not finished" in said or \
        "now small-cnn" in said
    new = model_of(out)
    assert new.startswith("small-cnn-") and f"make restore MODEL_ID={old}" in said
    assert "train: up to date" in make("report", f"OUT={out}")
    assert "RECIPE           small-cnn" in make("options", f"OUT={out}")
    # A model that was replaced is kept with its scores, and comes back.
    assert (out / "model" / "replaced" / old / "scores" / "videos.csv").is_file()
    make("restore", f"OUT={out}", f"MODEL_ID={old}")
    assert "train: up to date" in make("report", f"OUT={out}") and model_of(out) == old


@pytest.mark.slow
def test_a_fine_tuned_model_is_kept_and_compared_with_the_old_run(out, tmp_path):
    new = tmp_path / "new"
    corpus = RunRecord(out).named("index")["corpus"]
    process = start("train", f"OUT={new}", f"CORPUS={corpus}", "EVERY=1", f"BEGIN={out}/model/model.safetensors",
                    f"REPLAY_FROM={out}", "EPOCHS=1", "DEVICE=cpu", "WORKERS=0")
    wait_for(lambda: (new / "model" / "next" / "run").is_dir())
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    make("train", f"OUT={new}")  # what was named for the killed one is remembered
    card = read_card(new / "model" / "model.safetensors")
    assert card["continued"]["from"] == model_of(out) and card["trained_on"]["n_replayed"] > 0
    model = (new / "model" / "model.safetensors").read_bytes()
    said = make("report", f"OUT={new}", f"AGAINST={out}")
    assert "train: up to date" in said and (new / "model" / "model.safetensors").read_bytes() == model
    metrics = json.loads((new / "report" / "metrics.json").read_text())
    assert metrics["against"]["out"] == str(out)


@pytest.mark.slow
def test_sampling_is_remembered_and_old_crops_stay_until_new_ones_are_complete(out):
    make("extract", f"OUT={out}", "WORKERS=0")  # the copy has new times
    crops = bytes_of(out, "faces")
    said = make("train", f"OUT={out}", "SEED=1", "DEVICE=cpu")
    assert "extract: up to date" in said and "split: up to date" in said and "train: again: SEED was 0, now 1" in said
    assert bytes_of(out, "faces") == crops
    process = start("extract", f"OUT={out}", "EVERY=2", "WORKERS=0")
    wait_for(lambda: list((out / "faces.next").rglob("row.json")))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert bytes_of(out, "faces") == crops
    said = make("extract", f"OUT={out}", "EVERY=1")  # as it was
    assert "extract: up to date" in said and bytes_of(out, "faces") == crops
    said = make("extract", f"OUT={out}", "EVERY=2", "WORKERS=0")
    assert "extract: again: EVERY was 1, now 2" in said
    assert not (out / "faces.next").exists() and bytes_of(out, "faces") != crops
    assert "EVERY was 2, now 3" in make("extract", f"OUT={out}", "EVERY=default", "WORKERS=0")


def test_naming_a_default_changes_nothing_and_another_seed_of_the_split_divides_anew(out):
    split = (out / "split.csv").read_bytes()
    assert "split: up to date" in make("split", f"OUT={out}", "TEST=.2") and (out / "split.csv").read_bytes() == split
    assert "SPLIT_SEED was 0, now 3" in make("split", f"OUT={out}", "SPLIT_SEED=3")


def test_an_unknown_variable_is_an_error_with_the_nearest_name_and_one_of_another_stage_says_which(out):
    assert "EPOCH is not an option; did you mean EPOCHS?" in make("train", f"OUT={out}", "EPOCH=5", status=1)
    assert "LR: it is an option of `make train`" in make("extract", f"OUT={out}", "LR=1", status=1)
    assert "PLATEAU is a switch" in make("train", f"OUT={out}", "PLATEAU=perhaps", status=1)
    for wrong in ("LR=-1", "BALANCE=luck"):
        assert "error" in make("train", f"OUT={out}", wrong, status=1)
    assert "train: up to date" in make("train", f"OUT={out}")  # nothing of it was remembered


# ---------------------------------------------------------------------------------------------------- a model of others

@pytest.mark.slow
def test_a_model_from_elsewhere_is_scored_beside_the_own_one_or_alone(out, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(out, other)
    make("train", f"OUT={other}", *TINY, "SEED=7")
    theirs = other / "model" / "model.safetensors"
    os.utime(theirs, (1, 1))  # older than the crops
    before = bytes_of(out, "scores", "report", "model")
    said = make("report", f"OUT={out}", f"MODEL={theirs}", "ROBUST=1")
    [folder] = (out / "others").iterdir()
    assert bytes_of(out, "scores", "report", "model") == before and "train:" not in said
    assert json.loads((folder / "scores" / "run.json").read_text())["model_id"] == folder.name
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    assert metrics["model_id"] == folder.name and metrics["against"]["model_id"] == model_of(out)
    assert make("report", f"OUT={out}", f"MODEL={theirs}").count("up to date") >= 4

    corpus = RunRecord(out).named("index")["corpus"]
    alone = tmp_path / "alone"
    make("report", f"OUT={alone}", f"CORPUS={corpus}", f"MODEL={theirs}", "EVERY=1", "WORKERS=0")
    [folder] = (alone / "others").iterdir()
    assert not (alone / "split.csv").exists() and not (alone / "model").exists()
    assert set(read_table(folder / "split.csv", SPLIT)["part"]) == {"test"}
    assert len(read_table(folder / "split.csv", SPLIT)) == 12


# --------------------------------------------------------------------------------------------- what changed is seen

def test_a_damaged_video_that_was_replaced_is_extracted(demo_corpus, tmp_path):
    corpus = Path(shutil.copytree(demo_corpus, tmp_path / "anna's clips"))
    clip = next(corpus.glob("Celeb-real/*.mp4"))
    good = clip.read_bytes()
    clip.write_bytes(b"x" * len(good))  # the same size
    out = tmp_path / "out"
    options = (f"OUT={out}", f"CORPUS={corpus}", "EVERY=1", "WORKERS=0", "DEVICE=cpu")
    assert "11 ok, 1 unreadable" in make("extract", *options)
    times = clip.stat()
    clip.write_bytes(good)
    os.utime(clip, ns=(times.st_atime_ns, times.st_mtime_ns))  # the same times, too
    said = make("extract", f"OUT={out}", "WORKERS=0", "DEVICE=cpu")
    assert "extract: checking: sizes or times of videos changed" in said and "12 ok" in said


def test_an_unexpected_error_fails_the_stage_and_is_tried_again(demo_corpus, tmp_path, monkeypatch, capsys):
    from extract import corpus, run, video

    out, whole, tries = tmp_path / "out", video.extract_video, []

    def failing(path, *rest):
        if "real/id0_0000" in str(path) and len(tries) < limit:
            tries.append(path)
            raise ZeroDivisionError("detector")
        return whole(path, *rest)

    monkeypatch.setattr(run, "extract_video", failing)
    assert corpus.main(["--out", str(out), "--corpus", str(demo_corpus)]) == 0
    flags, limit = ["--out", str(out), "--every", "2", "--workers", "0", "--device", "cpu"], 1
    assert run.main(flags) == 1
    assert "1 of 12 videos ended in an unexpected error" in capsys.readouterr().err
    assert run.main(flags) == 0 and "12 ok" in capsys.readouterr().out
    # One that fails twice alike is recorded as failed and stops nothing.
    shutil.rmtree(out)
    tries.clear()
    limit = 2
    assert corpus.main(["--out", str(out), "--corpus", str(demo_corpus)]) == 0
    assert run.main(flags) == 1 and run.main(flags) == 0
    assert "11 ok, 1 error" in capsys.readouterr().out
    assert run.main(flags) == 0 and "extract: up to date" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["removed", "emptied", "cut", "edited"])
def test_a_table_that_is_not_what_was_written_is_made_again(out, change):
    table = out / "faces" / "faces.csv"
    good = table.read_bytes()
    if change == "removed":
        table.unlink()
    else:
        table.write_bytes({"emptied": b"", "cut": good[:len(good) // 2],
                           "edited": good[:-20] + b"9" + good[-19:]}[change])
    said = make("extract", f"OUT={out}", "WORKERS=0", "DEVICE=cpu")
    assert "extract: again: faces/faces.csv" in said and table.read_bytes() == good


def test_an_edited_split_is_an_input_and_a_wrong_part_is_named_by_its_row(out):
    table = out / "split.csv"
    good = table.read_text()
    table.write_text(good.replace(",train,", ",trian,", 1))
    row = next(n for n, line in enumerate(table.read_text().splitlines(), 1) if "trian" in line)
    assert f"split.csv, line {row}: part is 'trian', expected train, val, test or dropped" in make(
        "split", f"OUT={out}", status=1)
    edited = good.replace(",train,", ",dropped,", 1)
    table.write_text(edited)
    assert "was edited by hand, it is kept" in make("split", f"OUT={out}")
    assert table.read_text().count("dropped") == edited.count("dropped") + 1  # the video is in no group either
    assert "split: up to date" in make("split", f"OUT={out}")
    assert "SPLIT=new" in make("split", f"OUT={out}", "SPLIT_SEED=5", status=1)
    make("split", f"OUT={out}", "SPLIT_SEED=default", "SPLIT=new")
    assert table.read_text() == good


@pytest.mark.parametrize("damage", ["another crop in its place", "one bit", "removed"])
def test_a_crop_that_is_not_what_was_written_is_made_again(out, damage):
    crops = sorted((out / "faces").rglob("*/*.png"))
    good = crops[0].read_bytes()
    if damage == "removed":
        crops[0].unlink()
    else:
        flipped = good[:99] + bytes([good[99] ^ 1]) + good[100:]
        crops[0].write_bytes(flipped if damage == "one bit" else crops[-1].read_bytes())
    with pytest.raises(TableError, match=f"{crops[0].name}.*VERIFY=1|does not exist|cannot be read"):
        Pack(out, 16, 1.0)
    assert "extract: checking: sizes or times of crops changed" in make("extract", f"OUT={out}", "WORKERS=0")
    assert crops[0].read_bytes() == good
    assert len(Pack(out, 16, 1.0).pictures) == len(crops)


@pytest.mark.parametrize("damage", [lambda content: content[:-len(content) // 4] + bytes(len(content) // 4),
                                    lambda content: content[:len(content) // 2], lambda content: b""])
def test_a_pack_that_is_not_what_was_written_is_packed_again(out, damage):
    good = np.array(Pack(out, 16, 1.0).pictures)
    path = out / "packed" / "16-1.npy"
    path.write_bytes(damage(path.read_bytes()))
    assert (np.array(Pack(out, 16, 1.0).pictures) == good).all()


def test_a_corpus_that_is_unplugged_does_not_stop_a_finished_run(demo_corpus, demo_run, tmp_path):
    out, corpus = tmp_path / "out", tmp_path / "corpus"
    shutil.copytree(demo_corpus, corpus)
    make("extract", f"OUT={out}", f"CORPUS={corpus}", "EVERY=2", "WORKERS=0", "DEVICE=cpu")
    corpus.rename(tmp_path / "elsewhere")
    said = make("extract", f"OUT={out}")
    assert "index: up to date" in said and "is not here now" in said and "extract: up to date" in said


# ------------------------------------------------------------------------------------------------ one at a time, kills

def test_an_input_that_changed_while_the_stage_worked_is_seen_as_changed(tmp_path):
    RunRecord(tmp_path).write()
    (tmp_path / "index.csv").write_text("as it was read\n")

    def divide(work, others_write=True):
        if others_write:
            (tmp_path / "index.csv").write_text("as it is now\n")
        for name in work.stage.outputs:
            (tmp_path / name).write_text("{}")
        work.finish(1)

    run("split", ["--out", str(tmp_path)], "", divide)
    assert Work(STAGES["split"], ["--out", str(tmp_path)], "").decide().reasons == ["index.csv changed"]
    run("split", ["--out", str(tmp_path)], "", lambda work: divide(work, others_write=False))
    assert Work(STAGES["split"], ["--out", str(tmp_path)], "").decide().reasons == []


@pytest.mark.slow
def test_a_second_training_says_who_is_at_work_and_ctrl_c_is_one_line(out):
    first = start("train", f"OUT={out}", *TINY, "LR=1e-3", "EPOCHS=500", "PATIENCE=0")
    wait_for(lambda: (out / ".lock").read_text().startswith("`train`"))
    assert "is in use by `train` (process " in make("train", f"OUT={out}", *TINY, "LR=1e-4", status=1)
    os.killpg(first.pid, signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert errors.count("interrupted") == 1 and "Traceback" not in errors
    assert RunRecord(out).named("train")["lr"] == 1e-3


@pytest.mark.parametrize("moment_s", [0.1, 0.6, 1.2, 2.0])
def test_ctrl_c_at_any_moment_of_extraction_is_no_traceback(demo_corpus, tmp_path, moment_s):
    for later_s in (0, 1, 3):
        process = start("extract", f"OUT={tmp_path}/out", f"CORPUS={demo_corpus}", "EVERY=1", "WORKERS=2", "DEVICE=cpu")
        time.sleep(moment_s + later_s)
        os.killpg(process.pid, signal.SIGINT)
        said, errors = process.communicate(timeout=60)
        if "Fatal Python error: init" not in errors:  # else the interpreter itself was still starting: none of our code
            break
    assert "Traceback" not in said + errors and errors.count("interrupted") <= 1


def test_what_earlier_versions_left_is_refused_in_one_line(out):
    (out / "run.json").unlink()
    errors = make("report", f"OUT={out}", status=1)
    assert "holds index.csv but no run.json" in errors and errors.count("error:") == 1


def test_a_damaged_record_names_the_copy_before_it(out):
    record = (out / "run.json").read_text()
    (out / "run.json").write_text(record.replace("0.2", "0.3", 1))
    assert "copy run.previous.json over it" in make("report", f"OUT={out}", status=1)


def test_out_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "out").touch()
    assert "is a file" in make("report", f"OUT={tmp_path}/out", status=1)


def test_plan_says_what_would_be_done_and_does_nothing(out):
    before = (out / "run.json").read_bytes()
    said = make("plan", f"OUT={out}", "EVERY=5")
    assert "extract: would run: EVERY was 1, now 5" in said
    assert "train: would run: extract is done again before it" in said and "index: up to date" in said
    assert (out / "run.json").read_bytes() == before


def wait_for(happened, limit_s=120):
    """Wait until something happened, at most so long."""
    until = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < until
        time.sleep(.02)
