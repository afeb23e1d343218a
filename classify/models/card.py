"""The model card of a checkpoint, read and checked without torch: what is wrong with a model is said before seconds of
imports.

A model file comes from anywhere. Its card is JSON of which every field that is used is checked here, for every kind of
model file: types, ranges, and that numbers are finite.
"""
from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
from pathlib import Path
from typing import Any, Iterable

from classify.models import shipped
from pipeline.errors import CheckpointError, OptionsError

FORMAT = 2  # of the checkpoint; raised when the card's meaning changes
AGGREGATIONS = ("mean_logit", "mean", "median", "top_k", "trimmed", "noisy_or")  # of classify.judging.aggregate
LARGEST_PX = 2048      # side of a network's input
MOST_HIDDEN = 65536    # units of the dense layer before the logit
MOST_METHODS = 1000
MOST_MEMBERS = 32
FURTHEST = 1e6         # of a probe's logit, and of the calibration's slope and offset


def read_card(path: Path, pinned: bool = True) -> dict[str, Any]:
    """Read the model card alone: no tensors are read.

    Args:
        path: a .safetensors or .onnx file, or a .keras file with its card beside it.
        pinned: False takes a file that has the shipped detector's name and is another one: the next to be shipped.

    Raises:
        CheckpointError: the file is missing, of another format, holds impossible values, or claims to be the shipped
            detector.
    """
    if path.suffix == ".onnx":
        card = importlib.import_module("classify.models.onnx_file").read_onnx_card(path)
    else:
        card = _beside(path) if path.suffix == ".keras" else _in_header(path)
    check_card(card, path)
    if pinned:
        check_name(card, path)
    return card


def card_path(path: Path) -> Path:
    """Return where the card of a .keras file is: model.keras -> model.keras.json."""
    return path.with_name(path.name + ".json")


def check_name(card: dict[str, Any], path: Path) -> None:
    """Refuse a file that claims the shipped detector's name and is not it. Raises CheckpointError."""
    if card["model_id"] != shipped.MODEL_ID:
        return
    sha256 = shipped.SHA256.get(path.suffix, "")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise CheckpointError(f"{path} calls itself {shipped.MODEL_ID}, the shipped detector, and is another file (its "
                              f"sha256 begins with {found[:8]}, not with {sha256[:8]}): copy it again, or name the "
                              "model that you want")


def check_digest(path: Path, card: dict[str, Any], digest: str) -> None:
    """Refuse weights that are not those which the card was written for. Raises CheckpointError.

    digest: of the weights, as hexadecimal digits; the model_id ends with its first eight.
    """
    if card["model_id"].rpartition("-")[2] != digest[:8]:
        raise CheckpointError(f"{path} calls itself {card['model_id']}, but its weights are of …-{digest[:8]}"
                              ": it was changed after it was saved; copy it again")


def check_finite(path: Path, arrays: Iterable[tuple[str, Any]]) -> None:
    """Refuse weights that are no numbers. Raises CheckpointError.

    arrays: pairs of name and array, of numpy or torch; NaN and infinity come through their least and largest value.
    """
    for name, array in arrays:
        if 0 not in array.shape and not (math.isfinite(float(array.min())) and math.isfinite(float(array.max()))):
            raise CheckpointError(f"{path} is damaged: {name} holds values that are not finite; train again or copy it "
                                  "again")


def check_card(card: Any, path: Path) -> None:
    """Check every field of a model card that is used. Raises CheckpointError."""
    if not isinstance(card, dict):
        raise CheckpointError(f"{path} is not a model file of this project (its card is no object)")
    if card.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {str(card.get('format'))[:40]}, this version reads {FORMAT}: train "
                              "it again")
    try:
        _check_network(card, card.get("framework") == "keras")
        _check_judging(card)
    except (_Wrong, OptionsError) as wrong:
        raise CheckpointError(f"{path} has an impossible model card: {wrong}; copy it again or train it again"
                              ) from None


class _Wrong(Exception):
    """What is wrong with a field."""


