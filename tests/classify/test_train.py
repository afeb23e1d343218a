import contextlib
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

from classify.evaluation.options import ScoreOptions
from classify.models.network import build, load_checkpoint, read_card, resized
from classify.models.options import ModelOptions
from classify.train import main
from classify.training import module
from classify.training.dataset import check_same_crops, few_crops
from classify.training.module import Averaging
from classify.training.recipes import RECIPES, TrainOptions
from classify.training.train import check_archive, choices, train
from data.loading.options import AugmentOptions
from pipeline.errors import CheckpointError, OptionsError, OutOfMemoryError, SplitError
from pipeline.tables import FACES, INDEX, SPLIT, read_table, write_json, write_table
from tests.crops import write_noise_crops

SMALL = ModelOptions(backbone="resnet10t", weights="none", size=32)
HERE = ScoreOptions(device="cpu", batch=16)
FLAGS = ["--backbone", "resnet10t", "--weights", "none", "--size", "32", "--device", "cpu", "--batch", "16", "--lr",
         "1e-3"]


@pytest.fixture
def out(tmp_path):
    """OUT with noise crops: 12 + 36 training, 6 + 6 validation videos."""
    return write_noise_crops(tmp_path, n_train=48, n_real=12, n_val=12)


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
    from classify.training.module import Learner

    learner = Learner(torch.nn.Identity(), (2.0, 2 / 3), pd.DataFrame(), TrainOptions(), AugmentOptions(),
                      out / "x.csv")
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


def test_an_epoch_that_was_no_better_is_not_trained_again_on_resuming(out, monkeypatch):
    flags, ranks = ["--out", str(out), "--patience", "0", *FLAGS], iter([.9, .8, .7])
    monkeypatch.setattr(module, "rank_epoch", lambda *_: next(ranks))
    assert main([*flags, "--epochs", "2"]) == 0
    kept = {name: torch.load(out / "model" / "run" / f"{name}.ckpt", weights_only=True)["epoch"]
            for name in ("best", "last")}
    assert kept == {"best": 0, "last": 1}
    assert main([*flags, "--epochs", "3", "--resume"]) == 0
    assert next(ranks, None) is None and len(pd.read_csv(out / "model" / "epochs.csv")) == 3


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
    with pytest.raises(CheckpointError, match="had lr 0.0001"):
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
    write_table(out / "split.csv", read_table(out / "split.csv", SPLIT).query(keep), SPLIT)
    with pytest.raises(SplitError, match=error):
        train(out, SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE)


def fewer_crops(out, videos, n=2):
    """Leave `n` crops of each of these videos."""
    faces = read_table(out / "faces" / "faces.csv", FACES)
    few = faces["video_id"].isin(videos) & (faces["frame"] >= n)
    write_table(out / "faces" / "faces.csv", faces[~few], FACES)


def test_videos_that_cannot_be_judged_later_are_counted_before_training(out, capsys):
    split = read_table(out / "split.csv", SPLIT)
    val = split.loc[split["part"] == "val", "video_id"].tolist()
    split.loc[split["video_id"].isin(val[6:]), "part"] = "test"
    write_table(out / "split.csv", split, SPLIT)
    fewer_crops(out, [val[0], val[1], val[8]])
    assert few_crops(out).startswith("2 of 6 validation videos and 1 of 6 test videos have fewer crops than a verdict "
                                     "needs (3)")
    train(out, SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE)
    assert "WARNING: 2 of 6 validation videos and 1 of 6 test videos" in capsys.readouterr().err


def test_a_corpus_of_which_nothing_could_be_judged_is_not_trained_on(out):
    split = read_table(out / "split.csv", SPLIT)
    fewer_crops(out, split["video_id"])
    with pytest.raises(SplitError, match=r"12 of 12 validation videos .*MIN_FRAMES="):
        train(out, SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE)
    assert not (out / "model" / "epochs.csv").exists()


