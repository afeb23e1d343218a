"""A statistical face model: draws heads of people who do not exist, for the demo corpus.

An active appearance model (Cootes, Edwards & Taylor 1998): principal components of shape (178 facial landmarks of the
photos, 23 measured points of the outline of the hair, 5 of the neck) and of appearance (photos warped to the mean
shape: luma at 256 px, chroma and coverage at 64 px) together, learned from the neutral frontal photos of 142 people:
Face Research Lab London Set and the Canada set of the same lab (see ATTRIBUTION). A sampled head is a random
combination of N_COMPONENTS components, well below the number of people, so it is nobody real and no photo can be
drawn from the model: the coefficients of the people are not stored.

What it does not know: expressions, other views than frontal, glasses, clothes, what is behind the head.

`python -m data.demo.face_model --photos DIR --out FILE` learns it again; the same photos give the same file.
"""
from __future__ import annotations

import argparse
import functools
import io
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from extract.decoding.image import read_picture
from pipeline.errors import CorpusError, command
from pipeline.tables import write_bytes

MODEL_FILE = Path(__file__).with_name("face_model.npz")
ATTRIBUTION = (
    "Learned from: DeBruine, L. & Jones, B. (2017), Face Research Lab London Set, doi 10.6084/m9.figshare.5047666, "
    "and the Canada set of the same lab (Face Research Lab); both CC BY 4.0. Changes: photos warped to the mean shape, "
    "reduced to principal components and quantised; no photo and no person's coefficients are contained."
)
SIZE = 256  # px, side of the head texture; the drawn heads are some 150 px high
SMALL = 64  # px, side of the chroma and coverage planes: the eye is four times coarser for colour
N_COMPONENTS = 44  # of 142 people
N_LANDMARKS = 189
HAIR_LANDMARKS = range(146, 157)  # clicked on the hair, at no consistent place: the measured outline replaces them
RAYS_DEG = np.linspace(-20.0, 200.0, 23)  # directions of the outline points seen from the nasion, 90 is up
# Landmark numbers of the lab's template (webmorph "frm"), left and right as seen by the viewer.
PUPILS = (0, 1)
UPPER_LID = ((18, 19, 20, 21, 22), (23, 24, 25, 26, 27))
LOWER_LID = ((18, 28, 29, 30, 22), (23, 31, 32, 33, 27))
NASION = (50, 56)
NOSE_TIP = (54, 60, 170, 172)
BROWS = (71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82)
MOUTH_CORNERS = (87, 93)
UPPER_LIP_EDGE = (87, 94, 95, 96, 97, 98, 93)  # where the upper lip ends, corner to corner
JAW = (109, 110, 111, 125, 126, 127, 128, 129, 130, 131, 132, 133, 114, 113, 112)
HAIRLINE = tuple(range(134, 145))
CHIN = 129
CHEEKS = (164, 165, 168, 167)
ALIGN = PUPILS + NASION + NOSE_TIP + MOUTH_CORNERS + (CHIN,)
KEPT = tuple(i for i in range(N_LANDMARKS) if i not in HAIR_LANDMARKS)
FACE_HEIGHT = 88.0  # px of the texture from between the pupils to the chin, in the mean head
EYES_AT = (128.0, 124.0)  # px, the point between the pupils in the mean head


@dataclass(frozen=True)
class FaceModel:
    """The learned model, dequantised.

    mean_shape: (P, 2) x y in pixels of the SIZE x SIZE head picture, origin top left.
    shape_components: (K, P, 2), pixels per standard deviation.
    mean: luma (SIZE, SIZE), chroma and coverage (3, SMALL, SMALL), 0..255 (chroma: Cr, Cb of OpenCV, 128 is grey).
    components: the same with a leading K, levels per standard deviation.
    triangles: (T, 3) indices of points.
    """
    mean_shape: np.ndarray
    shape_components: np.ndarray
    mean: tuple[np.ndarray, np.ndarray]
    components: tuple[np.ndarray, np.ndarray]
    triangles: np.ndarray
    attribution: str


@dataclass(frozen=True)
class Identity:
    """One drawn person. shape: (P, 2) px; texture: (SIZE, SIZE, 4) uint8 BGR and coverage, in the mean shape."""
    shape: np.ndarray
    texture: np.ndarray


def point(landmark: int) -> int:
    """Index of a landmark of the template among the model's points."""
    return KEPT.index(landmark)


def points(landmarks: tuple[int, ...]) -> list[int]:
    """Return the numbers of these landmarks in the model."""
    return [point(i) for i in landmarks]


