"""How a network is trained, and the recipes: the five older projects as options, each to be changed by naming another.

A recipe is no code of its own: `make train RECIPE=two-phase LR=3e-4` is training with the options below and another
learning rate.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from data.loading.options import BALANCES
from pipeline.options import option


@dataclass(frozen=True)
class TrainOptions:
    """How the network is trained. The defaults are the baseline's."""

    epochs: int = option(10, "passes over the training crops at most")
    lr: float = option(1e-4, "learning rate of Adam")
    head_epochs: int = option(0, "of the epochs, the first so many with the backbone frozen")
    fine_lr: float = option(1e-5, "learning rate once the backbone is no longer frozen")
    unfreeze: int = option(0, "layers of the backbone, from its end, that learn after head_epochs; 0 for all")
    cosine: bool = option(False, "let the learning rate rise over the first 200 steps and fall to 0 along a cosine")
    plateau: bool = option(False, "a fifth of the learning rate after two epochs without a lower validation loss")
    patience: int = option(3, "stop after this many epochs without a better validation video AUC; 0 never stops early")
    balance: str = option("loss", "reals against fakes: weights in the loss, as many of each sampled, pairs of a real "
                                  "and a fake made from it, or none", choices=BALANCES)
    blend: float = option(0.0, "of the fakes in pairs, the share that is the real face blended with a changed copy of "
                               "itself: a fake without a generator")
    pairs: int = option(0, "pairs drawn in an epoch; 0 for every real once")
    even: bool = option(False, "draw the reals of pairs so that datasets count by the square root of their size")
    fakes_per_real: float | None = option(None, "training fakes kept for each training real, at most (default: all)")
    smoothing: float = option(0.0, "label smoothing: a fake's target is 1 minus this, a real's is this")
    ema: float = option(0.0, "decay per step of the averaged weights that are validated and kept; 0 for none")
    begin: str | None = option(None, "a trained checkpoint to go on from; the options of the network are then its own")
    begin_size: int = option(0, "side of the input in px to go on at; 0 for as before")
    replay_from: str | None = option(None, "OUT of the run that it was trained in: crops of it are learned again")
    replay: float = option(0.5, "share of the training crops that come from there")
    seed: int = option(0, "seed for shuffling, augmentation and head initialisation")
    precision: str = option("auto", "bf16 where the device has it, else fp32; or one of the two",
                            choices=("auto", "fp32", "bf16"))
    resume: bool = option(False, "go on with an interrupted training", remembered=False)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.patience < 0 or self.seed < 0 or self.unfreeze < 0:
            raise ValueError(f"epochs must be at least 1 (got {self.epochs}), patience, seed and unfreeze at least 0 "
                             f"(got {self.patience}, {self.seed}, {self.unfreeze})")
        if not 0 <= self.head_epochs < self.epochs:
            raise ValueError(f"head_epochs must be at least 0 and less than epochs, got {self.head_epochs} of "
                             f"{self.epochs}")
        if not (self.lr > 0 and self.fine_lr > 0):
            raise ValueError(f"lr and fine_lr must be more than 0, got {self.lr} and {self.fine_lr}")
        if self.fakes_per_real is not None and not self.fakes_per_real > 0:
            raise ValueError(f"fakes_per_real must be more than 0, got {self.fakes_per_real}")
        if not 0 < self.replay < 1:
            raise ValueError(f"replay must be more than 0 and less than 1, got {self.replay}")
        if self.begin_size and (not self.begin or self.begin_size < 16):
            raise ValueError(f"begin_size needs begin, the checkpoint to go on from, and at least 16 px, got "
                             f"{self.begin_size}")
        if self.replay_from and not self.begin:
            raise ValueError("replay_from needs begin, the checkpoint that was trained there")
        if not 0 <= self.blend <= 1 or self.blend and self.balance != "pairs":
            raise ValueError(f"blend must be between 0 and 1 (got {self.blend:g}), and needs balance pairs "
                             f"(got {self.balance})")
        if self.pairs < 0 or (self.pairs or self.even) and self.balance != "pairs":
            raise ValueError(f"pairs must be at least 0 (got {self.pairs}), and like even it needs balance pairs (got "
                             f"{self.balance})")
        if self.cosine and (self.plateau or self.head_epochs):
            raise ValueError("cosine sets the learning rate of every step: leave out plateau and head_epochs")
        if not 0 <= self.smoothing < 0.5 or not 0 <= self.ema < 1:
            raise ValueError(f"smoothing must be at least 0 and less than .5 (got {self.smoothing}), ema at least 0 "
                             f"and less than 1 (got {self.ema})")


