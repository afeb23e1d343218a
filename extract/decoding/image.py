"""A picture file to pixels, and a whole picture to a square: what extraction, training and judging of pictures call.

What this module does not know: colour profiles. A picture is taken as sRGB, as its bytes say.
"""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

from extract.decoding.frame import Frame
from extract.decoding.kinds import HEAD, modality_by_content
from extract.decoding.media import heif_formats, open_bytes, open_image
from pipeline.errors import VideoError

if TYPE_CHECKING:
    import numpy as np

TURNED = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
          7: "TRANSVERSE", 8: "ROTATE_90"}  # EXIF orientation -> what shows it upright
SIDEWAYS = ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")  # of these, those that swap width and height
ORIENTATION = 0x0112
BAND_PX = 1_000_000  # pixels that are converted at once
HEIF = (b"ftypheic", b"ftypheix", b"ftypheim", b"ftypheis", b"ftypmif1", b"ftypmsf1")  # how HEIC and HEIF begin


def read_picture(path: str | Path) -> np.ndarray:
    """The pixels as a viewer shows them: uint8 RGB (height, width, 3), upright by EXIF.

    What is transparent is shown on white; 16 bits become 8 (the upper ones); of an animation it is the first picture.
    Raises VideoError (status "unreadable") for what is no picture, is cut off or damaged, or has too many pixels.
    """
    return _decoded(Path(path), upright_rgb)


def open_picture(path: str | Path, use) -> Any:
    """use(image) of a Pillow image whose header is read and whose size is sane. Raises VideoError as read_picture."""
    return _decoded(Path(path), use)


def whole_square(picture: np.ndarray, px: int) -> np.ndarray:
    """A whole picture as a square: uint8 RGB (px, px, 3), never squeezed.

    picture: uint8 RGB (height, width, 3). The long side becomes px, by area averaging or, enlarged, cubic; what the
    short side lacks is filled with its mirror image, so that no bar tells one aspect from another.
    """
    import cv2

    height, width = picture.shape[:2]
    scale = px / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size != (width, height):
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    # Padded after scaling: a strip of 1 x 100,000 px would else become a square of ten thousand megapixels.
    top, left = (px - size[1]) // 2, (px - size[0]) // 2
    return cv2.copyMakeBorder(picture, top, px - size[1] - top, left, px - size[0] - left, cv2.BORDER_REFLECT)


class Still:
    """A picture as a clip of one frame, number 0 at 0 s: what frames.Clip is for a video. Raises VideoError."""

    def __init__(self, path: str | Path):
        self.path, self.n_asked, self.duration_s, self.damage = Path(path), 1, 0.0, ""
        self.rgb = read_picture(path)

    def frames(self) -> Iterator[Frame]:
        """Yield the picture as the only frame."""
        yield Frame(0, 0.0, self.rgb)


def _decoded(path: Path, use) -> Any:
    from PIL import Image

    try:
        with open_image(path) as image:
            image.load()  # once, and strictly: after an error that something else swallows (getexif) a second is silent
            return use(image)
    except VideoError:
        raise
    except Image.UnidentifiedImageError:
        raise VideoError(_no_picture(path)) from None
    except MemoryError:
        raise VideoError("there is not enough memory for its pixels (MemoryError)") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        if isinstance(error, OSError) and error.errno:
            raise VideoError(f"cannot be read: {error.strerror}") from None
        why = " ".join(str(error).split()) or type(error).__name__
        raise VideoError(f"the picture is damaged: {why}") from None


def _no_picture(path: Path) -> str:
    with open_bytes(path) as file:
        head = file.read(HEAD)
    if head[4:12] in HEIF:
        return ("a HEIC picture that is damaged: convert it to JPEG or PNG" if heif_formats() else
                "HEIC pictures need the package pi-heif: pip install pi-heif, or convert it to JPEG or PNG")
    if modality_by_content(head) == "video":
        return "a video, not a picture: python -m classify.video judges it"
    return "not a picture"


def upright_rgb(image) -> np.ndarray:
    """The pixels of an opened Pillow image as in `read_picture`, made in bands: a large picture is never held twice
    more than it must be."""
    import numpy as np

    try:
        turn = TURNED.get(image.getexif().get(ORIENTATION, 1), "")
    except Exception:  # damaged EXIF turns nothing; the pixels are whole
        turn = ""
    if image.mode in ("I", "F"):
        raise VideoError("its pixels are 32-bit numbers, not colours: convert it to 8 or 16 bits")
    image.load()
    width, height = image.size
    rgb = np.empty((width, height, 3) if turn in SIDEWAYS else (height, width, 3), np.uint8)
    stored = _as_stored(rgb, turn)
    step = max(1, BAND_PX // width)
    for top in range(0, height, step):
        stored[top:top + step] = _colours(image.crop((0, top, width, min(top + step, height))))
    return rgb


def _as_stored(rgb: np.ndarray, turn: str) -> np.ndarray:
    """A view of an upright picture in which its pixels are where the file has them."""
    import numpy as np

    views = {"": lambda p: p, "FLIP_LEFT_RIGHT": lambda p: p[:, ::-1], "ROTATE_180": lambda p: p[::-1, ::-1],
             "FLIP_TOP_BOTTOM": lambda p: p[::-1], "TRANSPOSE": lambda p: p.transpose(1, 0, 2),
             "ROTATE_270": lambda p: np.rot90(p), "ROTATE_90": lambda p: np.rot90(p, 3),
             "TRANSVERSE": lambda p: np.rot90(p.transpose(1, 0, 2), 2)}
    return views[turn](rgb)


def _colours(image) -> np.ndarray:
    """uint8 RGB (height, width, 3) of a band: 16 bits become 8, what is transparent is shown on white."""
    import numpy as np
    from PIL import Image

    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 instead of scaling.
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    elif "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        shown = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
    return np.asarray(image.convert("RGB"))
