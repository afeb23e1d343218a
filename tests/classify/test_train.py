import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from classify.model import ModelOptions, load_checkpoint, read_card
from classify.score import ScoreOptions
from classify.train import TrainOptions, main, train
from data.crops import AugmentOptions
from pipeline.errors import CheckpointError, OutOfMemoryError, SplitError
from pipeline.tables import FACES, SPLIT, write_json, write_table

SMALL = ModelOptions(backbone="resnet10t", weights="none", size=32)
HERE = ScoreOptions(loaders=0, device="cpu", batch=16)
FLAGS = ["--backbone", "resnet10t", "--weights", "none", "--size", "32", "--device", "cpu", "--loaders", "0", "--batch",
         "16", "--lr", "1e-3"]


@pytest.fixture
def out(tmp_path):
    """OUT with noise crops: fakes are a little redder. 12 + 36 training, 6 + 6 validation videos of 3 crops."""
    rng = np.random.default_rng(0)
    split, faces = [], []
    for number in range(60):
        part = "train" if number < 48 else "val"
        label = int(number >= 12) if part == "train" else number % 2
        video = f"{number:03d}.mp4"
        split.append({"video_id": video, "label": label, "part": part, "group": video})
        for frame in range(3):
            picture = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            picture[..., 0] = np.clip(picture[..., 0] + 60.0 * label, 0, 255)
            name = f"{video}/{frame:06d}.png"
            (tmp_path / "faces" / video).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "faces" / name), picture[..., ::-1])
            faces.append({**dict.fromkeys(FACES, 0), "video_id": video, "frame": frame, "time_s": frame, "crop": name})
    write_table(tmp_path / "split.csv", split, SPLIT)
    write_table(tmp_path / "faces" / "faces.csv", faces, FACES)
    write_json(tmp_path / "split.json", {"split_hash": "abc"})
    write_json(tmp_path / "faces" / "options.json", {"frames": {"every": 3.0}, "faces": {}, "dataset": "x"})
    return tmp_path


def test_a_difference_that_is_there_is_learned_and_the_checkpoint_carries_what_is_needed(out):
    card = train(out, SMALL, TrainOptions(epochs=4, lr=1e-3), AugmentOptions(), HERE)
    epochs = pd.read_csv(out / "model" / "epochs.csv")
    assert epochs["val_video_auc"].max() == 1.0 and epochs["train_loss"].iloc[-1] < epochs["train_loss"].iloc[0]
    assert list(epochs["epoch"]) == list(range(1, len(epochs) + 1))
    _, stored = load_checkpoint(out / "model" / "model.safetensors")
    assert stored == card
    assert {"backbone", "size_px", "centre", "mean", "std", "faces", "frames", "label_map", "aggregation", "threshold",
            "split_hash", "versions", "calibration", "best_epoch", "training"} <= set(card)
    assert 0 < card["threshold"] < 1 and card["chosen_on"] == {**card["chosen_on"], "n_videos": 12, "n_fake": 6}
    assert any(name.startswith("events.out") for name in os.listdir(out / "model" / "run"))


def test_both_classes_weigh_the_same_in_the_loss(out):
    from classify.learner import Learner

    learner = Learner(torch.nn.Identity(), (2.0, 2 / 3), pd.DataFrame(), 1e-3, AugmentOptions(), 0, out / "x.csv")
    # 12 reals at logit a and 36 fakes at logit a: the weighted loss has its minimum at 0, where the classes balance.
    labels = torch.tensor([0] * 12 + [1] * 36)
    slopes = []
    for value in (-0.1, 0.0, 0.1):
        logits = torch.full((48,), value, requires_grad=True)
        learner._loss(logits, labels).backward()
        slopes.append(float(logits.grad.sum()))
    assert slopes[0] < 0 < slopes[2] and slopes[1] == pytest.approx(0, abs=1e-6)


def test_a_resumed_run_is_the_undisturbed_run(out):
    assert main(["--out", str(out), "--epochs", "4", "--patience", "0", *FLAGS]) == 0
    keep = out / "model" / "model.safetensors", out / "model" / "epochs.csv"
    undisturbed = [path.read_bytes() for path in keep]
    assert main(["--out", str(out), "--epochs", "2", "--patience", "0", *FLAGS]) == 0
    assert main(["--out", str(out), "--epochs", "4", "--patience", "0", "--resume", *FLAGS]) == 0
    assert [path.read_bytes() for path in keep] == undisturbed


@pytest.mark.slow
def test_a_run_killed_in_the_middle_resumes_to_the_same_model(out):
    flags = ["--out", str(out), "--epochs", "6", "--patience", "0", *FLAGS]
    assert main(flags) == 0
    undisturbed = (out / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(out / "model")
    process = subprocess.Popen([sys.executable, "-m", "classify.train", *flags], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    epochs = out / "model" / "epochs.csv"
    while process.poll() is None and not (epochs.is_file() and len(epochs.read_text().splitlines()) >= 3):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (out / "model" / "run" / "last.ckpt").is_file()
    assert main([*flags, "--resume"]) == 0
    assert (out / "model" / "model.safetensors").read_bytes() == undisturbed


def test_starting_anew_sets_the_earlier_run_aside_and_resuming_with_other_options_is_refused(out, capsys):
    options = [SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE]
    train(out, *options)
    with pytest.raises(CheckpointError, match="another lr 0.0001"):
        train(out, SMALL, TrainOptions(epochs=1, lr=1e-2, resume=True), AugmentOptions(), HERE)
    train(out, *options)
    assert (out / "model" / "run.previous" / "last.ckpt").is_file()
    assert "is kept in" in capsys.readouterr().err


def test_training_stops_when_validation_no_longer_improves(out):
    card = train(out, SMALL, TrainOptions(epochs=30, lr=1e-2, patience=1), AugmentOptions(), HERE)
    n_epochs = len(pd.read_csv(out / "model" / "epochs.csv"))
    assert n_epochs < 30 and card["best_epoch"] == n_epochs - 1


def test_no_room_on_the_device_is_one_line_that_names_the_batch(out, monkeypatch):
    import lightning

    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(lightning.Trainer, "fit", full)
    with pytest.raises(OutOfMemoryError, match="BATCH=8"):
        train(out, SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE)


@pytest.mark.parametrize("keep, error", [("label == 1 or part == 'val'", "0 real and 108 fake crops"),
                                         ("part == 'train'", "validation has no crop")])
def test_nothing_to_learn_or_to_choose_from_is_a_clear_error(out, keep, error):
    from pipeline.tables import read_table

    write_table(out / "split.csv", read_table(out / "split.csv", SPLIT).query(keep), SPLIT)
    with pytest.raises(SplitError, match=error):
        train(out, SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE)


def test_validation_of_one_class_is_said_aloud_and_gives_no_auc(out, capsys):
    from pipeline.tables import read_table

    write_table(out / "split.csv", read_table(out / "split.csv", SPLIT).query("label == 1 or part == 'train'"), SPLIT)
    card = train(out, SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE)
    assert "one class only" in capsys.readouterr().err and card["threshold"] == 0.5
    assert pd.read_csv(out / "model" / "epochs.csv")["val_video_auc"].isna().all()
    assert read_card(out / "model" / "model.safetensors")["chosen_on"]["aucs"] == {}
