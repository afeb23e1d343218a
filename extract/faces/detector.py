"""Faces of a frame by MTCNN, and square crops of the full frame.

Detection looks at a bounded copy of the frame; boxes and landmarks are scaled back and crops are cut from the full
frame. Training and judging crop with the same function and the same options, which the checkpoint carries.

The main face of a frame is the largest of those that the detector is at least `SURE` of, or else the largest: a large
thing that looks a little like a face must not take the place of a person.

What this module does not know: who is who.
"""
from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import NamedTuple, Sequence

import cv2
import numpy as np

from extract.faces.mtcnn import Cascade
from pipeline.errors import OptionsError
from pipeline.options import option

THRESHOLDS = (0.6, 0.7, 0.7)  # of P-, R- and O-Net, as in the paper and in facenet-pytorch; min_confidence comes after
DETECTOR = 2  # raised when the same options give other boxes: crops made by another number are made again
SURE = 0.95                   # at full size MTCNN is .90 to .93 sure of a large pattern in a real Celeb-DF v2 clip
SECOND_SIDE = 960             # px of the second look, where the first finds nothing that it is sure of
CROPS = ("auto", "face", "whole")
LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")  # left and right as the viewer sees them
MOST_SIDE_PX = 8192   # of what the detector sees
MOST_CROP_PX = 1024   # 3 MB a crop
# Where a GPU would be seen on Linux: NVIDIA's, WSL's, AMD's, Jetson's. Where none is there, torch need not be asked.
GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd", "/dev/nvmap")


@dataclass(frozen=True)
class FaceOptions:
    """How faces are found and cropped."""

    detect_side: int = option(360, "long side in px of the bounded copy that the detector sees (960 where it "
                                   "finds nothing that it is sure of); 0 for the full frame")
    min_face: int = option(20, "smallest face to look for, in px of the bounded copy")
    min_confidence: float = option(0.9, "detector confidence below which a face is not recorded, 0 to 1")
    margin: float = option(1.3, "side of the square crop in lengths of the box's longer side (1.3: 15 % a side)")
    crop_px: int = option(224, "side of the stored crop in px")
    crop: str = option("auto", "what is judged: the main face, or the whole picture (auto: the face in videos, the "
                               "whole of pictures)", choices=CROPS)
    align: bool = option(False, "turn and scale each face so that eyes, nose and mouth lie where a template has them, "
                                "instead of an upright square")

    def __post_init__(self) -> None:
        if self.detect_side and not 40 <= self.detect_side <= MOST_SIDE_PX:
            raise ValueError(f"detect_side must be 0 or from 40 to {MOST_SIDE_PX} px, got {self.detect_side}")
        if not 12 <= self.min_face <= MOST_SIDE_PX:
            raise ValueError(f"min_face must be from 12 px (P-Net's window) to {MOST_SIDE_PX}, got {self.min_face}")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence must be between 0 and 1, got {self.min_confidence}")
        if not 1 <= self.margin <= 4:
            raise ValueError(f"margin must be between 1 and 4 box lengths, got {self.margin}")
        if self.crop not in CROPS:
            raise ValueError(f"crop must be one of {', '.join(CROPS)}, got {self.crop}")
        if not 16 <= self.crop_px <= MOST_CROP_PX:
            raise ValueError(f"crop_px must be from 16 to {MOST_CROP_PX} px, got {self.crop_px}")


class Detection(NamedTuple):
    """A face that the detector found in a frame.

    box: float32 (4,), x0 y0 x1 y1 in px of the full frame, origin top left, may reach over the border.
    landmarks: float32 (5, 2), x y of left eye, right eye, nose, left and right mouth corner as the viewer sees them.
    confidence: of O-Net, 0 to 1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    confidence: float


class Detector:
    """Finds faces with MTCNN on one device, or asks another process.

    Args:
        device: "auto" (CUDA, else MPS, else CPU), or one of `pick_device`.
        cascade: a RemoteCascade (extract.faces.gpu_server) to ask instead.

    Raises:
        WeightsError: the networks' files are missing or damaged.
    """

    def __init__(self, options: FaceOptions, device: str = "auto", cascade=None):
        self.options = options
        self.device = "served" if cascade else pick_device(device)
        self._cascade = cascade or make_cascade(options, self.device)
        self.batch = self._cascade.batch

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Find the faces of each frame, the main face first. frames: uint8 RGB (height, width, 3), all of one size."""
        found = self._look(frames, self.options.detect_side)
        again = [number for number, faces in enumerate(found) if not any(f.confidence >= SURE for f in faces)]
        if again and 0 < self.options.detect_side < min(SECOND_SIDE, max(frames[0].shape[:2])):
            second = self._look([frames[number] for number in again], SECOND_SIDE)
            for number, faces in zip(again, second):
                found[number] = faces or found[number]
        return found

    def _look(self, frames: Sequence[np.ndarray], side: int) -> list[list[Detection]]:
        if not frames:
            return []
        small, factors = _bounded(frames, side)
        if min(small[0].shape[:2]) < self.options.min_face:
            return [[] for _ in frames]
        return [sorted((Detection((box.reshape(2, 2) * factors).reshape(4), points * factors, float(confidence))
                        for box, points, confidence in zip(*found) if confidence >= self.options.min_confidence),
                       key=_rank, reverse=True) for found in self._cascade(small)]


