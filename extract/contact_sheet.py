"""The contact sheet: random crops, real on the left, fake on the right, to look at before training."""
from __future__ import annotations

import random
from pathlib import Path

import cv2
import numpy as np

from extract.decoding.image import read_picture, whole_square
from pipeline.own_files import marked_png
from pipeline.tables import write_bytes

TILE_PX = 112
ROWS, COLUMNS = 8, 6  # per class at most


def write_sheet(out: Path, crops_of: dict[str, list[str]], labels: dict[str, int], whole: Path | None = None,
                seed: int = 0) -> None:
    """Write `out`/sheet.png from the crops of each video_id; the same crops give the same sheet.

    whole: folder of pictures that are judged whole, which the crops are then relative to, instead of `out`.
    One crop per video at most, so that a long clip does not fill the sheet.
    """
    picked = []
    for label in (0, 1):
        crops = [crops_of[v] for v in sorted(crops_of) if labels[v] == label]
        picker = random.Random(seed)
        chosen = [picker.choice(of_video) for of_video in crops if of_video]
        picked.append((picker.sample(chosen, min(len(chosen), ROWS * COLUMNS)), len(crops)))
    height = max(-(-len(chosen) // COLUMNS) for chosen, _ in picked)
    sides = []
    for title, (chosen, n_videos) in zip(("REAL", "FAKE"), picked):
        side = np.full((24 + height * TILE_PX, COLUMNS * TILE_PX, 3), 255, np.uint8)
        of = f"{n_videos} {'pictures' if whole else 'videos'}"
        cv2.putText(side, f"{title}: {len(chosen)} of {of}", (6, 17), cv2.FONT_HERSHEY_SIMPLEX, .5, (0, 0, 0), 1,
                    cv2.LINE_AA)
        for place, name in enumerate(chosen):
            crop = _tile(whole / name) if whole else cv2.imdecode(np.frombuffer((out / name).read_bytes(), np.uint8),
                                                                  cv2.IMREAD_COLOR)
            assert crop is not None, name  # written by this very run
            y, x = 24 + place // COLUMNS * TILE_PX, place % COLUMNS * TILE_PX
            side[y:y + TILE_PX, x:x + TILE_PX] = cv2.resize(crop, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
        sides.append(side)
    gap = np.full((sides[0].shape[0], 12, 3), 128, np.uint8)
    ok, png = cv2.imencode(".png", np.hstack([sides[0], gap, sides[1]]))
    if not ok:
        raise RuntimeError("OpenCV cannot encode the contact sheet")
    write_bytes(out / "sheet.png", marked_png(png.tobytes()))


def _tile(path: Path):
    """A whole picture as a square in OpenCV's order of colours."""
    return whole_square(read_picture(path), TILE_PX)[:, :, ::-1]
