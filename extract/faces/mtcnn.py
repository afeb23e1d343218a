"""MTCNN (Zhang et al. 2016, doi 10.1109/LSP.2016.2603342): facenet-pytorch's weights in a cascade written here.

The same networks, thresholds and box arithmetic as facenet-pytorch 2.5.3, at a fraction of its cost: the pyramid is
uint8 and each level is shrunk from the one before, not from the frame; the input's normalisation is folded into the
networks' first layers; a stage looks at all frames at once. The networks run on ONNX Runtime (onnx_nets.py), on a GPU
on torch (torch_nets.py).
"""
from __future__ import annotations

from typing import Any, NamedTuple, Protocol, Sequence

import cv2
import numpy as np

FACTOR = 0.709        # between two levels of the pyramid: half the area, as in the paper
CELL, STRIDE = 12, 2  # px: P-Net's window and step
R_SIDE, O_SIDE = 24, 48  # px: inputs of R-Net and O-Net
SAME_LEVEL, SAME_FACE = 0.5, 0.7  # overlaps above which the weaker of two boxes goes, as in facenet-pytorch
# Between the stages, where facenet-pytorch has .7: a third of the crops less to look at and the same main face in 344
# of 344 frames; boxes of two people hardly ever share that much.
SAME_CANDIDATE = 0.4


class Found(NamedTuple):
    """Faces of one frame: boxes float32 (n, 4) x0 y0 x1 y1 and landmarks float32 (n, 5, 2) x y in px of the frame,
    confidences float32 (n,) in [0, 1]."""

    boxes: np.ndarray
    landmarks: np.ndarray
    confidences: np.ndarray


class Nets(Protocol):
    """The three networks: extract.faces.onnx_nets.OnnxNets says what goes in and what comes out."""

    batch: int  # frames of one clip at once

    def propose(self, levels: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run P-Net on each level of the image pyramid."""

    def refine(self, crops: np.ndarray) -> np.ndarray:
        """Run R-Net on crops."""

    def finish(self, crops: np.ndarray) -> np.ndarray:
        """Run O-Net on crops."""


class Cascade:
    """Finds faces in frames.

    Args:
        min_face: smallest face to look for, px.
        thresholds: of P-, R- and O-Net, 0 to 1.
        device: "cpu" for ONNX Runtime, else a device of torch.

    Raises:
        WeightsError: the networks' files are missing or damaged.
    """

    def __init__(self, min_face: int, thresholds: Sequence[float], device: str):
        self.min_face, self.thresholds, self.nets = min_face, thresholds, load_nets(device)

    @property
    def batch(self) -> int:
        """Frames of one clip to ask for at once."""
        return self.nets.batch

    def __call__(self, frames: Sequence[np.ndarray]) -> list[Found]:
        """Find the faces of each frame.

        P-Net takes the frames of one size together, R- and O-Net the crops of all. On one canvas P-Net could take all
        together too, but a pyramid of the canvas is not that of the frame: boxes would then depend on what else is on
        the canvas.

        Args:
            frames: uint8 RGB (height, width, 3) of any sizes, at least min_face px a side.

        Raises:
            OutOfMemoryError: the device has no room.
        """
        boxes, of = self._propose(frames)
        boxes, of = self._refine(frames, boxes, of)
        return self._finish(frames, boxes, of)

    def _propose(self, frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """P-Net over the pyramid: square boxes (n, 5) with score, and the frame (n,) that each lies in."""
        scales, of_level, levels = [], [], []
        for numbers in _by_size(frames):
            scale, level = CELL / self.min_face, [frames[number] for number in numbers]
            height, width = level[0].shape[:2]
            while min(height, width) * scale > CELL - 1e-6:  # 12 / 47 * 47 is 11.999999999999998
                size = int(width * scale + 1), int(height * scale + 1)
                how = cv2.INTER_AREA if size[0] <= level[0].shape[1] else cv2.INTER_LINEAR
                level = [cv2.resize(picture, size, interpolation=how) for picture in level]
                scales.append(scale)
                of_level.append(numbers)
                levels.append(np.stack(level))
                scale *= FACTOR
        least = np.log(self.thresholds[0] / (1 - self.thresholds[0]))
        found, owner, kinds = [], [], []
        for number, answer in enumerate(self.nets.propose(levels)):
            frame, row, column = np.nonzero(answer[:, 0] >= least)
            corner = np.stack([column, row], 1) * STRIDE
            scale, numbers = scales[number], of_level[number]
            box = np.hstack([np.floor((corner + 1) / scale), np.floor((corner + CELL) / scale),
                             _probabilities(answer[frame, 0, row, column])[:, None], answer[frame, 1:, row, column]])
            found.append(box)
            owner.append(numbers[frame])
            kinds.append(numbers[frame] * len(levels) + number)
        box, of, kind = np.concatenate(found), np.concatenate(owner), np.concatenate(kinds)
        keep = suppress(box[:, :4], box[:, 4], kind, SAME_LEVEL)
        box, of = box[keep], of[keep]
        keep = suppress(box[:, :4], box[:, 4], of, SAME_CANDIDATE)
        box, of = box[keep], of[keep]
        sides = np.tile(box[:, 2:4] - box[:, :2], 2)
        return _square(np.hstack([box[:, :4] + box[:, 5:] * sides, box[:, 4:5]])), of

    def _refine(self, frames, boxes: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R-Net: fewer and better square boxes."""
        crops, boxes, of = _cut(frames, boxes, of, R_SIDE)
        if not len(boxes):
            return boxes, of
        answer = self.nets.refine(np.stack(crops))
        score, move = _probabilities(answer[:, 0]), answer[:, 1:]
        keep = score > self.thresholds[1]
        boxes, of, move = np.hstack([boxes[keep, :4], score[keep, None]]), of[keep], move[keep]
        keep = suppress(boxes[:, :4], boxes[:, 4], of, SAME_CANDIDATE)
        return _square(_moved(boxes[keep], move[keep])), of[keep]

    def _finish(self, frames, boxes: np.ndarray, of: np.ndarray) -> list[Found]:
        """O-Net: final boxes, landmarks, confidences, per frame from the most confident."""
        crops, boxes, of = _cut(frames, boxes, of, O_SIDE)
        if not len(boxes):
            return [Found(np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, np.float32))
                    for _ in frames]
        answer = self.nets.finish(np.stack(crops))
        score, move, points = _probabilities(answer[:, 0]), answer[:, 1:5], answer[:, 5:]
        keep = score > self.thresholds[2]
        boxes, of, move, points = np.hstack([boxes[keep, :4], score[keep, None]]), of[keep], move[keep], points[keep]
        sides = boxes[:, 2:4] - boxes[:, :2] + 1
        landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * sides[:, None] + boxes[:, None, :2] - 1
        boxes = _moved(boxes, move)
        result = []
        for number in range(len(frames)):
            mine = np.flatnonzero(of == number)
            mine = mine[suppress_contained(boxes[mine])]
            result.append(Found(boxes[mine, :4].astype(np.float32), landmarks[mine].astype(np.float32),
                                boxes[mine, 4].astype(np.float32)))
        return result


