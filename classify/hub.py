"""`make hub OUT=x TO=folder`: a model as a folder that huggingface_hub can upload and load back.

    TO/README.md          model card in Hugging Face's format
    TO/model.safetensors  weights, with our card in the header
    TO/model.onnx         the same network for ONNX Runtime, judged without torch
    TO/config.json        our card: network, crop and frame options, threshold, calibration

Nothing is uploaded. The files are read back before the command ends, without the network.
"""
from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from classify.models.card import read_card
from classify.models.shipped import MODEL_ID, SHIPPED
from pipeline.errors import CheckpointError, OptionsError, command
from pipeline.tables import write_bytes, write_json

WEIGHTS, GRAPH, CONFIG, PAGE = "model.safetensors", "model.onnx", "config.json", "README.md"
SHIPPED_CARD = Path(__file__).parents[1] / "MODEL_CARD.md"
TAGS = ["deepfake-detection", "face-forgery-detection", "onnx", "safetensors"]
METRICS = {"auc": "roc_auc", "balanced_accuracy": "balanced_accuracy"}  # of our report: names that the hub shows


def write_folder(model: Path, to: Path, report: Path | None = None) -> list[Path]:
    """Write a model as a folder for the hub, and read it back.

    Args:
        model: a .safetensors file.
        to: the folder; files of these names in it are replaced.
        report: a report's metrics.json about this model, whose numbers go into the card; None for none.

    Returns:
        The files written.

    Raises:
        CheckpointError: the model cannot be read or exported, or the folder does not give the same model back.
    """
    from classify.export import export_model

    if model.suffix != ".safetensors":
        raise CheckpointError(f"{model}: only .safetensors files have a folder for the hub")
    card = read_card(model)
    to.mkdir(parents=True, exist_ok=True)
    write_bytes(to / WEIGHTS, model.read_bytes())
    if card["model_id"] == MODEL_ID:
        shutil.copyfile(SHIPPED, to / GRAPH)  # pinned: another export of it would be refused
    else:
        export_model(model, to / GRAPH)
    write_json(to / CONFIG, card)
    write_bytes(to / PAGE, _page(card, _metrics(report, card)).encode())
    read_back(to)
    return [to / name for name in (PAGE, CONFIG, WEIGHTS, GRAPH)]


def read_back(folder: Path) -> dict[str, Any]:
    """Load a folder of `write_folder` with huggingface_hub and ONNX Runtime, and return our card.

    The card is parsed and not validated: that asks the hub.

    Raises:
        CheckpointError: a file is missing, damaged, or the files are not one model's.
    """
    from huggingface_hub import ModelCard, load_torch_model
    from safetensors import safe_open
    from safetensors.torch import load_model as load_tensors

    from classify.models.load import load_model

    if absent := [name for name in (PAGE, CONFIG, WEIGHTS, GRAPH) if not (folder / name).is_file()]:
        raise CheckpointError(f"{folder} lacks {absent[0]}")
    net, card, _ = load_model(folder / WEIGHTS, "cpu")
    _, graph, _ = load_model(folder / GRAPH, "cpu")  # compares the probe's logits
    with safe_open(str(folder / WEIGHTS), "numpy") as file:
        of_torch = "format" in file.metadata()
    if of_torch:
        missing_keys, unexpected_keys = load_torch_model(net, folder, strict=True)
    else:  # older than that entry, the shipped detector too: as huggingface_hub's mixin for models reads it
        missing_keys, unexpected_keys = load_tensors(net, folder / WEIGHTS, strict=True)
    page = ModelCard.load(folder / PAGE)
    ids = {card["model_id"], graph["model_id"], json.loads((folder / CONFIG).read_text())["model_id"],
           page.data.get("model_id")}
    if len(ids) > 1 or missing_keys or unexpected_keys:
        raise CheckpointError(f"{folder}: its files are not one model's ({', '.join(map(str, ids))})")
    return card


def _metrics(report: Path | None, card: dict[str, Any]) -> dict[str, Any] | None:
    """The numbers of a report about this model, or None."""
    if report is None or not report.is_file():
        return None
    found = json.loads(report.read_text())
    return found if found.get("model_id") == card["model_id"] else None


