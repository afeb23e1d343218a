"""The model card of a checkpoint, read without torch: what is wrong with a model is said before seconds of imports."""
from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

from pipeline.errors import CheckpointError

FORMAT = 2  # of the checkpoint; raised when the card's meaning changes


def read_card(path: Path) -> dict[str, Any]:
    """The model card alone: no tensors are read. Raises CheckpointError."""
    if path.suffix == ".keras":
        return importlib.import_module("classify.models.keras").read_card(path)
    if path.suffix == ".onnx":
        card = importlib.import_module("classify.models.onnx_file").read_onnx_card(path)
        check_card(card, path)
        return card
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"no model at {path}: `make train CORPUS=your/corpus` makes one, `make demo` a small one "
                              "on drawn faces; or name another with --model")
    try:
        with safe_open(os.fspath(path), "numpy") as file:
            card = json.loads((file.metadata() or {})["card"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is not a model file of this project ({type(error).__name__})") from None
    check_card(card, path)
    return card


def check_card(card: dict[str, Any], path: Path) -> None:
    """Check that a card is of this version. Raises CheckpointError."""
    if card.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {card.get('format')}, this version reads {FORMAT}: train it again")
