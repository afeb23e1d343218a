"""`make train FRAMEWORK=tensorflow`: Keras' networks on TensorFlow, everything else as in classify/train.py.

    OUT/model/model.keras        the network, written last; its card is model.keras.json
    OUT/model/epochs.csv         the same columns
    OUT/model/run-keras/         the last finished epoch for RESUME=1

The split, crops, their order, augmentation and class weights are those of the torch side, made by the same functions: a
batch is a torch tensor on the CPU until TensorFlow gets it. Adam, its learning rates, what is frozen when, the best
epoch, aggregation and threshold follow the same rules. The process is TensorFlow's own: see `start`.
"""
from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import torchvision  # noqa: F401  before TensorFlow: after it, loading torchvision's triton ends the interpreter

from classify.evaluation.options import ScoreOptions
from classify.models.keras import MISSING, build, keras_on, logits_of, save_checkpoint
from classify.models.options import ModelOptions
from classify.models.versions import versions
from classify.training.dataset import Material, crops_record, material, partners
from classify.training.keras_state import State, best_of, finished, history_row, learning_rate, open_run, save_state
from classify.training.module import write_history
from classify.training.recipes import TrainOptions
from classify.training.train import choices
from data.loading.augment import augment, draws
from data.loading.batches import Batches, EpochOrder, InOrder
from data.loading.options import AugmentOptions
from pipeline.errors import OptionsError, OutOfMemoryError
from pipeline.options import as_record
from pipeline.progress import progress_bar

# TrainOptions that only torch has, and what is none of it
NOT_HERE = {"ema": 0.0, "begin": None, "begin_size": 0, "replay_from": None, "blend": 0.0, "cosine": False}


