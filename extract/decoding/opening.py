"""Opens a video or a picture, whichever a file is by its content."""
from __future__ import annotations

from pathlib import Path

from extract.decoding.image import Still
from extract.decoding.kinds import HEAD, is_animation, modality_of
from extract.decoding.sampling import Clip, FrameOptions
from pipeline.errors import VideoError


def open_media(path: str | Path, options: FrameOptions) -> Still | Clip:
    """Return the opened file: a Still for a picture, a Clip for a video, an animation or the frames of a video.

    Raises VideoError where there is nothing to decode.
    """
    return Still(path) if modality_of(path) == "image" else Clip(path, options)


def as_indexed(path: Path, modality: str) -> Path | Still:
    """Return the path of a file that an index calls a video or an image, or the opened picture.

    An animation may have been indexed by its suffix, as an image: its first picture is used then. Raises VideoError
    where the content is something else than the index says.
    """
    found = modality_of(path)
    if found == modality:
        return path
    if modality == "image":
        with open(path, "rb") as file:
            if is_animation(file.read(HEAD)):
                return Still(path)
    is_one, seems = ("a picture", "video") if found == "image" else ("a video", "picture")
    raise VideoError(f"it is {is_one} by its content and a {seems} by its name: give it the right suffix")
