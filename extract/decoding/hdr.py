"""HDR frames to what an SDR screen shows: those that a file tags as HLG or PQ, and no others.

Formulas, all published by the ITU:

HLG     the inverse OETF and the OOTF of the system (BT.2100-2, table 5) on its nominal screen of 1,000 cd/m2, gamma 1.2
PQ      EOTF (BT.2100-2, table 4), taken as mastered for 1,000 cd/m2
both    white at 203 cd/m2 (BT.2408), brighter light compressed by the EETF of BT.2390-10, section 5.4, applied to
        luminance; then the primaries of BT.709 (BT.2087) and the transfer function of sRGB (IEC 61966-2-1), which is
        how all other frames and pictures here are taken

What this module does not know: what an untagged file is, Dolby Vision's own metadata, and mastering metadata.
"""
from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame

# Numbers of ITU-T H.273.
TRANSFERS = {16: "PQ", 18: "HLG"}
BT709, UNKNOWN, BT2020 = 1, 2, 9  # primaries, and matrices but for that of BT.709 (also 1)
WHITE = 203.0        # cd/m2 of what an SDR picture shows as white (BT.2408)
PEAK = 1000.0        # cd/m2 of the brightest light that is kept apart from brighter light
HLG_GAMMA = 1.2      # of the OOTF at PEAK
STEPS = 1 << 16      # of the tables below; frames come as 16-bit RGB
STRIP = 128          # rows at once, so that a frame of 4K takes some 30 MB and not 600
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020 red, green, blue
TO_BT709 = np.array([[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349],
                     [-0.018151, -0.100579, 1.118730]], np.float32)


def transfer_of(tag: int | None) -> str:
    """Name the HDR system of a colour transfer tag (ITU-T H.273): "PQ", "HLG", or "" for any other.

    tag: `color_trc` of a frame or a codec context.
    """
    return TRANSFERS.get(int(tag), "") if tag is not None else ""


def to_sdr(frame: VideoFrame, transfer: str) -> np.ndarray:
    """Convert a decoded HDR frame to SDR pixels: uint8 RGB (height, width, 3), as stored (not turned).

    frame: of any depth, full or limited range. transfer: "PQ" or "HLG".
    """
    known = {"src_colorspace": BT2020} if frame.colorspace in (UNKNOWN, None) else {}
    deep = frame.reformat(format="rgb48le", **known).to_ndarray()
    same_primaries = int(frame.color_primaries or UNKNOWN) == BT709
    sdr = np.empty(deep.shape, np.uint8)
    for top in range(0, len(deep), STRIP):
        sdr[top:top + STRIP] = tone_mapped(deep[top:top + STRIP], transfer, same_primaries)
    return sdr


def tone_mapped(signal: np.ndarray, transfer: str, same_primaries: bool = False) -> np.ndarray:
    """Convert HDR signal values to SDR ones.

    Args:
        signal: uint16 RGB (..., 3), 0 to 65535 for a signal of 0 to 1, primaries of BT.2020.
        transfer: "PQ" or "HLG".
        same_primaries: the signal has those of BT.709 already.

    Returns:
        uint8 RGB of the same shape, with the primaries of BT.709 and the transfer function of sRGB.
    """
    light = _linear(transfer)[signal]  # PQ: cd/m2 on screen; HLG: of the scene, 0 to 1
    if transfer == "HLG":
        light *= PEAK * np.maximum(light @ LUMINANCE, 1e-6)[..., None] ** (HLG_GAMMA - 1)
    gain = _gain()
    luminance = light @ LUMINANCE
    light *= gain[np.minimum(luminance * ((STEPS - 1) / PEAK), STEPS - 1).astype(np.uint16)][..., None]
    if not same_primaries:
        light = light @ TO_BT709.T
    return _srgb()[(np.clip(light, 0, 1) * (STEPS - 1)).astype(np.uint16)]


def pq_light(signal: np.ndarray) -> np.ndarray:
    """Return the light in cd/m2 of a PQ signal in [0, 1]: the EOTF of BT.2100."""
    root = np.maximum(signal, 0) ** (1 / 78.84375)
    return 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)


def pq_signal(light: np.ndarray) -> np.ndarray:
    """Return the PQ signal in [0, 1] of light in cd/m2: the inverse of `pq_light`."""
    root = (np.maximum(light, 0) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375


def eetf(light: np.ndarray) -> np.ndarray:
    """Compress light of up to PEAK to at most WHITE, both in cd/m2: BT.2390's curve, black at 0."""
    most = pq_signal(np.array(PEAK))
    white = pq_signal(np.array(WHITE)) / most
    knee = 1.5 * white - 0.5  # below it nothing changes
    signal = np.minimum(pq_signal(light) / most, 1)
    t = np.maximum(signal - knee, 0) / (1 - knee)
    curve = ((2 * t ** 3 - 3 * t ** 2 + 1) * knee + (t ** 3 - 2 * t ** 2 + t) * (1 - knee)
             + (-2 * t ** 3 + 3 * t ** 2) * white)
    return pq_light(np.where(signal < knee, signal, curve) * most)


def hlg_scene(signal: np.ndarray) -> np.ndarray:
    """Return the scene light in [0, 1] of an HLG signal in [0, 1]: the inverse OETF of BT.2100."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(signal <= 0.5, signal ** 2 / 3, (np.exp((np.maximum(signal, 0.5) - c) / a) + b) / 12)


@functools.cache
def _linear(transfer: str) -> np.ndarray:
    """float32 (STEPS,): signal to light."""
    signal = np.linspace(0, 1, STEPS)
    return (pq_light(signal) if transfer == "PQ" else hlg_scene(signal)).astype(np.float32)


@functools.cache
def _gain() -> np.ndarray:
    """float32 (STEPS,): luminance of 0 to PEAK to what light is multiplied by, so that WHITE becomes 1 at most."""
    light = np.linspace(0, PEAK, STEPS)
    light[0] = light[1]
    return (eetf(light) / light / WHITE).astype(np.float32)


@functools.cache
def _srgb() -> np.ndarray:
    """uint8 (STEPS,): light of 0 to 1 to the values of sRGB."""
    light = np.linspace(0, 1, STEPS)
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (value * 255).round().astype(np.uint8)
