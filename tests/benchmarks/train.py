"""`make bench-train`: what a training step costs beside what it must cost, as ratios.

The loops take turns for a few steps each inside one run of `make train`'s own loop, which pauses meanwhile, so that a
busy machine hits them alike. Each round gives a ratio, the median is printed. Crops are drawn noise: speed depends on
their size alone. Wall seconds, all cores.

conv's rate     a plain large 3 x 3 convolution, forward and backward, in the same precision; beside it a matrix
                product's, which no network of convolutions reaches
bare loop       the same network, batches, augmentation and optimiser without Lightning
usual loop      DataLoader, PIL and torchvision from PNG files, fp32 as such scripts have it, or in our precision and
                memory format; and Keras' ImageDataGenerator in our precision where TensorFlow is installed
"""
from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import lightning
import numpy as np
import pandas as pd
import torch

from classify.evaluation.options import ScoreOptions
from classify.models.network import build
from classify.models.options import ModelOptions
from classify.training.module import Learner, trainer
from classify.training.recipes import TrainOptions
from classify.training.sweep import machine_name
from data.loading.augment import augment, draws
from data.loading.batches import Batches, EpochOrder, InOrder
from data.loading.options import AugmentOptions
from data.loading.pack import Pack
from extract.faces.detector import pick_device
from pipeline.errors import command
from pipeline.options import add_flags, from_flags, option
from pipeline.tables import FACES, write_json, write_table
from tests.benchmarks.train_loops import Bare, Bench, FromPng, Keras, flops_of_step, machine_rates

CROP_PX = 224
WARM = 2     # steps of Lightning before the first turn
ACHIEVED, PRODUCT = "achieved / convolution's rate", "achieved / matrix product's rate"
LOADER, LIGHTNING = "a batch from the pack / step", "Lightning / bare loop"
AUGMENTED, PNG, PNG_ALIKE, KERAS = ("augmentation / step", "usual loop / ours", "usual loop in our precision / ours",
                                    "Keras from PNG / ours")
# The limit, and whether the ratio must stay below (<=) or above (>=) it; None: only told. On CPU; see `limit_of`.
LIMITS: dict[str, tuple[str, float] | None] = {
    ACHIEVED: (">=", .65), PRODUCT: None, LOADER: ("<=", .02), AUGMENTED: None, LIGHTNING: ("<=", 1.05), PNG: None,
    PNG_ALIKE: None, KERAS: (">=", 1.15)}
LOADER_GPU = ("<=", .05)


@dataclass(frozen=True)
class BenchOptions:
    """How long is measured."""

    rounds: int = option(5, "turns of each loop")
    steps: int = option(3, "steps in a turn")

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.steps < 1:
            raise ValueError(f"rounds and steps must be at least 1, got {self.rounds} and {self.steps}")


def draw_crops(out: Path, n: int) -> pd.DataFrame:
    """OUT/faces with n noise crops in the folders real and fake, as PNG that compress about as faces do.

    Returns rows with video_id, label, frame and crop.
    """
    import cv2

    draw = np.random.default_rng(0)
    rows = []
    for number in range(n):
        label = number % 2
        crop = f"{('real', 'fake')[label]}/{number:06d}.png"
        coarse = cv2.resize(draw.integers(0, 256, (14, 14, 3), dtype=np.uint8), (CROP_PX, CROP_PX),
                            interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(coarse + draw.normal(0, 2, coarse.shape), 0, 255).astype(np.uint8)
        (out / "faces" / crop).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(out / "faces" / crop), noisy)
        rows.append({**dict.fromkeys(FACES, 0), "video_id": f"{number:06d}.mp4", "crop": crop, "label": label})
    write_table(out / "faces" / "faces.csv", rows, FACES)
    write_json(out / "faces" / "options.json", {})
    return pd.DataFrame(rows)[["video_id", "label", "frame", "crop"]]


class Turns(lightning.Callback):
    """Lightning's loop runs `steps` steps on the clock, then stands still while the others have their turn.

    others: name -> what takes steps and returns seconds; rates: name -> measurement of the machine's FLOP/s.
    rounds: per round the seconds of each loop, Lightning's under "ours", and the FLOP/s of each of rates.
    """

    def __init__(self, bench: Bench, options: BenchOptions, others: dict[str, Callable[[int], float]],
                 rates: dict[str, Callable[[], float]]):
        self.bench, self.options, self.others, self.rates = bench, options, others, rates
        self.rounds: list[dict[str, float]] = []
        self.start = 0.0

    def on_train_batch_end(self, trainer, module, outputs, batch, number: int) -> None:
        done = number + 1 - WARM
        if done < 0 or done % self.options.steps or len(self.rounds) == self.options.rounds:
            return
        self.bench.wait()
        if done:
            self.rounds.append({"ours": time.perf_counter() - self.start,
                                **{name: other(self.options.steps) for name, other in self.others.items()},
                                **{name: rate() for name, rate in self.rates.items()}})
        else:
            for other in self.others.values():  # a first step allocates and chooses kernels
                other(1)
        self.start = time.perf_counter()


def loader_s(bench: Bench, batches: Batches, n: int) -> float:
    """Seconds to get a batch when nothing else is done, so that nothing hides it."""
    each = iter(batches)
    next(each)
    return bench.seconds(lambda: next(each), n) / n


