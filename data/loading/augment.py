"""Training crops varied: what a camera, an encoder and a messenger may do to a face, drawn anew every epoch.

The draws of a crop depend on (seed, epoch, its key) alone: not on the batch that it is in, the process or the device.
A crop's key is its row; the fake of a pair has the key of its real, so that nothing but the fake tells them apart.
`degrade` works on the CPU, with OpenCV's own JPEG and x264; `augment` is one batched affine map and arithmetic on the
device.
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, Sequence

import cv2
import numpy as np
import torch

from data.loading.options import LEAST_CRF, AugmentOptions
from pipeline.workers import cpu_count

DRAWS = 28  # uniform numbers in [0, 1) per crop; each use has its own, so that an option changes no other's draw
SOME = 0.5  # share of the crops that a degradation falls on
JITTER_PX = 2  # largest shift of the frames that a predicted frame is coded after


def draws(keys: Sequence[int], seed: int, epoch: int) -> np.ndarray:
    """Draw uniform numbers in [0, 1), float64 (n, DRAWS), for crops with these keys in this epoch."""
    return np.stack([np.random.default_rng((seed, epoch, int(key))).random(DRAWS) for key in keys])


def degrade(pictures: np.ndarray, options: AugmentOptions, drawn: np.ndarray) -> np.ndarray:
    """Shrink, blur, add noise and compress, as a picture is or as a frame of a clip.

    pictures: uint8 RGB (n, side, side, 3); drawn: of `draws`. Returns the same shape.
    """
    if not options.degrades:
        return pictures
    with ThreadPoolExecutor(cpu_count()) as pool:
        return np.stack(list(pool.map(lambda pair: _degraded(pair[0], options, pair[1]), zip(pictures, drawn))))


def _degraded(picture: np.ndarray, options: AugmentOptions, u: np.ndarray) -> np.ndarray:
    side = small = picture.shape[0]
    if options.downscale < 1 and u[8] < SOME:  # enlarged again at the end: what follows happens to the small picture
        small = max(4, round(side * (options.downscale + u[9] * (1 - options.downscale))))
        how = (cv2.INTER_AREA, cv2.INTER_LINEAR)[int(u[15] * 2)]  # encoders and messengers are not all careful
        picture = cv2.resize(picture, (small, small), interpolation=how)
    if options.blur > 0 and u[10] < SOME:
        picture = cv2.GaussianBlur(picture, (0, 0), max(0.05, float(u[11]) * options.blur * small / side))
    if options.noise > 0 and u[18] < SOME:
        picture = _noisy(picture, options.noise * float(u[19]), 1 + float(u[20]), int(u[21] * 2 ** 32))
    if options.jpeg < 100 and u[12] < SOME:
        quality = round(options.jpeg + u[13] * (95 - options.jpeg))
        _, stored = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR))[..., ::-1]
    if options.h264 and u[16] < SOME:
        picture = h264(picture, round(LEAST_CRF + u[17] * (options.h264 - LEAST_CRF)), "veryfast", u[22:26])
    if small < side:
        how = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(u[26] * 2)]
        picture = cv2.resize(picture, (side, side), interpolation=how)
    return picture


def _noisy(picture: np.ndarray, levels: float, grain: float, seed: int) -> np.ndarray:
    """With Gaussian noise of this standard deviation whose grains are `grain` px: a sensor's, scaled with its frame."""
    side = picture.shape[0]
    fine = max(4, round(side / grain))
    noise = cv2.resize(np.random.default_rng(seed).standard_normal((fine, fine, 3), np.float32), (side, side),
                       interpolation=cv2.INTER_CUBIC)
    return np.clip(picture + noise * (levels / max(float(noise.std()), 1e-6)) + .5, 0, 255).astype(np.uint8)