def train(out: Path, model: ModelOptions, training: TrainOptions, augmentation: AugmentOptions,
          running: ScoreOptions, folder: Path | None = None) -> dict[str, Any]:
    """Train on OUT's split and crops, write the `.keras` file and its card. Returns the card.

    Raises OptionsError where TensorFlow is missing or lacks what is asked, and what classify.train.train raises.
    """
    for name, none in NOT_HERE.items():
        if getattr(training, name) != none:
            raise OptionsError(f"{name.upper()} is not there on TensorFlow: leave it out, or train without FRAMEWORK=")
    if training.precision == "bf16":
        raise OptionsError("PRECISION=bf16 is not there on TensorFlow: it computes in fp32")
    tf = start(running.device, training.seed)
    keras = keras_on("tensorflow")
    crops = material(out, model.size, model.centre, training)
    net, card = build(keras, model)
    made_from = {"model": as_record(model), "augmentation": as_record(augmentation), "batch": running.batch,
                 **{k: v for k, v in as_record(training).items() if k not in ("epochs", "patience", "resume")},
                 "split_hash": json.loads((out / "split.json").read_text())["split_hash"]}
    folder = folder or out / "model"
    run = folder / "run-keras"
    begun = open_run(run, made_from, training.resume)
    try:
        best_epoch, logits = _fit(tf, keras, net, crops, out, run, training, augmentation, running.batch, begun)
    except tf.errors.ResourceExhaustedError:
        raise OutOfMemoryError(f"the device has no room for batches of {running.batch} at {model.size} px: "
                               f"try BATCH={max(1, running.batch // 2)}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt("RESUME=1 goes on with this run") from None
    scores = np.round(1 / (1 + np.exp(-logits.astype(np.float64))), 6)
    return save_checkpoint(folder / "model.keras", net, {
        **card, **choices(crops.val, scores), **crops_record(out),
        "split_hash": made_from["split_hash"], "best_epoch": best_epoch, "calibration": None,
        "trained_on": {"n_videos": int(crops.train["video_id"].nunique()), "n_crops": len(crops.train),
                       "n_real_crops": int((crops.train["label"] == 0).sum())},
        "training": {k: v for k, v in {**as_record(training), **as_record(augmentation), "batch": running.batch}.items()
                     if k != "resume"},
        "versions": {**versions(), "keras": keras.__version__, "tensorflow": tf.__version__}})


def start(device: str, seed: int) -> Any:
    """The module tensorflow, on this device. TensorFlow loaded before torchvision's triton is a crash, and Keras has
    one backend a process: so this process has imported torchvision, and only trains.

    Raises OptionsError where TensorFlow or the device is missing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _quiet():
            tf = importlib.import_module("tensorflow")
            gpus = tf.config.list_physical_devices("GPU")
    except ImportError:
        raise OptionsError("TensorFlow " + MISSING.format("tensorflow")) from None
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (kind == "cuda" and int(number or 0) >= len(gpus)):
        raise OptionsError(f"device {device!r} is not available to TensorFlow here, only cpu"
                           f"{''.join(f', cuda:{n}' for n in range(len(gpus)))} (or auto)")
    tf.config.set_visible_devices([] if kind == "cpu" else gpus[int(number or 0):][:1], "GPU")
    tf.config.experimental.enable_op_determinism()
    keras_on("tensorflow").utils.set_random_seed(seed)
    return tf


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what TensorFlow's C++ says on stderr about its build before it heeds any setting."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def learning_batches(crops: Material, order: EpochOrder, augmentation: AugmentOptions, epoch: int
                     ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The augmented batches of an epoch (from 0), those of classify.training.module.

    Yields pictures, float32 RGB (n, size, size, 3) of 0 to 255, and labels, int64 (n,).
    """
    order.set_epoch(epoch)
    batches = Batches(crops.pictures, crops.numbers, crops.train["label"].to_numpy(), order, (augmentation, order.seed))
    for batch in batches:
        varied = augment(batch.pictures, augmentation, draws(batch.keys.tolist(), order.seed, epoch))
        yield varied.permute(0, 2, 3, 1).contiguous().numpy(), batch.labels.numpy()


def _fit(tf: Any, keras: Any, net: Any, crops: Material, out: Path, run: Path, training: TrainOptions,
         augmentation: AugmentOptions, batch: int, begun: State | None) -> tuple[int, np.ndarray]:
    """Run the epochs, leave the best one's weights in `net`. Returns its number from 1 and its validation logits."""
    labels = crops.train["label"].to_numpy()
    weights = np.ones(2)
    if training.balance == "loss":
        weights = np.array([len(labels) / (2 * int((labels == label).sum())) for label in (0, 1)])
    order = EpochOrder(labels, batch, training.seed, training.balance,
                       partners(out, crops.train) if training.balance == "pairs" else ())
    state = begun or State([], [], [], [])
    for variable, value in zip(net.variables, state.net):
        variable.assign(value)
    history, best, step = list(state.history), list(state.best), None
    while not finished(history, training):
        epoch = len(history)
        if step is None or epoch == training.head_epochs:  # another set of layers learns: with an Adam of its own
            _freeze(net, training, epoch)
            optimizer, step = _step(tf, keras, net)
            if epoch != training.head_epochs or epoch == 0:
                for variable, value in zip(optimizer.variables, state.optimizer):
                    variable.assign(value)
        optimizer.learning_rate.assign(learning_rate(history, training))
        seen = np.zeros(3)  # summed loss, right calls, crops
        batches = learning_batches(crops, order, augmentation, epoch)
        for pictures, truth in progress_bar(batches, desc=f"epoch {epoch + 1}", total=len(order), unit="step"):
            targets = truth * (1 - 2 * training.smoothing) + training.smoothing
            loss, logits = step(pictures, targets.astype(np.float32), weights[truth].astype(np.float32))
            seen += float(loss) * len(truth), int(((logits.numpy() >= 0) == (truth == 1)).sum()), len(truth)
        history.append({"epoch": epoch + 1, "train_loss": seen[0] / seen[2], "train_accuracy": seen[1] / seen[2],
                        **history_row(_looked(net, crops, batch), crops.val, weights, training.smoothing)})
        if best_of(history) == epoch + 1:
            best = net.get_weights()
        write_history(run.with_name("epochs.csv"), history)
        save_state(run, State(history, [np.array(v) for v in net.variables], best,
                              [np.array(v) for v in optimizer.variables]))
    net.set_weights(best)
    return best_of(history), _looked(net, crops, batch)


def _freeze(net: Any, training: TrainOptions, epoch: int) -> None:
    """Only what learns in this epoch is trainable; frozen batch norm keeps its statistics."""
    body = next(layer for layer in net.layers if hasattr(layer, "layers"))
    body.trainable = epoch >= training.head_epochs
    if body.trainable and training.head_epochs and training.unfreeze:
        for layer in body.layers[:-training.unfreeze]:
            layer.trainable = False


def _step(tf: Any, keras: Any, net: Any) -> tuple[Any, Any]:
    """Adam as torch has it, and the compiled training step: pictures, targets, weights -> loss, logits (n,)."""
    optimizer = keras.optimizers.Adam(epsilon=1e-8)
    optimizer.build(net.trainable_variables)
    size = net.input_shape[1]

    @tf.function(input_signature=[tf.TensorSpec((None, size, size, 3)), tf.TensorSpec((None,)), tf.TensorSpec((None,))])
    def step(pictures, targets, weights):
        with tf.GradientTape() as tape:
            logits = net(pictures, training=True)[:, 0]
            loss = tf.reduce_mean(weights * tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))
        variables = net.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss, logits

    return optimizer, step


def _looked(net: Any, crops: Material, batch: int) -> np.ndarray:
    """Logits of the validation crops in their order, float32 (n,)."""
    looked = Batches(crops.pictures, crops.val_numbers, crops.val["label"], InOrder(len(crops.val), batch))
    return np.concatenate([logits_of(net, part.pictures.permute(0, 2, 3, 1).numpy()) for part in looked])