class WholeFrame:
    """In place of a Detector where pictures are judged whole: each frame is one "face" without landmarks."""

    batch = 1

    def __init__(self, options: FaceOptions):
        self.options = options

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Return one Detection of the size of the frame for each, landmarks and confidence NaN."""
        return [[Detection(np.array([0, 0, frame.shape[1], frame.shape[0]], np.float32),
                           np.full((5, 2), np.nan, np.float32), float("nan"))] for frame in frames]


def make_cascade(options: FaceOptions, device: str):
    """Load the networks of a Detector: an extract.faces.mtcnn.Cascade. Raises WeightsError."""
    return Cascade(options.min_face, THRESHOLDS, device)


def crop_square(frame: np.ndarray, box: np.ndarray, options: FaceOptions) -> np.ndarray:
    """The square around a face box, cut from the full frame: uint8 RGB (crop_px, crop_px, 3), never squeezed.

    The square has `margin` times the box's longer side and the box's centre. At the border it is shifted inwards;
    where it is larger than the frame, the frame's edge is repeated.
    """
    height, width = frame.shape[:2]
    x, y, side = place_of_square(box, width, height, options.margin)
    inside = frame[max(y, 0):min(y + side, height), max(x, 0):min(x + side, width)]
    if inside.shape[:2] != (side, side):
        inside = cv2.copyMakeBorder(inside, max(-y, 0), max(y + side - height, 0), max(-x, 0),
                                    max(x + side - width, 0), cv2.BORDER_REPLICATE)
    # Area averaging is free of aliasing when shrinking; cubic is the usual choice for enlarging.
    how = cv2.INTER_AREA if side > options.crop_px else cv2.INTER_CUBIC
    return cv2.resize(inside, (options.crop_px, options.crop_px), interpolation=how)


def place_of_square(box: np.ndarray, width_px: int, height_px: int, margin: float) -> tuple[int, int, int]:
    """Return left, top and side in px of the square that is cut around a box from a frame of this size."""
    side = max(2, round(margin * float(max(box[2] - box[0], box[3] - box[1]))))
    return (_place((box[0] + box[2]) / 2, side, width_px), _place((box[1] + box[3]) / 2, side, height_px), side)


def overlap(a, b) -> float:
    """Intersection over union, 0 to 1, of two boxes x0 y0 x1 y1 that each have an area."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, float(width)) * max(0.0, float(height))
    return shared / (float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - shared)


def pick_device(device: str) -> str:
    """Resolve "auto" to cuda, mps or cpu, and check any other name. torch is imported only where there may be a GPU.

    Raises:
        OptionsError: the device is not there, or needs torch and that is not installed.
    """
    if device == "cpu" or device == "auto" and not _may_have_gpu():
        return "cpu"
    try:
        import torch
    except ImportError:
        if device == "auto":
            return "cpu"
        raise OptionsError(f"device {device!r} needs torch, which is not installed: pip install -e '.[train]', or use "
                           "cpu") from None
    have = [name for name, there in (("cuda", torch.cuda.is_available()),
                                     ("mps", torch.backends.mps.is_available()), ("cpu", True)) if there]
    if device == "auto":
        return have[0]
    if device.split(":")[0] not in have:
        raise OptionsError(f"device {device!r} is not available here, only {', '.join(have)} (or auto)")
    return device


def _may_have_gpu() -> bool:
    return sys.platform != "linux" or any(os.path.exists(name) for name in GPU_DEVICES)


def _bounded(frames: Sequence[np.ndarray], side: int) -> tuple[Sequence[np.ndarray], np.ndarray]:
    """Frames scaled so that the long side is at most `side` (0: as they are), and the float32 (x, y) factors back."""
    height, width = frames[0].shape[:2]
    shrink = min(1.0, side / max(height, width)) if side else 1.0
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    if shrink < 1:
        frames = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames]
    return frames, np.array([width / size[0], height / size[1]], np.float32)


def _rank(face: Detection) -> tuple[bool, float]:
    return face.confidence >= SURE, float((face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))


def _place(centre: float, side: int, length: int) -> int:
    """Start of an interval of `side` px about `centre`: shifted into [0, length) if it fits, else centred on it."""
    if side > length:
        return round((length - side) / 2)
    return min(max(round(float(centre) - side / 2), 0), length - side)
