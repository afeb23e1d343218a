"""Folders called real and fake, of videos, of frames of videos or of pictures, with parts where they are given.

    real/ fake/                          also 0_real, training_fake, FAKE, ai, nature, … at any depth
    train|val|test/real|fake/            also Train, training, valid, validation, testing
    train|test/REAL|FAKE/1.jpg           CIFAKE
    real_train/<shard>/real/<sequence>/  WildDeepfake

labels.py says which folder decides. No file is opened here.
"""
from __future__ import annotations

import re
from collections import Counter

from extract.layouts.base import Corpus, counted, left_out, row, shown, without_copies
from extract.layouts.labels import Told, contradictions, told_by

CIFAKE = re.compile(r"(?:train|test)/(?:REAL|FAKE)/\d+(?: \(\d+\))?\.jpg")
WILD = re.compile(r"(?:real|fake)_(?:train|test)/(?:[^/]+/)?(?:real|fake)/[^/]+")
DATASETS = {"CIFAKE": ("CIFAKE", {"train real": 50_000, "train fake": 50_000, "test real": 10_000,
                                  "test fake": 10_000}),
            "WildDeepfake": ("WildDeepfake", {"train real": 3_409, "train fake": 3_099, "test real": 396,
                                              "test fake": 410}),  # sequences, by its README
            "folders": ("folders real and fake", {}),
            "images": ("pictures in folders real and fake", {})}
SHOWN = 4  # folders and methods that are named


def class_folders(media: dict[str, str], folder: str = "") -> Corpus | None:
    """Return rows of what lies below folders called real, fake or a synonym; None where nothing has a label.

    A validation part without a test part is the test part: what was held out judges, and validation is carved out of
    training.

    Args:
        media: name relative to the root -> "video" or "image". Videos that differ in suffix or case alone are copies.
        folder: name of the root, for the message alone.
    """
    videos, doubled = without_copies([name for name, modality in media.items() if modality == "video"], nested=False)
    names = sorted(videos + [name for name, modality in media.items() if modality == "image"])
    told = told_by(map(_folder, names))
    dataset = _dataset(names, media)
    rows = []
    for name in names:
        found = told[_folder(name)]
        if found.label is not None:
            rows.append(row(name, found.label, dataset, found.method, official=found.part, modality=media[name]))
    if not rows:
        return None
    thing = "picture" if dataset in ("images", "CIFAKE") else "video"
    without = [name for name in names if told[_folder(name)].label is None]
    places = Counter(_folder(name) for name in without)
    named = ", ".join(f"{n:,} in {shown(place) or 'the corpus itself'}{'/' * bool(place)}"
                      for place, n in places.most_common(SHOWN))
    notes = left_out(len(without), f"below no folder called real or fake ({named})", thing)
    parts = {entry["official"] for entry in rows}
    if "val" in parts and "test" not in parts:
        notes.append("there is no test part: the validation part judges, and validation is carved out of training")
        for entry in rows:
            entry["official"] = entry["official"].replace("val", "test")
    kinds = [f"{part} {kind}".strip() for part in ("train", "val", "test", "") for kind in ("real", "fake")]
    counts = Counter(f"{entry['official']} {'fake' if entry['label'] else 'real'}".strip() for entry in rows)
    title, expected = DATASETS[dataset]
    return Corpus(title, dataset, rows, {kind: counts[kind] for kind in kinds if counts[kind]}, expected,
                  doubled=doubled, notes=notes + contradictions(told, map(_folder, names)),
                  labels=_labels(rows, thing, told))


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _dataset(names: list[str], media: dict[str, str]) -> str:
    if all(CIFAKE.fullmatch(name) for name in names):
        return "CIFAKE"
    if all(WILD.fullmatch(name) for name in names):
        return "WildDeepfake"
    return "folders" if "video" in {media[name] for name in names} else "images"


def _labels(rows: list[dict], thing: str, told: dict[str, Told]) -> list[str]:
    """Which folders decide, and the methods of the fakes."""
    lines = []
    for label, kind in enumerate(("real", "fake")):
        mine = [entry for entry in rows if entry["label"] == label]
        deciders: Counter[str] = Counter()
        for entry in mine:
            folder = _folder(entry["video_id"])
            deciders["/".join(folder.split("/")[:told[folder].depth + 1])] += 1
        where = ", ".join(f"{shown(place)}/ ({n:,})" for place, n in deciders.most_common(SHOWN))
        more = f" and {len(deciders) - SHOWN:,} more" if len(deciders) > SHOWN else ""
        methods = Counter(entry["method"] for entry in mine)
        named = ""
        if label and len(methods) > 1:
            named = "; methods: " + ", ".join(f"{shown(name)} {n:,}" for name, n in methods.most_common(SHOWN * 2))
        if mine:
            lines.append(f"labelled {kind}: {counted(len(mine), thing)} below {where}{more}{named}")
    return lines
