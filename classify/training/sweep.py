"""Several recipes on one split, side by side. `make compare` is reports/sweep.py, which prints and draws this table.

    OUT/compare/compare.csv                  a row per recipe, the best validation video AUC first
    OUT/compare/<name>/model.safetensors     its checkpoint, with epochs.csv and run/ as training writes them
    OUT/compare/<name>/result.json           what it was made from and how it scored, written last

A recipe that has a result from the same options, split and crops is not trained or scored again. Its speed is
measured in every run, so that the columns of one table are from one machine.

Rows stand in the order of the validation videos. The test columns say how good each one is; a choice among the rows
by them would be a leak, since the test videos would then have chosen the model that they judge.
"""
from __future__ import annotations

import hashlib
import itertools
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classify.training.recipes import RECIPES
from data.loading.options import BALANCES
from extract.layouts.base import thing_of
from pipeline.errors import PipelineError
from pipeline.options import as_record, option
from pipeline.tables import INDEX, read_table, write_json, write_table

if TYPE_CHECKING:
    import pandas as pd

LISTS = {"lr": float, "epochs": int, "batch": int, "balance": str, "fakes_per_real": float}  # of a grid
FACES_AT_ONCE = (1, 32)  # batches whose speed is measured
SURE = 0.9
ROUNDS = 5               # of each, after one that is not counted; the median is taken
_AUC = {f"{part}{end}": "float64" for part in ("val_video_auc", "test_video_auc", "test_frame_auc", "test_accuracy")
        for end in ("", "_low", "_high")}
COMPARE = {
    "name": "str", "recipe": "str", "lr": "float64", "epochs": "float64", "batch": "float64", "best_epoch": "float64",
    **_AUC,                      # with 95 % intervals over whole groups, empty where there is none
    "test_videos": "float64",    # that were judged
    "test_sure": "float64",      # share of them scored at least SURE, or at most 1 - SURE
    "test_sure_right": "float64",  # share of these on the right side
    "threshold": "float64",      # of the verdicts that the accuracy counts, chosen on validation
    "aggregation": "str",
    "n_params": "float64",
    **{f"ms_per_face_{n}": "float64" for n in FACES_AT_ONCE},  # n faces at once
    "device": "str",             # where those were measured
    "training_s": "float64",     # wall clock, on training_device
    "training_device": "str",
    "model_id": "str",
    "reason": "str",             # why there is no result, or no number or interval
}


@dataclass(frozen=True)
class CompareOptions:
    """What is compared: each recipe with each combination of the lists. Every other flag is classify.train's."""

    recipes: str = option(" ".join(RECIPES), "names of recipes, with spaces between")
    lr: str = option("", "learning rates, with spaces between; none for each recipe's own, likewise the next four")
    epochs: str = option("", "numbers of epochs")
    batch: str = option("", "crops at once in training")
    balance: str = option("", "ways to balance reals against fakes")
    fakes_per_real: str = option("", "most training fakes kept for each training real")

    def __post_init__(self) -> None:
        unknown = [name for name in self.recipes.split() if name not in RECIPES]
        if unknown or not self.recipes.split():
            raise ValueError(f"recipes must be some of {', '.join(RECIPES)}, got {', '.join(unknown) or 'none'}")
        for name, kind in LISTS.items():
            for word in getattr(self, name).split():
                try:
                    kind(word)
                except ValueError:
                    raise ValueError(f"{name} must be numbers with spaces between, got {word!r}") from None
        if unknown := [word for word in self.balance.split() if word not in BALANCES]:
            raise ValueError(f"balance must be some of {', '.join(BALANCES)}, got {', '.join(unknown)}")


def candidates(options: CompareOptions) -> dict[str, list[str]]:
    """Name -> flags of classify.train. What is not given in a list does not show in the name."""
    lists = {name: getattr(options, name).split() for name in LISTS}
    grid = {name: values for name, values in lists.items() if values}
    found = {}
    for recipe in options.recipes.split():
        for values in itertools.product(*grid.values()):
            name = "-".join([recipe, *(f"{key}{value}" for key, value in zip(grid, values))])
            found[name] = ["--recipe", recipe, *(word for key, value in zip(grid, values)
                                                 for word in ("--" + key.replace("_", "-"), value))]
    return found


def compare(out: Path, options: CompareOptions, others: list[str]) -> pd.DataFrame:
    """Train, or load, and score each candidate on OUT's split; write the table and return it.

    others: further flags of classify.train, for all. A candidate that cannot be had is a row with its reason.
    """
    import pandas as pd

    rows = []
    for name, flags in candidates(options).items():
        print(f"compare: {name}", file=sys.stderr, flush=True)
        folder = out / "compare" / name
        try:
            row = {**_result(out, folder, flags + others), **_speed(folder, flags + others)}
        except PipelineError as error:
            row = {"reason": " ".join(str(error).split())}
        rows.append({**{c: "" if kind == "str" else None for c, kind in COMPARE.items()}, "name": name,
                     "recipe": flags[1], **row})
    table = pd.DataFrame(rows, columns=list(COMPARE)).astype(COMPARE)
    table["failed"] = table["model_id"] == ""
    table = table.sort_values(["failed", "val_video_auc"], ascending=[True, False], kind="stable", ignore_index=True)
    write_table(out / "compare" / "compare.csv", table, COMPARE)
    return table.drop(columns="failed")