@functools.cache
def load_model(path: str | Path = MODEL_FILE) -> FaceModel:
    """Read the model that ships with the project (about 10 ms, kept for the process)."""
    with np.load(path, allow_pickle=False) as file:
        part = {name: file[name] for name in file.files}
    luma = part["luma"].astype(np.float32) * part["luma_step"][:, None, None]
    small = part["small"].astype(np.float32) * part["small_step"][:, None, None, None]
    return FaceModel(part["mean_shape"].astype(np.float32), part["shape"].astype(np.float32),
                     (part["mean_luma"].astype(np.float32), part["mean_small"].astype(np.float32)),
                     (luma, small), part["triangles"].astype(np.int32), str(part["attribution"]))


def sample_identity(model: FaceModel, rng: np.random.Generator, spread: float = 0.9) -> Identity:
    """Draw a person: every component by chance, `spread` standard deviations wide and cut at two."""
    weights = np.clip(rng.standard_normal(len(model.shape_components)), -2, 2).astype(np.float32) * spread
    shape = model.mean_shape + np.tensordot(weights, model.shape_components, 1)
    luma = model.mean[0] + np.tensordot(weights, model.components[0], 1)
    small = model.mean[1] + np.tensordot(weights, model.components[1], 1)
    chroma = [cv2.resize(plane, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for plane in small]
    # Half-covered ghosts of other people's hair are pushed towards all or nothing.
    cover = 255 / (1 + np.exp(-(chroma[2] - 128) / 22))
    neck = model.mean_shape[[point(145), point(183), point(184), point(157), -2, -4]]
    column = cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.float32), cv2.convexHull(np.rint(neck).astype(np.int32)), 255)
    cover = np.maximum(cover, cv2.GaussianBlur(column, (0, 0), 2))
    ycc = np.dstack([np.clip(luma, 4, 250), np.clip(chroma[0], 118, 175), np.clip(chroma[1], 80, 136)])
    bgr = cv2.cvtColor(np.rint(ycc).astype(np.uint8), cv2.COLOR_YCrCb2BGR)
    return Identity(shape.astype(np.float32), np.dstack([bgr, np.rint(cover).astype(np.uint8)]))