def _check_network(card: dict[str, Any], keras: bool) -> None:
    """The fields that rebuild the network. The normalisation of Keras' networks and of ensembles is inside."""
    _text(card, "backbone")
    _number(card, "size_px", 16, LARGEST_PX, whole=True)
    _text(card, "framework", optional=True)
    if "members" in card:
        members = _get(card, "members", list)
        if not 1 <= len(members) <= MOST_MEMBERS:
            raise _Wrong(f"members must be 1 to {MOST_MEMBERS}, got {len(members)}")
        for member in members:
            if not isinstance(member, dict) or "members" in member:
                raise _Wrong("each of members must be the card of one network")
            _check_network(member, keras)
        _number(card, "centre", 0, 1, optional=True)
        return
    _number(card, "centre", 1e-3, 1)
    _number(card, "hidden", 0, MOST_HIDDEN, whole=True)
    _number(card, "dropout", 0, 1)
    _get(card, "spectrum", bool)
    methods = _get(card, "methods", list)
    if len(methods) > MOST_METHODS or not all(isinstance(name, str) for name in methods):
        raise _Wrong(f"methods must be at most {MOST_METHODS} names")
    if not keras:
        _numbers(card, "mean", 3, -FURTHEST, FURTHEST)
        _numbers(card, "std", 3, 1e-6, FURTHEST)


def _check_judging(card: dict[str, Any]) -> None:
    """The fields that lead from a file to a verdict."""
    from extract.decoding.sampling import FrameOptions
    from extract.faces.detector import FaceOptions
    from pipeline.options import from_record

    _text(card, "model_id")
    _text(card, "split_hash")
    _numbers(card, "probe", None, -FURTHEST, FURTHEST)
    _number(card, "threshold", 0, 1)
    if _get(card, "aggregation", str) not in AGGREGATIONS:
        raise _Wrong(f"aggregation must be one of {', '.join(AGGREGATIONS)}, got {card['aggregation'][:40]!r}")
    for name, options in (("frames", FrameOptions), ("faces", FaceOptions)):
        from_record(options, _get(card, name, dict))
    if card.get("crop") not in (None, "face", "whole"):
        raise _Wrong(f"crop must be face or whole, got {str(card['crop'])[:40]!r}")
    _text(card, "variant", optional=True)
    _text(card, "real_means", optional=True)
    for name, kind in (("dataset", str), ("demo", bool), ("versions", dict), ("calibrated_on", dict)):
        _get(card, name, kind, optional=True)
    clips = (card.get("calibrated_on") or {}).get("clips", [])
    if not isinstance(clips, list) or not all(isinstance(clip, str) for clip in clips):
        raise _Wrong("calibrated_on.clips must be a list of names")
    if (band := _get(card, "calibration", dict, optional=True)) is not None:
        if set(band) != {"low", "high", "slope", "offset"}:
            raise _Wrong(f"calibration must have low, high, slope and offset, got {sorted(map(str, band))[:8]}")
        for name, least, most in (("low", 0, 1), ("high", 0, 1), ("slope", -FURTHEST, FURTHEST),
                                  ("offset", -FURTHEST, FURTHEST)):
            _number(band, name, least, most)
        if band["low"] > band["high"]:
            raise _Wrong(f"the uncertain band ends ({band['high']}) before it begins ({band['low']})")


def _get(card: dict[str, Any], name: str, kind: type, optional: bool = False) -> Any:
    value = card.get(name)
    if value is None and optional:
        return None
    if not isinstance(value, kind):
        raise _Wrong(f"{name} must be of type {kind.__name__}, " + (
            f"got {type(value).__name__}" if name in card else "and it is missing"))
    return value


def _text(card: dict[str, Any], name: str, optional: bool = False) -> None:
    value = _get(card, name, str, optional)
    if value is not None and (len(value) > 200 or not value.isprintable()):
        raise _Wrong(f"{name} must be at most 200 printable characters")


def _number(card: dict[str, Any], name: str, low: float, high: float, whole: bool = False, optional: bool = False
            ) -> None:
    value = card.get(name)
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
        raise _Wrong(f"{name} must be {'a whole number' if whole else 'a number'} from {low:g} to {high:g}, "
                     + (f"got {str(value)[:40]}" if name in card else "and it is missing"))


def _numbers(card: dict[str, Any], name: str, length: int | None, low: float, high: float) -> None:
    values = _get(card, name, list)
    if not values or length not in (None, len(values)):
        raise _Wrong(f"{name} must be {length or 'some'} numbers, got {len(values)}")
    for value in values:
        _number({name: value}, name, low, high)


def _in_header(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"no model at {path}: `make train CORPUS=your/corpus` makes one, `make demo` a small one "
                              "on drawn faces; or name another with --model")
    try:
        with safe_open(os.fspath(path), "numpy") as file:
            return json.loads((file.metadata() or {})["card"])
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a model file of this project ({type(error).__name__})") from None


def _beside(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"no model at {path}: `make train FRAMEWORK=tensorflow` makes one; or name another with "
                              "--model")
    try:
        return json.loads(card_path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} needs its card {card_path(path)}, with crop options and threshold "
                              f"({type(error).__name__}): copy both") from None
