"""Draw and encode one scene of the demo corpus: a talking head, and the same scene with other people's faces.

A scene is one random stream: person, background, clothes, light, camera, head motion, speech, blinks, sensor noise.
The real clip and its fakes are drawn from it together, frame by frame; a fake only replaces the inner face. It does
what face swaps do: B's inner face at the low resolution of a network's output, warped to A's landmarks, moved with
A's expression (a little less, and not quite steady), colour-matched imperfectly, feathered in. Nothing else is planted.

Head pictures are SIZE x SIZE (see face_model), BGR; times are seconds; frames are (height, width, 3) uint8 BGR.
"""
from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Iterator

import cv2
import numpy as np

from data.demo import face_model as fm

GRID = 128  # px, side of the motion fields: half the head picture
HEAD_PX = 177.0  # of the mean head picture, from the top of the hair to the chin


@dataclass(frozen=True)
class Waves:
    """A slow random motion: sums of three sines per channel. amplitude, period_s, phase: (channels, 3)."""
    amplitude: np.ndarray
    period_s: np.ndarray
    phase: np.ndarray

    @classmethod
    def sample(cls, rng: np.random.Generator, sizes: list[float], shortest_s: float = 1.6) -> Waves:
        """Draw waves at random, one set for each of `sizes`."""
        amplitude = rng.uniform(0.2, 0.6, (len(sizes), 3)) * np.array(sizes)[:, None]
        return cls(amplitude, rng.uniform(shortest_s, 7.0, amplitude.shape), rng.uniform(0, 2 * np.pi, amplitude.shape))

    def at(self, time_s: float) -> np.ndarray:
        """Return the sum of the waves at a time, one value a set."""
        return (self.amplitude * np.sin(2 * np.pi * time_s / self.period_s + self.phase)).sum(1)


@dataclass(frozen=True)
class Overlay:
    """What makes a fake. face: (SIZE, SIZE, 4) uint8, B's face on A's landmarks and its blending mask."""
    face: np.ndarray
    jitter: Waves       # head px: x, y; the swap is computed frame by frame and never quite steady
    flicker: Waves      # levels of brightness
    follows: float      # how far it follows A's expression, 1 is wholly


