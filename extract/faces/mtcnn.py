"""MTCNN (Zhang et al. 2016, doi 10.1109/LSP.2016.2603342): facenet-pytorch's weights in a cascade of our own.

The same networks, thresholds and box arithmetic as facenet-pytorch 2.5.3, at a fraction of its cost: the pyramid is
uint8 and each level is shrunk from the one before, not from the frame; the networks run channels-last with the input's
normalisation folded into their first layer; a stage looks at all frames at once and asks the device for its answer
once. torchvision and facenet-pytorch itself, a second of imports, are not loaded.
"""
from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import cv2
import numpy as np
import torch
from torch.nn import functional

from pipeline.errors import OutOfMemoryError, WeightsError

FACTOR = 0.709        # between two levels of the pyramid: half the area, as in the paper
CELL, STRIDE = 12, 2  # px: P-Net's window and step
R_SIDE, O_SIDE = 24, 48  # px: inputs of R-Net and O-Net
CPU_CROPS = 64        # crops a CPU takes through R- and O-Net at once: more leave its cache and take twice as long each
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


class Cascade:
    """The three networks on one device.

    min_face: smallest face to look for, px. thresholds: of P-, R- and O-Net, 0 to 1. Raises WeightsError.
    """

    def __init__(self, min_face: int, thresholds: Sequence[float], device: str):
        self.min_face, self.thresholds, self.device = min_face, thresholds, device
        self._p, self._r, self._o = (_weights(name, device) for name in "pro")

    @torch.inference_mode()
    def __call__(self, frames: Sequence[np.ndarray]) -> list[Found]:
        """Faces of each frame. frames: uint8 RGB (height, width, 3) of any sizes, at least min_face px a side.
        Raises OutOfMemoryError.

        P-Net takes the frames of one size together, R- and O-Net the crops of all. On one canvas P-Net could take all
        together too, but a pyramid of the canvas is not that of the frame: boxes would then hang on their neighbours.
        """
        try:
            boxes, of = self._propose(frames)
            boxes, of = self._refine(frames, boxes, of)
            return self._finish(frames, boxes, of)
        except torch.OutOfMemoryError:
            raise OutOfMemoryError(f"the memory of {self.device} is too full to look for faces: end what else runs "
                                   "there, or DEVICE=cpu") from None

    def _propose(self, frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """P-Net over the pyramid: square boxes (n, 5) with score, and the frame (n,) that each lies in."""
        maps = []
        for numbers in _by_size(frames):
            scale, level = CELL / self.min_face, [frames[number] for number in numbers]
            height, width = level[0].shape[:2]
            while min(height, width) * scale >= CELL:
                size = int(width * scale + 1), int(height * scale + 1)
                how = cv2.INTER_AREA if size[0] <= level[0].shape[1] else cv2.INTER_LINEAR
                level = [cv2.resize(picture, size, interpolation=how) for picture in level]
                maps.append((scale, numbers, self._p_net(self._pictures(level))))
                scale *= FACTOR
        # One answer from the device for all levels: rows (face score, 4 corrections), frame by frame within a level.
        flat = torch.cat([m.permute(0, 2, 3, 1).reshape(-1, 5) for *_, m in maps]).cpu().numpy()
        found, owner, kinds, start = [], [], [], 0
        for number, (scale, numbers, cells) in enumerate(maps):
            n, _, rows, columns = cells.shape
            values = flat[start:start + n * rows * columns]
            start += len(values)
            places = np.flatnonzero(values[:, 0] >= self.thresholds[0])
            frame, row, column = np.unravel_index(places, (n, rows, columns))
            corner = np.stack([column, row], 1) * STRIDE
            box = np.hstack([np.floor((corner + 1) / scale), np.floor((corner + CELL) / scale), values[places]])
            found.append(box)
            owner.append(numbers[frame])
            kinds.append(numbers[frame] * len(maps) + number)
        box, of, kind = np.concatenate(found), np.concatenate(owner), np.concatenate(kinds)
        keep = _suppress(box[:, :4], box[:, 4], kind, SAME_LEVEL)
        box, of = box[keep], of[keep]
        keep = _suppress(box[:, :4], box[:, 4], of, SAME_CANDIDATE)
        box, of = box[keep], of[keep]
        sides = np.tile(box[:, 2:4] - box[:, :2], 2)
        return _square(np.hstack([box[:, :4] + box[:, 5:] * sides, box[:, 4:5]])), of

    def _refine(self, frames, boxes: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R-Net: fewer and better square boxes."""
        crops, boxes, of = _cut(frames, boxes, of, R_SIDE)
        if not len(boxes):
            return boxes, of
        answer = self._answers(self._r_net, crops)
        score, move = answer[:, 0], answer[:, 1:]
        keep = score > self.thresholds[1]
        boxes, of, move = np.hstack([boxes[keep, :4], score[keep, None]]), of[keep], move[keep]
        keep = _suppress(boxes[:, :4], boxes[:, 4], of, SAME_CANDIDATE)
        return _square(_moved(boxes[keep], move[keep])), of[keep]

    def _finish(self, frames, boxes: np.ndarray, of: np.ndarray) -> list[Found]:
        """O-Net: final boxes, landmarks, confidences, per frame from the most confident."""
        crops, boxes, of = _cut(frames, boxes, of, O_SIDE)
        if not len(boxes):
            return [Found(np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, np.float32))
                    for _ in frames]
        answer = self._answers(self._o_net, crops)
        score, move, points = answer[:, 0], answer[:, 1:5], answer[:, 5:]
        keep = score > self.thresholds[2]
        boxes, of, move, points = np.hstack([boxes[keep, :4], score[keep, None]]), of[keep], move[keep], points[keep]
        sides = boxes[:, 2:4] - boxes[:, :2] + 1
        landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * sides[:, None] + boxes[:, None, :2] - 1
        boxes = _moved(boxes, move)
        result = []
        for number in range(len(frames)):
            mine = np.flatnonzero(of == number)
            mine = mine[_suppress_contained(boxes[mine])]
            result.append(Found(boxes[mine, :4].astype(np.float32), landmarks[mine].astype(np.float32),
                                boxes[mine, 4].astype(np.float32)))
        return result

    def _answers(self, net, crops: list[np.ndarray]) -> np.ndarray:
        """What a network says of each crop, float32 (n, …), fetched from the device at once."""
        step = CPU_CROPS if self.device == "cpu" else len(crops)
        parts = [net(self._pictures(crops[start:start + step])) for start in range(0, len(crops), step)]
        return torch.cat(parts).cpu().numpy()

    def _pictures(self, pictures: list[np.ndarray]) -> torch.Tensor:
        """float (n, 3, height, width), values 0 to 255, channels-last in memory as the pictures are."""
        return torch.from_numpy(np.stack(pictures)).to(self.device).permute(0, 3, 1, 2).float()

    def _p_net(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 5, rows, columns): face score in [0, 1], then the four corrections in box sides."""
        w = self._p
        x = functional.max_pool2d(_conv(w, "1", x), 2, 2, ceil_mode=True)
        x = _conv(w, "3", _conv(w, "2", x))
        both = functional.conv2d(x, w["conv4_1.weight"], w["conv4_1.bias"])
        return torch.cat([_face_score(both)[:, None], functional.conv2d(x, w["conv4_2.weight"], w["conv4_2.bias"])], 1)

    def _r_net(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 5): face score, four corrections in box sides."""
        w = self._r
        for layer in "12":
            x = functional.max_pool2d(_conv(w, layer, x), 3, 2, ceil_mode=True)
        x = _dense(w, "4", _conv(w, "3", x))
        return torch.cat([_face_score(_linear(w, "dense5_1", x))[:, None], _linear(w, "dense5_2", x)], 1)

    def _o_net(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 15): face score, four corrections in box sides, five x and five y of the landmarks in box sides."""
        w = self._o
        for layer in "12":
            x = functional.max_pool2d(_conv(w, layer, x), 3, 2, ceil_mode=True)
        x = functional.max_pool2d(_conv(w, "3", x), 2, 2, ceil_mode=True)
        x = _dense(w, "5", _conv(w, "4", x))
        return torch.cat([_face_score(_linear(w, "dense6_1", x))[:, None], _linear(w, "dense6_2", x),
                          _linear(w, "dense6_3", x)], 1)


def _by_size(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Numbers of the frames of each size, int (n,)."""
    sizes: dict[tuple, list[int]] = {}
    for number, frame in enumerate(frames):
        sizes.setdefault(frame.shape, []).append(number)
    return [np.array(numbers) for numbers in sizes.values()]


def _weights(name: str, device: str) -> dict[str, torch.Tensor]:
    """Tensors of p-, r- or o-net from facenet-pytorch's wheel, for inputs of 0 to 255, not (x - 127.5) / 128."""
    package = util.find_spec("facenet_pytorch")
    if package is None or not package.submodule_search_locations:
        raise WeightsError("the package facenet-pytorch, which carries MTCNN's weights, is not installed: `make setup`")
    path = Path(package.submodule_search_locations[0]) / "data" / f"{name}net.pt"
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    first = tensors["conv1.weight"]
    tensors["conv1.bias"] = tensors["conv1.bias"] - first.sum((1, 2, 3)) * (127.5 / 128)
    tensors["conv1.weight"] = first / 128
    return {key: value.to(device, memory_format=torch.channels_last) if value.dim() == 4 else value.to(device)
            for key, value in tensors.items()}


def _conv(w: dict[str, torch.Tensor], layer: str, x: torch.Tensor) -> torch.Tensor:
    x = functional.conv2d(x, w[f"conv{layer}.weight"], w[f"conv{layer}.bias"])
    return functional.prelu(x, w[f"prelu{layer}.weight"])


def _linear(w: dict[str, torch.Tensor], layer: str, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, w[f"{layer}.weight"], w[f"{layer}.bias"])


def _dense(w: dict[str, torch.Tensor], layer: str, x: torch.Tensor) -> torch.Tensor:
    # The weights were made with Caffe's axis order: columns before rows before channels.
    flat = x.permute(0, 3, 2, 1).flatten(1)
    return functional.prelu(_linear(w, f"dense{layer}", flat), w[f"prelu{layer}.weight"])


def _face_score(both: torch.Tensor) -> torch.Tensor:
    """Softmax of (no face, face) over axis 1, the second one."""
    return torch.sigmoid(both[:, 1] - both[:, 0])


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


def _suppress(boxes: np.ndarray, scores: np.ndarray, kinds: np.ndarray, overlap: float) -> np.ndarray:
    """Numbers of the boxes that no stronger box of their kind overlaps by more than this intersection over union."""
    if not len(boxes):
        return np.empty(0, np.int64)
    corners_sides: Any = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    strength: Any = scores.astype(np.float32)
    kind: Any = kinds.astype(np.int32)
    kept: Any = cv2.dnn.NMSBoxesBatched(corners_sides, strength, kind, 0.0, overlap)
    return np.array(kept, dtype=np.int64).reshape(-1)


def _suppress_contained(boxes: np.ndarray) -> list[int]:
    """The same for boxes (n, 5) of one frame, by intersection over the smaller box: a box inside another goes too."""
    kept: list[int] = []
    area = np.prod(boxes[:, 2:4] - boxes[:, :2] + 1, axis=1)
    for i in np.argsort(-boxes[:, 4], kind="stable"):
        start, end = np.maximum(boxes[i, :2], boxes[kept, :2]), np.minimum(boxes[i, 2:4], boxes[kept, 2:4])
        shared = np.prod(np.clip(end - start + 1, 0, None), axis=1)
        if not (shared > SAME_FACE * np.minimum(area[i], area[kept])).any():
            kept.append(int(i))
    return kept
