"""One video to its faces: the one function that extraction over a corpus and the verdict on a clip both call."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extract.faces import Detector, Face, crop_square
from extract.frames import Clip, Frame, FrameOptions

if TYPE_CHECKING:
    import numpy as np


@dataclass
class Extraction:
    """What became of one video.

    video: status, reason, n_asked, n_read, n_faces, width_px, height_px, duration_s, as in tables.VIDEOS.
    faces: one dict per recorded face, as in tables.FACES but for video_id and crop; face 0 of a frame is the main one.
    crops: frame number -> crop of the main face, uint8 RGB (crop_px, crop_px, 3).
    """

    video: dict[str, Any]
    faces: list[dict[str, Any]] = field(default_factory=list)
    crops: dict[int, np.ndarray] = field(default_factory=dict)


def extract_video(path: str | Path, detector: Detector, options: FrameOptions) -> Extraction:
    """Sample frames, find faces, crop the main one of each frame.

    The main face is the detector's first. Memory: `detector.batch` frames and the crops.
    Raises VideoError where no frame can be read; a clip without a face is an answer (status "no_face"), not an error.
    """
    clip = Clip(path, options)
    result = Extraction({})
    size = (0, 0)
    n_read = 0
    for frames in _batches(clip.frames(), detector.batch):
        n_read += len(frames)
        size = frames[0].rgb.shape[:2]
        for frame, faces in zip(frames, detector.detect([f.rgb for f in frames])):
            result.faces += [_row(frame, number, face, len(faces)) for number, face in enumerate(faces)]
            if faces:
                result.crops[frame.number] = crop_square(frame.rgb, faces[0].box, detector.options)
    status, reason = ("ok", clip.damage) if result.crops else ("no_face", f"no face in {n_read} frames")
    if not result.crops and clip.damage:
        reason = f"{reason}; {clip.damage}"
    result.faces.sort(key=lambda row: (row["frame"], row["face"]))
    result.video = {"status": status, "reason": reason, "n_asked": clip.n_asked, "n_read": n_read,
                    "n_faces": len(result.crops), "width_px": size[1], "height_px": size[0],
                    "duration_s": round(clip.duration_s, 6)}
    return result


def _batches(frames, size: int):
    """Lists of up to `size` frames of one picture size (a stream may change its size midway)."""
    batch: list[Frame] = []
    for frame in frames:
        if batch and (len(batch) == size or frame.rgb.shape != batch[0].rgb.shape):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


def _row(frame: Frame, number: int, face: Face, n_faces: int) -> dict[str, Any]:
    # Hundredths of a pixel: below what the detector resolves, and the same text for the same input.
    box = dict(zip(("x0", "y0", "x1", "y1"), (round(float(v), 2) for v in face.box)))
    points = {f"{axis}_{name}": round(float(point["xy".index(axis)]), 2)
              for name, point in zip(("left_eye", "right_eye", "nose", "mouth_left", "mouth_right"), face.landmarks)
              for axis in "xy"}
    return {"time_s": round(frame.time_s, 6), "frame": frame.number, "face": number, **box, **points,
            "confidence": round(face.confidence, 4), "n_faces": n_faces, "track": 0}
