"""`make train`: a network on the training crops, best epoch by validation video AUC, one checkpoint.

    OUT/model/model.safetensors   the checkpoint, written last
    OUT/model/epochs.csv          losses, accuracies and validation video AUC per epoch
    OUT/model/run/                last and best state for RESUME=1, and TensorBoard's event file

Class imbalance: each class weighs the same in the loss, however many crops it has (a crop weighs n / (2 n_class)), so
scores are those of a world with as many fakes as reals. Only validation chooses: the epoch, the aggregation, the
threshold. Test videos are not read here.
"""
from __future__ import annotations

import argparse
import functools
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from classify.aggregate import choose_aggregation, choose_threshold
from classify.model import FaceNet, ModelOptions, build, save_checkpoint, versions
from classify.score import ScoreOptions, loader, score_crops
from classify.verdict import MIN_FACES
from data.crops import AugmentOptions, EpochShuffle
from extract.faces import pick_device
from pipeline.errors import CheckpointError, OutOfMemoryError, SplitError, command
from pipeline.options import add_flags, as_record, from_flags, option
from pipeline.tables import FACES, SPLIT, read_table, write_json


@dataclass(frozen=True)
class TrainOptions:
    """How the network is trained. The defaults are the baseline's."""

    epochs: int = option(10, "passes over the training crops at most")
    lr: float = option(1e-4, "learning rate of Adam")
    patience: int = option(3, "stop after this many epochs without a better validation video AUC; 0 never stops early")
    seed: int = option(0, "of the order of crops, the augmentation and the head")
    resume: bool = option(False, "go on with an interrupted run")

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.patience < 0 or self.seed < 0:
            raise ValueError(f"epochs must be at least 1 (got {self.epochs}), patience and seed at least 0 "
                             f"(got {self.patience}, {self.seed})")
        if not self.lr > 0:
            raise ValueError(f"lr must be more than 0, got {self.lr}")


def train(out: Path, model: ModelOptions, training: TrainOptions, augmentation: AugmentOptions,
          running: ScoreOptions) -> dict[str, Any]:
    """Train on OUT's split and crops, write the checkpoint. Returns its card.

    Raises SplitError where training or validation has nothing to learn or choose from, WeightsError,
    OutOfMemoryError where the device has no room for a batch.
    """
    import lightning
    import torch

    train_rows, val_rows = _parts(out)
    device = pick_device(running.device)
    torch.manual_seed(training.seed)
    torch.set_flush_denormal(True)  # squares of tiny gradients in Adam's state made a CPU step ten times slower
    net, card = build(model)
    made_from = {"model": as_record(model), "augmentation": as_record(augmentation), "lr": training.lr,
                 "seed": training.seed, "batch": running.batch,
                 "split_hash": json.loads((out / "split.json").read_text())["split_hash"]}
    run = out / "model" / "run"
    resume_from = _prepare_run(run, made_from, training.resume)
    try:
        best_epoch = _fit(net, card, train_rows, val_rows, out, run, training, augmentation, running, device,
                          resume_from)
        lightning.seed_everything(training.seed, verbose=False)
        net.to(device)
        scores = score_crops(net, card, val_rows, out / "faces", running)
    except torch.OutOfMemoryError:
        raise OutOfMemoryError(f"{device} has no room for batches of {running.batch} at {model.size} px: "
                               f"try BATCH={max(1, running.batch // 2)}") from None
    return save_checkpoint(out / "model" / "model.safetensors", net, {
        **card, **_choices(val_rows, scores), **json.loads((out / "faces" / "options.json").read_text()),
        "split_hash": made_from["split_hash"], "best_epoch": best_epoch, "calibration": None,
        "trained_on": {"n_videos": int(train_rows["video_id"].nunique()), "n_crops": len(train_rows),
                       "n_real_crops": int((train_rows["label"] == 0).sum())},
        "training": {k: v for k, v in {**as_record(training), **as_record(augmentation), "batch": running.batch}.items()
                     if k != "resume"}, "versions": versions()})


