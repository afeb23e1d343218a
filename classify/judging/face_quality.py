"""How good the faces of a clip are to look at: size, light, sharpness, and what of it a person can do something about.

The limits are set below what is seen in clips that people publish: of the 69 clips that chose the shipped detector's
band (Celeb-DF v2, FaceForensics++ c23, talking heads of many origins) none has a median face below 92 px, darker than
65 or softer than .106. Softness is the one that matters: of pictures softer than SOFT, which that band says nothing
about, the detector before called 26 of 36 reals FAKE (BENCHMARKS.md).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import cv2
import numpy as np

FACE_PX = 60     # longer side of the box
DARK = 40.0      # mean luma of the middle of the crop, 0 to 255
BRIGHT = 225.0
SOFT = 0.10      # of `sharpness`
LEAST_PX = 32    # below it there are fewer pixels than any network was trained on: no verdict
SIDE = 128       # px that light and sharpness are measured at
MIDDLE = 0.75    # share of the crop's side that is measured: the face, not what is around it


@dataclass(frozen=True)
class Quality:
    """Medians over the judged faces. face_px: longer side of the box in px of the frame. light: mean luma, 0 to 255.
    sharpness: spread of the Laplacian over spread of the luma at 128 px, about .1 (soft) to .6 (crisp)."""

    face_px: float
    light: float
    sharpness: float

    def complaints(self) -> list[str]:
        """What keeps a verdict from being sure, and what to do about it."""
        small = f"the face is only {self.face_px:.0f} px high: use a version of the clip with more pixels"
        return [small] * (LEAST_PX <= self.face_px < FACE_PX) + self.unfit()

    def unfit(self) -> list[str]:
        """What forbids a verdict: faces unlike any that a calibration has seen."""
        found = []
        if self.face_px < LEAST_PX:
            found.append(f"the face is only {self.face_px:.0f} px high, at least {LEAST_PX} are needed")
        if self.light < DARK:
            found.append("the face is too dark")
        if self.light > BRIGHT:
            found.append("the face is overexposed")
        if self.sharpness < SOFT:
            found.append("the face is blurred or strongly compressed: use the original file, not a forwarded copy")
        return found


def quality(boxes: Sequence[Sequence[float]], crops: Sequence[np.ndarray]) -> Quality:
    """Measure faces, at least one.

    Args:
        boxes: x0 y0 x1 y1 of each in px of the frame.
        crops: uint8 RGB (side, side, 3), one a face.
    """
    light, sharpness = [], []
    for crop in crops:
        edge = round(crop.shape[0] * (1 - MIDDLE) / 2)
        part = np.ascontiguousarray(crop[edge:crop.shape[0] - edge, edge:crop.shape[0] - edge])
        grey = cv2.cvtColor(cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        light.append(float(grey.mean()))
        sharpness.append(float(cv2.Laplacian(grey, cv2.CV_32F).std()) / max(8.0, float(grey.std())))
    sides = [max(box[2] - box[0], box[3] - box[1]) for box in boxes]
    return Quality(*(round(float(np.median(values)), 3) for values in (sides, light, sharpness)))