def _result(out: Path, folder: Path, flags: list[str]) -> dict[str, Any]:
    """The part of the row that does not depend on the machine: stored, or trained and scored and then stored."""
    from classify.models.network import read_card
    from classify.training.train import parse, train
    from data.loading.pack import Pack
    from extract.faces.detector import pick_device

    _, model, training, augmentation, running = parse(["--out", str(out), *flags])
    made_from = {"options": {**as_record(model), **as_record(training), **as_record(augmentation),
                             "batch": running.batch, "resume": False},
                 "split_hash": json.loads((out / "split.json").read_text())["split_hash"],
                 "faces": hashlib.sha256((out / "faces" / "faces.csv").read_bytes()).hexdigest()}
    model_file, record = folder / "model.safetensors", folder / "result.json"
    if record.is_file() and model_file.is_file():
        stored = json.loads(record.read_text())
        if stored["made_from"] == made_from and read_card(model_file)["model_id"] == stored["row"]["model_id"]:
            print(f"  is there already: {model_file}", file=sys.stderr)
            return stored["row"]
    record.unlink(missing_ok=True)  # never beside a newer model
    Pack(out, model.size, model.centre)  # made once for all, so no recipe's time
    start = time.monotonic()
    card = train(out, model, training, augmentation, running, folder)
    row = {"training_s": round(time.monotonic() - start, 1),
           "training_device": machine_name(pick_device(running.device)),
           "lr": training.lr, "epochs": training.epochs, "batch": running.batch, "best_epoch": card["best_epoch"],
           "threshold": card["threshold"], "aggregation": card["aggregation"], "model_id": card["model_id"],
           **_numbers(out, model_file, running)}
    write_json(record, {"made_from": made_from, "row": row})
    return row


def _numbers(out: Path, model_file: Path, running) -> dict[str, Any]:
    """Validation and test numbers with their intervals: each held-out crop is scored once."""
    from classify.evaluation.metrics import evaluate
    from classify.evaluation.score import held_out_scores
    from classify.models.network import load_checkpoint
    from extract.faces.detector import pick_device

    net, card = load_checkpoint(model_file, pick_device(running.device))
    frames, videos = held_out_scores(out, net, card, running)
    index = read_table(out / "index.csv", INDEX)
    originals = dict(zip(index["video_id"], index["original"]))
    found = {part: evaluate(videos, frames, card["threshold"], part, originals, thing_of(index["modality"]))
             for part in ("val", "test")}
    row: dict[str, Any] = {"n_params": sum(p.numel() for p in net.parameters()),
                           "test_videos": found["test"]["n"]["judged"], **_sure(videos[videos["part"] == "test"])}
    reasons = []
    for column, part, level, metric in (("val_video_auc", "val", "video", "auc"),
                                        ("test_video_auc", "test", "video", "auc"),
                                        ("test_frame_auc", "test", "frame", "auc"),
                                        ("test_accuracy", "test", "video", "accuracy")):
        cell = found[part][level]["all"]["left_out"]["metrics"][metric]
        row |= {column: cell["value"], f"{column}_low": cell["low"], f"{column}_high": cell["high"]}
        if cell["reason"]:
            reasons.append(f"{column}: {cell['reason']}")
    return {**row, "reason": "; ".join(reasons)}


def _sure(videos: pd.DataFrame) -> dict[str, float | None]:
    """How many of these videos are scored far to one side, and how many of those on the right one."""
    scored = videos[videos["score"].notna()]
    sure = scored[scored["score"].sub(.5).abs() >= SURE - .5 - 1e-9]
    return {"test_sure": len(sure) / len(scored) if len(scored) else None,
            "test_sure_right": float(((sure["score"] >= .5) == (sure["label"] == 1)).mean()) if len(sure) else None}


def _speed(folder: Path, flags: list[str]) -> dict[str, Any]:
    """Milliseconds a face, from uint8 pictures in memory to scores in memory."""
    import torch

    from classify.models.network import load_checkpoint, scores_of
    from classify.training.train import parse
    from extract.faces.detector import pick_device

    device = pick_device(parse(["--out", ".", *flags])[-1].device)
    net, card = load_checkpoint(folder / "model.safetensors", device)
    row: dict[str, Any] = {"device": machine_name(device)}
    for n in FACES_AT_ONCE:
        pictures = torch.randint(0, 256, (n, 3, card["size_px"], card["size_px"]), dtype=torch.uint8)
        spent = []
        for _ in range(ROUNDS + 1):
            start = time.perf_counter()
            scores_of(net, pictures.to(device)).cpu()
            spent.append(1000 * (time.perf_counter() - start) / n)
        row[f"ms_per_face_{n}"] = round(statistics.median(spent[1:]), 3)
    return row


def machine_name(device: str) -> str:
    """What times are from: the GPU, or the CPU and its threads."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{device}, {torch.get_num_threads()} threads" if device == "cpu" else device
