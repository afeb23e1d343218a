"""Face crops as network inputs and as augmented batches.

`to_input` is the one way from a stored crop to what a network sees; training, scoring and judging all call it.
Rotation, shift and flip are composed into one affine map per image and applied to the batch on its device.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import numpy as np
import torch

from pipeline.errors import TableError
from pipeline.options import option

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AugmentOptions:
    """How training crops are varied. Each crop gets a new draw every epoch."""

    rotate: float = option(15.0, "largest rotation either way, in degrees")
    shift: float = option(0.1, "largest shift along each axis, as a share of the side")
    flip: bool = option(True, "mirror every other crop left to right")

    def __post_init__(self) -> None:
        if not 0 <= self.rotate <= 180:
            raise ValueError(f"rotate must be between 0 and 180 degrees, got {self.rotate}")
        if not 0 <= self.shift < 1:
            raise ValueError(f"shift must be at least 0 and less than 1, got {self.shift}")


def to_input(crop: np.ndarray, size_px: int, centre: float = 1.0) -> np.ndarray:
    """The centre part of a square crop at a network's size.

    crop: uint8 RGB (side, side, 3); centre: share of the side that is kept, in (0, 1].
    Returns uint8 RGB (size_px, size_px, 3).
    """
    import cv2

    side = crop.shape[0]
    edge = round(side * (1 - centre) / 2)
    part = crop[edge:side - edge, edge:side - edge]
    if part.shape[0] == size_px:
        return np.ascontiguousarray(part)
    how = cv2.INTER_AREA if part.shape[0] > size_px else cv2.INTER_CUBIC
    return cv2.resize(part, (size_px, size_px), interpolation=how)


def read_crop(path: Path) -> np.ndarray:
    """A stored crop as uint8 RGB (side, side, 3). Raises TableError when it is missing or damaged: a failure is never
    a sample."""
    import cv2

    try:
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise TableError(f"the crop {path} cannot be read ({error}): run `make extract` again") from None
    if picture is None:
        raise TableError(f"the crop {path} is damaged: remove its folder and run `make extract` again")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


class Crops(torch.utils.data.Dataset):
    """Items (input uint8 (3, size, size) RGB, label 0 real or 1 fake, row number) of a table with crop and label.

    folder: what the crop paths are relative to (OUT/faces).
    """

    def __init__(self, rows: pd.DataFrame, folder: Path, size_px: int, centre: float):
        self.paths = [folder / name for name in rows["crop"]]
        self.labels = rows["label"].tolist()
        self.size_px, self.centre = size_px, centre

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int, int]:
        picture = to_input(read_crop(self.paths[row]), self.size_px, self.centre)
        return torch.from_numpy(picture).permute(2, 0, 1), self.labels[row], row


class EpochShuffle(torch.utils.data.Sampler):
    """A new order every epoch that depends on seed and epoch only, so that a resumed run goes on in the same order."""

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:  # Lightning calls this before each epoch
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        return iter(np.random.default_rng((self.seed, self.epoch)).permutation(self.length).tolist())


def augment(batch: torch.Tensor, options: AugmentOptions, seed: Sequence[int]) -> torch.Tensor:
    """Rotate, shift and mirror each picture of a batch by its own draw, in one resampling.

    batch: uint8 or float (n, 3, side, side), values 0 to 255, on any device. Returns float32 of the same shape and
    range; what a map brings in from outside the picture repeats its mirrored edge. The draws are made on the CPU from
    `seed`, so they are the same on every device.
    """
    draw = np.random.default_rng(list(seed))
    n = len(batch)
    angle = np.radians(draw.uniform(-options.rotate, options.rotate, n))
    shift = 2 * draw.uniform(-options.shift, options.shift, (n, 2))  # grid coordinates: the picture spans -1 to 1
    mirror = np.where(options.flip & (draw.random(n) < 0.5), -1.0, 1.0)
    affine = np.stack([np.stack([mirror * np.cos(angle), -np.sin(angle), shift[:, 0]], 1),
                       np.stack([mirror * np.sin(angle), np.cos(angle), shift[:, 1]], 1)], 1)
    maps = torch.from_numpy(affine).to(batch.device, torch.float32)
    grid = torch.nn.functional.affine_grid(maps, list(batch.shape), align_corners=False)
    return torch.nn.functional.grid_sample(batch.float(), grid, mode="bilinear", padding_mode="reflection",
                                           align_corners=False)