class Scene:
    """One clip's world. `draw(time_s, overlays)` returns the real frame and one frame per overlay."""

    def __init__(self, identity: fm.Identity, model: fm.FaceModel, size: tuple[int, int], seconds: float,
                 rng: np.random.Generator):
        self.width, self.height = size
        self.shape = identity.shape
        self.head = fm.to_own_shape(model, _with_grain(identity, model, rng), identity.shape)
        self.fields = Fields(identity.shape)
        self.scale = rng.uniform(0.46, 0.56) * self.height / HEAD_PX
        self.place = np.array([rng.uniform(0.42, 0.58) * self.width, rng.uniform(0.42, 0.47) * self.height])
        self.pose = Waves.sample(rng, [.035 * self.width, .02 * self.height, 4.0, 0.03, 0.55, 0.5])
        self.camera = Waves.sample(rng, [.02 * self.width, .015 * self.height], 3.0)
        self.mood = Waves.sample(rng, [0.6, 0.7])  # smile, brows
        self.speech = Waves.sample(rng, [1.0], 2.0)
        self.syllable_hz, self.loud = rng.uniform(2.4, 4.0), rng.uniform(3.0, 7.0)
        self.blinks_s = np.cumsum(rng.uniform(1.5, 4.0, 2 + int(seconds)))
        self.light = Waves.sample(rng, [0.12, 0.08, 0.05], 2.5)
        self.light_from = rng.uniform([-0.35, -0.2], [0.35, 0.1])
        self.background = draw_background(rng, size)
        self.torso = draw_torso(rng, size, self.shape, self.scale)
        self.curve = _camera_curve(rng)
        self.blur_px = rng.uniform(0.35, 0.7) * self.height / 288
        noise = rng.normal(128, rng.uniform(1.0, 3.0), (self.height + 32, self.width + 32, 3))
        self.noise = np.clip(np.rint(noise), 0, 255).astype(np.uint8)
        self.noise_rng = np.random.default_rng(rng.integers(2**63))

    def draw(self, time_s: float, overlays: list[Overlay]) -> list[np.ndarray]:
        """Frames of the real clip and of each fake, equal outside the inner face. Times must be asked in order."""
        to_frame, (dx, dy) = self._head_to_frame(time_s)
        cx, cy = self.camera.at(time_s)
        scene = self._shifted(self.background, cx - .1 * self.width, cy - .1 * self.height)
        corners = np.array([[0, 0, 1], [fm.SIZE, 0, 1], [0, fm.SIZE, 1], [fm.SIZE, fm.SIZE, 1]]) @ to_frame.T
        x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int), (self.width, self.height))
        maps, gain, open_px = self._maps(time_s, to_frame, (x0, y0, x1, y1))
        head = _look_up(self.head, maps[0] + maps[1])
        faces = [head[..., :3].astype(np.float32)]
        faces += [_blend(faces[0], maps, overlay, time_s) for overlay in overlays]
        cover = head[..., 3:].astype(np.float32) / 255
        torso = self._shifted(self.torso, dx - self.width // 2, dy - self.height // 2)
        under = scene[y0:y1, x0:x1].astype(np.float32) * (1 - cover)
        shirt = torso[..., 3:].astype(np.float32) / 255
        ambient = 1 + self.light.at(time_s)[2]
        oy, ox = self.noise_rng.integers(0, 32, 2)
        noise = self.noise[oy:oy + self.height, ox:ox + self.width]
        frames = []
        for face in faces:
            self.fields.open_mouth(face, maps[0], open_px)
            frame = scene.copy()
            frame[y0:y1, x0:x1] = np.clip(under + face * gain[..., None] * cover, 0, 255)
            low = self.height // 2  # there is no shirt above
            frame[low:] = frame[low:] * (1 - shirt[low:]) + torso[low:, :, :3] * shirt[low:]
            frame = cv2.GaussianBlur(cv2.convertScaleAbs(frame, alpha=ambient), (0, 0), self.blur_px)
            frames.append(cv2.addWeighted(cv2.LUT(frame, self.curve), 1, noise, 1, -128))
        return frames

    def landmarks(self, time_s: float) -> np.ndarray:
        """(P, 2) px of the frame: where the model's points are drawn, expression and parallax left out."""
        to_frame, _ = self._head_to_frame(time_s)
        return self.shape @ to_frame[:, :2].T + to_frame[:, 2]

    def _shifted(self, picture: np.ndarray, dx: float, dy: float) -> np.ndarray:
        shift = np.array([[1, 0, dx], [0, 1, dy]])
        return cv2.warpAffine(picture, shift, (self.width, self.height), borderMode=cv2.BORDER_REFLECT)

    def _head_to_frame(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        x, y, roll, zoom, _, _ = self.pose.at(time_s)
        pivot = self.shape[fm.point(fm.CHIN)] + (0, 30)  # the neck: the head turns on the shoulders
        to_frame = cv2.getRotationMatrix2D((float(pivot[0]), float(pivot[1])), roll, self.scale * (1 + zoom))
        middle = self.shape[fm.points(fm.NASION)].mean(0)
        to_frame[:, 2] += self.place - (pivot + (middle - pivot) * self.scale) + (x, y)
        return to_frame, np.array([x, y]) * 0.9 + self.place - middle * self.scale

    def _maps(self, time_s: float, to_frame: np.ndarray,
              window: tuple[int, int, int, int]) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, float]:
        """For each frame pixel of the window: its place on the posed head, what expression adds, and the light."""
        _, _, _, _, yaw, pitch = self.pose.at(time_s)
        smile, brows = self.mood.at(time_s)
        syllable = max(0.0, np.sin(2 * np.pi * self.syllable_hz * time_s))
        open_px = self.loud * syllable * max(0.0, .4 + self.speech.at(time_s)[0])
        blink = max(0.0, 1 - np.abs(self.blinks_s - time_s).min() / 0.13)
        pose, expression = self.fields.at(yaw, pitch, open_px, blink, smile, brows)
        lx, ly, _ = self.light.at(time_s)
        gain = (1 + self.fields.normal @ (self.light_from + (lx, ly))).astype(np.float32)
        x0, y0, x1, y1 = window
        back = cv2.invertAffineTransform(to_frame)
        back[:, 2] = back[:, 2] + back[:, :2] @ np.array([x0, y0])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        half = back * (GRID / fm.SIZE)
        moved = cv2.warpAffine(np.dstack([pose, expression]), half, (x1 - x0, y1 - y0), flags=flags)
        gain = cv2.warpAffine(gain, half, (x1 - x0, y1 - y0), flags=flags, borderValue=1)
        across, down = np.arange(x1 - x0, dtype=np.float32), np.arange(y1 - y0, dtype=np.float32)[:, None]
        place = np.dstack([row[0] * across + row[1] * down + row[2] for row in back.astype(np.float32)])
        return (place + moved[..., :2], moved[..., 2:]), gain, open_px


class Fields:
    """Where each head pixel looks for its colour, per unit of yaw, jaw, blink, ...; (GRID, GRID, 2) in head px."""

    def __init__(self, shape: np.ndarray):
        step = fm.SIZE / GRID
        y, x = np.mgrid[:GRID, :GRID].astype(np.float32) * step
        self.lip = shape[fm.points(fm.UPPER_LIP_EDGE)].astype(np.float32)
        left, right = shape[fm.points(fm.MOUTH_CORNERS)]
        self.mouth, self.half = (left + right) / 2, float(right[0] - left[0]) / 2
        chin, eyes = shape[fm.point(fm.CHIN)], shape[fm.points(fm.PUPILS)].mean(0)
        nose = shape[fm.points(fm.NOSE_TIP)].mean(0)
        ball = np.clip(1 - ((x - 128) / 84) ** 2 - ((y - eyes[1] - 5) / 108) ** 2, 0, 1)
        depth = ball ** .7 + .22 * np.exp(-((x - nose[0]) / 9) ** 2 - ((y - nose[1]) / 14) ** 2)
        depth = cv2.GaussianBlur(depth, (0, 0), 1.5)
        zero = np.zeros_like(x)
        self.yaw, self.pitch = np.dstack([-11 * depth, zero]), np.dstack([zero, -7 * depth])
        slant = np.dstack([(x - 128) / 62, (y - eyes[1] - 10) / 80]) * ball[..., None] ** .5
        self.normal = cv2.GaussianBlur(slant, (0, 0), 3)  # towards right and down, 0 where the face looks at us
        lip_y = np.interp(x, self.lip[:, 0], self.lip[:, 1])
        below = np.clip((y - lip_y) / 3, 0, 1) * np.exp(-((x - self.mouth[0]) / 34) ** 4)
        self.jaw = np.dstack([zero, -below * np.clip((chin[1] + 38 - y) / 38, 0, 1)])
        self.blink = np.dstack([zero, sum(_lid(x, y, shape, side) for side in (0, 1))])
        self.smile = sum(_bump(x, y, corner, 12, (sign * 1.8, -2.4)) for corner, sign in ((left, -1), (right, 1)))
        self.brows = sum(_bump(x, y, shape[fm.points(brow)].mean(0), 20, (0, -2.5))
                         for brow in (fm.BROWS[:6], fm.BROWS[6:]))

    def at(self, yaw: float, pitch: float, jaw_px: float, blink: float, smile: float,
           brows: float) -> tuple[np.ndarray, np.ndarray]:
        """The fields of pose and of expression, (GRID, GRID, 2) float32 each."""
        pose = self.yaw * np.float32(yaw) + self.pitch * np.float32(pitch)
        expression = self.jaw * np.float32(jaw_px) + self.blink * np.float32(blink)
        expression = expression - self.smile * np.float32(smile) - self.brows * np.float32(brows)
        return pose, expression.astype(np.float32)

    def open_mouth(self, face: np.ndarray, place: np.ndarray, open_px: float) -> None:
        """Draw the inside of the mouth into `face` (h, w, 3) float32; place: head px of each of its pixels."""
        if open_px < 0.3:
            return
        near = np.abs(place - self.mouth) < (self.half, 14)
        rows, columns = np.nonzero(near.all(2).any(1))[0], np.nonzero(near.all(2).any(0))[0]
        part = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
        x, y = place[part][..., 0], place[part][..., 1]
        down = y - np.interp(x, self.lip[:, 0], self.lip[:, 1]) - .4
        gap = open_px * np.sqrt(np.clip(1 - ((x - self.mouth[0]) / (.82 * self.half)) ** 2, 0, 1))
        inside = np.clip(down + .5, 0, 1) * np.clip(gap - down, 0, 1)
        teeth = (np.clip(down - .2, 0, 1) * np.clip(.5 * gap - 1 - down + .5, 0, 1) * .75)[..., None]
        colour = np.array([34, 28, 62]) * (1 - teeth) + np.array([150, 165, 172]) * teeth
        face[part] += (colour - face[part]) * inside[..., None]


def _lid(x: np.ndarray, y: np.ndarray, shape: np.ndarray, side: int) -> np.ndarray:
    """Closing one eye: the skin above the upper lid is drawn down to the lower lid."""
    upper, lower = shape[fm.points(fm.UPPER_LID[side])], shape[fm.points(fm.LOWER_LID[side])]
    top, bottom = np.interp(x, upper[:, 0], upper[:, 1]), np.interp(x, lower[:, 0], lower[:, 1])
    high = np.maximum(bottom - top, 0)
    inside = (x > upper[0, 0]) & (x < upper[-1, 0])
    rise = np.clip(1 + (y - top) / 9, 0, 1) * np.clip(1 - (y - bottom) / 2.5, 0, 1)
    return cv2.GaussianBlur(np.where(inside, -high * rise, 0).astype(np.float32), (0, 0), sigmaX=1.2, sigmaY=.4)


def _bump(x: np.ndarray, y: np.ndarray, centre: np.ndarray, radius: float, way: tuple[float, float]) -> np.ndarray:
    weight = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * radius ** 2))
    return weight[..., None] * np.array(way, np.float32)


