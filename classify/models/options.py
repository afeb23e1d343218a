"""Which network is trained. Imported without torch."""
from __future__ import annotations

from dataclasses import dataclass

from pipeline.options import option

SMALL_CNN = "small-cnn"


@dataclass(frozen=True)
class ModelOptions:
    """Which network, started from what, looking at what."""

    backbone: str = option("resnet50", f"any timm model name, or {SMALL_CNN}")
    weights: str = option("imagenet", "imagenet, none (from scratch), or a .safetensors or .pth file")
    size: int = option(128, "side of the input in px")
    centre: float = option(1.0, "share of the stored crop's side that is looked at, about its centre")
    hidden: int = option(0, "units of a dense layer with ReLU between backbone and logit; 0 for none")
    dropout: float = option(0.0, "share of the features dropped in training before the logit")
    spectrum: bool = option(False, "a second branch that sees the log-magnitude spectrum of the picture")
    methods: bool = option(False, "a second head that says which of the corpus' methods made a fake")

    def __post_init__(self) -> None:
        if self.size < 16:
            raise ValueError(f"size must be at least 16 px, got {self.size}")
        if not 0 < self.centre <= 1:
            raise ValueError(f"centre must be more than 0 and at most 1, got {self.centre}")
        if self.hidden < 0 or not 0 <= self.dropout < 1:
            raise ValueError(f"hidden must be 0 or more (got {self.hidden}), dropout at least 0 and less than 1 "
                             f"(got {self.dropout})")
