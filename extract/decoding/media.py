"""The one door for media: every video and picture that this project decodes is opened here, and nowhere else.

What comes in is a file that anybody may have made. FFmpeg alone would do what its name or its text says: `http:…`
sends a request, a list of files (ffconcat, HLS, DASH) plays other files under this one's name, `%d` is a pattern. So
only regular files are opened, by absolute path, with the protocol `file` and the demuxers of DEMUXERS; and what claims
more pixels than `limits` allow is refused before it is decoded. A refusal is final: no other reader is tried.
"""
from __future__ import annotations

import contextlib
import functools
import logging
import os
import stat
import warnings
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Iterator

from pipeline.errors import VideoError
from pipeline.options import option

# Containers and raw streams of videos, by FFmpeg's names. None of them opens a second file or an address.
DEMUXERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "mxf", "gxf", "wtv", "rm",
            "dv", "nut", "ivf", "obu", "av1", "h264", "hevc", "vvc", "m4v", "h263", "vc1", "mjpeg", "yuv4mpegpipe")
# What Pillow may try, by content. Of the others it knows, some start programs (EPS) and none is in any corpus.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
# How many times the pixels of other pictures a picture of a format may have. A JPEG is decoded at a fraction of its
# size. The decoders of the others hold more bytes a pixel (measured: PNG 7, AVIF 9, WebP 15; HEIC was not measured).
SHARES = {"JPEG": 5.0, "WEBP": 0.4, "AVIF": 0.5, "HEIF": 0.5}
QUIET = "-8"  # FFmpeg's log level at which it writes nothing


@dataclass(frozen=True)
class Limits:
    """Sizes beyond which a file is refused before it is decoded.

    Memory chose the defaults: a file may take at most 400 MB more than an ordinary clip. Decoding a picture takes 7
    bytes a pixel (350 MB for 50 megapixels); a video decoder may hold 17 frames of 1.5 bytes a pixel (255 MB for 10
    megapixels, which 4096 x 2304 has not), and the frame as RGB.
    """

    max_picture_mpx: float = option(50.0, "megapixels of a picture beyond which it is refused; of a JPEG five times as "
                                          "many, which is then decoded at a fraction of its size; of a WebP two "
                                          "fifths and of a HEIC or AVIF half as many")
    max_frame_mpx: float = option(10.0, "megapixels of a video's frames beyond which it is refused; 8K has 33.2")

    def __post_init__(self) -> None:
        for name in ("max_picture_mpx", "max_frame_mpx"):
            if not 0 < getattr(self, name) <= 2000:
                raise ValueError(f"{name} must be more than 0 and at most 2000, got {getattr(self, name)}")

    @property
    def picture_px(self) -> int:
        """Return the most pixels that a picture may have."""
        return int(self.max_picture_mpx * 1e6)

    @property
    def frame_px(self) -> int:
        """Return the most pixels that a frame of a video may have."""
        return int(self.max_frame_mpx * 1e6)


class Refused(VideoError):
    """A file that is not opened, whatever reads it: no regular file, no container that is read, or too large."""


_limits = Limits()


def limits() -> Limits:
    """Return the limits of this process."""
    return _limits


def set_limits(wanted: Limits) -> None:
    """Set the limits of this process; worker processes get theirs when they start."""
    global _limits
    _limits = wanted