def test_validation_of_one_class_is_said_aloud_and_gives_no_auc(out, capsys):
    write_table(out / "split.csv", read_table(out / "split.csv", SPLIT).query("label == 1 or part == 'train'"), SPLIT)
    card = train(out, SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE)
    assert "one class only" in capsys.readouterr().err and card["threshold"] == 0.5
    assert pd.read_csv(out / "model" / "epochs.csv")["val_video_auc"].isna().all()
    assert read_card(out / "model" / "model.safetensors")["chosen_on"]["aucs"] == {}


def frozen_and_learned(monkeypatch, out, model=SMALL, **options):
    """Names of the backbone's tensors that changed during each epoch."""
    from classify.training.module import Learner

    states = []
    start, end = Learner.on_train_epoch_start, Learner.on_train_epoch_end

    def on_start(self):
        start(self)
        self.before = {k: v.clone() for k, v in self.net.body.state_dict().items()}

    def on_end(self):
        end(self)
        states.append({k for k, v in self.net.body.state_dict().items() if not torch.equal(v, self.before[k])})

    monkeypatch.setattr(Learner, "on_train_epoch_start", on_start)
    monkeypatch.setattr(Learner, "on_train_epoch_end", on_end)
    train(out, model, TrainOptions(patience=0, **options), AugmentOptions(), HERE)
    return states


def test_a_frozen_backbone_keeps_every_tensor_and_then_its_last_layers_learn(out, monkeypatch):
    head, fine = frozen_and_learned(monkeypatch, out, epochs=2, head_epochs=1, unfreeze=5)
    assert head == set()
    assert fine and all(name.startswith("layer4") for name in fine)  # five layers from the end, batch norm included


def test_norms_that_hold_their_activation_are_frozen_too(out, monkeypatch):
    """timm's mobile networks have such: a norm with modules inside it."""
    model = ModelOptions(backbone="mobilenetv2_100", weights="none", size=32)
    head, fine = frozen_and_learned(monkeypatch, out, model, epochs=2, head_epochs=1, unfreeze=12)
    assert head == set()
    assert fine and all(name.startswith(("blocks.6", "conv_head", "bn2")) for name in fine)


def test_without_a_limit_the_whole_backbone_learns_after_its_head(out, monkeypatch):
    head, fine = frozen_and_learned(monkeypatch, out, epochs=2, head_epochs=1)
    assert head == set() and any(name.startswith("conv1") for name in fine)


def test_on_a_cpu_nothing_is_compiled(out, monkeypatch):
    monkeypatch.setattr(torch, "compile", None)
    train(out, SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE)


def broken(graph, inputs):
    raise RuntimeError("no C compiler")


@pytest.mark.parametrize("backend", ["eager", broken])
def test_a_network_compiled_for_training_keeps_its_names_and_learns_the_same(out, monkeypatch, backend):
    """Through freezing, averaged weights and a last batch that is smaller; also where compiling fails."""
    from classify.training import module

    options = TrainOptions(epochs=2, head_epochs=1, ema=0.9, lr=1e-3)
    train(out, SMALL, options, AugmentOptions(), HERE)
    made = out / "model" / "model.safetensors", out / "model" / "epochs.csv"
    plain = [path.read_bytes() for path in made]
    compiler, compiled = torch.compile, []
    monkeypatch.setattr(module, "_compiles", lambda device: True)
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or compiler(
        function, backend=backend))
    with torch._dynamo.config.patch(suppress_errors=False):  # put back after the test
        train(out, SMALL, options, AugmentOptions(), HERE)
    assert len(compiled) == 1 and [path.read_bytes() for path in made] == plain


def test_early_stopping_waits_for_the_frozen_epochs_to_end(out):
    train(out, SMALL, TrainOptions(epochs=6, head_epochs=4, patience=1, lr=1e-9, fine_lr=1e-9), AugmentOptions(), HERE)
    assert 5 <= len(pd.read_csv(out / "model" / "epochs.csv")) <= 6