def to_own_shape(model: FaceModel, picture: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Warp a picture in the mean shape, (SIZE, SIZE, C), to a person's shape (P, 2)."""
    return warp(picture, with_frame(model.mean_shape), with_frame(shape), model.triangles)


def warp(picture: np.ndarray, source: np.ndarray, target: np.ndarray, triangles: np.ndarray,
         size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """Piecewise affine warp: what lies at the points `source` of the picture comes to lie at `target`.

    source, target: (P, 2) px; triangles: (T, 3); size: (width, height) of the result. Beyond the mesh: border pixels.
    """
    first, second = (target[triangles[:, i]] - target[triangles[:, 0]] for i in (1, 2))
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    area *= np.sign(np.median(area))
    number = np.zeros(size[::-1], np.int32)
    corners = np.rint(target[triangles] * 16).astype(np.int32)  # 4 fractional bits
    for i in np.argsort(area, kind="stable"):  # large triangles cover the rims of the squeezed and the folded
        cv2.fillConvexPoly(number, corners[i], int(i), shift=4)
    square = np.concatenate([target[triangles], np.ones((len(triangles), 3, 1))], 2).astype(np.float64)
    square += np.eye(3) * 1e-6  # a triangle squeezed to a line stays solvable
    affine = np.linalg.solve(square, source[triangles].astype(np.float64))  # (T, 3, 2)
    y, x = np.mgrid[:size[1], :size[0]]
    maps = np.einsum("hwk,hwkc->hwc", np.dstack([x, y, np.ones_like(x)]), affine[number]).astype(np.float32)
    return cv2.remap(picture, maps, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


# ---------------------------------------------------------------- learning


def learn(photos: str | Path) -> dict[str, np.ndarray]:
    """Learn the model from `photos`/{london,canada}/*.jpg that have a .pts beside them (189 lines `x y`).

    Returns the arrays of the model file. Raises CorpusError when there are too few photos.
    """
    files = sorted(Path(photos).glob("*/*.pts"))
    if len(files) < 2 * N_COMPONENTS:
        raise CorpusError(f"{photos} has {len(files)} photos with landmarks, {2 * N_COMPONENTS} are needed: name the "
                          "folder that holds london/ and canada/ with --photos")
    people = [measure(file) for file in files]
    shapes = np.stack([shape for shape, _ in people])
    limit = np.percentile(np.linalg.norm(shapes - shapes.mean(0), axis=2), 95, axis=0)  # px per point
    mean_shape = shapes.mean(0)
    off = shapes - mean_shape
    off *= np.minimum(1, 1.5 * limit / np.maximum(np.linalg.norm(off, axis=2), 1e-6))[..., None]
    triangles = _triangulate(mean_shape)
    looks = [_appearance(picture, shape, mean_shape, triangles) for shape, picture in people]
    luma, small = np.stack([look[0] for look in looks]), np.stack([look[1] for look in looks])
    folder = np.array([file.parent.name for file in files])
    for name in np.unique(folder):  # each set has its own light and white balance, which is nothing about people
        own = folder == name
        luma[own] += luma.mean(0) - luma[own].mean(0)
        small[own, :2] += small[:, :2].mean(0) - small[own, :2].mean(0)
    return _components(mean_shape, off, luma, small, triangles)


def _components(mean_shape: np.ndarray, off: np.ndarray, luma: np.ndarray, small: np.ndarray,
                triangles: np.ndarray) -> dict[str, np.ndarray]:
    """Joint principal components, quantised: each block is weighed so that none drowns the others."""
    n = len(off)
    means = luma.mean(0), small.mean(0)
    blocks = [off.reshape(n, -1), (luma - means[0]).reshape(n, -1), (small - means[1]).reshape(n, -1)]
    weighed = np.concatenate([b * share / np.sqrt((b ** 2).sum(1).mean())
                              for b, share in zip(blocks, (0.7, 1.0, 0.7))], 1)
    values, vectors = np.linalg.eigh(weighed @ weighed.T)
    vectors = vectors[:, ::-1][:, :N_COMPONENTS]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(N_COMPONENTS)])
    # The coefficients of the people are columns of length 1: times sqrt(n) their standard deviation is 1.
    shape, light, rest = (vectors.T @ b / np.sqrt(n) for b in blocks)
    light, rest = light.reshape(-1, SIZE, SIZE), rest.reshape(-1, 3, SMALL, SMALL)
    # 31 levels a side are finer than the sampling noise of 142 people, and compress.
    steps = [np.abs(a).reshape(N_COMPONENTS, -1).max(1) / levels for a, levels in ((light, 40), (rest, 63))]
    return {
        "mean_shape": mean_shape.astype(np.float32),
        "shape": shape.reshape(N_COMPONENTS, -1, 2).astype(np.float16),
        "mean_luma": np.rint(means[0]).astype(np.uint8), "mean_small": np.rint(means[1]).astype(np.uint8),
        "luma": np.rint(light / steps[0][:, None, None]).astype(np.int8),
        "small": np.rint(rest / steps[1][:, None, None, None]).astype(np.int8),
        "luma_step": steps[0].astype(np.float32), "small_step": steps[1].astype(np.float32),
        "triangles": triangles.astype(np.uint16), "attribution": np.array(ATTRIBUTION),
    }


def measure(landmark_file: Path) -> tuple[np.ndarray, np.ndarray]:
    """One photo, brought upright and to scale: its points (P, 2) and its picture (SIZE, SIZE, 4) BGR + coverage."""
    photo = read_picture(landmark_file.with_suffix(".jpg"))[:, :, ::-1]
    marks = np.loadtxt(landmark_file)
    if marks.shape != (N_LANDMARKS, 2):
        raise CorpusError(f"{landmark_file}: expected a photo beside it and {N_LANDMARKS} lines of x y")
    eyes, across = marks[list(PUPILS)].mean(0), marks[PUPILS[1]] - marks[PUPILS[0]]
    scale = FACE_HEIGHT / np.linalg.norm(marks[CHIN] - eyes)
    turn = cv2.getRotationMatrix2D(tuple(eyes), float(np.degrees(np.arctan2(across[1], across[0]))), float(scale))
    turn[:, 2] += np.array(EYES_AT) - eyes
    upright = cv2.warpAffine(photo, turn, (SIZE, SIZE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    marks = marks @ turn[:, :2].T + turn[:, 2]
    cover = _cut_out(upright, marks)
    filled = _bleed(upright, cover)
    return _with_outline(marks, cover), np.dstack([filled, cover])


def _cut_out(picture: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Head and neck apart from the plain studio background: (SIZE, SIZE) uint8, 255 is head."""
    mask = np.full((SIZE, SIZE), cv2.GC_PR_BGD, np.uint8)
    cv2.ellipse(mask, (128, 118), (74, 100), 0, 0, 360, cv2.GC_PR_FGD, -1)
    face = cv2.convexHull(marks[list(JAW + HAIRLINE)].astype(np.int32))
    cv2.fillConvexPoly(mask, face, cv2.GC_FGD)
    mask[:3] = mask[:150, :6] = mask[:150, -6:] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    cv2.grabCut(picture, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 6, cv2.GC_INIT_WITH_MASK)
    head = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8) * 255
    head = cv2.morphologyEx(head, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return cv2.GaussianBlur(head, (0, 0), 1.2)


def _bleed(picture: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Replace the background by the nearest head colour, so that warping never mixes the studio wall in."""
    outside = (cv2.erode(cover, np.ones((5, 5))) < 200).astype(np.uint8)  # the rim is half wall
    _, labels = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = np.zeros((labels.max() + 1, 3), np.uint8)
    colours[labels[outside == 0]] = picture[outside == 0]
    filled = colours[labels]
    soft = cv2.GaussianBlur(filled, (0, 0), 4)
    return np.where(outside[..., None] > 0, soft, picture)


def _with_outline(marks: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """The landmarks kept, then the outline of the hair along RAYS_DEG, then five points across the neck."""
    centre = marks[list(NASION)].mean(0)
    ways = np.stack([np.cos(np.radians(RAYS_DEG)), -np.sin(np.radians(RAYS_DEG))], 1)
    reach = np.arange(30, 118)
    spots = centre + reach[None, :, None] * ways[:, None, :]
    inside = np.clip(np.rint(spots).astype(int), 0, SIZE - 1)
    covered = cover[inside[..., 1], inside[..., 0]] > 127
    radius = np.where(covered, reach, 30).max(1).astype(float)  # the farthest hair along the ray
    padded = np.pad(radius, 2, mode="edge")
    radius = np.median(np.stack([padded[i:i + len(radius)] for i in range(5)]), 0)
    outline = centre + radius[:, None] * ways
    left, right, chin = marks[145], marks[157], marks[CHIN]
    low = chin[1] + 0.42 * FACE_HEIGHT
    neck = np.array([[left[0] - 45, low], [left[0], low], [chin[0], low], [right[0], low], [right[0] + 45, low]])
    return np.concatenate([marks[list(KEPT)], outline, neck])


def _triangulate(mean_shape: np.ndarray) -> np.ndarray:
    from scipy.spatial import Delaunay

    return Delaunay(with_frame(mean_shape)).simplices


def with_frame(shape: np.ndarray) -> np.ndarray:
    """The points and the fixed corners and sides of the picture, so that the mesh covers all of it."""
    return np.concatenate([shape, _FRAME])


_FRAME = np.array([[x, y] for x in (-40, 128, SIZE + 40) for y in (-40, 128, SIZE + 40) if (x, y) != (128, 128)],
                  np.float32)


def _appearance(picture: np.ndarray, shape: np.ndarray, mean_shape: np.ndarray,
                triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = warp(picture, with_frame(shape), with_frame(mean_shape), triangles)
    ycc = cv2.cvtColor(np.ascontiguousarray(flat[..., :3]), cv2.COLOR_BGR2YCrCb)
    planes = np.dstack([ycc[..., 1:], flat[..., 3]]).astype(np.float32)
    small = cv2.resize(planes, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    return ycc[..., 0].astype(np.float32), small.transpose(2, 0, 1)


def default_photos() -> Path:
    """$DEEPFAKE_SHARED or ../shared beside the project, then faces/consented."""
    shared = os.environ.get("DEEPFAKE_SHARED") or Path(__file__).parents[2].parent / "shared"
    return Path(shared) / "faces" / "consented"


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m data.demo.face_model", description="Learn the face model again.")
    parser.add_argument("--photos", type=Path, default=default_photos(),
                        help="folder with london/ and canada/ (default $DEEPFAKE_SHARED or ../shared, faces/consented)")
    parser.add_argument("--out", type=Path, default=MODEL_FILE, help="file to write (default %(default)s)")
    arguments = parser.parse_args(argv)
    content = io.BytesIO()
    np.savez_compressed(content, **learn(arguments.photos))  # type: ignore[arg-type]
    write_bytes(arguments.out, content.getvalue())
    print(f"{arguments.out}: {len(content.getvalue()) / 2**20:.2f} MiB")


if __name__ == "__main__":
    raise SystemExit(main())
