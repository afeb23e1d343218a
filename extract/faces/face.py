"""A face that was recorded in a frame, and the pair of functions between it and its row in a table."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np

from pipeline.tables import FACES

SIDES = ("x0", "y0", "x1", "y1")
POINTS = tuple(name for name in FACES if name.startswith(("x_", "y_")))  # x and y of each landmark in turn

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Face:
    """A face of one frame of a clip.

    Attributes:
        time_s: seconds from the first displayed frame.
        frame: number of the frame in display order, from 0.
        box: x0 y0 x1 y1 in px of the full frame, origin top left, to hundredths; may reach over the border.
        landmarks: x y of left eye, right eye, nose, left and right mouth corner as the viewer sees them, in px; NaN
            where a whole picture stands for its face.
        confidence: of the detector, 0 to 1; NaN where a whole picture stands for its face.
        face: number in its frame, 0 for the main face.
        n_faces: faces in this frame.
        track: number of the person in the clip (extract.faces.tracks).
    """

    time_s: float
    frame: int
    box: Box
    landmarks: tuple[float, ...] = (math.nan,) * len(POINTS)
    confidence: float = math.nan
    face: int = 0
    n_faces: int = 1
    track: int = 0

    @property
    def points(self) -> np.ndarray:
        """The landmarks as float64 (5, 2), x y."""
        return np.array(self.landmarks).reshape(-1, 2)

    @property
    def longest(self) -> float:
        """The box's longer side, px."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


def as_row(face: Face) -> dict[str, Any]:
    """Return the face as a row of tables.FACES, without video_id and crop."""
    return {"time_s": face.time_s, "frame": face.frame, "face": face.face, **dict(zip(SIDES, face.box)),
            **dict(zip(POINTS, face.landmarks)), "confidence": face.confidence, "n_faces": face.n_faces,
            "track": face.track}


def from_row(row: Mapping[str, Any]) -> Face:
    """Return the face that a row of tables.FACES describes. video_id and crop, if there, are not read."""
    x0, y0, x1, y1 = (row[side] for side in SIDES)
    return Face(row["time_s"], row["frame"], (x0, y0, x1, y1), tuple(row[name] for name in POINTS), row["confidence"],
                row["face"], row["n_faces"], row["track"])
