"""`make detector`, last step: a network trained with RECIPE=detector to the detector that ships.

    python -m classify.release.detector --model OUT/model/model.safetensors --corpus DIR … --natural DIR --out FILE

It has learned from crops of several kinds; from here on it judges ours, of which it sees the middle CENTRE. This, band
and probability are chosen on clips of other corpora, which never touch the weights; nothing else is. All clips choose
the band that ships; `make bench-quality` tells how a band errs on an origin that did not choose it.
"""
from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Sequence

from classify.evaluation.corruptions import COMMON
from classify.evaluation.cross_corpus import (
    UNALTERED,
    Judged,
    add_clips,
    band_of,
    by_origin,
    clips_of,
    measured,
    name_of,
)
from classify.judging.aggregate import DEFAULT_RULE
from classify.judging.calibration import FALSE_ALARMS, UNSURE, Calibration
from classify.models.network import load_checkpoint, save_checkpoint
from extract.decoding.sampling import FrameOptions
from extract.faces.detector import FaceOptions
from pipeline.errors import SplitError, command
from pipeline.options import as_record

# What every verdict REAL says.
REAL_MEANS = "no trace of a pasted or altered face was found; a face that was generated as a whole is not looked for"
CENTRE = 0.72  # of our crop's side: about what training saw, enlarged and shrunk by up to a fifth


def ship(model: Path, clips: Sequence[Judged], out: Path, cache: Path, device: str = "auto") -> dict[str, Any]:
    """Write the detector.

    Args:
        model: the trained checkpoint.
        clips: real and fake clips that choose band and probability, of `classify.evaluation.cross_corpus.clips_of`.
        out: the file to write.
        cache: folder of stored faces.
        device: where the clips are judged.

    Returns:
        Its card.

    Raises:
        SplitError: the clips lack a class.
    """
    net, card = load_checkpoint(model, pinned=False)
    card |= {"faces": as_record(FaceOptions(crop="face")), "frames": as_record(FrameOptions()),
             "crop": "face", "centre": CENTRE, "dataset": "DFDC crops, photos and crops of clips",
             "aggregation": DEFAULT_RULE, "aggregation_reason": "fixed beforehand: DFDC has one crop a clip",
             "threshold": 0.5, "calibration": None, "real_means": REAL_MEANS}
    save_checkpoint(out, net, card, half=True)
    [found] = measured([out], clips, cache, (UNALTERED,), COMMON, device=device, pinned=False)
    judged = [clip for clip in found[UNALTERED] if clip.score is not None and not clip.unfit]
    n_fake = sum(clip.label for clip in judged)
    n_real = len(judged) - n_fake
    if not n_fake or not n_real:
        raise SplitError("the clips that choose the band must be real and fake ones, with a face")
    band, origins = rounded_up(band_of(found)), by_origin(found)
    reason = (f"about {FALSE_ALARMS:.0%} of real clips like the {n_real} of {len(origins)} origins that chose it, "
              f"every origin weighing the same, and their altered copies are called FAKE, and {UNSURE:.0%} of those "
              "as they are not REAL")
    card |= {"threshold": band.as_record()["high"], "calibration": band.as_record(), "threshold_reason": reason,
             "calibrated_on": {"n_real": n_real, "n_fake": n_fake, "n_origins": len(origins), "altered": list(COMMON),
                               "clips": sorted(name_of(clip) for clip in judged)}}
    return save_checkpoint(out, net, card, half=True)


def rounded_up(band: Calibration) -> Calibration:
    """Round both bars of a band up to three digits.

    A bar is the score of a real clip. Scores differ in their last digits from machine to machine, and that clip must
    not be on the other side of the bar then.
    """
    low, high = (min(math.ceil(bar * 1000) / 1000, 1.0) for bar in (band.low, band.high))
    return replace(band, low=low, high=high)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m classify.release.detector",
                                     description="Give a trained network the band it is shipped with.")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint of RECIPE=detector")
    add_clips(parser)
    parser.add_argument("--out", type=Path, required=True, help="the detector to write")
    arguments = parser.parse_args(argv)
    clips = clips_of(arguments.corpus, arguments.natural, sources=arguments.sources)
    card = ship(arguments.model, clips, arguments.out, arguments.cache, arguments.device)
    print(f"detector: {card['model_id']}: UNDECIDED from {card['calibration']['low']:.3f}, FAKE from "
          f"{card['threshold']:.3f}: {card['threshold_reason']}")
    print("detector: to ship it, export it beside itself (python -m classify.export) and run python -m "
          "classify.release.pin")


if __name__ == "__main__":
    sys.exit(main())