@dataclass(frozen=True)
class Recipe:
    """One sentence, and the options that differ from the baseline's."""

    about: str
    options: dict[str, Any] = field(default_factory=dict)


RECIPES = {
    "baseline": Recipe("ResNet50 at 128 px, 10 epochs, Adam 1e-4: the video baseline"),
    "transfer": Recipe("MobileNetV2 at 128 px, frozen for 5 epochs, then all of it at 1e-5", {
        "backbone": "mobilenetv2_100", "epochs": 10, "head_epochs": 5, "dropout": 0.2, "rotate": 20.0, "shift": 0.0,
        "zoom": 0.2}),
    "small-cnn": Recipe("two convolutions from scratch at 32 px", {
        "backbone": "small-cnn", "weights": "none", "size": 32, "dropout": 0.3, "epochs": 30, "lr": 1e-3, "patience": 5,
        "rotate": 0.0, "shift": 0.0}),
    # On DFDC's crops fewer fakes a real cost accuracy (BENCHMARKS.md, "Training"); more than 5 were not measured.
    "balanced": Recipe("MobileNetV2 at 128 px, at most 5 fakes a real, as many of each sampled", {
        "backbone": "mobilenetv2_100", "epochs": 10, "head_epochs": 3, "dropout": 0.2, "fakes_per_real": 5.0,
        "balance": "sampling", "zoom": 0.1}),
    "two-phase": Recipe("EfficientNet-B0 at 224 px, dense 256: head 5 epochs, then its last 30 layers at 1e-5", {
        "backbone": "efficientnet_b0", "size": 224, "hidden": 256, "dropout": 0.5, "epochs": 15, "head_epochs": 5,
        "unfreeze": 30, "plateau": True, "patience": 5, "zoom": 0.1}),
    # The weights that ship began with an older recipe and went on with these pairs for 272 steps (MODEL_CARD.md has the
    # learning rates); from ImageNet weights these epochs were not run.
    "detector": Recipe("EfficientNet-Lite0 on pairs, .45 of the fakes blended reals, datasets evened", {
        "backbone": "tf_efficientnet_lite0", "epochs": 8, "lr": 5e-4, "cosine": True, "patience": 0, "balance": "pairs",
        "blend": 0.45, "pairs": 8000, "even": True, "ema": 0.998, "smoothing": 0.02, "rotate": 10.0, "shift": 0.04,
        "zoom": 0.2, "colour": 0.2, "downscale": 0.25, "blur": 2.0, "noise": 12.0, "jpeg": 30, "h264": 42}),
}


def defaults(recipe: str) -> dict[str, Any]:
    """What a recipe sets, by flag; the rest are the defaults of the options classes."""
    return dict(RECIPES[recipe].options)


@dataclass(frozen=True)
class RecipeOptions:
    """Where the options of training start from, and which library trains."""

    recipe: str = option("baseline", "; ".join(f"{name}: {recipe.about}" for name, recipe in RECIPES.items())
                         + ". It sets all options of training; those named with it override it", choices=tuple(RECIPES))
    framework: str = option("torch", "what trains the network; all that follows judges with the file that it writes",
                            choices=("torch", "tensorflow"))

    def presets(self) -> dict[str, Any]:
        """Return the options that the recipe sets, name -> value."""
        return defaults(self.recipe)
