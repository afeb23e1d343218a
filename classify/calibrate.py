"""`make calibrate`: set a model's band from a user's own unmanipulated clips.

    python -m classify.calibrate --reals FOLDER --model FILE --false-alarms .01 --out FILE

A new model file is written, with the same weights: of unmanipulated clips that come from where these come from, at most
the wanted share is called FAKE (split conformal prediction, see classify.judging.calibration). What is called
UNDECIDED changes with it; the probability stays as it was. Nothing is learned about fakes: a smaller share of false
alarms finds fewer of them.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

from classify.judging.calibration import UNSURE, Calibration, Copy, quantile
from pipeline.errors import OptionsError, VideoError, command
from pipeline.tables import write_bytes


def calibrate(reals: Path, model: Path, false_alarms: float, out: Path, device: str = "auto") -> dict[str, Any]:
    """Write a copy of a model whose band is chosen from unmanipulated clips.

    Args:
        reals: folder of unmanipulated clips, or one file.
        model: the checkpoint to copy.
        false_alarms: share of such clips that may be called FAKE, more than 0 and less than 1.
        out: the file to write.
        device: where the clips are judged.

    Returns:
        The card of the new file.

    Raises:
        OptionsError: the rate is impossible, the clips are too few for it, or the model has no calibration.
    """
    from classify.judging.inputs import files_below
    from classify.judging.judge import Judge

    if not 0 < false_alarms < 1:
        raise OptionsError(f"false alarms must be more than 0 and less than 1, got {false_alarms:g}")
    judge = Judge(model, device)
    before = Calibration.of(judge.card)
    if before is None:
        raise OptionsError(f"{model} has no calibration, so it has no band to set: use the shipped detector, or a "
                           "model that `make detector` has made")
    scores, left_out = [], []
    for path in files_below([str(reals)], "video"):
        try:
            verdict = judge.judge(path)
        except VideoError as error:
            left_out.append(f"{path}: {error}")
            continue
        # Without a probability the faces are unfit for a verdict: such a clip is UNDECIDED whatever the band.
        if verdict.score is None or verdict.probability is None:
            left_out.append(f"{path}: {verdict.reason}")
        else:
            scores.append(verdict.score)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    needed = math.ceil(1 / false_alarms) - 1  # the quantile of n clips exists from n = 1 / share - 1 on
    if len(scores) < needed:
        best = f"with {len(scores)} the lowest is {1 / (len(scores) + 1):.3f}" if scores else "none can be judged"
        raise OptionsError(f"false alarms of {false_alarms:g} need at least {needed} clips that can be judged; {best}")
    ranked = [Copy(score, str(number)) for number, score in enumerate(scores)]
    high = quantile(ranked, false_alarms)
    band = Calibration(min(quantile(ranked, max(UNSURE, false_alarms)), high), high, before.slope, before.offset)
    reason = (f"at most {false_alarms:.2%} of unmanipulated clips like the {len(scores)} of a user that it was chosen "
              "on are called FAKE")
    # A name of its own: whoever compares verdicts must see that they are of another band.
    variant = "calibrated_" + hashlib.sha256(json.dumps(band.as_record()).encode()).hexdigest()[:6]
    weights = judge.card["model_id"].rpartition("-")[2]
    return _write(model, out, {
        **judge.card, "variant": variant, "model_id": f"{judge.card['backbone']}-{variant}-{weights}",
        "calibration": band.as_record(), "threshold": band.as_record()["high"],
        "threshold_reason": reason,
        "calibrated_on": {"n_real": len(scores), "n_fake": 0, "altered": [], "clips": []}})


def _write(model: Path, out: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Write a copy of a model file with another card. Returns the card as stored."""
    if model.suffix == ".onnx":
        from classify.models.onnx import load_onnx
        from classify.models.onnx_file import read_onnx, replace_card

        write_bytes(out, replace_card(read_onnx(model)[1], card))
        return load_onnx(out, "cpu")[1]
    from classify.models.network import load_checkpoint, save_checkpoint

    # Models with a calibration are stored in 16 bits: no weight changes.
    return save_checkpoint(out, load_checkpoint(model)[0], card, half=True)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    from classify.models.shipped import SHIPPED

    parser = argparse.ArgumentParser(prog="python -m classify.calibrate",
                                     description="Set a model's band from your own unmanipulated clips.")
    parser.add_argument("--reals", type=Path, required=True, help="folder of unmanipulated clips")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint (default: the shipped detector)")
    parser.add_argument("--false-alarms", type=float, default=.05,
                        help="share of such clips that may be called FAKE (default .05)")
    parser.add_argument("--out", type=Path,
                        help="model file to write (default out/calibrated, with the model's suffix)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default auto)")
    arguments = parser.parse_args(argv)
    out = arguments.out or Path("out/calibrated").with_suffix(arguments.model.suffix)
    card = calibrate(arguments.reals, arguments.model, arguments.false_alarms, out, arguments.device)
    print(f"calibrate: {out}: UNDECIDED from {card['calibration']['low']:.3f}, FAKE from "
          f"{card['threshold']:.3f}: {card['threshold_reason']}")


if __name__ == "__main__":
    sys.exit(main())
