"""Two drawn pictures whose logits a model card holds: a network that no longer gives them is refused, not used."""
from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np

from pipeline.errors import CheckpointError

PROBE_TOLERANCE = 1e-2  # logits; two CPUs or a CPU and a GPU differ by 1e-4, a changed network by far more


def probe_pictures(size: int) -> np.ndarray:
    """Draw colour ramps, and a checkerboard of 8 px: uint8 RGB (2, size, size, 3)."""
    step, up = np.float32(255) / np.float32(max(1, size - 1)), np.arange(size, dtype=np.float32)
    # From both ends in float32, as torch.linspace does: cards hold the logits of the pictures that it gave.
    line = np.where(up < size // 2, step * up, np.float32(255) - step * (size - 1 - up))
    ramp = np.broadcast_to(line, (size, size))
    y, x = np.indices((size, size))
    board = ((x // 8 + y // 8) % 2) * 255.0
    return np.stack([np.stack([ramp, ramp.T, 255 - ramp], -1), np.stack([board] * 3, -1)]).astype(np.uint8)


def check_probe(path: Path, now: Sequence[float], stored: Sequence[float], made_with: object) -> None:
    """Compare the logits of `probe_pictures` with those in the card of the model at `path`. Raises CheckpointError."""
    # Not "any is further": a logit that is no number is neither near nor far.
    if len(now) != len(stored) or not all(abs(a - b) <= PROBE_TOLERANCE * max(1, abs(b)) for a, b in zip(now, stored)):
        raise CheckpointError(f"{path} gives other scores than when it was saved (probe {list(now)}, stored "
                              f"{list(stored)}): a library changed the network; it was made with {made_with}")