def load_nets(device: str) -> Nets:
    """Load the three networks, for "cpu" without torch. Raises WeightsError."""
    if device == "cpu":
        from extract.faces.onnx_nets import OnnxNets

        return OnnxNets()
    from extract.faces.torch_nets import TorchNets

    return TorchNets(device)


def _by_size(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Numbers of the frames of each size, int (n,)."""
    sizes: dict[tuple, list[int]] = {}
    for number, frame in enumerate(frames):
        sizes.setdefault(frame.shape, []).append(number)
    return [np.array(numbers) for numbers in sizes.values()]


def _probabilities(logits: np.ndarray) -> np.ndarray:
    """float32 of the same shape, each in [0, 1]."""
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))  # float32 overflows at 89


def _square(boxes: np.ndarray) -> np.ndarray:
    """Boxes (n, 5) made square about their centres by their longer side."""
    sides = boxes[:, 2:4] - boxes[:, :2]
    side = sides.max(1, keepdims=True) if len(boxes) else sides[:, :1]
    start = boxes[:, :2] + (sides - side) / 2
    return np.hstack([start, start + side, boxes[:, 4:5]])


def _moved(boxes: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Boxes (n, 5) with each coordinate moved by a share of the box's side."""
    sides = np.tile(boxes[:, 2:4] - boxes[:, :2] + 1, 2)
    return np.hstack([boxes[:, :4] + move * sides, boxes[:, 4:5]])


def _cut(frames, boxes: np.ndarray, of: np.ndarray, side: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Pictures of side x side px of the boxes' parts inside their frames; boxes without such a part are left out."""
    x0, y0 = np.maximum(boxes[:, :2].astype(int), 1).T - 1
    x1, y1 = np.minimum(boxes[:, 2:4].astype(int), np.array([frame.shape[1::-1] for frame in frames])[of]).T
    inside = np.flatnonzero((x1 > x0) & (y1 > y0))
    crops = [cv2.resize(frames[of[i]][y0[i]:y1[i], x0[i]:x1[i]], (side, side), interpolation=cv2.INTER_AREA)
             for i in inside]
    return crops, boxes[inside], of[inside]


def suppress(boxes: np.ndarray, scores: np.ndarray, kinds: np.ndarray, overlap: float) -> np.ndarray:
    """Return the numbers of the boxes that no stronger box of their kind overlaps by more than `overlap`, as IoU."""
    if not len(boxes):
        return np.empty(0, np.int64)
    corners_sides: Any = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    strength: Any = scores.astype(np.float32)
    kind: Any = kinds.astype(np.int32)
    kept: Any = cv2.dnn.NMSBoxesBatched(corners_sides, strength, kind, 0.0, overlap)
    return np.array(kept, dtype=np.int64).reshape(-1)


def suppress_contained(boxes: np.ndarray) -> list[int]:
    """Suppress boxes (n, 5) of one frame by intersection over the smaller box: a box inside another goes too."""
    kept: list[int] = []
    area = np.prod(boxes[:, 2:4] - boxes[:, :2] + 1, axis=1)
    for i in np.argsort(-boxes[:, 4], kind="stable"):
        start, end = np.maximum(boxes[i, :2], boxes[kept, :2]), np.minimum(boxes[i, 2:4], boxes[kept, 2:4])
        shared = np.prod(np.clip(end - start + 1, 0, None), axis=1)
        if not (shared > SAME_FACE * np.minimum(area[i], area[kept])).any():
            kept.append(int(i))
    return kept