def _parts(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows (video_id, label, crop) of the training and the validation crops."""
    split = read_table(out / "split.csv", SPLIT)
    faces = read_table(out / "faces" / "faces.csv", FACES)
    crops = faces.loc[faces["crop"] != "", ["video_id", "crop"]].merge(split, on="video_id")
    rows = {part: crops[crops["part"] == part].reset_index(drop=True) for part in ("train", "val")}
    if rows["train"]["label"].nunique() < 2:
        n_fake = int(rows["train"]["label"].sum())
        raise SplitError(f"training has {len(rows['train']) - n_fake} real and {n_fake} fake crops, both are needed: "
                         "look at faces/videos.csv and at the split")
    if rows["val"].empty:
        raise SplitError("validation has no crop, and nothing else may choose the epoch: use a larger corpus or VAL=")
    if rows["val"]["label"].nunique() < 2:
        print("WARNING: validation has one class only: its video AUC is n/a, the epoch is chosen by loss and the "
              "threshold stays at .5", file=sys.stderr)
    return rows["train"], rows["val"]


def _prepare_run(run: Path, made_from: dict, resume: bool) -> str | None:
    """The checkpoint to resume from, or None and an empty run folder. An interrupted run is set aside, not deleted."""
    last, record = run / "last.ckpt", run / "run.json"
    if resume and last.is_file():
        before = json.loads(record.read_text())
        if changed := [k for k in made_from if before.get(k) != made_from[k]]:
            had = ", ".join(f"{k} {before.get(k)}" for k in changed)
            raise CheckpointError(f"the interrupted run in {run} had another {had}: use it again, or leave "
                                  "out RESUME=1")
        return str(last)
    if resume:
        print(f"no interrupted run in {run}: starting from the first epoch", file=sys.stderr)
    elif last.is_file():
        aside = run.with_name("run.previous")
        shutil.rmtree(aside, ignore_errors=True)
        run.rename(aside)
        print(f"starting anew; the earlier run is kept in {aside} (RESUME=1 goes on with a run)", file=sys.stderr)
    shutil.rmtree(run, ignore_errors=True)
    write_json(record, made_from)
    return None


def _fit(net: FaceNet, card: dict, train_rows: pd.DataFrame, val_rows: pd.DataFrame, out: Path, run: Path,
         training: TrainOptions, augmentation: AugmentOptions, running: ScoreOptions, device: str,
         resume_from: str | None) -> int:
    """Run the epochs, leave the best one's weights in `net`, return its number from 1."""
    import torch

    from classify.learner import Learner, trainer

    n_fake = int(train_rows["label"].sum())
    weights = tuple(len(train_rows) / (2 * n) for n in (len(train_rows) - n_fake, n_fake))
    learner = Learner(net, (weights[0], weights[1]), val_rows, training.lr, augmentation, training.seed,
                      out / "model" / "epochs.csv")
    keeper, runner = trainer(run, device, training.epochs, training.patience)
    read = functools.partial(loader, folder=out / "faces", card=card, batch=running.batch, loaders=running.loaders)
    order = EpochShuffle(len(train_rows), training.seed)
    if resume_from:  # Lightning opens the loader before it tells the sampler which epoch a resumed run is in
        order.set_epoch(torch.load(resume_from, map_location="cpu", weights_only=True)["epoch"] + 1)
    # drop_last: batch norm cannot learn from a last batch of one.
    try:
        runner.fit(learner, read(train_rows, sampler=order, drop_last=len(train_rows) % running.batch == 1),
                   read(val_rows), ckpt_path=resume_from, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt("RESUME=1 goes on with this run") from None
    best = torch.load(keeper.best_model_path, map_location="cpu", weights_only=True)
    learner.load_state_dict(best["state_dict"])
    return int(best["epoch"]) + 1


def _choices(val_rows: pd.DataFrame, scores) -> dict[str, Any]:
    """Aggregation and threshold from the validation videos that would be judged."""
    from classify.aggregate import aggregate

    clips = [(group["score"].to_numpy(), int(group["label"].iloc[0]))
             for _, group in val_rows.assign(score=scores).groupby("video_id") if len(group) >= MIN_FACES]
    labels = [label for _, label in clips]
    rule = choose_aggregation([s for s, _ in clips], labels)
    threshold = choose_threshold([aggregate(s, rule.rule) for s, _ in clips], labels)
    return {"aggregation": rule.rule, "aggregation_reason": rule.reason, "threshold": round(threshold.value, 6),
            "threshold_reason": threshold.reason,
            "chosen_on": {"n_videos": len(clips), "n_fake": sum(labels), "aucs": rule.aucs}}


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m classify.train", description="Train on the crops of a split.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run (OUT)")
    add_flags(parser, ModelOptions, TrainOptions, AugmentOptions, ScoreOptions)
    arguments = parser.parse_args(argv)
    card = train(arguments.out, from_flags(ModelOptions, arguments), from_flags(TrainOptions, arguments),
                 from_flags(AugmentOptions, arguments), from_flags(ScoreOptions, arguments))
    print(f"train: {card['model_id']}, best epoch {card['best_epoch']}; aggregation {card['aggregation']} "
          f"({card['aggregation_reason']}); threshold {card['threshold']} ({card['threshold_reason']})")


if __name__ == "__main__":
    sys.exit(main())
