"""The training loop: Lightning runs it, this module says what a step, an epoch and a good epoch are.

Everything random depends on (seed, epoch, step) only, so that a resumed training continues as if undisturbed.
"""
from __future__ import annotations

import logging
import math
import os
import sys
import types
import warnings
from pathlib import Path
from typing import Any, Callable

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.callbacks.weight_averaging import WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from classify.judging.aggregate import DEFAULT_RULE, aggregate, auc
from classify.models.network import FaceNet
from classify.training.recipes import TrainOptions
from data.loading.augment import augment, draws
from data.loading.batches import Batch
from data.loading.options import AugmentOptions
from pipeline.progress import for_stderr
from pipeline.tables import write_bytes

BEST = "val_rank"  # what the best epoch has most of, see rank_epoch
WARM_STEPS = 200  # of a cosine: Adam's state is built up before large steps
METHOD_SHARE = 0.5  # of the methods' loss beside that of real and fake: a help, not the aim
PLATEAU: dict[str, Any] = {"factor": 0.2, "patience": 1}  # of ReduceLROnPlateau, epochs without a lower val_loss


class Learner(lightning.LightningModule):
    """FaceNet with weighted binary cross-entropy, Adam, augmentation on the device, and a history of epochs.

    class_weights: loss weight of a real and of a fake crop. methods: for a network with a second head, int64 per
    training row the number of the fake's method, -1 for reals. val_rows: the validation crops in loader order, with
    video_id and label.

    With head_epochs the backbone is frozen for that many epochs, batch norm included; then its last `unfreeze` layers
    (all with 0) learn too, at fine_lr. Frozen batch norm keeps its statistics, as Keras does it.
    """

    class_weights: torch.Tensor

    def __init__(self, net: FaceNet, class_weights: tuple[float, float], val_rows: pd.DataFrame, options: TrainOptions,
                 augmentation: AugmentOptions, epochs_csv: Path, methods: torch.Tensor | None = None):
        super().__init__()
        self.net = net
        self.register_buffer("class_weights", torch.tensor(class_weights), persistent=False)
        self.val_rows, self.options, self.augmentation = val_rows, options, augmentation
        self.epochs_csv = epochs_csv
        # Rows from n on are blended reals, which have no method.
        self.methods = None if methods is None else torch.cat([methods, torch.full_like(methods, -1)])
        self.history: list[dict[str, Any]] = []

    def configure_optimizers(self):
        """Return the optimizer, as Lightning asks."""
        optimizer = torch.optim.Adam(self.net.parameters(), lr=self.options.lr)
        if self.options.cosine:
            steps = int(self.trainer.estimated_stepping_batches)
            warm = min(WARM_STEPS, steps // 10 + 1)
            schedule = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda n: min(1.0, (n + 1) / warm) * (1 + math.cos(math.pi * min(1.0, n / steps))) / 2)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
        if not self.options.plateau:
            return optimizer
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **PLATEAU)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}

    def on_fit_start(self) -> None:
        # Not Module.compile: validation, scoring and the checkpoint's probe on the CPU stay as they are.
        """Compile what computes features where that pays."""
        self._features = _compiled(self.net.features) if _compiles(self.device) else self.net.features

    def on_train_epoch_start(self) -> None:
        """Begin an epoch: what is frozen, and its learning rate."""
        torch.manual_seed(self.options.seed * 100_003 + self.current_epoch)  # for dropout inside the network
        self._freeze()
        if self.current_epoch == self.options.head_epochs > 0:
            for group in self.optimizers().param_groups:  # type: ignore[union-attr]
                group["lr"] = self.options.fine_lr
        self._train = torch.zeros(3, device=self.device)  # summed loss, right calls, crops: read once an epoch

    def _freeze(self) -> None:
        """Only what learns in this epoch gets gradients; norms of what does not keep their statistics."""
        # Norms of timm's mobile networks have tensors of their own and an activation inside them.
        layers = [m for m in self.net.body.modules() if not list(m.children()) or list(m.parameters(recurse=False))]
        learning = set(layers[-self.options.unfreeze:] if self.options.unfreeze else layers)
        if self.current_epoch < self.options.head_epochs:
            learning = set()
        elif not self.options.head_epochs:
            learning = set(layers)
        for layer in layers:
            layer.requires_grad_(layer in learning)
            layer.train(layer in learning)

    def training_step(self, batch: Batch, step: int) -> torch.Tensor:
        """Return the loss of a batch."""
        drawn = draws(batch.keys.tolist(), self.options.seed, self.current_epoch)
        features = self._features(augment(batch.pictures, self.augmentation, drawn))
        logits = self.net.head(features).flatten()
        loss = self._loss(logits, batch.labels)
        aside = 0.0 if self.methods is None else METHOD_SHARE * self._method_loss(features, batch.rows)
        with torch.no_grad():
            right = ((logits >= 0) == (batch.labels == 1)).sum()
            self._train += torch.stack([loss * len(logits), right, torch.tensor(len(logits), device=self.device)])
        # Several processes' gradients are averaged: each must weigh as many crops as it has of the batch.
        return (loss + aside) * (len(logits) * self.trainer.world_size / batch.n_all)

    def on_validation_epoch_start(self) -> None:
        """Begin a validation: nothing is seen yet."""
        self._val: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def validation_step(self, batch: Batch, step: int) -> None:
        """Keep the logits of a batch."""
        self._val.append((self.net(batch.pictures).float().cpu(), batch.labels.cpu(), batch.rows.cpu()))

    def on_validation_epoch_end(self) -> None:
        """End a validation: its metrics."""
        seen = self._val
        if self.trainer.world_size > 1:
            parts: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(parts, seen)
            seen = [batch for part in parts for batch in part]
        logits, labels, rows = (torch.cat(columns) for columns in zip(*seen))
        loss = float(self._loss(logits, labels))
        of_video = pd.DataFrame({"video_id": self.val_rows["video_id"].to_numpy()[rows.numpy()],
                                 "label": labels.numpy(), "score": torch.sigmoid(logits).double().numpy()})
        videos = of_video.groupby("video_id").agg(
            label=("label", "first"), score=("score", lambda s: aggregate(s.to_numpy(), DEFAULT_RULE)))
        video_auc = auc(videos["score"].to_numpy(), videos["label"].to_numpy())
        accuracy = float(((logits >= 0) == (labels == 1)).double().mean())
        self._row: dict[str, Any] = {"val_loss": loss, "val_accuracy": accuracy, "val_video_auc": video_auc}
        self.log_dict({k: v for k, v in self._row.items() if v is not None}, prog_bar=True)
        self.log(BEST, rank_epoch(video_auc, loss), logger=False)

    def on_train_epoch_end(self) -> None:
        """End an epoch."""
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(self._train)
        loss, right, n = self._train.tolist()
        row = {"epoch": self.current_epoch + 1, "train_loss": loss / n, "train_accuracy": right / n, **self._row}
        self.log_dict({k: row[k] for k in ("train_loss", "train_accuracy")})
        self.history.append(row)
        if self.global_rank == 0:
            write_history(self.epochs_csv, self.history)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the history, which a killed run needs to go on."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what `on_save_checkpoint` added."""
        self.history = checkpoint["history"]

    def _method_loss(self, features: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the methods of the batch's fakes; reals have none."""
        assert self.methods is not None and self.net.method_head is not None
        methods = self.methods[rows.cpu()].to(features.device)
        answers = self.net.method_head(features).float()
        return cross_entropy(answers, methods, ignore_index=-1, reduction="sum") / max(1, len(rows))

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        weights = self.class_weights.to(logits.device)[labels]
        softened = labels.to(logits.dtype) * (1 - 2 * self.options.smoothing) + self.options.smoothing
        return binary_cross_entropy_with_logits(logits, softened, weight=weights)


def rank_epoch(video_auc: float | None, loss: float) -> float:
    """Return a number that is highest for the best epoch.

    It is the validation video AUC. The loss only orders epochs with the same AUC, or with none, where validation has
    one class: without it, the first epoch to reach 1.0 by luck on a few videos would stay the best for ever.
    """
    return (video_auc or 0.0) - 1e-4 * min(loss, 10.0)


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """epochs.csv: one row per epoch; an AUC that cannot be computed is an empty cell."""
    text = pd.DataFrame(history).to_csv(index=False, float_format="%.6f", lineterminator="\n")
    write_bytes(path, text.encode())


def trainer(run: Path, device: str, options: TrainOptions) -> tuple[ModelCheckpoint, lightning.Trainer]:
    """Lightning's trainer with a progress bar, TensorBoard below `run`, early stopping, best and last checkpoint.

    Started by torchrun it is one of several processes, on as many devices and nodes as torchrun says.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips are not the user's business
    warnings.filterwarnings("ignore", module="lightning")
    # TensorBoard imports TensorFlow where it is installed: seconds, and a crash once torch loads triton after it.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
    kind, _, number = device.partition(":")
    # Saved at the end of the epoch, after validation, so that resuming starts with the next one.
    kept: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    keeper = ModelCheckpoint(run, "best", monitor=BEST, mode="max", **kept)
    # One of its own: Lightning's save_last leaves out epochs that are no better, and they would be trained again.
    callbacks: list[Any] = [keeper, ModelCheckpoint(run, "last", **kept), _Bar(leave=True)]
    if options.patience:
        callbacks.append(_Stop(options.head_epochs, BEST, mode="max", patience=options.patience,
                               check_on_train_epoch_end=True))
    if options.ema:
        callbacks.append(Averaging(options.ema))
    here, everywhere = (int(os.environ.get(name, 1)) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    devices: Any = here if everywhere > 1 else [int(number or 0)] if kind == "cuda" else 1
    return keeper, lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(kind, kind), devices=devices, num_nodes=everywhere // here,
        strategy="ddp_find_unused_parameters_true" if everywhere > 1 else "auto", use_distributed_sampler=False,
        precision="bf16-mixed" if uses_bf16(kind, options.precision) else "32-true",
        max_epochs=options.epochs, callbacks=callbacks, logger=TensorBoardLogger(run, name="", version=""),
        num_sanity_val_steps=0, log_every_n_steps=1, enable_model_summary=False)


def uses_bf16(kind: str, precision: str) -> bool:
    """Tell whether to compute in bf16: on auto where the device does so in hardware, since elsewhere it is slower."""
    if precision != "auto":
        return precision == "bf16"
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()


def _compiles(device: torch.device) -> bool:
    """Whether the network is compiled for training: on two CPU cores that took a minute and gained nothing."""
    return device.type == "cuda"


def _compiled(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    torch._dynamo.config.suppress_errors = True  # no C compiler, an old GPU: it warns and computes uncompiled
    return torch.compile(function)


class Averaging(WeightAveraging):
    """Exponential moving average of the weights whose decay grows to `decay`: min(decay, (1 + n) / (10 + n)) in step n.

    With a constant decay the average of a short training is mostly the weights that it started with. (The schedule is
    that of TensorFlow's ExponentialMovingAverage with num_updates.)
    """

    def __init__(self, decay: float):
        super().__init__(avg_fn=lambda averaged, current, n: averaged + (current - averaged) * (
            1 - torch.clamp((1 + n) / (10 + n), max=decay)))

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Tell whether to average weights: after each step."""
        return step_idx is not None


class _Stop(EarlyStopping):
    """Early stopping that lets the epochs with a frozen backbone be."""

    def __init__(self, head_epochs: int, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.head_epochs = head_epochs

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        if trainer.current_epoch >= self.head_epochs:
            super().on_train_epoch_end(trainer, pl_module)


class _Bar(TQDMProgressBar):
    """A bar an epoch on stderr; validation, a few seconds, has none of its own."""

    def init_train_tqdm(self):
        return for_stderr(Tqdm)(desc=self.train_description, disable=self.is_disabled, dynamic_ncols=True,
                                leave=sys.stderr.isatty(),  # a log file needs no line an epoch
                                file=sys.stderr, smoothing=0, bar_format=self.BAR_FORMAT)

    def init_validation_tqdm(self):
        return Tqdm(disable=True)
