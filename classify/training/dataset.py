"""What a network learns from: the training and validation crops of a run, and perhaps those of an earlier one.

Training that goes on with new fakes forgets the old ones unless it sees some again: `replay_from` mixes crops of the
run that the network was trained in into every epoch.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from classify.judging.judge import needed_faces
from classify.training.recipes import TrainOptions
from data.loading.pack import Joined, Pack
from extract.layouts.base import thing_of
from pipeline.errors import SplitError
from pipeline.tables import FACES, INDEX, SPLIT, read_table

PARTS = {"val": "validation", "test": "test"}  # those that are judged, in words


class Material(NamedTuple):
    """train and val: rows (video_id, label, frame, crop, part, group). pictures: of a Pack, or of two joined.

    numbers: for each training row its place in `pictures`; val_numbers likewise. n_replayed: training rows from the
    earlier run, which come last.
    """

    train: pd.DataFrame
    val: pd.DataFrame
    pictures: np.ndarray | Joined
    numbers: np.ndarray
    val_numbers: np.ndarray
    n_replayed: int


def material(out: Path, size_px: int, centre: float, training: TrainOptions) -> Material:
    """Read the crops of OUT's split; warn of held-out videos that have too few to be judged later.

    Raises SplitError where training or validation has nothing to learn from, or no held-out video could be judged.
    """
    rows = parts_of(out, training)
    if too_few := few_crops(out):
        print(f"WARNING: {too_few}", file=sys.stderr)
    pack = Pack(out, size_px, centre)
    numbers = pack.numbers(rows[0]["crop"])
    if not training.replay_from:
        return Material(*rows, pack.pictures, numbers, pack.numbers(rows[1]["crop"]), 0)
    earlier = Path(training.replay_from)
    check_same_crops(out, earlier)
    old_rows, old_pack = parts_of(earlier, training)[0], Pack(earlier, size_px, centre)
    n = min(len(old_rows), round(len(rows[0]) * training.replay / (1 - training.replay)))
    # As many of each class, so that a rare one is not lost with the rest.
    halves = [old_rows[old_rows["label"] == label] for label in (0, 1)]
    sizes = [min(len(halves[0]), n - n // 2), min(len(halves[1]), n // 2)]
    old = pd.concat([half.sample(size, random_state=training.seed) for half, size in zip(halves, sizes)])
    both = pd.concat([rows[0], old], ignore_index=True)
    return Material(both, rows[1], Joined(pack.pictures, old_pack.pictures),
                    np.concatenate([numbers, len(pack.pictures) + old_pack.numbers(old["crop"])]),
                    pack.numbers(rows[1]["crop"]), len(old))


def parts_of(out: Path, training: TrainOptions) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows (video_id, label, frame, crop, part, group) of the training and the validation crops."""
    split = read_table(out / "split.csv", SPLIT)
    faces = read_table(out / "faces" / "faces.csv", FACES)
    modality = read_table(out / "index.csv", INDEX)[["video_id", "modality"]]
    crops = faces.loc[faces["crop"] != "", ["video_id", "frame", "crop"]].merge(split, on="video_id").merge(
        modality, on="video_id")
    rows = {part: crops[crops["part"] == part].reset_index(drop=True) for part in ("train", "val")}
    if rows["train"]["label"].nunique() < 2:
        n_fake = int(rows["train"]["label"].sum())
        raise SplitError(f"training has {len(rows['train']) - n_fake} real and {n_fake} fake crops, both are needed: "
                         "look at faces/videos.csv and at the split")
    if rows["val"].empty:
        raise SplitError("validation has no crop, and nothing else may choose the epoch: use a larger corpus or VAL=")
    if rows["val"]["label"].nunique() < 2:
        print("WARNING: validation has one class only: its video AUC is n/a, the epoch is chosen by loss and the "
              "threshold stays at .5", file=sys.stderr)
    return _thinned(rows["train"], training), rows["val"]


