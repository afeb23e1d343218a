"""Train a network on the training crops of a run: best epoch by validation video AUC, one checkpoint.

    model.safetensors   the checkpoint, written last
    epochs.csv          losses, accuracies and validation video AUC per epoch
    run/                last and best state for RESUME=1, and TensorBoard's event file

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
import zipfile
import zlib
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pandas as pd

from classify.evaluation.options import ScoreOptions
from classify.evaluation.score import score_crops
from classify.judging.aggregate import DEFAULT_RULE, aggregate, auc, choose_aggregation, choose_threshold
from classify.judging.judge import needed_faces
from classify.models.network import FaceNet, build, load_torch, resized, save_checkpoint
from classify.models.options import ModelOptions
from classify.models.versions import versions
from classify.training.dataset import Material, crops_record, dataset_weights
from classify.training.dataset import material as read_material
from classify.training.dataset import methods_of, partners, parts_of
from classify.training.depthwise import replace_depthwise
from classify.training.recipes import RecipeOptions, TrainOptions
from data.loading.batches import Batches, EpochOrder, InOrder
from data.loading.face_mesh import cached_mesh_points
from data.loading.options import AugmentOptions
from extract.faces.detector import pick_device
from extract.layouts.base import thing_of
from pipeline.errors import CheckpointError, OutOfMemoryError, SplitError
from pipeline.options import add_flags, as_record, from_values
from pipeline.tables import read_json, write_json


def train(out: Path, model: ModelOptions, training: TrainOptions, augmentation: AugmentOptions,
          running: ScoreOptions, folder: Path | None = None) -> dict[str, Any]:
    """Train on OUT's split and crops, write the checkpoint. Returns its card (in the first of several processes).

    folder: where checkpoint, epochs.csv and run/ go (default OUT/model).
    Raises SplitError where training or validation has nothing to learn or choose from, WeightsError,
    OutOfMemoryError where the device has no room for a batch.
    """
    import lightning
    import torch

    device = pick_device(running.device)
    torch.manual_seed(training.seed)
    torch.set_flush_denormal(True)  # squares of tiny gradients in Adam's state made a CPU step ten times slower
    net, card = _begin(model, training, out)
    made_from = {"model": as_record(model), "augmentation": as_record(augmentation), "batch": running.batch,
                 **{k: v for k, v in as_record(training).items() if k not in ("epochs", "patience", "resume")},
                 **({"epochs": training.epochs} if training.cosine else {}),  # the rate depends on how far it is
                 "split_hash": json.loads((out / "split.json").read_text())["split_hash"]}
    folder = folder or out / "model"
    run = folder / "run"
    rank = _join(device)
    resume_from = _first(rank, lambda: prepare_run(run, "last.ckpt", made_from, training.resume))
    material = _first(rank, lambda: read_material(out, card["size_px"], card["centre"], training)) \
        or read_material(out, card["size_px"], card["centre"], training)
    try:
        before = _validation_aucs(net.to(device), card, out, training, running) if training.begin and not rank else {}
        best_epoch = _fit(net, card, material, out, run, training, augmentation, running, device,
                          resume_from)
        if rank:
            return {}
        lightning.seed_everything(training.seed, verbose=False)
        net.to(device)
        scores = score_crops(net, card, material.val, out, running)
        after = _validation_aucs(net, card, out, training, running) if training.begin else {}
    except torch.OutOfMemoryError:
        raise OutOfMemoryError(f"{device} has no room for batches of {running.batch} at {card['size_px']} px: "
                               f"try BATCH={max(1, running.batch // 2)}") from None
    return save_checkpoint(folder / "model.safetensors", net, {
        **card, **choices(material.val, scores), **crops_record(out),
        "split_hash": made_from["split_hash"], "best_epoch": best_epoch, "calibration": None, "calibrated_on": None,
        "trained_on": {"n_videos": int(material.train["video_id"].nunique()), "n_crops": len(material.train),
                       "n_real_crops": int((material.train["label"] == 0).sum()), "n_replayed": material.n_replayed},
        "continued": {"from": card.get("model_id"), "val_video_auc": {
            name: [before[name], after[name]] for name in before}} if training.begin else None,
        "training": {k: v for k, v in {**as_record(training), **as_record(augmentation), "batch": running.batch}.items()
                     if k != "resume"}, "versions": versions()})


def _begin(model: ModelOptions, training: TrainOptions, out: Path) -> tuple[FaceNet, dict[str, Any]]:
    """A new network, or the one to go on with; its card's choices are made anew."""
    if not training.begin:
        names = methods_of(out, parts_of(out, training)[0])[0] if model.methods else []
        if model.methods and len(names) < 2:
            raise SplitError(f"METHODS needs fakes of at least two methods in training, the corpus names {names}")
        return build(model, names)
    net, card = load_torch(Path(training.begin))
    if training.begin_size:
        net, card = resized(net, card, training.begin_size)
    return net.train(), card


