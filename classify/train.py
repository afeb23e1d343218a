"""`make train`: a network on the training crops, best epoch by validation video AUC, one checkpoint.

    OUT/model/model.safetensors   the checkpoint, written last
    OUT/model/epochs.csv          losses, accuracies and validation video AUC per epoch
    OUT/model/run/                last and best state for RESUME=1, and TensorBoard's event file

Class imbalance: by default each class weighs the same in the loss, however many crops it has (a crop weighs
n / (2 n_class)), so scores are those of a world with as many fakes as reals. Only validation chooses: the epoch, the
aggregation, the threshold. Test videos are not read here.

`torchrun --nproc-per-node 2 -m classify.train …` trains in several processes, on one node or many: the same batches,
each divided among them.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Callable

import pandas as pd

from classify.aggregate import choose_aggregation, choose_threshold
from classify.model import FaceNet, ModelOptions, build, save_checkpoint, versions
from classify.recipes import RECIPES, TrainOptions, defaults
from classify.score import ScoreOptions, score_crops
from classify.verdict import MIN_FACES
from data.augment import AugmentOptions
from data.batches import Batches, EpochOrder, InOrder
from data.pack import Pack
from extract.faces import pick_device
from pipeline.errors import CheckpointError, OutOfMemoryError, SplitError, command
from pipeline.options import add_flags, as_record, from_flags
from pipeline.tables import FACES, INDEX, SPLIT, read_table, write_json


def train(out: Path, model: ModelOptions, training: TrainOptions, augmentation: AugmentOptions,
          running: ScoreOptions, folder: Path | None = None) -> dict[str, Any]:
    """Train on OUT's split and crops, write the checkpoint. Returns its card (in the first of several processes).

    folder: where checkpoint, epochs.csv and run/ go (default OUT/model).
    Raises SplitError where training or validation has nothing to learn or choose from, WeightsError,
    OutOfMemoryError where the device has no room for a batch.
    """
    import lightning
    import torch

    train_rows, val_rows = parts_of(out, training)
    device = pick_device(running.device)
    torch.manual_seed(training.seed)
    torch.set_flush_denormal(True)  # squares of tiny gradients in Adam's state made a CPU step ten times slower
    net, card = build(model)
    made_from = {"model": as_record(model), "augmentation": as_record(augmentation), "batch": running.batch,
                 **{k: v for k, v in as_record(training).items() if k not in ("epochs", "patience", "resume")},
                 "split_hash": json.loads((out / "split.json").read_text())["split_hash"]}
    folder = folder or out / "model"
    run = folder / "run"
    rank = _join(device)
    resume_from = _first(rank, lambda: _prepare_run(run, made_from, training.resume))
    pack = _first(rank, lambda: Pack(out, model.size, model.centre)) or Pack(out, model.size, model.centre)
    try:
        best_epoch = _fit(net, pack, train_rows, val_rows, out, run, training, augmentation, running, device,
                          resume_from)
        if rank:
            return {}
        lightning.seed_everything(training.seed, verbose=False)
        net.to(device)
        scores = score_crops(net, card, val_rows, out, running)
    except torch.OutOfMemoryError:
        raise OutOfMemoryError(f"{device} has no room for batches of {running.batch} at {model.size} px: "
                               f"try BATCH={max(1, running.batch // 2)}") from None
    return save_checkpoint(folder / "model.safetensors", net, {
        **card, **_choices(val_rows, scores), **json.loads((out / "faces" / "options.json").read_text()),
        "split_hash": made_from["split_hash"], "best_epoch": best_epoch, "calibration": None,
        "trained_on": {"n_videos": int(train_rows["video_id"].nunique()), "n_crops": len(train_rows),
                       "n_real_crops": int((train_rows["label"] == 0).sum())},
        "training": {k: v for k, v in {**as_record(training), **as_record(augmentation), "batch": running.batch}.items()
                     if k != "resume"}, "versions": versions()})


def _join(device: str) -> int:
    """This process' number among those that torchrun started, 0 alone."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        import torch

        torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return int(os.environ.get("RANK", 0))


def _first(rank: int, make: Callable[[], Any]) -> Any:
    """What `make` gives in the first process, which all wait for; the others get the same, or None if it is a Pack."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return make()
    import torch

    made = [make() if rank == 0 else None]
    sent = [None if isinstance(made[0], Pack) else made[0]]
    torch.distributed.broadcast_object_list(sent)
    return made[0] if rank == 0 else sent[0]


def parts_of(out: Path, training: TrainOptions) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows (video_id, label, frame, crop) of the training and the validation crops."""
    split = read_table(out / "split.csv", SPLIT)
    faces = read_table(out / "faces" / "faces.csv", FACES)
    crops = faces.loc[faces["crop"] != "", ["video_id", "frame", "crop"]].merge(split, on="video_id")
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
    return _thinned(rows["train"], training), rows["val"]


