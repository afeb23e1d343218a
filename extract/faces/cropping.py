"""A face of a frame to its crop: an upright square around its box, or the face turned and scaled to a template.

Training, scoring and judging all cut with `crop_face`, whose options the checkpoint carries.
"""
from __future__ import annotations

import cv2
import numpy as np

from extract.faces.detector import FaceOptions, crop_square, place_of_square

# Left and right eye, nose, left and right mouth corner in a face of 112 px: the template of ArcFace (Deng et al. 2019,
# InsightFace), which DeepfakeBench aligns to as well. x y, px.
TEMPLATE_PX = 112
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
                     [70.7299, 92.2041]])
MOST_FINER = 4  # times that a face is drawn larger than its crop before it is averaged down to it


def crop_face(frame: np.ndarray, box: np.ndarray, landmarks: np.ndarray, options: FaceOptions) -> np.ndarray:
    """Cut one face from a full frame, upright or aligned as the options say.

    Args:
        frame: uint8 RGB (height, width, 3).
        box: (4,), x0 y0 x1 y1 in px of the frame.
        landmarks: (5, 2), x y in px of the frame, in the order of `Face.landmarks`; used where faces are aligned.
        options: how faces are cropped.

    Returns:
        uint8 RGB (crop_px, crop_px, 3).
    """
    if not options.align:
        return crop_square(frame, box, options)
    matrix = frame_to_crop(box, landmarks, frame.shape[1], frame.shape[0], options)
    # A warp does not average: a face larger than its crop is drawn finer first.
    finer = min(MOST_FINER, max(1, int(np.ceil(1 / np.hypot(*matrix[:, 0])))))
    side = options.crop_px * finer
    drawn = cv2.warpAffine(frame, matrix * finer + [[0, 0, (finer - 1) / 2]] * 2, (side, side), flags=cv2.INTER_CUBIC,
                           borderMode=cv2.BORDER_REPLICATE)
    return drawn if finer == 1 else cv2.resize(drawn, (options.crop_px,) * 2, interpolation=cv2.INTER_AREA)


def frame_to_crop(box: np.ndarray, landmarks: np.ndarray, width_px: int, height_px: int,
                  options: FaceOptions) -> np.ndarray:
    """Return the map from px of the full frame to px of the crop, float64 (2, 3); whole numbers are centres of pixels.

    Args:
        box, landmarks, options: as of `crop_face`.
        width_px, height_px: size of the frame.
    """
    if options.align:
        return similarity(landmarks, _template(options))
    x, y, side = place_of_square(box, width_px, height_px, options.margin)
    scale = options.crop_px / side
    return np.array([[scale, 0, (.5 - x) * scale - .5], [0, scale, (.5 - y) * scale - .5]])


def _template(options: FaceOptions) -> np.ndarray:
    """The template in px of the crop: the square of 112 px made larger by the margin about its centre."""
    return (TEMPLATE / TEMPLATE_PX - .5) / options.margin * options.crop_px + options.crop_px / 2


def similarity(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Return the turn, scale and shift that bring points nearest to others, float64 (2, 3), without mirroring.

    The least squares solution (Umeyama 1991), in two dimensions that of a complex line.

    Args:
        points, onto: (n, 2), n at least 2; x y.
    """
    source, target = np.asarray(points, float) @ [1, 1j], np.asarray(onto, float) @ [1, 1j]
    middle = source.mean()
    spread = (abs(source - middle) ** 2).sum()
    factor = ((source - middle).conj() * (target - target.mean())).sum() / spread if spread else 1.0
    shift = target.mean() - factor * middle
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])
