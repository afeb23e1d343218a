"""`make ensemble MODELS="a.safetensors b.safetensors"`: several checkpoints that judge together, as one file.

Each member sees its own part and size of the crop; the logits are averaged. Aggregation and threshold are chosen anew,
on the validation videos of the split that all were trained on: the members' own are not the ensemble's.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Sequence

from classify.evaluation.options import ScoreOptions
from classify.evaluation.score import score_crops
from classify.models.versions import versions
from classify.training.recipes import TrainOptions
from extract.faces.detector import pick_device
from pipeline.errors import CheckpointError, SplitError, command
from pipeline.options import add_flags, from_flags


def ensemble(models: Sequence[Path], out: Path, options) -> dict[str, Any]:
    """Write OUT/model/ensemble.safetensors from the checkpoints `models`. Returns its card.

    options: ScoreOptions. Raises SplitError where members or OUT have another split, or crops cut in another way;
    CheckpointError for fewer than two members, and for a member that is an ensemble or Keras' network.
    """
    from classify.models.network import Ensemble, load_torch, save_checkpoint
    from classify.training.dataset import parts_of
    from classify.training.train import choices

    if len(models) < 2:
        raise CheckpointError(f"an ensemble needs at least two models, got {len(models)}")
    loaded = [load_torch(model) for model in models]
    if nested := [str(path) for path, (_, card) in zip(models, loaded) if "members" in card]:
        raise CheckpointError(f"{nested[0]} is an ensemble: name its members")
    split_hash = json.loads((out / "split.json").read_text())["split_hash"]
    for path, (_, card) in zip(models, loaded):
        if card["split_hash"] != split_hash:
            raise SplitError(f"{path} was trained on another split than that of {out}: its training videos may be "
                             "validation or test videos of the others")
        if card["faces"] != loaded[0][1]["faces"]:
            raise SplitError(f"{path} was trained on crops cut with other options than those of {models[0]}")
    cards = [card for _, card in loaded]
    net = Ensemble(cards)
    for member, (trained, _) in zip(net.members, loaded):
        member.load_state_dict(trained.state_dict())
    first = cards[0]
    card = {"members": cards, "backbone": "ensemble", "size_px": max(c["size_px"] for c in cards),
            "centre": max(c["centre"] for c in cards), "calibration": None, "versions": versions(),
            "training": {"members": [c["model_id"] for c in cards]}, "best_epoch": None,
            **{key: first[key] for key in ("faces", "frames", "crop", "dataset", "demo", "split_hash", "trained_on")
               if key in first}}
    rows = parts_of(out, TrainOptions())[1]
    net = net.to(pick_device(options.device)).eval()
    card.update(choices(rows, score_crops(net, card, rows, out, options)))
    return save_checkpoint(out / "model" / "ensemble.safetensors", net, card)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m classify.training.ensemble",
                                     description="Checkpoints of one split that judge together, as one file.")
    parser.add_argument("models", type=Path, nargs="+", help="checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run that they were trained in (OUT)")
    add_flags(parser, ScoreOptions)
    arguments = parser.parse_args(argv)
    card = ensemble(arguments.models, arguments.out, from_flags(ScoreOptions, arguments))
    print(f"ensemble: {card['model_id']} of {', '.join(card['training']['members'])}; aggregation "
          f"{card['aggregation']}; threshold {card['threshold']} ({card['threshold_reason']})")
    print(f"judge with --model {arguments.out / 'model' / 'ensemble.safetensors'}")


if __name__ == "__main__":
    sys.exit(main())
