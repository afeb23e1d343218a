"""Self-blended faces: a real face blended with a slightly changed copy of itself, a fake without any generator.

After Shiohara and Yamasaki 2022 (Detecting Deepfakes with Self-Blended Images, arXiv 2204.08376). What a swap leaves
whichever network made it is a border inside the face, across which place, size, colour and sharpness differ a little;
a network that has learned to see that border needs no generator to learn from. Here masks are drawn about the
detector's five landmarks, for whole faces and for parts of them, since reenactment changes a mouth only.
"""
from __future__ import annotations

import cv2
import numpy as np

from data.loading.pack import Joined

# Places in lengths of the line from the middle of the eyes to the middle of the mouth, which is y; x to the right.
# Outlines of what swaps and reenactments replace: measured by eye on frontal faces, then varied at random.
REGIONS: tuple[tuple[float, tuple[tuple[float, float], ...]], ...] = (
    # from the brows down, as landmarks outline a face
    (.45, ((-1.0, -.35), (-.5, -.5), (0, -.45), (.5, -.5), (1.0, -.35), (1.05, .3), (.85, 1.1), (.45, 1.65), (0, 1.8),
           (-.45, 1.65), (-.85, 1.1), (-1.05, .3))),
    # the forehead too
    (.25, ((-1.0, -.5), (-.7, -1.0), (0, -1.2), (.7, -1.0), (1.0, -.5), (1.05, .3), (.85, 1.1), (.45, 1.65), (0, 1.8),
           (-.45, 1.65), (-.85, 1.1), (-1.05, .3))),
    # mouth and chin
    (.15, ((-.7, .55), (0, .45), (.7, .55), (.75, 1.1), (.4, 1.6), (0, 1.75), (-.4, 1.6), (-.75, 1.1))),
    # eyes, nose and mouth
    (.15, ((-.9, -.35), (0, -.3), (.9, -.35), (.8, .35), (.6, 1.25), (0, 1.35), (-.6, 1.25), (-.8, .35))))
# Where landmarks could not be found: the median of 16,000 DFDC crops, as shares of the side.
MEAN_POINTS = np.array([[.31, .28], [.72, .28], [.51, .48], [.34, .74], [.69, .74]], np.float32)
EDGE, LEAST_FACE = .15, .375  # of the side: border added for the detector, smallest face that it looks for
RATIOS = (.5, .75, 1.0, 1.0, 1.0, 1.0)  # how much of the copy is seen inside the mask