def _with_grain(identity: fm.Identity, model: fm.FaceModel, rng: np.random.Generator) -> np.ndarray:
    """Pores and strands: what principal components average away comes back as noise of their size."""
    inner = np.zeros((fm.SIZE, fm.SIZE), np.float32)
    outline = cv2.convexHull(np.rint(model.mean_shape[fm.points(fm.JAW + fm.HAIRLINE)]).astype(np.int32))
    cv2.fillConvexPoly(inner, outline, 1.0)
    inner[int(fm.EYES_AT[1]) + 50:] = 1  # the neck
    skin = cv2.GaussianBlur(inner, (0, 0), 5)
    noise = rng.standard_normal((2, fm.SIZE, fm.SIZE)).astype(np.float32)
    pores = cv2.GaussianBlur(noise[0], (0, 0), .8) - cv2.GaussianBlur(noise[0], (0, 0), 3)
    strands = cv2.GaussianBlur(noise[1], (0, 0), sigmaX=.7, sigmaY=3.0)
    grain = skin * pores * rng.uniform(2, 8) + (1 - skin) * strands * rng.uniform(15, 35)
    textured = identity.texture.copy()
    textured[..., :3] = np.clip(identity.texture[..., :3] + grain[..., None], 0, 255)
    return textured


def make_overlay(scene: Scene, source: fm.Identity, model: fm.FaceModel, rng: np.random.Generator) -> Overlay:
    """B's face for A's head. Resolution, steadiness and colour match are worse in some clips than in others."""
    care = rng.uniform()  # 1 is a swap that is hard to see, 0 one that is plain
    grained = _with_grain(source, model, rng)[..., :3]
    left, side = 62, 132  # px of the head picture: brows to chin, as the crop that a swapping network sees
    top = 84
    # The drawn head is a little smaller than its picture: from 115 px on the swap loses next to nothing.
    low_px = int(48 * (2.6 ** care) * rng.uniform(.9, 1.1))
    crop = cv2.resize(grained[top:top + side, left:left + side], (low_px, low_px), interpolation=cv2.INTER_AREA)
    grained[top:top + side, left:left + side] = cv2.resize(crop, (side, side), interpolation=cv2.INTER_LINEAR)
    face = fm.to_own_shape(model, grained, scene.shape)
    hull = scene.shape[fm.points(fm.JAW[2:-2] + fm.BROWS)].copy()
    middle = hull.mean(0)
    hull = middle + (hull - middle) * (rng.uniform(.84, .92), rng.uniform(.9, .96)) + (0, -2)
    mask = cv2.fillConvexPoly(np.zeros((fm.SIZE, fm.SIZE), np.float32),
                              cv2.convexHull(np.rint(hull).astype(np.int32)), 255)
    feather_px = rng.uniform(2.0, 6.0)
    mask = cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3)), iterations=int(feather_px / 2)), (0, 0), feather_px)
    matched = _match_colour(face, scene.head[..., :3], mask > 127, 1 - care, rng)
    return Overlay(np.dstack([matched, np.rint(mask).astype(np.uint8)]),
                   Waves.sample(rng, [.6 - .4 * care] * 2, .25), Waves.sample(rng, [2.0 - care], .3),
                   rng.uniform(.75, 1.0))