def _validation_aucs(net: FaceNet, card: dict, out: Path, training: TrainOptions, running: ScoreOptions
                     ) -> dict[str, float | None]:
    """Video AUC on the validation videos of this run, and of the run whose crops are replayed."""
    found = {}
    for folder in filter(None, (str(out), training.replay_from)):
        rows = parts_of(Path(folder), training)[1]
        videos = rows.assign(score=score_crops(net, card, rows, Path(folder), running)).groupby("video_id").agg(
            label=("label", "first"), score=("score", lambda s: aggregate(s.to_numpy(), DEFAULT_RULE)))
        found[folder] = auc(videos["score"].to_numpy(), videos["label"].to_numpy())
    return found


def _methods(out: Path, card_methods: list[str], material: Material):
    """What the second head learns, int64 tensor per training row; methods that it has no output for are left out."""
    import torch

    names, numbers = methods_of(out, material.train)
    place = [card_methods.index(name) if name in card_methods else -1 for name in names] + [-1]
    return torch.tensor([place[number] for number in numbers])


def _join(device: str) -> int:
    """This process' number among those that torchrun started, 0 alone."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        import torch

        torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return int(os.environ.get("RANK", 0))


def _first(rank: int, make: Callable[[], Any], shared: bool = True) -> Any:
    """What `make` gives in the first process, which all wait for; the others get the same, or None where it is a
    Material or not shared."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return make()
    import torch

    made = [make() if rank == 0 else None]
    sent = [made[0] if shared and not isinstance(made[0], Material) else None]
    torch.distributed.broadcast_object_list(sent)
    return made[0] if rank == 0 else sent[0]