def self_blend(picture: np.ndarray, points: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A fake of a real face. picture: uint8 RGB (side, side, 3). points: float32 (5, 2), x y of left eye, right eye,
    nose, left and right mouth corner as shares of the side; NaN where unknown. Returns uint8 of the same shape."""
    side = picture.shape[0]
    if not np.isfinite(points).all():
        points = MEAN_POINTS
    mask = _mask(side, points * side, draw)
    copy = _changed(picture, draw)  # never the surroundings: a network would learn that their colours make a fake
    if draw.random() < .35:  # what an autoencoder gives back: fewer pixels than it stands on, no noise
        small = max(16, round(side * draw.uniform(.35, .8)))
        copy = cv2.resize(cv2.resize(copy, (small, small), interpolation=cv2.INTER_AREA), (side, side),
                          interpolation=cv2.INTER_CUBIC)
    copy = _moved(copy, points.mean(0) * side, draw)
    mask = (mask * RATIOS[draw.integers(len(RATIOS))])[..., None]
    return np.clip(copy * mask + picture * (1 - mask) + .5, 0, 255).astype(np.uint8)


def landmarks(pictures: np.ndarray | Joined, numbers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Landmarks of the real rows, float32 (n, 5, 2) as `self_blend` takes them, NaN for fakes and where none are found.

    pictures: uint8 (m, side, side, 3) RGB, faces that nearly fill them; numbers: for each row its place in `pictures`.
    Raises WeightsError.
    """
    from extract.faces.detector import THRESHOLDS
    from extract.faces.mtcnn import Cascade

    points = np.full((len(numbers), 5, 2), np.nan, np.float32)
    side, reals = pictures.shape[1], np.flatnonzero(labels == 0)
    edge = round(side * EDGE)
    cascade = Cascade(max(12, round(side * LEAST_FACE)), THRESHOLDS, "cpu")
    for start in range(0, len(reals), 32):
        rows = reals[start:start + 32]
        framed = [cv2.copyMakeBorder(picture, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
                  for picture in pictures[numbers[rows]]]
        for row, found in zip(rows, cascade(framed)):
            if len(found.boxes):
                largest = int(np.argmax(found.boxes[:, 2] - found.boxes[:, 0]))
                points[row] = (found.landmarks[largest] - edge) / side
    return points


def _mask(side: int, points: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A soft mask over a region of the face, float32 (side, side), 0 to 1."""
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    down = mouth - eyes
    wide = points[1] - points[0]  # 1.0 to 1.1 of `down` in frontal faces, less in turned ones
    shares = np.array([share for share, _ in REGIONS])
    outline = np.array(REGIONS[draw.choice(len(REGIONS), p=shares / shares.sum())][1])
    outline = outline * draw.uniform(.85, 1.12, 2) + draw.normal(0, .05, outline.shape)
    across = wide * .95 if np.linalg.norm(wide) > .4 * np.linalg.norm(down) else np.array([down[1], -down[0]]) * .5
    places = eyes + outline[:, :1] * across + outline[:, 1:] * down
    hard: np.ndarray = np.zeros((side, side), np.float32)
    cv2.fillPoly(hard, [np.round(places * 8).astype(np.int32)], 1.0, cv2.LINE_AA, 3)
    hard = cv2.remap(hard, *_waves(side, draw.uniform(0, .03) * side, draw), interpolation=cv2.INTER_LINEAR)
    width = max(1.0, side * float(draw.choice((.01, .02, .035, .06))))
    return cv2.GaussianBlur(hard, (0, 0), width)


def _changed(picture: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Colours moved as a bad match of two skins moves them, often hardly; sharper or softer. uint8 in and out."""
    out = picture.astype(np.float32)
    much = draw.random()  # good generators match colours well: what is left is sharpness and the border
    out = (out - 127.5) * (1 + much * draw.uniform(-.15, .15)) + 127.5 + much * draw.uniform(-20, 20)
    out += much * draw.uniform(-10, 10, 3)
    grey = out.mean(2, keepdims=True)
    out = grey + (out - grey) * (1 + much * draw.uniform(-.3, .3))
    kind = draw.random()
    if kind < .4:
        blurred = cv2.GaussianBlur(out, (0, 0), draw.uniform(.5, 1.6))
        out = blurred if kind < .25 else out + draw.uniform(.3, 1.2) * (out - blurred)
    elif kind < .6:
        side = picture.shape[0]
        small = max(16, round(side / draw.uniform(1.5, 3.5)))
        out = cv2.resize(cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA), (side, side),
                         interpolation=cv2.INTER_LINEAR)
    return np.clip(out, 0, 255).astype(np.uint8)


def _moved(picture: np.ndarray, centre: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Shifted, scaled and bent a little, as landmarks of another face would have it."""
    side = picture.shape[0]
    waves_x, waves_y = _waves(side, draw.uniform(0, .02) * side, draw)
    scale, shift = draw.uniform(.94, 1.06, 2), draw.uniform(-.03, .03, 2) * side
    x = (waves_x - centre[0]) / scale[0] + centre[0] - shift[0]
    y = (waves_y - centre[1]) / scale[1] + centre[1] - shift[1]
    return cv2.remap(picture, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REFLECT_101)


def _waves(side: int, height: float, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """x and y, float32 (side, side), of a grid bent by smooth waves of at most about `height` px."""
    cells = draw.normal(0, height / 2, (2, 5, 5)).astype(np.float32)
    bent = [cv2.resize(part, (side, side), interpolation=cv2.INTER_CUBIC) for part in cells]
    grid = np.arange(side, dtype=np.float32)
    return bent[0] + grid[None, :], bent[1] + grid[:, None]