def test_averaged_weights_are_what_is_validated_and_kept(out):
    """With a decay of nearly 1 they stay where they began, whatever the network learns."""
    card = train(out, SMALL, TrainOptions(epochs=2, lr=1e-2, ema=0.99999, patience=0), AugmentOptions(), HERE)
    epochs = pd.read_csv(out / "model" / "epochs.csv")
    assert epochs["val_loss"].round(3).nunique() == 1 and epochs["train_loss"].iloc[1] < 0.6
    assert card["training"]["ema"] == 0.99999


def test_a_resumed_run_with_averaged_weights_and_two_phases_is_the_undisturbed_run(out):
    flags = ["--out", str(out), "--patience", "0", "--head-epochs", "1", "--ema", "0.9", "--plateau", "--jpeg", "30",
             *FLAGS]
    assert main([*flags, "--epochs", "4"]) == 0
    keep = out / "model" / "model.safetensors", out / "model" / "epochs.csv"
    undisturbed = [path.read_bytes() for path in keep]
    assert main([*flags, "--epochs", "2"]) == 0
    assert main([*flags, "--epochs", "4", "--resume"]) == 0
    assert keep[1].read_bytes() == undisturbed[1]
    ours, theirs = (load_checkpoint(path)[0].state_dict() for path in (keep[0], _written(out, undisturbed[0])))
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def _written(out, content):
    (out / "other.safetensors").write_bytes(content)
    return out / "other.safetensors"


def test_fakes_are_thinned_by_whole_videos_to_the_ratio_asked_for(out):
    card = train(out, SMALL, TrainOptions(epochs=1, fakes_per_real=1.5), AugmentOptions(), HERE)
    assert card["trained_on"] == {"n_videos": 12 + 18, "n_crops": 90, "n_real_crops": 36,
                                  "n_replayed": 0}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_and_its_options_are_what_it_says(out, recipe):
    small = {"backbone": "resnet10t"} if recipe != "small-cnn" else {}
    flags = {"weights": "none", "size": 32, "epochs": 2, "batch": 16, "device": "cpu", **small}
    if RECIPES[recipe].options.get("head_epochs"):
        flags["head_epochs"] = 1
    if "pairs" in RECIPES[recipe].options:
        flags["pairs"] = 32
    split = read_table(out / "split.csv", SPLIT)  # noise has no face to blend: each fake names a real of training
    reals = split["video_id"][(split["part"] == "train") & (split["label"] == 0)].tolist()
    originals = [reals[n % len(reals)] if label else "" for n, label in enumerate(split["label"])]
    unknown = {c: "" for c in INDEX if c not in (*split, "original")}
    write_table(out / "index.csv", split.assign(**unknown, original=originals), INDEX)
    assert main(["--out", str(out), "--recipe", recipe, *(
        part for key, value in flags.items() for part in (f"--{key.replace('_', '-')}", str(value)))]) == 0
    card = read_card(out / "model" / "model.safetensors")
    said = {**card["training"], **{k: card[k] for k in ("hidden", "dropout", "backbone")}}
    for key, value in RECIPES[recipe].options.items():
        assert key in flags or said[key] == value, key


@pytest.mark.slow
def test_two_processes_learn_what_one_does_and_see_each_crop_once(out):
    """Frozen batch norm and augmentation by row: only the order of additions differs."""
    flags = ["--out", str(out), *FLAGS, "--epochs", "2", "--head-epochs", "1", "--unfreeze", "1", "--patience", "0",
             "--precision", "fp32"]
    assert main([*flags]) == 0
    alone, epochs = load_checkpoint(out / "model" / "model.safetensors")[0], pd.read_csv(out / "model" / "epochs.csv")
    flags[flags.index("--batch") + 1] = "8"  # a process; together 16
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
                    "classify.train", *flags], check=True, capture_output=True, env={**os.environ, "CI": "1"})
    together = load_checkpoint(out / "model" / "model.safetensors")[0]
    for (name, a), b in zip(alone.state_dict().items(), together.state_dict().values()):
        assert torch.allclose(a, b, atol=1e-5), name
    columns = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_video_auc"]
    assert np.allclose(pd.read_csv(out / "model" / "epochs.csv")[columns], epochs[columns], atol=1e-4)


