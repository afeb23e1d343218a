"""`make augment-sheet`: what training makes of some crops, to look at before hours are spent on it.

    OUT/augment.png    a crop a row, reals above fakes: as stored, then as the first epochs see it

The pictures go through the very code of training (pack, batches, degradation, augmentation, their draws by row and
epoch), with the recipe and the options that `make train` would get.
"""
from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from classify.models.options import ModelOptions
from classify.training.dataset import parts_of
from classify.training.recipes import TrainOptions
from classify.training.train import parse
from data.loading.augment import augment, draws
from data.loading.batches import Batches
from data.loading.face_mesh import mesh_points
from data.loading.options import AugmentOptions
from data.loading.pack import Pack
from pipeline.errors import command
from pipeline.options import as_record
from pipeline.own_files import marked_png
from pipeline.tables import write_bytes

ROWS = 4          # of each class at most, each from another video
EPOCHS = 7        # shown, from the first on
TILE_PX = 112     # smallest tile; smaller pictures are enlarged by a whole number, so that each pixel shows
LINE_PX, TEXT_PX, GAP_PX = 20, 8, 2  # height of a line, mean width of a letter at this size, between tiles


@dataclass
class Epoch:
    """An order of rows as data.loading.batches.Batches wants it: these rows in one batch, drawn as in this epoch."""

    rows: np.ndarray
    epoch: int
    paired: bool = False

    def __len__(self) -> int:
        return 1

    def batches(self) -> list[np.ndarray]:
        """Return the batches to draw, arrays of rows."""
        return [self.rows]


def chosen(videos: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Rows of up to ROWS reals, then of up to ROWS fakes, int64 (n,), no two of one video."""
    draw, rows = np.random.default_rng(seed), []
    for label in (0, 1):
        names = np.unique(videos[labels == label])
        for name in sorted(draw.permutation(names)[:ROWS]):
            rows.append(int(draw.choice(np.flatnonzero((videos == name) & (labels == label)))))
    return np.array(rows, np.int64)


def seen(pictures: np.ndarray, numbers: np.ndarray, labels: np.ndarray, rows: np.ndarray, options: AugmentOptions,
         seed: int, epoch: int, points: np.ndarray | None = None) -> np.ndarray:
    """What training in this epoch, from 0, sees of these rows: float32 (n, 3, side, side) RGB, 0 to 255.

    pictures, numbers, points: as of data.loading.batches.Batches; labels: per training row.
    """
    batch = next(iter(Batches(pictures, numbers, labels, Epoch(rows, epoch), (options, seed), points=points)))
    return augment(batch.pictures, options, draws(batch.keys.tolist(), seed, epoch)).numpy()


def write_sheet(out: Path, model: ModelOptions, training: TrainOptions, options: AugmentOptions) -> tuple[int, int]:
    """Write OUT/augment.png. Returns how many reals and fakes are on it. Raises SplitError where training would."""
    table, _ = parts_of(out, training)
    pack = Pack(out, model.size, model.centre)
    numbers, labels = pack.numbers(table["crop"]), table["label"].to_numpy()
    rows = chosen(table["video_id"].to_numpy(), labels, training.seed)
    plain, points = pack.pictures[numbers[rows]], None
    if training.blend:  # the reals once more, as the fakes that are made of them
        points = mesh_points(pack.pictures, numbers, np.where(np.isin(np.arange(len(labels)), rows), labels, 1))
        with_face = (labels[rows] == 0) & np.isfinite(points[rows]).all((1, 2))
        rows, plain = (np.concatenate([rows, len(labels) + rows[with_face]]),
                       np.concatenate([plain, plain[with_face]]))
    labels_shown = np.where(rows < len(labels), labels[rows % len(labels)], 1)
    columns = [plain.transpose(0, 3, 1, 2)] + [seen(pack.pictures, numbers, labels, rows, options, training.seed, epoch,
                                                    points) for epoch in range(EPOCHS)]
    tiles = np.stack([column.round().clip(0, 255).astype(np.uint8) for column in columns]).transpose(1, 0, 3, 4, 2)
    said = ", ".join(f"{name} {('off', 'on')[value] if isinstance(value, bool) else f'{value:g}'}"
                     for name, value in as_record(options).items())
    written = _drawn(tiles, labels_shown, f"{model.size} px, centre {model.centre:g}, seed {training.seed}; {said}")
    ok, png = cv2.imencode(".png", written[..., ::-1])
    if not ok:
        raise RuntimeError("OpenCV cannot encode the sheet")
    write_bytes(out / "augment.png", marked_png(png.tobytes()))
    return int((labels_shown == 0).sum()), int((labels_shown == 1).sum())


def _drawn(tiles: np.ndarray, labels: np.ndarray, said: str) -> np.ndarray:
    """The sheet, uint8 RGB. tiles: uint8 (n_rows, 1 + EPOCHS, side, side, 3); labels: per row."""
    enlarged = max(1, -(-TILE_PX // tiles.shape[2]))
    tiles = tiles.repeat(enlarged, 2).repeat(enlarged, 3)
    n_rows, n_columns, side = tiles.shape[:3]
    left, step = 5 * TEXT_PX, side + GAP_PX
    width = left + n_columns * step
    lines = textwrap.wrap(said, width // TEXT_PX - 1)
    top = LINE_PX * (len(lines) + 1)
    sheet = np.full((top + n_rows * step, width, 3), 255, np.uint8)
    for number, line in enumerate(lines):
        _write(sheet, line, TEXT_PX, number)
    for column in range(n_columns):
        _write(sheet, f"epoch {column}" if column else "as stored", left + column * step, len(lines))
        for row in range(n_rows):
            y, x = top + row * step, left + column * step
            sheet[y:y + side, x:x + side] = tiles[row, column]
    for row, label in enumerate(labels):
        _write(sheet, ("real", "fake")[label], 2, (top + row * step + side // 2) / LINE_PX)
    return sheet


def _write(sheet: np.ndarray, text: str, x: int, line: float) -> None:
    cv2.putText(sheet, text, (x, round(line * LINE_PX) + 15), cv2.FONT_HERSHEY_SIMPLEX, .42, (0, 0, 0), 1, cv2.LINE_AA)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    out, model, training, options, _ = parse(argv, "python -m classify.training.preview")
    n_real, n_fake = write_sheet(out, model, training, options)
    print(f"augment-sheet: {n_real} reals and {n_fake} fakes in {EPOCHS} epochs: {out / 'augment.png'}")


if __name__ == "__main__":
    sys.exit(main())