def h264(picture: np.ndarray, crf: int, preset: str = "medium", jitter: np.ndarray | None = None) -> np.ndarray:
    """Code a picture as a frame of an H.264 stream (libx264).

    Args:
        picture: uint8 RGB (height, width, 3).
        crf: constant rate factor, 0 to 51, larger is coarser.
        preset: x264's.
        jitter: uniform numbers in [0, 1), (4,): the picture is coded as a predicted frame, the third after two copies
            that are shifted by up to JITTER_PX, as most frames of a clip are. None: it is coded as a key frame.

    Returns:
        The picture as decoded, of the same shape. An odd last row or column is repeated to be coded, as 4:2:0 needs it.
    """
    import av

    height, width = picture.shape[:2]
    edge = JITTER_PX if jitter is not None else 0
    framed = np.pad(picture, ((edge, edge + height % 2), (edge, edge + width % 2), (0, 0)), "edge")
    even_height, even_width = height + height % 2, width + width % 2
    shifts = [] if jitter is None else list(np.floor(jitter * (2 * edge + 1)).astype(int).reshape(2, 2) - edge)
    frames = [np.ascontiguousarray(framed[edge + y:edge + y + even_height, edge + x:edge + x + even_width])
              for y, x in [*shifts, (0, 0)]]
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = even_width, even_height, "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    encoder.options = {"crf": str(crf), "preset": preset, "tune": "zerolatency"}
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = [packet for frame in frames for packet in encoder.encode(av.VideoFrame.from_ndarray(frame, "rgb24"))]
    packets += [*encoder.encode(None), None]
    shown = [shown for packet in packets for shown in decoder.decode(packet)]
    return shown[-1].to_ndarray(format="rgb24")[:height, :width]


def augment(batch: torch.Tensor, options: AugmentOptions, drawn: np.ndarray) -> torch.Tensor:
    """Rotate, shift, zoom and mirror in one resampling, then change colours and cover a square.

    batch: uint8 or float (n, 3, side, side), values 0 to 255, on any device; drawn: of `draws`. Returns float32 of the
    same shape and range; what a map brings in from outside the picture repeats its mirrored edge.
    """
    n = len(batch)
    signed = 2 * drawn - 1
    angle, scale = np.radians(options.rotate * signed[:, 0]), 1 / (1 + options.zoom * signed[:, 3])
    shift = 2 * options.shift * signed[:, 1:3]  # grid coordinates: the picture spans -1 to 1
    mirror = np.where(options.flip & (drawn[:, 4] < 0.5), -1.0, 1.0)
    affine = np.stack([np.stack([mirror * scale * np.cos(angle), -scale * np.sin(angle), shift[:, 0]], 1),
                       np.stack([mirror * scale * np.sin(angle), scale * np.cos(angle), shift[:, 1]], 1)], 1)
    maps = torch.from_numpy(affine).to(batch.device, torch.float32)
    with torch.autocast(batch.device.type, enabled=False):  # in bf16 a place of the grid is half a pixel off
        grid = torch.nn.functional.affine_grid(maps, list(batch.shape), align_corners=False)
        pictures = torch.nn.functional.grid_sample(batch.float(), grid, mode="bilinear", padding_mode="reflection",
                                                   align_corners=False)
    if options.colour:
        change = torch.from_numpy(1 + options.colour * signed[:, 5:8]).to(batch.device, torch.float32)
        bright, contrast, saturation = change.T.reshape(3, n, 1, 1, 1)
        pictures = pictures * bright
        middle = pictures.mean((1, 2, 3), keepdim=True)
        pictures = middle + (pictures - middle) * contrast
        grey = pictures.mean(1, keepdim=True)
        pictures = (grey + (pictures - grey) * saturation).clamp(0, 255)
    if options.cutout:
        pictures = _cover(pictures, options.cutout, drawn[:, [14, 9, 11, 13]])
    return pictures


def _cover(pictures: torch.Tensor, largest: float, u: np.ndarray) -> torch.Tensor:
    """A mid-grey square over some pictures. u: float64 (n, 4), whether, side, x and y in [0, 1)."""
    side = pictures.shape[-1]
    length = largest * u[:, 1:2] * (u[:, :1] < SOME)
    start = u[:, 2:4] * (1 - length)
    places = (np.arange(side) + 0.5) / side
    inside = (places >= start[..., None]) & (places < start[..., None] + length[..., None])  # (n, x and y, side)
    covered = torch.from_numpy(inside[:, 1, :, None] & inside[:, 0, None, :]).to(pictures.device)
    return torch.where(covered[:, None], 127.5, pictures)