def test_going_on_from_a_checkpoint_begins_with_its_scores_and_says_what_the_old_videos_lose(out, tmp_path, capsys):
    """New fakes are greener where the old ones are redder."""
    shutil.copytree(out, tmp_path / "old")
    old = tmp_path / "old"
    train(old, SMALL, TrainOptions(epochs=4, lr=1e-3), AugmentOptions(), HERE)
    new = tmp_path / "new"
    shutil.copytree(old / "faces", new / "faces")
    for name in ("index.csv", "split.csv", "split.json", "run.json"):
        shutil.copy(old / name, new / name)
    for path in (new / "faces").glob("*/*.png"):
        picture = cv2.imread(str(path))
        cv2.imwrite(str(path), picture[..., [0, 2, 1]])
    capsys.readouterr()
    begin = ["--begin", str(old / "model" / "model.safetensors"), "--out", str(new), "--device", "cpu", "--batch", "16"]
    lr = ["--epochs", "4", "--lr", "1e-3"]
    assert main([*begin, *lr]) == 0
    alone = read_card(new / "model" / "model.safetensors")["continued"]["val_video_auc"]
    assert main([*begin, *lr, "--replay-from", str(old)]) == 0
    card = read_card(new / "model" / "model.safetensors")
    replayed = card["continued"]["val_video_auc"]
    assert list(alone) == [str(new)] and replayed[str(old)][0] == 1.0 and replayed[str(new)][1] >= 0.9
    assert replayed[str(old)][1] >= 0.9  # what was learned before is not lost
    assert card["backbone"] == "resnet10t" and card["trained_on"]["n_replayed"] == 36 + 72
    assert f"validation videos of {old}: 1.000 before" in capsys.readouterr().out


def test_training_goes_on_at_another_input_size_and_the_checkpoint_says_so(out):
    train(out, SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE)
    begin = out / "model" / "begin.safetensors"
    (out / "model" / "model.safetensors").rename(begin)
    again = TrainOptions(epochs=1, lr=1e-9, begin=str(begin), begin_size=48)
    card = train(out, SMALL, again, AugmentOptions(), HERE)
    assert card["size_px"] == 48
    before, after = (load_checkpoint(path)[0].head[-1].weight
                     for path in (begin, out / "model" / "model.safetensors"))
    assert torch.allclose(before, after, atol=1e-6)
    small = ModelOptions(backbone="small-cnn", weights="none", size=32)
    with pytest.raises(OptionsError, match="made for one size"):
        resized(*build(small), 48)


def test_crops_cut_in_another_way_are_not_replayed(out, tmp_path):
    shutil.copytree(out, tmp_path / "old")
    train(tmp_path / "old", SMALL, TrainOptions(epochs=1), AugmentOptions(), HERE)
    write_json(tmp_path / "old" / "faces" / "options.json", {"frames": {}, "faces": {"margin": 2.0}, "dataset": "x"})
    with pytest.raises(SplitError, match="another margin"):
        train(out, SMALL, TrainOptions(epochs=1, replay_from=str(tmp_path / "old"), begin=str(
            tmp_path / "old" / "model" / "model.safetensors")), AugmentOptions(), HERE)


def test_records_older_than_whole_pictures_are_of_faces(out, tmp_path):
    earlier = tmp_path / "earlier"
    write_json(earlier / "faces" / "options.json", {"frames": {}, "faces": {"margin": 1.3}})
    for crop, fits in (("face", True), ("whole", False)):
        write_json(out / "faces" / "options.json", {"frames": {}, "faces": {"margin": 1.3, "crop": crop}})
        with contextlib.nullcontext() if fits else pytest.raises(SplitError, match="cut with another crop than"):
            check_same_crops(out, earlier)