def regular_file(path: str | Path) -> str:
    """Return the absolute path of a regular file that is not empty. Raises Refused for anything else."""
    absolute = os.path.abspath(path)
    try:
        found = os.stat(absolute)
    except FileNotFoundError:
        raise Refused("no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise Refused(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(found.st_mode):
        raise Refused("not a file")
    if found.st_size == 0:
        raise Refused("the file is empty (0 bytes)")
    return absolute


def open_bytes(path: str | Path) -> BufferedReader:
    """Open a media file to look at its bytes, not to decode it. Raises Refused, OSError."""
    return open(regular_file(path), "rb")


@contextlib.contextmanager
def open_container(path: str | Path) -> Iterator[Any]:
    """Open a video file with PyAV for reading: an av.container.InputContainer, closed at the end.

    Its decoders refuse frames beyond the limit. Raises Refused, av.error.FFmpegError, OSError.
    """
    import av

    source: Any = regular_file(path)
    most = {"max_pixels": str(limits().frame_px)}
    with contextlib.ExitStack() as stack:
        try:
            source.encode()
        except UnicodeEncodeError:  # a name that is no UTF-8: FFmpeg gets the open file instead
            source = stack.enter_context(open(source, "rb"))
        try:
            container = stack.enter_context(av.open(
                source, metadata_errors="replace",  # titles may be in any encoding
                options={"protocol_whitelist": "file", "format_whitelist": ",".join(DEMUXERS), **most}))
        except av.error.ArgumentError:
            raise Refused("not a container of videos that is read here (playlists, lists of files and pictures are not)"
                          ) from None
        for stream in container.streams.video:
            if stream.codec_context is not None:
                stream.codec_context.options = most
        yield container


def check_picture_as_frame(image: Any) -> None:
    """Refuse an opened animation whose frames are beyond the limit of videos. Raises Refused."""
    if image.width * image.height > limits().frame_px:
        raise _too_large(f"its frames are {image.width} x {image.height} px")


def check_frame_size(stream: Any, path: str | Path) -> None:
    """Refuse a stream of `open_container` whose frames are beyond the limit. Raises Refused."""
    context = stream.codec_context
    if context.width * context.height > limits().frame_px:
        raise _too_large(f"its frames are {context.width} x {context.height} px")
    if not context.width and _is_refused_by_size(path, stream.index):
        raise _too_large("its frames are too large")


def open_camera(number: int) -> Any:
    """Open a camera by its number, never by an address: a cv2.VideoCapture, which may turn out not to be opened."""
    return _quiet_opencv().VideoCapture(number)


def _quiet_opencv() -> Any:
    """Return cv2 with what it opens limited to files, and silent: what went wrong is in the error that is raised."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", QUIET)
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"protocol_whitelist;file|format_whitelist;{','.join(DEMUXERS)}"
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def open_capture(path: str | Path) -> Any:
    """Open a video file with OpenCV's FFmpeg: a cv2.VideoCapture, which may turn out not to be opened.

    OpenCV cannot be told a limit, so PyAV looks at the file first. Raises Refused.
    """
    import av

    absolute = regular_file(path)
    with contextlib.suppress(av.error.FFmpegError, OSError), open_container(path) as container:
        for stream in container.streams.video:
            if stream.codec_context is not None:
                check_frame_size(stream, path)
        if container.streams.video and _is_refused_by_size(path, container.streams.video[0].index):
            raise _too_large("its frames are too large")
    cv2 = _quiet_opencv()
    capture = cv2.VideoCapture(absolute, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    size = [int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    if capture.isOpened() and size[0] * size[1] > limits().frame_px:
        capture.release()
        raise _too_large(f"its frames are {size[0]} x {size[1]} px")
    return capture


@contextlib.contextmanager
def open_image(path: str | Path) -> Iterator[Any]:
    """Open a picture file with Pillow, header read and size checked: a PIL.Image, closed at the end.

    A JPEG beyond the limit is decoded at a half, a quarter or an eighth of its size; `info["stored_px"]` is the size of
    the file, (width, height). Raises Refused, and whatever Pillow raises on files that are damaged or no pictures.
    """
    from PIL import Image

    absolute = regular_file(path)
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what is wrong with a file is in the error we raise
    # On odd metadata, and on sizes that are checked here. Not catch_warnings: threads would undo each other's.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.MAX_IMAGE_PIXELS = int(limits().picture_px * SHARES["JPEG"])  # Pillow's own limit is lower
    try:
        with Image.open(absolute, formats=FORMATS + heif_formats()) as image:
            share = 1.0 if image.format == "JPEG" and not _has_fractions(image) else SHARES.get(image.format or "", 1.0)
            if image.width * image.height > limits().picture_px * share:
                raise _too_many_pixels(f"{image.width} x {image.height} px, ", share)
            image.info["stored_px"] = image.size
            _shrink(image)
            yield image
    except Image.DecompressionBombError:
        raise _too_many_pixels("", SHARES["JPEG"]) from None


@functools.cache
def heif_formats() -> tuple[str, ...]:
    """What Pillow reads through pi-heif, nothing where that is not installed."""
    try:
        import pi_heif
    except ImportError:
        return ()
    pi_heif.register_heif_opener()
    return ("HEIF",)


def _shrink(image: Any) -> None:
    """Have a JPEG beyond the limit decoded at a fraction of its size; others stay as they are."""
    n_px, room = image.width * image.height, limits().picture_px
    if image.format == "JPEG" and not _has_fractions(image) and n_px > room // 2:
        room //= 4
    if image.format == "JPEG" and n_px > room:
        share = next((share for share in (2, 4) if n_px <= room * share ** 2), 8)
        image.draft(None, (image.width // share, image.height // share))


def _has_fractions(image: Any) -> bool:
    """Whether a fraction of a picture can be decoded in the memory of that fraction.

    A progressive JPEG's decoder holds up to 6 bytes for each pixel of the full size.
    """
    return image.format == "JPEG" and not image.info.get("progressive")


def _is_refused_by_size(path: str | Path, index: int) -> bool:
    """Whether the decoder gives no frame before it meets one that is too large."""
    import av

    with contextlib.suppress(av.error.EOFError), open_container(path) as container:
        stream = container.streams[index]
        for packet in container.demux(stream):
            try:
                if packet.decode():
                    return False
            except av.error.ArgumentError:  # what FFmpeg answers to a picture beyond max_pixels
                return True
            except av.error.FFmpegError:
                continue
    return False


def _too_large(what: str) -> Refused:
    return Refused(f"{what}, more than {limits().max_frame_mpx:g} megapixels: see --max-frame-mpx")


def _too_many_pixels(what: str, share: float) -> Refused:
    """share: of SHARES, for the format of the picture."""
    most = limits().max_picture_mpx * share
    return Refused(f"it claims {what}more than {most:g} megapixels: see --max-picture-mpx")
