"""`make detector`, last step: a network trained with RECIPE=detector to the detector that ships.

    python -m classify.release.detector --model OUT/model/model.safetensors --corpus DIR … --natural DIR --out FILE

It has learned from crops of its own kind; from here on it judges ours, of which it sees the middle CENTRE. This, band
and probability are chosen on clips of other corpora, which never touch the weights; nothing else is. All clips choose
the band that ships; `make bench-quality` tells how bands do that were chosen without the people they judge.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from classify.evaluation.corruptions import COMMON
from classify.evaluation.cross_corpus import add_clips, altered, band_of, clips_of, judged, name_of
from classify.judging.aggregate import DEFAULT_RULE
from classify.judging.calibration import FALSE_ALARMS, UNSURE
from classify.judging.judge import Judge
from classify.models.network import load_checkpoint, save_checkpoint
from extract.decoding.sampling import FrameOptions
from extract.faces.detector import FaceOptions
from pipeline.errors import SplitError, command
from pipeline.options import as_record

# Of our crop's side. Training saw .65, enlarged and shrunk by up to a fifth; of .65, .72 and .8 this ranks the clips of
# FaceForensics++ best, and all clips about as well (BENCHMARKS.md).
CENTRE = 0.72


def ship(model: Path, corpora: list[Path], natural: list[Path], out: Path, device: str = "auto") -> dict[str, Any]:
    """Write the detector. Returns its card. Raises SplitError where the clips lack a class."""
    net, card = load_checkpoint(model, pinned=False)
    card |= {"faces": as_record(FaceOptions(crop="face")), "frames": as_record(FrameOptions()), "crop": "face",
             "centre": CENTRE, "dataset": "DFDC crops and photos", "aggregation": DEFAULT_RULE,
             "aggregation_reason": "fixed beforehand: DFDC has one crop a clip", "threshold": 0.5, "calibration": None}
    save_checkpoint(out, net, card, half=True)
    judge = Judge(out, device, pinned=False)
    clips = [clip for clip in judged(judge, clips_of(corpora, natural)) if clip.score is not None]
    if len({clip.label for clip in clips}) < 2:
        raise SplitError("the clips that choose the band must be real and fake ones, with a face")
    band = band_of(clips, altered(judge, [clip for clip in clips if not clip.label], COMMON))
    n_fake = sum(clip.label for clip in clips)
    n_real = len(clips) - n_fake
    reason = (f"about {FALSE_ALARMS:.1%} of real clips like the {n_real} it was chosen on and their altered copies are "
              f"called FAKE, and at most {UNSURE:.0%} of those as they are not REAL")
    card |= {"threshold": band.as_record()["high"], "calibration": band.as_record(), "threshold_reason": reason,
             "calibrated_on": {"n_real": n_real, "n_fake": n_fake, "altered": list(COMMON),
                               "clips": sorted(name_of(clip) for clip in clips)}}
    return save_checkpoint(out, net, card, half=True)


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m classify.release.detector",
                                     description="Give a trained network the band it is shipped with.")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint of RECIPE=detector")
    add_clips(parser)
    parser.add_argument("--out", type=Path, required=True, help="the detector to write")
    arguments = parser.parse_args(argv)
    card = ship(arguments.model, arguments.corpus, arguments.natural, arguments.out, arguments.device)
    print(f"detector: {card['model_id']}: UNDECIDED from {card['calibration']['low']:.3f}, FAKE from "
          f"{card['threshold']:.3f}: {card['threshold_reason']}")
    print("detector: to ship it, export it beside itself (python -m classify.export) and run python -m "
          "classify.release.pin")


if __name__ == "__main__":
    sys.exit(main())
