"""Clips whose answer is known: every frame carries its number as black and white blocks."""
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 10
BLOCK = 16  # px; survives every lossy codec


def barcode(number: int, width: int = 192, height: int = 96) -> np.ndarray:
    """uint8 RGB (height, width, 3): the number's bits from the lowest as blocks in the top row, grey below."""
    picture = np.full((height, width, 3), 96, np.uint8)
    for bit in range(BITS):
        picture[:BLOCK, bit * BLOCK:(bit + 1) * BLOCK] = 255 if number >> bit & 1 else 0
    return picture


def read_barcode(rgb: np.ndarray) -> int:
    """The number drawn by `barcode`, from a decoded frame."""
    centre = BLOCK // 2
    return sum(int(rgb[centre, bit * BLOCK + centre].mean() > 127) << bit for bit in range(BITS))


def write_clip(path: Path, times_s: list[float], codec: str = "libx264", gop: int = 12, b_frames: int = 2,
               options: dict[str, str] | None = None, pixel_format: str = "yuv420p", draw=barcode,
               container_options: dict[str, str] | None = None) -> Path:
    """Encode one frame per time. times_s: displayed times in s, ascending, multiples of 1 ms (.avi: 40 ms)."""
    first = draw(0)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = first.shape[1], first.shape[0], pixel_format
        base = 1000 if codec != "mpeg4" else 30000
        stream.time_base = stream.codec_context.time_base = Fraction(1, 25 if path.suffix == ".avi" else base)
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.options = options or {}
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            frame.pts = round(time_s / stream.codec_context.time_base)
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