def few_crops(out: Path) -> str:
    """Say how many validation and test videos of OUT have too few crops for a verdict; "" where all have enough.

    Raises SplitError where that is every video of a part.
    """
    split = read_table(out / "split.csv", SPLIT)
    faces = read_table(out / "faces" / "faces.csv", FACES)
    n_crops = faces[faces["crop"] != ""].groupby("video_id").size()
    modality = read_table(out / "index.csv", INDEX)[["video_id", "modality"]]
    held_out = split[split["part"].isin(("val", "test"))].merge(modality, on="video_id")
    least = held_out["modality"].map(needed_faces).to_numpy()
    few = held_out[held_out["video_id"].map(n_crops).fillna(0).to_numpy() < least]
    if few.empty:
        return ""
    found = " and ".join(f"{len(group):,} of {int((held_out['part'] == part).sum()):,} {PARTS[part]} "
                         f"{thing_of(group['modality'])}s" for part, group in few.groupby("part", sort=False))
    why = (f"{found} have fewer crops than a verdict needs ({max(least)}), so they will be left undecided: sample more "
           "frames (EVERY=, MIN_FRAMES=) or look at faces/videos.csv")
    if any(len(few[few["part"] == part]) == n for part, n in held_out["part"].value_counts().items()):
        raise SplitError(f"a model trained here could not be chosen or tested: {why}")
    return why


def partners(out: Path, rows: pd.DataFrame) -> list[list[int]]:
    """For each row of a real, the rows of the fakes made from it at the same frame number."""
    index = read_table(out / "index.csv", INDEX)
    original = dict(zip(index["video_id"], index["original"]))
    place = {(video, frame): row for row, (video, frame) in enumerate(zip(rows["video_id"], rows["frame"]))}
    found: list[list[int]] = [[] for _ in range(len(rows))]
    for row, (video, frame) in enumerate(zip(rows["video_id"], rows["frame"])):
        real = place.get((original.get(video, ""), frame))
        if real is not None:
            found[real].append(row)
    return found


def dataset_weights(out: Path, rows: pd.DataFrame) -> np.ndarray:
    """Weight each row, float64 (n,), so that all reals of a dataset together weigh the square root of their number."""
    index = read_table(out / "index.csv", INDEX)
    dataset = rows["video_id"].map(dict(zip(index["video_id"], index["dataset"])))
    n_reals = dataset[rows["label"] == 0].value_counts()
    return 1 / np.sqrt(dataset.map(n_reals).fillna(1).to_numpy(np.float64))


def methods_of(out: Path, rows: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Names of the methods that made the fakes among `rows`, and for each row the number of its own, -1 for reals and
    for fakes of which the corpus does not say it."""
    index = read_table(out / "index.csv", INDEX)
    method = dict(zip(index["video_id"], index["method"].where(index["label"] == 1, "")))
    of_rows = [method.get(video, "") for video in rows["video_id"]]
    names = sorted(set(of_rows) - {""})
    return names, np.array([names.index(name) if name else -1 for name in of_rows], np.int64)


def _thinned(rows: pd.DataFrame, training: TrainOptions) -> pd.DataFrame:
    """Without so many fakes that each real has more than `fakes_per_real`; whole videos go."""
    if training.fakes_per_real is None:
        return rows
    most = training.fakes_per_real * int((rows["label"] == 0).sum())
    fakes = rows[rows["label"] == 1].groupby("video_id").size()
    fakes = fakes.sample(frac=1, random_state=training.seed)
    dropped = set(fakes.index[fakes.cumsum() > most])
    return rows[~rows["video_id"].isin(dropped)].reset_index(drop=True)


def crops_record(out: Path) -> dict[str, Any]:
    """Return what a model's card says of the crops it learned from: OUT/faces/options.json without what is of this
    machine or of these very crops."""
    record = json.loads((out / "faces" / "options.json").read_text())
    return {key: value for key, value in record.items() if key not in ("crop_folder", "crops_sha256")}


def check_same_crops(out: Path, earlier: Path) -> None:
    """Raise SplitError where crops of two runs are cut in different ways: a network would tell them apart by that."""
    cut = [{"crop": "face", **json.loads((folder / "faces" / "options.json").read_text())["faces"]}  # older: no crop
           for folder in (out, earlier)]
    if cut[0] != cut[1]:
        unlike = sorted(k for k in {*cut[0], *cut[1]} if cut[0].get(k) != cut[1].get(k))
        raise SplitError(f"the crops of {earlier} were cut with another {', '.join(unlike)} than those of {out}: "
                         "extract one of them again with the options of the other")