def check_archive(path: Path) -> None:
    """Check that a saved state of training is what was written: both torch and numpy save zip files with checksums.

    Raises:
        CheckpointError: it is cut off or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        damaged = str(error)
    if damaged:
        raise CheckpointError(f"cannot resume: {path} is damaged ({damaged}); leave out RESUME=1 to start from the "
                              "first epoch")


def prepare_run(run: Path, name: str, made_from: dict, resume: bool) -> str | None:
    """The file `name` to resume from, or None and an empty run folder. An interrupted run is set aside, not deleted.

    Raises CheckpointError where the interrupted run had other options.
    """
    last, record = run / name, run / "run.json"
    if resume and last.is_file():
        before = read_json(record)
        if changed := [k for k in made_from if before.get(k) != made_from[k]]:
            had = ", ".join(f"{k} {before.get(k)}" for k in changed)
            raise CheckpointError(f"cannot resume: the interrupted training in {run} had {had}; name that again, or "
                                  "leave out RESUME=1")
        check_archive(last)
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


def _fit(net: FaceNet, card: dict, material: Material, out: Path, run: Path, training: TrainOptions,
         augmentation: AugmentOptions, running: ScoreOptions, device: str, resume_from: str | None) -> int:
    """Run the epochs, leave the best one's weights in `net`, return its number from 1."""
    import torch

    from classify.training.module import Learner, trainer

    labels = material.train["label"].to_numpy()
    weights = [len(labels) / (2 * int((labels == label).sum())) for label in (0, 1)]
    if device == "cpu":
        replace_depthwise(net)
    learner = Learner(net, (weights[0], weights[1]) if training.balance == "loss" else (1.0, 1.0), material.val,
                      training, augmentation, run.with_name("epochs.csv"),
                      _methods(out, card["methods"], material) if net.method_head is not None else None)
    keeper, runner = trainer(run, device, training)
    share = runner.global_rank, runner.world_size
    where = f"cuda:{runner.local_rank}" if device.startswith("cuda") and runner.world_size > 1 else device
    points = blendable = None
    if training.blend:
        stored = out / "packed" / f"mesh-{card['size_px']}-{card['centre']:g}.npz"
        pictured = material.pictures, material.numbers, labels
        points = _first(runner.global_rank, lambda: cached_mesh_points(stored, *pictured), shared=False)
        points = cached_mesh_points(stored, *pictured) if points is None else points
        blendable = np.isfinite(points).all((1, 2))
    order = EpochOrder(labels, running.batch * share[1], training.seed, training.balance,
                       partners(out, material.train) if training.balance == "pairs" else (), training.blend, blendable,
                       dataset_weights(out, material.train) if training.even else None, training.pairs)
    if resume_from:  # Lightning opens the loader before it tells the sampler which epoch a resumed run is in
        order.set_epoch(torch.load(resume_from, map_location="cpu", weights_only=True)["epoch"] + 1)
    learn = Batches(material.pictures, material.numbers, labels, order, (augmentation, training.seed), share, where,
                    points)
    look = Batches(material.pictures, material.val_numbers, material.val["label"],
                   InOrder(len(material.val), running.batch * share[1]), None, share, where)
    try:
        runner.fit(learner, learn, look, ckpt_path=resume_from, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt("RESUME=1 goes on with this run") from None
    best = torch.load(keeper.best_model_path, map_location="cpu", weights_only=True)
    learner.load_state_dict(best["state_dict"])
    return int(best["epoch"]) + 1


def choices(val_rows: pd.DataFrame, scores) -> dict[str, Any]:
    """Aggregation and threshold from the validation videos that would be judged."""
    clips = [(group["score"].to_numpy(), int(group["label"].iloc[0]))
             for _, group in val_rows.assign(score=scores).groupby("video_id")
             if len(group) >= needed_faces(group["modality"].iloc[0])]
    labels, thing = [label for _, label in clips], thing_of(val_rows["modality"])
    rule = choose_aggregation([s for s, _ in clips], labels, thing)
    threshold = choose_threshold([aggregate(s, rule.rule) for s, _ in clips], labels, thing)
    return {"aggregation": rule.rule, "aggregation_reason": rule.reason, "threshold": round(threshold.value, 6),
            "threshold_reason": threshold.reason,
            "chosen_on": {"n_videos": len(clips), "n_fake": sum(labels), "aucs": rule.aucs}}


def parse(argv: list[str] | None, prog: str = "python -m classify.train"
          ) -> tuple[Path, ModelOptions, TrainOptions, AugmentOptions, ScoreOptions]:
    """Read OUT and the options of training from flags, a recipe among them. Raises OptionsError."""
    parser = argparse.ArgumentParser(prog=prog, description="Options are those of classify.train.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run (OUT)")
    add_flags(parser, RecipeOptions, ModelOptions, TrainOptions, AugmentOptions, ScoreOptions)
    given = vars(parser.parse_args(argv))
    values = {**from_values(RecipeOptions, given).presets(), **given}
    return (given["out"], from_values(ModelOptions, values), from_values(TrainOptions, values),
            from_values(AugmentOptions, values), from_values(ScoreOptions, values))
