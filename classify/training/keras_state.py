"""What a training run on Keras remembers between two epochs, and the rules that depend on its epochs alone.

The rules are those of classify/training/module.py, where Lightning keeps them: learning rate, best epoch, when to
stop. Here
they are functions of the epochs so far, so that a resumed run needs no state of theirs. Nothing here imports Keras.
"""
from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from classify.judging.aggregate import DEFAULT_RULE, aggregate, auc
from classify.training.module import PLATEAU, rank_epoch
from classify.training.recipes import TrainOptions
from classify.training.train import prepare_run
from pipeline.tables import write_bytes

LOWER = 1 - 1e-4  # times the lowest loss so far is a lower one, as for torch's ReduceLROnPlateau


class State(NamedTuple):
    """After an epoch: the rows of epochs.csv, the network's variables, its best weights, the optimizer's variables."""

    history: list[dict[str, Any]]
    net: list[np.ndarray]
    best: list[np.ndarray]
    optimizer: list[np.ndarray]


def history_row(logits: np.ndarray, val_rows: pd.DataFrame, weights: np.ndarray, smoothing: float) -> dict[str, Any]:
    """val_loss, val_accuracy and val_video_auc of the validation crops. logits: (n,), one for each of val_rows."""
    z, labels = logits.astype(np.float64), val_rows["label"].to_numpy()
    targets = labels * (1 - 2 * smoothing) + smoothing
    loss = float(np.mean(weights[labels] * (np.logaddexp(0, z) - targets * z)))
    videos = val_rows.assign(score=1 / (1 + np.exp(-z))).groupby("video_id").agg(
        label=("label", "first"), score=("score", lambda s: aggregate(s.to_numpy(), DEFAULT_RULE)))
    return {"val_loss": loss, "val_accuracy": float(np.mean((z >= 0) == (labels == 1))),
            "val_video_auc": auc(videos["score"].to_numpy(), videos["label"].to_numpy())}


def best_of(history: list[dict[str, Any]]) -> int:
    """The best epoch, from 1; the first of equals."""
    return int(np.argmax(_ranks(history))) + 1


def finished(history: list[dict[str, Any]], options: TrainOptions) -> bool:
    """Whether all epochs are done, or `patience` of those after head_epochs brought no better one."""
    late = _ranks(history[options.head_epochs:])
    waited = len(late) - 1 - int(np.argmax(late)) if late else 0
    return len(history) >= options.epochs or bool(options.patience and waited >= options.patience)


def learning_rate(history: list[dict[str, Any]], options: TrainOptions) -> float:
    """Of the epoch that comes after these."""
    rate, lowest, bad = options.lr, np.inf, 0
    for epoch in range(len(history) + 1):
        if epoch == options.head_epochs > 0:
            rate = options.fine_lr
        if epoch < len(history) and options.plateau:
            better = history[epoch]["val_loss"] < lowest * LOWER
            lowest, bad = (history[epoch]["val_loss"], 0) if better else (lowest, bad + 1)
            if bad > PLATEAU["patience"]:
                rate, bad = rate * PLATEAU["factor"], 0
    return rate


def _ranks(history: list[dict[str, Any]]) -> list[float]:
    return [rank_epoch(row["val_video_auc"], row["val_loss"]) for row in history]


def open_run(run: Path, made_from: dict, resume: bool) -> State | None:
    """The state to go on from, or None and an empty folder. Raises CheckpointError where it had other options."""
    last = prepare_run(run, "last.npz", made_from, resume)
    if last is None:
        return None
    with np.load(last) as stored:
        parts = {kind: [stored[k] for k in stored.files if k.startswith(kind)] for kind in ("net", "best", "adam")}
        return State(json.loads(str(stored["history"])), parts["net"], parts["best"], parts["adam"])


def save_state(run: Path, state: State) -> None:
    """Write it as one file, whole or not at all."""
    content = io.BytesIO()
    arrays: dict[str, Any] = {f"{kind}{n:05d}": array for kind, part in
                              (("net", state.net), ("best", state.best), ("adam", state.optimizer))
                              for n, array in enumerate(part)}
    np.savez(content, history=np.array(json.dumps(state.history)), **arrays)
    write_bytes(run / "last.npz", content.getvalue())
