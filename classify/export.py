"""`python -m classify.export model.safetensors`: the model as an .onnx file, which is judged without torch.

    model.onnx    takes `pictures`, uint8 RGB (n, size_px, size_px, 3), the centre of a face crop as the card says;
                  gives `logit` and `score` (P(fake)), float (n,), and for most networks `heat`, float (n, rows,
                  columns); the model card is its metadata "card", JSON

Before it is written, its logits are compared with torch's on face crops.
"""
from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import numpy as np

from pipeline.errors import CheckpointError, OptionsError, command

NEAR = {32: 1e-4, 16: 5e-3}  # logits, by the bits of the weights; more for logits beyond 1, in proportion
CROPS = 64                   # that are compared, at most


class Comparison(NamedTuple):
    """pictures: uint8 RGB (n, size_px, size_px, 3), n at least 1. source: what they are, in words."""

    pictures: np.ndarray
    source: str


def export_model(model: Path, out: Path, bits: int | None = None, crops: Path | None = None) -> dict[str, Any]:
    """Write a checkpoint of torch as an .onnx file.

    Args:
        model: a .safetensors file.
        out: the file to write.
        bits: 16 or 32, of the weights in the file; None for those of the checkpoint.
        crops: a folder of face crops to compare on; None for those of the run that the model lies in, or drawn ones.

    Returns:
        The card as stored. Its "exported" says how it was made: source_sha256, weights_bits, largest_difference (in
        logits), compared_on, heat (classify.models.onnx_export) and graph_sha256.

    Raises:
        CheckpointError: the model cannot be read or exported, or its file gives other logits.
    """
    from classify.models.network import load_torch
    from classify.models.onnx import OnnxNet, load_onnx
    from classify.models.onnx_export import export_graph, with_card
    from classify.models.probe import probe_pictures
    from classify.models.versions import versions
    from pipeline.onnx_session import open_session
    from pipeline.tables import write_bytes

    if model.suffix != ".safetensors":
        raise CheckpointError(f"{model}: only .safetensors files are exported, networks of torch")
    net, card = load_torch(model, pinned=False)
    bits = bits or (16 if _is_half(model) else 32)
    compared = crops_to_compare(model, card, crops)
    content, heat = export_graph(net, card, bits == 16)
    try:
        ours = OnnxNet(open_session(content))
    except Exception as error:  # ONNX Runtime's kinds of errors have no common base
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{card['model_id']} cannot be exported: ONNX Runtime does not take it ({why})") from None
    difference = largest_difference(net, ours, compared.pictures)
    if not difference <= NEAR[bits]:
        advice = ": try --bits 32" if bits == 16 else ""
        raise CheckpointError(f"{card['model_id']} cannot be exported: on {compared.source} ONNX Runtime's logits "
                              f"differ from torch's by {difference:.1e}, at most {NEAR[bits]} is allowed with weights "
                              f"in {bits} bits{advice}")
    card = {**card, "probe": [round(float(logit), 6) for logit in ours.logits(probe_pictures(card["size_px"]))],
            "exported": {"source_sha256": _sha256(model), "weights_bits": bits, "heat": heat,
                         "largest_difference": float(f"{difference:.2g}"), "compared_on": compared.source,
                         "versions": versions()}}
    write_bytes(out, with_card(content, card))
    return load_onnx(out, "cpu", pinned=False)[1]