def _page(card: dict[str, Any], metrics: dict[str, Any] | None) -> str:
    """The card as the hub shows it: data for its search in front, then words."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    shipped = card["model_id"] == MODEL_ID
    cells = metrics["video"]["all"]["left_out"]["metrics"] if metrics else {}
    results = [EvalResult(task_type="video-classification", task_name="real or fake", dataset_type="custom",
                          dataset_name=str(metrics["dataset"]), dataset_split="test", metric_type=METRICS[name],
                          metric_name=name, metric_value=round(cells[name]["value"], 6))
               for name in METRICS if metrics and cells[name]["value"] is not None]
    data = ModelCardData(license="other", license_name="research-only" if shipped else "see-the-training-data",
                         library_name="deepfake-pipeline", pipeline_tag="video-classification", tags=list(TAGS),
                         model_name=card["model_id"], eval_results=results or None, model_id=card["model_id"])
    words = SHIPPED_CARD.read_text() if shipped and SHIPPED_CARD.is_file() else _words(card, metrics)
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{words}\n{USE}"))


USE = """
## Use

`config.json` says how faces are cropped, which frames are looked at, how their scores become one, and from which score
on a clip is fake. With the pipeline that made this model, no torch is needed for the `.onnx` file:

```sh
python -m classify.video clip.mp4 --model model.onnx
python -m classify.video clip.mp4 --model model.safetensors
```

A score is P(fake) of a network that looked at pixels. REAL means that no sign of manipulation was found.
"""


def _words(card: dict[str, Any], metrics: dict[str, Any] | None) -> str:
    lines = [f"# {card['model_id']}", "", "Decides whether the face in a video or picture was manipulated. "
             "**Not evidence, nor a reason to accuse anybody.**"]
    if card.get("demo"):
        lines += ["", "**It was trained on drawn faces and knows nothing about real videos.**"]
    lines += ["", "|  |  |", "|---|---|", f"| network | {card['backbone']}, input {card['size_px']} px |",
              f"| trained on | {card.get('dataset') or 'unknown'} |",
              f"| score of a clip | {card['aggregation']} of its frames; fake from {card['threshold']:.4g} |"]
    if metrics:
        n = metrics["n"]
        lines += ["", f"## Test part of {metrics['dataset']}", "", f"{n['real']} real and {n['fake']} fake "
                  f"{metrics['thing']}s, {n['judged']} judged; 95 % intervals resample whole groups.", "",
                  "| number | value | 95 % interval |", "|---|---|---|"]
        for name, cell in metrics["video"]["all"]["left_out"]["metrics"].items():
            span = f"{cell['low']:.3f} to {cell['high']:.3f}" if cell["low"] is not None else "n/a"
            value = "n/a" if cell["value"] is None else f"{cell['value']:.3f}"
            lines.append(f"| {name.replace('_', ' ')} | {value} | {span} |")
    return "\n".join([*lines, "", "Other corpora, methods and stronger compression are usually judged much worse."])


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m classify.hub", description="A model as a folder that "
                                     "huggingface_hub can upload: card, safetensors, ONNX. Nothing is uploaded.")
    parser.add_argument("--out", type=Path, help="folder of a run (OUT), whose model it is; without it and --model the "
                        "shipped detector")
    parser.add_argument("--model", type=Path, help="a .safetensors file instead")
    parser.add_argument("--to", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    if arguments.to.is_file():
        raise OptionsError(f"--to {arguments.to} is a file: name a folder")
    model = arguments.model or (arguments.out / "model" / WEIGHTS if arguments.out else
                                SHIPPED.with_suffix(".safetensors"))
    report = arguments.out / "report" / "metrics.json" if arguments.out and not arguments.model else None
    for path in write_folder(model, arguments.to, report):
        print(f"hub: {path}")
    print(f"hub: read back with huggingface_hub; upload with: hf upload NAME {arguments.to}")


if __name__ == "__main__":
    sys.exit(main())