def _thinned(rows: pd.DataFrame, training: TrainOptions) -> pd.DataFrame:
    """Without so many fakes that each real has more than `fakes_per_real`; whole videos go."""
    if training.fakes_per_real is None:
        return rows
    most = training.fakes_per_real * int((rows["label"] == 0).sum())
    fakes = rows[rows["label"] == 1].groupby("video_id").size()
    fakes = fakes.sample(frac=1, random_state=training.seed)
    dropped = set(fakes.index[fakes.cumsum() > most])
    return rows[~rows["video_id"].isin(dropped)].reset_index(drop=True)


def _partners(out: Path, rows: pd.DataFrame) -> list[list[int]]:
    """For each row of a real, the rows of the fakes made from it at the same frame number."""
    index = read_table(out / "index.csv", INDEX)
    original = dict(zip(index["video_id"], index["original"]))
    place = {(video, frame): row for row, (video, frame) in enumerate(zip(rows["video_id"], rows["frame"]))}
    partners: list[list[int]] = [[] for _ in range(len(rows))]
    for row, (video, frame) in enumerate(zip(rows["video_id"], rows["frame"])):
        real = place.get((original.get(video, ""), frame))
        if real is not None:
            partners[real].append(row)
    return partners


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


def _fit(net: FaceNet, pack: Pack, train_rows: pd.DataFrame, val_rows: pd.DataFrame, out: Path, run: Path,
         training: TrainOptions, augmentation: AugmentOptions, running: ScoreOptions, device: str,
         resume_from: str | None) -> int:
    """Run the epochs, leave the best one's weights in `net`, return its number from 1."""
    import torch

    from classify.learner import Learner, trainer

    n_fake = int(train_rows["label"].sum())
    weights = [len(train_rows) / (2 * n) for n in (len(train_rows) - n_fake, n_fake)]
    learner = Learner(net, (weights[0], weights[1]) if training.balance == "loss" else (1.0, 1.0), val_rows, training,
                      augmentation, run.with_name("epochs.csv"))
    keeper, runner = trainer(run, device, training)
    share = runner.global_rank, runner.world_size
    where = f"cuda:{runner.local_rank}" if device.startswith("cuda") and runner.world_size > 1 else device
    order = EpochOrder(train_rows["label"].to_numpy(), running.batch * share[1], training.seed, training.balance,
                       _partners(out, train_rows) if training.balance == "pairs" else ())
    if resume_from:  # Lightning opens the loader before it tells the sampler which epoch a resumed run is in
        order.set_epoch(torch.load(resume_from, map_location="cpu", weights_only=True)["epoch"] + 1)
    learn, look = (Batches(pack.pictures, pack.numbers(rows["crop"]), rows["label"], which, how, share, where)
                   for rows, which, how in ((train_rows, order, (augmentation, training.seed)),
                                            (val_rows, InOrder(len(val_rows), running.batch * share[1]), None)))
    try:
        runner.fit(learner, learn, look, ckpt_path=resume_from, weights_only=True)
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


def parse(argv: list[str] | None, prog: str = "python -m classify.train") -> tuple[
        Path, ModelOptions, TrainOptions, AugmentOptions, ScoreOptions]:
    """OUT and the options that the flags of `make train` say, a recipe among them. Raises OptionsError."""
    parser = argparse.ArgumentParser(prog=prog, description="Train on the crops of a split.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run (OUT)")
    parser.add_argument("--recipe", choices=RECIPES, default="baseline", help="; ".join(
        f"{name}: {recipe.about}" for name, recipe in RECIPES.items()) + ". Every other flag changes it")
    add_flags(parser, ModelOptions, TrainOptions, AugmentOptions, ScoreOptions)
    parser.set_defaults(**defaults(parser.parse_known_args(argv)[0].recipe))
    arguments = parser.parse_args(argv)
    return (arguments.out, from_flags(ModelOptions, arguments), from_flags(TrainOptions, arguments),
            from_flags(AugmentOptions, arguments), from_flags(ScoreOptions, arguments))


@command
def main(argv: list[str] | None = None) -> None:
    card = train(*parse(argv))
    if not card:  # one of several processes, not the first
        return
    print(f"train: {card['model_id']}, best epoch {card['best_epoch']}; aggregation {card['aggregation']} "
          f"({card['aggregation_reason']}); threshold {card['threshold']} ({card['threshold_reason']})")


if __name__ == "__main__":
    sys.exit(main())
