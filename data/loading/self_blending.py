"""Self-blended faces: a real face blended with a slightly changed copy of itself, a fake without any generator.

After Shiohara and Yamasaki 2022 (Detecting Deepfakes with Self-Blended Images, arXiv 2204.08376). What a swap leaves,
whichever network made it, is a border inside the face, across which place, size, colour and sharpness differ a little.
Either the pasted face is changed or the picture that it is pasted into, and then the changed picture is the real of the
pair: colour or softness alone say nothing. Regions are hulls of points of the face mesh, of whole faces and of parts,
since reenactment changes a mouth only.
"""
from __future__ import annotations

import cv2
import numpy as np

# Numbers of points of the face mesh (data.loading.face_mesh).
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
JAW = (323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93)
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
EYES = (33, 246, 161, 160, 159, 158, 157, 173, 133, 263, 466, 388, 387, 386, 385, 384, 398, 362, 145, 374)
NOSE = (168, 6, 4, 1, 2, 48, 278, 129, 358, 98, 327)
NOSTRILS = (2, 98, 327, 129, 358)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
# How often, and which points a region is the hull of. What swaps and reenactments replace.
REGIONS: tuple[tuple[float, tuple[int, ...]], ...] = (
    (.22, OVAL), (.25, BROWS + JAW), (.20, NOSTRILS + JAW[1:-1]), (.15, BROWS + EYES + NOSE + LIPS), (.10, LIPS),
    (.08, NOSE + LIPS))
CORNERS, UPPER_LIP, LOWER_LIP = (61, 291), 13, 14
RATIOS = (.75, 1.0, 1.0, 1.0)  # how much of the pasted face is seen inside the mask
CHANGED_TARGET = 0.5           # share of the pairs in which the picture is changed, not the pasted face
GENERATED = 0.3                # share of the pasted faces that look like an autoencoder's: few pixels, smoothed
MOUTH_MOVED = 0.3              # share of the pasted faces whose mouth is opened or closed a little


def self_blend(picture: np.ndarray, points: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Make a pair of a real and a fake from one real face.

    Args:
        picture: uint8 RGB (side, side, 3).
        points: float32 (468, 2), of `data.loading.face_mesh.mesh_points`, x y as shares of the side.
        draw: where everything random comes from.

    Returns:
        The real and the fake, uint8 of the same shape. They are equal outside the region that is blended.
    """
    side = picture.shape[0]
    places = points * side
    changed = _changed(picture, draw)
    real, pasted = (changed, picture) if draw.random() < CHANGED_TARGET else (picture, changed)
    if draw.random() < GENERATED:
        pasted = _generated(pasted, draw)
    mask = _mask(side, places, draw)
    # The mask moves with the face that it is cut from.
    x, y = _moves(side, places, draw)
    pasted = cv2.remap(pasted, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    mask = cv2.remap(mask, x, y, cv2.INTER_LINEAR)
    mask = (mask * RATIOS[draw.integers(len(RATIOS))])[..., None]
    return real, (pasted * mask + real * (1 - mask) + .5).astype(np.uint8)


def _mask(side: int, places: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A soft mask over a region of the face, float32 (side, side), 0 to 1. places: float (468, 2) in px."""
    shares = np.array([share for share, _ in REGIONS])
    region = places[list(REGIONS[draw.choice(len(REGIONS), p=shares / shares.sum())][1])]
    centre, size = region.mean(0), np.ptp(region, axis=0)
    region = centre + (region - centre) * draw.uniform(.85, 1.15, 2) + draw.normal(0, .03, region.shape) * size
    hard: np.ndarray = np.zeros((side, side), np.float32)
    cv2.fillConvexPoly(hard, cv2.convexHull(np.round(region * 8).astype(np.int32)), 1.0, cv2.LINE_AA, 3)
    hard = cv2.remap(hard, *_waves(side, draw.uniform(0, .06) * side, draw), interpolation=cv2.INTER_LINEAR)
    # A border of at most a fifth of the region, else nothing is left of lips.
    width = min(side * float(draw.choice((.008, .015, .025, .04, .06))), float(size.min()) / 5)
    return cv2.GaussianBlur(hard, (0, 0), max(.7, width))


def _changed(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Colours moved as a bad match of two skins moves them, often hardly; sharper or softer. uint8 in and out."""
    out = picture.astype(np.float32)
    much = draw.random()  # good generators match colours well: what is left is sharpness and the border
    out = (out - 127.5) * (1 + much * draw.uniform(-.15, .15)) + 127.5 + much * draw.uniform(-20, 20)
    out += (much * draw.uniform(-12, 12, 3)).astype(np.float32)
    grey = out.mean(2, keepdims=True)
    out = grey + (out - grey) * np.float32(1 + much * draw.uniform(-.3, .3))
    kind = draw.random()
    if kind < .3:
        out = cv2.GaussianBlur(out, (0, 0), draw.uniform(.5, 1.8))
    elif kind < .5:
        out = out + np.float32(draw.uniform(.3, 1.2)) * (out - cv2.GaussianBlur(out, (0, 0), draw.uniform(.7, 1.6)))
    elif kind < .8:
        out = _fewer_pixels(out, draw.uniform(.3, .75), draw)
    return np.clip(out, 0, 255).astype(np.uint8)


def _generated(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """What an autoencoder gives back: fewer pixels than it stands on, smooth skin, no noise. uint8 in and out."""
    kind = draw.random()
    if kind < .3:
        picture = cv2.medianBlur(picture, 3 if kind < .15 else 5)
    elif kind < .5:
        picture = cv2.bilateralFilter(picture, 5, draw.uniform(15, 50), draw.uniform(2, 4))
    return _fewer_pixels(picture, draw.uniform(.35, .9), draw)


def _fewer_pixels(picture: np.ndarray, share: float, draw: np.random.Generator) -> np.ndarray:
    """Shrunk to this share of its side and enlarged again."""
    side = picture.shape[0]
    small = max(16, round(side * share))
    how = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)[draw.choice(3, p=(.45, .45, .1))]
    return cv2.resize(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), (side, side),
                      interpolation=how)


def _moves(side: int, places: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of the pasted face comes from, x and y, float32 (side, side): shifted, scaled and bent a little,
    as another face's points would have it, sometimes with the mouth opened or closed."""
    x, y = _waves(side, draw.uniform(0, .01) * side, draw)
    centre = places.mean(0)
    scale, shift = draw.uniform(.95, 1.05, 2), draw.uniform(-.025, .025, 2) * side
    x = (x - centre[0]) / scale[0] + centre[0] - shift[0]
    y = (y - centre[1]) / scale[1] + centre[1] - shift[1]
    if draw.random() < MOUTH_MOVED:
        mouth = places[[UPPER_LIP, LOWER_LIP]].mean(0)
        wide = max(4.0, float(np.linalg.norm(places[CORNERS[0]] - places[CORNERS[1]])))
        near = np.exp(-((x - mouth[0]) ** 2 + (y - mouth[1]) ** 2) / (2 * (.6 * wide) ** 2))
        y = y - near * (y - mouth[1]) * draw.uniform(-.35, .35)
    return x.astype(np.float32), y.astype(np.float32)


def _waves(side: int, height: float, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """x and y, float32 (side, side), of a grid bent by smooth waves of at most about `height` px."""
    cells = draw.normal(0, height / 2, (2, 5, 5)).astype(np.float32)
    bent = [cv2.resize(part, (side, side), interpolation=cv2.INTER_CUBIC) for part in cells]
    grid = np.arange(side, dtype=np.float32)
    return bent[0] + grid[None, :], bent[1] + grid[:, None]