def _match_colour(face: np.ndarray, target: np.ndarray, where: np.ndarray, sloppy: float,
                  rng: np.random.Generator) -> np.ndarray:
    """Mean and contrast of each channel brought most of the way to the target's, in YCrCb."""
    ours = cv2.cvtColor(face, cv2.COLOR_BGR2YCrCb).astype(np.float32)
    theirs = cv2.cvtColor(np.ascontiguousarray(target), cv2.COLOR_BGR2YCrCb).astype(np.float32)
    for c, miss in enumerate((3.0, 1.2, 1.2)):  # levels
        a, b = ours[..., c][where], theirs[..., c][where]
        contrast = np.clip((b.std() + 1) / (a.std() + 1), .7, 1.4) ** rng.uniform(.4, 1)
        left_over = (a.mean() - b.mean()) * rng.uniform(0, .2) * sloppy + rng.normal(0, miss) * (.2 + sloppy)
        ours[..., c] = (ours[..., c] - a.mean()) * contrast + b.mean() + left_over
    return cv2.cvtColor(np.clip(np.rint(ours), 0, 255).astype(np.uint8), cv2.COLOR_YCrCb2BGR)


def _look_up(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The picture's colour at each of the places (h, w, 2), x y px; nothing beyond its border."""
    return cv2.remap(picture, places.astype(np.float32, copy=False), np.empty(0), cv2.INTER_LINEAR)


def _blend(face: np.ndarray, maps: tuple[np.ndarray, np.ndarray], overlay: Overlay, time_s: float) -> np.ndarray:
    place, expression = maps
    jitter = overlay.jitter.at(time_s).astype(np.float32)
    over = _look_up(overlay.face, place + expression * np.float32(overlay.follows) + jitter)
    weight = over[..., 3:].astype(np.float32) / 255
    return face + (over[..., :3] + np.float32(overlay.flicker.at(time_s)[0]) - face) * weight


def draw_background(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A room out of focus, a fifth larger than the frame: gradient, shapes, soft texture."""
    width, height = int(size[0] * 1.2), int(size[1] * 1.2)
    first, second = rng.uniform(40, 210, 3), rng.uniform(40, 210, 3)
    first, second = (colour * .3 + colour.mean() * .7 for colour in (first, second))
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:height, :width]
    along = ((x / width - .5) * np.cos(angle) + (y / height - .5) * np.sin(angle) + .5)[..., None]
    room = (first * (1 - along) + second * along).astype(np.float32)
    for _ in range(rng.integers(4, 14)):
        colour = np.clip(first + rng.normal(0, 35) + rng.normal(0, 14, 3), 10, 245).tolist()
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        extent = (int(rng.uniform(.03, .25) * width), int(rng.uniform(.03, .35) * height))
        if rng.random() < .6:
            corner = (centre[0] + extent[0], centre[1] + extent[1])
            cv2.rectangle(room, centre, corner, colour, -1)
        else:
            cv2.ellipse(room, centre, extent, float(rng.uniform(0, 180)), 0, 360, colour, -1)
    room = cv2.GaussianBlur(room, (0, 0), rng.uniform(.006, .025) * width)
    for cells in (8, 40):
        cloth = rng.normal(0, rng.uniform(1, 5), (cells, cells, 1)).astype(np.float32)
        room += cv2.resize(cloth, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(room, 0, 255).astype(np.uint8)


def draw_torso(rng: np.random.Generator, size: tuple[int, int], shape: np.ndarray, scale: float) -> np.ndarray:
    """Shoulders and shirt with a collar, (2 height, 2 width, 4) uint8 BGR and coverage.

    Drawn for a head picture whose origin lies at (width // 2, height // 2): room on all sides, for shoulders move.
    """
    width, height = size
    chin = shape[fm.point(fm.CHIN)]
    half = abs(shape[-2, 0] - shape[-4, 0]) / 2 + 3
    drop, slope, deep = rng.uniform(14, 20), rng.uniform(34, 62), rng.uniform(24, 40)
    knots = np.array([(0, drop - 5), (18, drop + 6), (52, drop + .5 * slope), (86, drop + .85 * slope),
                      (112, drop + 1.35 * slope + 12), (124, drop + slope + 90), (130, 400)]) + (half * 1.02, 0)
    knots = np.concatenate([[knots[0]], knots])  # the first and the last knot only give the curve its direction
    outline = [_spline(knots[i:i + 4], u) for i in range(len(knots) - 3) for u in np.linspace(0, 1, 8)] + [knots[-1]]
    bend = np.array([(half * k, drop - 5 + (deep - drop + 5) * (1 - k ** 2)) for k in np.linspace(-1, 1, 15)])
    right = np.array(outline)
    whole = np.concatenate([bend, right, (right * (-1, 1))[::-1]])
    fixed = np.rint((whole + chin) * scale * 16).astype(np.int32)
    offset = (np.array([width // 2, height // 2]) * 16).astype(np.int32)
    mask = cv2.fillPoly(np.zeros((height * 2, width * 2), np.float32), [fixed + offset], 1.0, shift=4)
    mask = cv2.GaussianBlur(mask, (0, 0), 1.0)
    colour = rng.uniform(20, 215, 3) * .7 + rng.uniform(20, 215) * .3
    fold = cv2.resize(rng.normal(0, 9, (9, 14)), (width * 2, height * 2), interpolation=cv2.INTER_CUBIC)
    shade = cv2.GaussianBlur(mask, (0, 0), 7 * scale)[..., None]  # darker towards the edge, as round things are
    shirt = colour * (.62 + .38 * shade) + fold[..., None]
    return np.dstack([np.clip(shirt, 0, 255), mask * 255]).astype(np.uint8)


def _spline(knots: np.ndarray, u: float) -> np.ndarray:
    """Point u of [0, 1] between the inner two of four knots (4, 2), on a Catmull-Rom spline."""
    weights = np.array([-u + 2 * u ** 2 - u ** 3, 2 - 5 * u ** 2 + 3 * u ** 3,
                        u + 4 * u ** 2 - 3 * u ** 3, u ** 3 - u ** 2])
    return weights @ knots / 2


def _camera_curve(rng: np.random.Generator) -> np.ndarray:
    """Contrast, brightness and colour temperature of the camera, as a table (1, 256, 3) uint8 for cv2.LUT."""
    level = np.arange(256)[:, None] / 255
    warm = rng.uniform(-.07, .07)
    gain = np.array([1 - warm, 1.0, 1 + warm]) * rng.uniform(.88, 1.1)
    curve = (level ** rng.uniform(.85, 1.2)) * gain * 255 + rng.uniform(-4, 8)
    return np.clip(np.rint(curve), 0, 255).astype(np.uint8)[None]


def write_clips(frames: Iterator[list[np.ndarray]], paths: list[Path], fps: int, quality: int) -> None:
    """Encode the k-th picture of every item into paths[k], H.264; each file appears whole or not at all."""
    import av

    temporary = [path.with_name(f".{path.stem}.{os.getpid()}.part.mp4") for path in paths]
    outputs = [av.open(str(path), "w") for path in temporary]
    streams: list = []
    try:
        for pictures in frames:
            for output, picture in zip(outputs, pictures):
                if len(streams) < len(outputs):
                    streams.append(_add_stream(output, picture, fps, quality))
                stream = streams[outputs.index(output)]
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        for output, stream in zip(outputs, streams):
            output.mux(stream.encode())
            output.close()
        for part, path in zip(temporary, paths):
            os.replace(part, path)
    finally:
        for output, part in zip(outputs, temporary):
            output.close()
            part.unlink(missing_ok=True)


def _add_stream(output, picture: np.ndarray, fps: int, quality: int):
    stream = output.add_stream("libx264", rate=Fraction(fps))
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = "yuv420p"
    # One thread: the bytes must not depend on the machine's cores.
    stream.options = {"preset": "veryfast", "crf": str(quality), "g": str(2 * fps), "threads": "1"}
    return stream