def augment_s(bench: Bench, batches: Batches, n: int) -> float:
    """Seconds to draw and vary a batch."""
    batch = next(iter(batches))
    pictures = batch.pictures.to(bench.device)

    def work() -> None:
        augment(pictures, AugmentOptions(), draws(batch.keys.tolist(), 0, 0))

    work()
    return bench.seconds(work, n) / n


def measure(bench: Bench, options: BenchOptions, keras: str | None) -> dict[str, list[float]]:
    """Each name of LIMITS -> its ratio in each round. keras: a Python that has TensorFlow, None to leave Keras out."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        crops = draw_crops(out, 4 * bench.batch)
        pack = Pack(out, bench.model.size, bench.model.centre)
        steps = WARM + options.rounds * options.steps
        rows = crops.iloc[np.resize(np.arange(len(crops)), bench.batch * (steps + 2))].reset_index(drop=True)

        def batches() -> Batches:
            order = EpochOrder(rows["label"].to_numpy(), bench.batch, bench.training.seed)
            return Batches(pack.pictures, pack.numbers(rows["crop"]), rows["label"], order, (AugmentOptions(), 0),
                           device=bench.device)

        others: dict[str, Callable[[int], float]] = {
            LIGHTNING: Bare(bench, batches()), PNG: FromPng(bench, out / "faces", False),
            PNG_ALIKE: FromPng(bench, out / "faces", True)}
        if keras:
            others[KERAS] = Keras(bench, out / "faces", keras)
        turns = Turns(bench, options, others, machine_rates(bench))
        _lightning(bench, batches(), rows, pack, out, turns)
        shares = [(loader_s(bench, batches(), options.steps), augment_s(bench, batches(), options.steps))
                  for _ in turns.rounds]
        if keras:
            others[KERAS].close()  # type: ignore[attr-defined]
    flops = flops_of_step(bench) * options.steps
    ours = [turn["ours"] for turn in turns.rounds]
    found = {ACHIEVED: [flops / turn["ours"] / turn["convolution"] for turn in turns.rounds],
             PRODUCT: [flops / turn["ours"] / turn["matrix product"] for turn in turns.rounds],
             LOADER: [share[0] * options.steps / s for share, s in zip(shares, ours)],
             AUGMENTED: [share[1] * options.steps / s for share, s in zip(shares, ours)],
             LIGHTNING: [turn["ours"] / turn[LIGHTNING] for turn in turns.rounds],
             **{name: [turn[name] / turn["ours"] for turn in turns.rounds] for name in others if name != LIGHTNING}}
    found["images/s"] = [bench.batch * options.steps / s for s in ours]
    found["GFLOP/s of the convolution"] = [turn["convolution"] / 1e9 for turn in turns.rounds]
    return found


def _lightning(bench: Bench, batches: Batches, rows: pd.DataFrame, pack: Pack, out: Path, turns: Turns) -> None:
    """An epoch as `make train` runs it, with the turns as one more callback."""
    net = build(bench.model)[0]
    look = rows.iloc[:2].reset_index(drop=True)
    learner = Learner(net, (1.0, 1.0), look, bench.training, AugmentOptions(), out / "model" / "epochs.csv")
    _, runner = trainer(out / "model" / "run", bench.device, bench.training)
    runner.callbacks.append(turns)  # type: ignore[attr-defined]
    runner.fit(learner, batches, Batches(pack.pictures, pack.numbers(look["crop"]), look["label"],
                                         InOrder(len(look), bench.batch), device=bench.device))


def verdict(name: str, value: float, device: str) -> tuple[str, bool]:
    """What is printed beside a ratio, and whether it misses its limit."""
    limit = LOADER_GPU if name == LOADER and device != "cpu" else LIMITS[name]
    if limit is None:
        return "", False
    passed = value <= limit[1] if limit[0] == "<=" else value >= limit[1]
    return f"limit {limit[0]} {limit[1]:<5g} {'pass' if passed else 'MISS'}", not passed


@command
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.train", description="Ratios of training's costs.")
    parser.add_argument("--keras-python", default=sys.executable if importlib.util.find_spec("tensorflow") else None,
                        help="a Python that has TensorFlow, for the Keras loop (default: this one, if it has)")
    add_flags(parser, ModelOptions, BenchOptions, ScoreOptions)
    parser.set_defaults(weights="none")
    arguments = parser.parse_args(argv)
    model, running = from_flags(ModelOptions, arguments), from_flags(ScoreOptions, arguments)
    bench = Bench(model, TrainOptions(epochs=1, patience=0), running.batch, pick_device(running.device))
    torch.set_flush_denormal(True)
    found = measure(bench, from_flags(BenchOptions, arguments), arguments.keras_python)
    print(f"{model.backbone}, {model.size} px, batch {bench.batch}, {'bf16' if bench.bf16 else 'fp32'}, "
          f"{machine_name(bench.device)}")
    missed = []
    for name, ratios in found.items():
        value = statistics.median(ratios)
        said, misses = verdict(name, value, bench.device) if name in LIMITS else ("", False)
        missed += [name] if misses else []
        print(f"{name:40} {value:9.4f}   {said:20}  {min(ratios):.4f} to {max(ratios):.4f} in {len(ratios)} rounds")
    if KERAS not in found:
        print(f"{KERAS:40}  skipped: no TensorFlow here (pip install -e '.[tensorflow]', or --keras-python)")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
