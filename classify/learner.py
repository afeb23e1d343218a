"""The training loop: Lightning runs it, this module says what a step, an epoch and a good epoch are.

Everything random hangs on (seed, epoch, step), never on what ran before, so a resumed run goes on as if undisturbed.
"""
from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from classify.aggregate import DEFAULT_RULE, aggregate, auc
from classify.model import FaceNet
from data.crops import AugmentOptions, augment
from pipeline.tables import write_bytes

BEST = "val_rank"  # what the best epoch has most of, see _rank


class Learner(lightning.LightningModule):
    """FaceNet with weighted binary cross-entropy, Adam, augmentation on the device, and a history of epochs.

    class_weights: loss weight of a real and of a fake crop. val_rows: the validation crops in loader order, with
    video_id and label.
    """

    class_weights: torch.Tensor

    def __init__(self, net: FaceNet, class_weights: tuple[float, float], val_rows: pd.DataFrame, lr: float,
                 augmentation: AugmentOptions, seed: int, epochs_csv: Path):
        super().__init__()
        self.net = net
        self.register_buffer("class_weights", torch.tensor(class_weights), persistent=False)
        self.val_rows, self.lr, self.augmentation, self.seed = val_rows, lr, augmentation, seed
        self.epochs_csv = epochs_csv
        self.history: list[dict[str, Any]] = []

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), lr=self.lr)

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(self.seed * 100_003 + self.current_epoch)  # for dropout inside the network
        self._train = [0.0, 0, 0]  # summed loss, right calls, crops

    def training_step(self, batch, step: int) -> torch.Tensor:
        pictures, labels, _ = batch
        logits = self.net(augment(pictures, self.augmentation, (self.seed, self.current_epoch, step)))
        loss = self._loss(logits, labels)
        self._train[0] += float(loss.detach()) * len(labels)
        self._train[1] += int(((logits.detach() >= 0) == (labels == 1)).sum())
        self._train[2] += len(labels)
        self.log("train_loss_step", loss, prog_bar=True, logger=False)
        return loss

    def on_validation_epoch_start(self) -> None:
        self._val: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def validation_step(self, batch, step: int) -> None:
        pictures, labels, rows = batch
        self._val.append((self.net(pictures).float().cpu(), labels.cpu(), rows.cpu()))

    def on_validation_epoch_end(self) -> None:
        logits, labels, rows = (torch.cat(parts) for parts in zip(*self._val))
        loss = float(self._loss(logits, labels))
        of_video = pd.DataFrame({"video_id": self.val_rows["video_id"].to_numpy()[rows.numpy()],
                                 "label": labels.numpy(), "score": torch.sigmoid(logits).double().numpy()})
        videos = of_video.groupby("video_id").agg(
            label=("label", "first"), score=("score", lambda s: aggregate(s.to_numpy(), DEFAULT_RULE)))
        video_auc = auc(videos["score"].to_numpy(), videos["label"].to_numpy())
        accuracy = float(((logits >= 0) == (labels == 1)).double().mean())
        self._row: dict[str, Any] = {"val_loss": loss, "val_accuracy": accuracy, "val_video_auc": video_auc}
        self.log_dict({k: v for k, v in self._row.items() if v is not None}, prog_bar=True)
        self.log(BEST, _rank(video_auc, loss), logger=False)

    def on_train_epoch_end(self) -> None:
        row = {"epoch": self.current_epoch + 1, "train_loss": self._train[0] / self._train[2],
               "train_accuracy": self._train[1] / self._train[2], **self._row}
        self.log_dict({k: row[k] for k in ("train_loss", "train_accuracy")})
        self.history.append(row)
        write_history(self.epochs_csv, self.history)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        weights = self.class_weights.to(logits.device)[labels]
        return binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), weight=weights)


def _rank(video_auc: float | None, loss: float) -> float:
    """Validation video AUC; loss only orders epochs that have the same (or none, where validation has one class).

    Without it, the first epoch to reach 1.0 by luck on a few videos would stay the best for ever.
    """
    return (video_auc or 0.0) - 1e-4 * min(loss, 10.0)


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """epochs.csv: one row per epoch; an AUC that cannot be computed is an empty cell."""
    text = pd.DataFrame(history).to_csv(index=False, float_format="%.6f", lineterminator="\n")
    write_bytes(path, text.encode())


def trainer(run: Path, device: str, epochs: int, patience: int) -> tuple[ModelCheckpoint, lightning.Trainer]:
    """Lightning's trainer with a progress bar, TensorBoard below `run`, early stopping, best and last checkpoint.

    patience: epochs without a better one before it stops, 0 for never. Mixed precision on CUDA.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips are not the user's business
    warnings.filterwarnings("ignore", module="lightning")
    kind, _, number = device.partition(":")
    bf16 = kind == "cuda" and torch.cuda.is_bf16_supported()
    # Saved at the end of the epoch, after validation, so that resuming starts with the next one.
    keeper = ModelCheckpoint(run, "best", monitor=BEST, mode="max", save_last=True, save_on_train_epoch_end=True,
                             enable_version_counter=False)
    stops = [EarlyStopping(BEST, mode="max", patience=patience, check_on_train_epoch_end=True)] if patience else []
    return keeper, lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(kind, kind), devices=[int(number or 0)] if kind == "cuda" else 1,
        precision=("bf16-mixed" if bf16 else "16-mixed") if kind == "cuda" else "32-true",
        max_epochs=epochs, callbacks=[keeper, *stops, _Bar(leave=True)],
        logger=TensorBoardLogger(run, name="", version=""), num_sanity_val_steps=0, log_every_n_steps=1,
        enable_model_summary=False)


class _Bar(TQDMProgressBar):
    """One line an epoch that stays; validation, a few seconds, has none of its own."""

    def init_validation_tqdm(self):
        return tqdm(disable=True)