def test_a_picture_is_enough_to_choose_by_and_a_clip_needs_three_crops():
    rows = pd.DataFrame({"video_id": [*"abcdefghijkl", "z"], "label": [0, 1] * 6 + [1]})
    for modality, n in (("image", 13), ("video", 0)):
        card = choices(rows.assign(modality=modality), np.linspace(0.1, 0.9, 13))
        assert card["chosen_on"]["n_videos"] == n
    thrice = pd.concat([rows.assign(modality="video")] * 3)
    assert choices(thrice, np.linspace(0.1, 0.9, 39))["chosen_on"]["n_videos"] == 13


def test_a_second_head_learns_which_method_made_a_fake(out):
    """Fakes of one method are redder and darker, those of the other redder and brighter."""
    from classify.evaluation.score import guessed_methods

    split = read_table(out / "split.csv", SPLIT)
    index = []
    for row in split.itertuples():
        dark = int(row.video_id[:3]) % 4 < 2
        index.append({**dict.fromkeys(INDEX, ""), "video_id": row.video_id, "label": row.label,
                      "method": ("dark" if dark else "bright") if row.label else ""})
        for path in (out / "faces" / row.video_id).glob("*.png") if row.label else ():
            cv2.imwrite(str(path), (cv2.imread(str(path)) * 0.5 + (0 if dark else 127)).astype(np.uint8))
    write_table(out / "index.csv", index, INDEX)
    model = ModelOptions(backbone="resnet10t", weights="none", size=32, methods=True)
    card = train(out, model, TrainOptions(epochs=4, lr=1e-3, patience=0), AugmentOptions(), HERE)
    assert card["methods"] == ["bright", "dark"]
    net, card = load_checkpoint(out / "model" / "model.safetensors")
    faces = read_table(out / "faces" / "faces.csv", FACES)[["video_id", "crop"]].merge(split, on="video_id")
    rows = faces.query("part == 'val' and label == 1")
    guesses = guessed_methods(net, card, rows, out, HERE).merge(pd.DataFrame(index)[["video_id", "method"]])
    assert len(guesses) == 6 and (guesses["guess"] == guesses["method"]).all() and (guesses["share"] > 0.5).all()


def test_methods_need_two_of_them(out):
    split = read_table(out / "split.csv", SPLIT)
    write_table(out / "index.csv", [{**dict.fromkeys(INDEX, ""), "video_id": row.video_id, "label": row.label,
                                     "method": "one" if row.label else ""} for row in split.itertuples()], INDEX)
    with pytest.raises(SplitError, match="at least two methods"):
        train(out, ModelOptions(backbone="resnet10t", weights="none", size=32, methods=True), TrainOptions(epochs=1),
              AugmentOptions(), HERE)


@pytest.mark.parametrize("damage", [lambda content: content[:len(content) // 2], lambda content: b"",
                                    lambda content: content[:9999] + bytes([content[9999] ^ 1]) + content[10000:]])
def test_a_damaged_state_of_training_is_not_resumed(tmp_path, damage):
    path = tmp_path / "last.ckpt"
    torch.save({"weights": torch.arange(10_000)}, path)
    check_archive(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match="last.ckpt is damaged"):
        check_archive(path)


@pytest.mark.parametrize("steps, share", [(1, .89), (36, .75), (5000, 0.001)])
def test_averaged_weights_warm_up(steps, share):
    """Weights that jump from 0 to 1 at the start: what is left of the start after some steps."""
    averaged, average = torch.zeros(1), Averaging(0.999)._kwargs["avg_fn"]
    for n in range(steps):
        averaged = average(averaged, torch.ones(1), torch.tensor(n))
    assert float(averaged) >= share
