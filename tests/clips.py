"""Clips whose answer is known: every frame carries its number as black and white blocks."""
import contextlib
import struct
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


def noise(number: int) -> np.ndarray:
    """A bar code above noise: a clip with so many bytes that damage to some of them hits frames, not headers."""
    picture = barcode(number)
    return np.where(picture == 96, np.random.default_rng(number).integers(0, 200, picture.shape, np.uint8), picture)


def write_clip(path: Path, times_s: list[float], codec: str = "libx264", gop: int = 12, b_frames: int = 2,
               options: dict[str, str] | None = None, pixel_format: str = "yuv420p", draw=barcode,
               container_options: dict[str, str] | None = None, pixel_aspect: Fraction | None = None) -> Path:
    """Encode one frame per time. times_s: displayed times in s, ascending, multiples of 1 ms (.avi, .mpg: 40 ms).

    Without a time it is a file with headers and no frame.
    """
    first = draw(0)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = first.shape[1], first.shape[0], pixel_format
        base = 1000 if codec != "mpeg4" else 30000
        stream.time_base = stream.codec_context.time_base = Fraction(1, 25 if path.suffix in (".avi", ".mpg") else base)
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.options = options or {}
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        container.start_encoding()
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            frame.pts = round(time_s / stream.codec_context.time_base)
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(clip: Path, path: Path, **metadata: str) -> Path:
    """The packets of a clip in another container, with other metadata: not a byte alike, and the same frames."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        target.metadata.update(metadata)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return path


def write_sound(path: Path) -> Path:
    """A file that holds a moment of silence and no video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def with_matrix(clip: Path, path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """The .mp4 clip with another display matrix (a b c d of x' = a x + c y, y' = b x + d y) in its track header."""
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)  # 16.16 fixed point; the last of a row has 30 binary places
    data[at:at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def with_edit_list(clip: Path, path: Path, edits_s: list[tuple[float, float | None]]) -> Path:
    """The clip (.mp4 or .mov, index behind) with another edit list. edits_s: length and start, None for a pause.

    Start counts from the first stored frame: the encoder's delay is read from the edit list that the clip has.
    """
    data = bytearray(clip.read_bytes())
    at = data.index(b"edts") - 4
    size, = struct.unpack_from(">I", data, at)
    delay, = struct.unpack_from(">i", data, at + 28)
    scale, = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)
    entries = [struct.pack(">Iii", round(length * 1000), -1 if start is None else round(start * scale) + delay, 1 << 16)
               for length, start in edits_s]
    new = struct.pack(">I4sI4sII", 24 + 12 * len(entries), b"edts", 16 + 12 * len(entries), b"elst", 0, len(entries))
    new += b"".join(entries)
    data[at:at + size] = new
    for box in (b"moov", b"trak"):  # the boxes around it grow with it
        start = data.index(box) - 4
        struct.pack_into(">I", data, start, struct.unpack_from(">I", data, start)[0] + len(new) - size)
    path.write_bytes(data)
    return path


def overwrite(clip: Path, path: Path, start: float, end: float, flips: int | None = None) -> Path:
    """The clip with a hole of noise between two shares of its bytes, or with so many flipped bits in there."""
    data = bytearray(clip.read_bytes())
    first, last = int(len(data) * start), int(len(data) * end)
    random = np.random.default_rng(1)
    if flips is None:
        data[first:last] = random.integers(0, 256, last - first, np.uint8).tobytes()
    else:
        for at in random.integers(first, last, flips):
            data[at] ^= 0x55
    path.write_bytes(data)
    return path


def decode_all(path: Path) -> list[tuple[float, bool, np.ndarray]]:
    """Every frame of a plain sequential decode: time in s by the container, flagged as corrupt, RGB as stored."""
    decoded = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            with contextlib.suppress(av.error.FFmpegError):  # a packet that cannot be decoded is a frame less
                decoded += [(float(f.pts * stream.time_base), f.is_corrupt, f.to_ndarray(format="rgb24"))
                            for f in packet.decode()]
    return decoded
