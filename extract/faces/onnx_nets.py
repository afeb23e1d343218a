"""MTCNN's three networks on ONNX Runtime, from the files that ship with this package: faces on a CPU without torch."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np

from pipeline.errors import WeightsError
from pipeline.onnx_session import open_session

FOLDER = Path(__file__).parent  # pnet.onnx, rnet.onnx and onet.onnx, made by extract.faces.export_nets
# Crops that R- and O-Net take at once: a batch that leaves the cache costs 15 % more a crop at 16 and 13 % at 48.
CROPS_AT_ONCE = 8


class OnnxNets:
    """The networks of an extract.faces.mtcnn.Cascade. Raises WeightsError where a file is missing or damaged."""

    batch = 1  # frames of one clip at once: one by one is faster on a CPU (measured)

    def __init__(self) -> None:
        self._p, self._r, self._o = (_session(name) for name in "pro")

    def propose(self, levels: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run P-Net on each level of the pyramid.

        Args:
            levels: uint8 RGB (n, height, width, 3) each, of any size from 12 px.

        Returns:
            Per level float32 (n, 5, rows, columns): logit of a face, then four corrections in box sides.
        """
        return [self._p.run(None, {"pictures": level})[0] for level in levels]

    def refine(self, crops: np.ndarray) -> np.ndarray:
        """Run R-Net on uint8 RGB (n, 24, 24, 3): float32 (n, 5), logit of a face and four corrections in box sides."""
        return _in_parts(self._r, crops)

    def finish(self, crops: np.ndarray) -> np.ndarray:
        """Run O-Net on uint8 RGB (n, 48, 48, 3): float32 (n, 15), logit of a face, four corrections, then five x and
        five y of the landmarks in box sides."""
        return _in_parts(self._o, crops)


def _session(name: str) -> Any:
    path = FOLDER / f"{name}net.onnx"
    try:
        return open_session(path.read_bytes())
    except ImportError:
        raise WeightsError("onnxruntime, which finds faces on a CPU, is not installed: `make setup`") from None
    except Exception as error:  # a missing file, or one of ONNX Runtime's own kinds
        raise WeightsError(f"{path} is missing or damaged ({type(error).__name__}): install this project again, or "
                           "`python -m extract.faces.export_nets` makes it") from None


def _in_parts(session: Any, crops: np.ndarray) -> np.ndarray:
    starts = range(0, len(crops), CROPS_AT_ONCE)
    return np.concatenate([session.run(None, {"pictures": crops[n:n + CROPS_AT_ONCE]})[0] for n in starts])