def largest_difference(net: Any, ours: Any, pictures: np.ndarray) -> float:
    """Compare logits: the largest difference, of logits beyond 1 as a share of them.

    Args:
        net: the network on torch, on the CPU.
        ours: an OnnxNet.
        pictures: uint8 RGB (n, side, side, 3).
    """
    import torch

    with torch.inference_mode():
        theirs = np.concatenate([net(torch.from_numpy(part).permute(0, 3, 1, 2)).float().numpy()
                                 for part in np.array_split(pictures, -(-len(pictures) // 8))])
    one_by_one = ours.logits(pictures[:1])  # another size of batch is not another answer
    found = np.abs(np.concatenate([ours.logits(pictures) - theirs, one_by_one - theirs[:1]]))
    return float(np.max(found / np.maximum(1, np.abs(np.append(theirs, theirs[0])))))


def crops_to_compare(model: Path, card: dict[str, Any], folder: Path | None = None) -> Comparison:
    """Read face crops to compare logits on: of `folder`, of the run that the model lies in, or drawn ones.

    Raises:
        OptionsError: the folder that was named holds no picture.
    """
    from data.loading.crops import to_input
    from extract.decoding.image import read_picture, whole_square
    from extract.decoding.kinds import IMAGE_SUFFIXES

    run = model.absolute().parent.parent / "faces"
    files = _spread(path for path in (folder or run).glob("**/*")
                    if path.suffix.lower() in IMAGE_SUFFIXES and path.name != "sheet.png")
    if folder and not files:
        raise OptionsError(f"--crops {folder}: no picture in this folder")
    if files:
        pictures, source = [whole_square(read_picture(file), 224) for file in files], f"{len(files)} face crops"
    else:
        pictures = draw_faces()
        source = f"{len(pictures)} drawn faces"
    return Comparison(np.stack([to_input(picture, card["size_px"], card["centre"]) for picture in pictures]), source)


def _spread(files: Any) -> list[Path]:
    """At most CROPS of the files, evenly over their order."""
    found = sorted(files)
    return [found[at] for at in sorted({round(at) for at in np.linspace(0, len(found) - 1, CROPS)})] if found else []


def draw_faces() -> list[np.ndarray]:
    """Draw faces of the demo corpus: uint8 RGB (224, 224, 3) each, eight of each of four people."""
    from data.demo.make import DemoOptions, plan, stage
    from extract.decoding.image import whole_square

    options = DemoOptions(identities=4, clips=1, seconds=4)
    scenes = [stage(options, job)[0] for job in plan(options)]
    middle = slice((options.width - options.height) // 2, (options.width + options.height) // 2)
    return [whole_square(np.ascontiguousarray(scene.draw(number / 2, [])[0][:, middle]), 224)
            for scene in scenes for number in range(8)]


def _is_half(model: Path) -> bool:
    """Whether a .safetensors file stores its weights in 16 bits."""
    from safetensors import safe_open

    with safe_open(str(model), "numpy") as file:
        return any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _line(out: Path, card: dict[str, Any]) -> str:
    how = card["exported"]
    heat = {"exact": "with a heat map", "": "without a heat map"}.get(how["heat"], f"with a heat map ({how['heat']})")
    return (f"export: {out}: {card['model_id']}, {out.stat().st_size / 1e6:.1f} MB, weights in {how['weights_bits']} "
            f"bits, {heat}; logits of {how['compared_on']} within {how['largest_difference']:.1e} of torch's")


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m classify.export",
                                     description="A checkpoint as an .onnx file, which is judged without torch.")
    parser.add_argument("model", type=Path, nargs="?", help="the .safetensors file of a trained network or an ensemble")
    parser.add_argument("--model", type=Path, dest="named", help="the same, as `make export` says it")
    parser.add_argument("--out", type=Path, help="the file to write (default: beside the model, its suffix .onnx); "
                        "a folder is a run (OUT), whose model is exported where none is named")
    parser.add_argument("--bits", type=int, choices=(16, 32), help="of the weights in the file (default: those of the "
                        "model); networks compute with 32 either way")
    parser.add_argument("--crops", type=Path, metavar="FOLDER", help="face crops to compare logits on (default: those "
                        "of the run that the model lies in, else drawn faces)")
    arguments = parser.parse_args(argv)
    model, out = arguments.model or arguments.named, arguments.out
    if out is not None and out.suffix != ".onnx":
        if not out.is_dir():
            raise OptionsError(f"--out {out}: name a file that ends in .onnx, or the folder of a run")
        model, out = model or out / "model" / "model.safetensors", None
    if model is None:
        raise OptionsError("name the .safetensors file of a model, or with --out the folder of a run")
    out = out or model.with_suffix(".onnx")
    print(_line(out, export_model(model, out, arguments.bits, arguments.crops)))
    print(f"judge with --model {out}")


if __name__ == "__main__":
    sys.exit(main())
