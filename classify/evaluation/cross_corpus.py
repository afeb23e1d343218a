"""`make bench-quality`: how often a model is right on clips of corpora that it has not learned from.

    python -m classify.evaluation.cross_corpus --corpus Celeb-DF-v2 --corpus FaceForensics++ --natural clips --out OUT

A corpus is anything that `make index` reads; natural clips are unmanipulated ones of other origins, which count for
false alarms only. Every clip is judged as `python -m classify.video` does it. Verdicts on clips that the model's band
was chosen on are cross-fitted: the band that judges a clip is chosen on the clips of other people.
"""
from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

from classify.evaluation.bootstrap import exact, interval, resample, resampled_by
from classify.evaluation.corruptions import ALTERATIONS, COMMON, Alter, Altered
from classify.evaluation.robustness import UNALTERED
from classify.judging.aggregate import auc
from classify.judging.calibration import Calibration, fit, reliability
from classify.judging.face_quality import Quality
from pipeline.errors import VideoError, command
from pipeline.progress import progress_bar
from pipeline.tables import write_bytes, write_json

if TYPE_CHECKING:
    from classify.judging.judge import Judge

FOLDS = 5


@dataclass(frozen=True)
class Judged:
    """One clip. corpus: name of its folder; person: what must not be in two folds; score: None where undecided for
    want of faces or unreadable (`reason` says which). unfit: its faces are too soft, small, dark or bright for a
    verdict, whatever the score."""

    path: str
    corpus: str
    label: int
    method: str
    person: str
    score: float | None = None
    verdict: str = ""
    reason: str = ""
    unfit: bool = False


def clips_of(corpora: Sequence[Path], natural: Sequence[Path]) -> list[Judged]:
    """The clips to judge, not yet judged. Raises CorpusError."""
    from classify.video import clips
    from data.splitting.groups import ends_of, names_of
    from extract.corpus import find_corpus, grouping

    found = []
    for folder in corpora:
        corpus = find_corpus(folder)
        rule = grouping(corpus.rows)
        group = names_of(ends_of(row, rule) for row in corpus.rows)
        found += [Judged(str(Path(corpus.root) / row["video_id"]), folder.name, row["label"], row["method"],
                         f"{folder.name}/{group[ends_of(row, rule)[0]]}") for row in corpus.rows]
    for folder in natural:
        found += [Judged(path, folder.name, 0, "", f"{folder.name}/{Path(path).stem}") for path in clips([str(folder)])]
    return found


def judged(judge: Judge, clips: Sequence[Judged], alter: Alter | None = None) -> list[Judged]:
    """The clips with the model's score and verdict, each frame altered before a face is looked for."""
    found = []
    for clip in progress_bar(clips, unit="clip", leave=False):
        try:
            opened = Altered(clip.path, judge.frames, alter) if alter else None
            verdict, _ = judge.judge_people(clip.path, opened)
            unfit = bool(verdict.quality and Quality(**verdict.quality).unfit())
            found.append(replace(clip, score=verdict.score, verdict=verdict.verdict, reason=verdict.reason,
                                 unfit=unfit))
        except VideoError as error:
            found.append(replace(clip, verdict="undecided", reason=str(error)))
    return found


def altered(judge: Judge, clips: Sequence[Judged], names: Sequence[str]) -> dict[str, list[Judged]]:
    """The clips judged once for each of these ALTERATIONS."""
    return {name: judged(judge, clips, ALTERATIONS[name]) for name in names}


def band_of(clips: Sequence[Judged], copies: dict[str, list[Judged]]) -> Calibration:
    """The calibration that these clips choose. copies: of `altered`, of these and perhaps of other clips; those of
    reals in the COMMON ways count, where they are fit for a verdict."""
    scored = [clip for clip in clips if clip.score is not None and not clip.unfit]
    reals = {clip.path for clip in scored if not clip.label}
    return fit([clip.score for clip in scored if clip.score is not None], [clip.label for clip in scored],
               [copy.score for name in COMMON for copy in copies.get(name, ())
                if copy.path in reals and copy.score is not None and not copy.unfit])


def cross_fitted(clips: Sequence[Judged], copies: dict[str, list[Judged]]
                 ) -> tuple[list[Judged], list[float | None]]:
    """The clips with the verdicts that bands chosen on other people give, and such probabilities."""
    fold = _folds(clips)
    out: list[Judged] = []
    probabilities: list[float | None] = []
    bands = [band_of([c for c, f in zip(clips, fold) if f != k], copies) for k in range(FOLDS)]
    for clip, k in zip(clips, fold):
        if clip.score is None or clip.unfit:
            out.append(replace(clip, verdict="undecided"))
            probabilities.append(None)
            continue
        out.append(replace(clip, verdict=called(clip.score, bands[k])))
        probabilities.append(bands[k].probability(clip.score))
    return out, probabilities


def called(score: float, band: Calibration) -> str:
    return "fake" if score >= band.high else "undecided" if score >= band.low else "real"


def _folds(clips: Sequence[Judged]) -> list[int]:
    """A fold per clip: people dealt in turn, corpus by corpus, so that each fold has its share of each."""
    people = {(clip.corpus, clip.person) for clip in clips}
    number = {person: k % FOLDS for k, (_, person) in enumerate(sorted(people))}
    return [number[clip.person] for clip in clips]


def rankings(clips: Sequence[Judged]) -> list[dict[str, Any]]:
    """Video AUC of each corpus, of each method against the reals of its corpus, and of all clips together where there
    are several corpora, with intervals by people."""
    scored = [clip for clip in clips if clip.score is not None]
    parts = []
    for corpus in dict.fromkeys(clip.corpus for clip in scored if clip.label):
        own = [clip for clip in scored if clip.corpus == corpus]
        methods = sorted({clip.method for clip in own if clip.label})
        parts += [(corpus, method, [clip for clip in own if method in ("all", clip.method) or not clip.label])
                  for method in ["all", *(methods if len(methods) > 1 else [])]]
    if len({clip.corpus for clip in scored}) > 1:
        parts.append(("all clips", "all", scored))
    return [{"corpus": corpus, "method": method, **_ranked(part)} for corpus, method, part in parts]


def _ranked(part: Sequence[Judged]) -> dict[str, Any]:
    """Counts, AUC, and its interval or why there is none."""
    import numpy as np
    import pandas as pd

    labels, scores = np.array([c.label for c in part]), np.array([c.score for c in part], float)
    groups = pd.DataFrame({"label": labels, "group": [c.person for c in part], "source": ""})
    by, _, why = resampled_by(groups)
    low = high = None
    if by:
        low, high, why = interval(resample(labels, scores, scores >= .5, groups["group"].to_numpy())["auc"])
    return {"n_real": int((labels == 0).sum()), "n_fake": int(labels.sum()), "auc": auc(scores, labels), "low": low,
            "high": high, "no_interval": why}


def calls(clips: Sequence[Judged]) -> list[dict[str, Any]]:
    """How the clips of each corpus, class and method were called: counts and exact intervals of the FAKE ones."""
    rows = []
    kinds = dict.fromkeys((clip.corpus, clip.label, clip.method) for clip in clips)
    for corpus, label, method in kinds:
        part = [clip for clip in clips if (clip.corpus, clip.label, clip.method) == (corpus, label, method)]
        n = Counter(clip.verdict for clip in part)
        low, high = exact(n["fake"], len(part))
        rows.append({"corpus": corpus, "label": ("real", "fake")[label], "method": method, "n": len(part),
                     "called_fake": n["fake"], "undecided": n["undecided"], "called_real": n["real"],
                     "fake_low": round(low, 3), "fake_high": round(high, 3)})
    return rows


def describe(rankings: list[dict], counted: list[dict], ece: float | None) -> list[str]:
    """The findings as Markdown tables."""
    lines = ["| corpus | method | clips | video AUC |", "|---|---|---|---|"]
    for row in rankings:
        span = f" ({row['low']:.3f} to {row['high']:.3f})" if row["low"] is not None else f" ({row['no_interval']})"
        lines.append(f"| {row['corpus']} | {row['method']} | {row['n_real']} + {row['n_fake']} | "
                     f"{_shown(row['auc'])}{span} |")
    lines += ["", "| corpus | clips | called FAKE | UNDECIDED | called REAL |", "|---|---|---|---|---|"]
    for row in counted:
        lines.append(f"| {row['corpus']} | {row['n']} {row['label']} {row['method']} | {row['called_fake']} "
                     f"({row['fake_low']:.2f} to {row['fake_high']:.2f}) | {row['undecided']} | {row['called_real']} |")
    if ece is not None:
        lines += ["", f"Expected calibration error of the cross-fitted probabilities, ten bins: {ece:.3f}"]
    return lines


def _shown(auc: float | None) -> str:
    return "n/a" if auc is None else f"{auc:.3f}"


def add_clips(parser: argparse.ArgumentParser) -> None:
    """The flags that name clips for `clips_of`, and where they are judged."""
    parser.add_argument("--corpus", type=Path, action="append", default=[], help="a labelled corpus, again for more")
    parser.add_argument("--natural", type=Path, action="append", default=[], help="a folder of unmanipulated clips")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default auto)")


@command
def main(argv: list[str] | None = None) -> None:
    from classify.judging.judge import Judge
    from classify.video import SHIPPED

    parser = argparse.ArgumentParser(prog="python -m classify.evaluation.cross_corpus",
                                     description="How often a model is right on corpora it has not learned from.")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint (default: the shipped detector)")
    add_clips(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for quality.json and quality.md")
    parser.add_argument("--robustness", action="store_true", help="also with the frames compressed, blurred, …")
    arguments = parser.parse_args(argv)
    judge = Judge(arguments.model, arguments.device)
    clips = judged(judge, clips_of(arguments.corpus, arguments.natural))
    known = set((judge.card.get("calibrated_on") or {}).get("clips", []))
    cross = bool(known & {name_of(clip) for clip in clips})
    copies: dict[str, list[Judged]] = {}
    if arguments.robustness:
        copies = altered(judge, clips, list(ALTERATIONS))
    elif cross:
        copies = altered(judge, [clip for clip in clips if not clip.label], COMMON)
    fitted, probabilities = cross_fitted(clips, copies) if cross else (clips, [])
    sure = [(p, clip.label) for p, clip in zip(probabilities, fitted) if p is not None]
    reliable = reliability([p for p, _ in sure], [label for _, label in sure]) if sure else None
    ranked, counted = rankings(clips), calls(fitted)
    lines = [f"{judge.card['model_id']}, {len(clips)} clips"
             f"{', verdicts cross-fitted in ' + str(FOLDS) + ' folds of people' if probabilities else ''}", "",
             *describe(ranked, counted, reliable["ece"] if reliable else None)]
    rows = []
    if arguments.robustness:
        lines += ["", "| frames altered | video AUC, all clips | reals called FAKE | fakes called FAKE | unfit | "
                  "no face |", "|---|---|---|---|---|---|"]
        for name, again in {UNALTERED: clips, **copies}.items():
            row = {"name": name, **summary(again)}
            rows.append(row)
            lines.append(f"| {name} | {_shown(row['auc'])} | {row['real_as_fake']} of {row['n_real']} | "
                         f"{row['fake_as_fake']} of {row['n_fake']} | {row['unfit']} | {row['not_judged']} |")
    write_json(arguments.out / "quality.json", {
        "model": judge.card["model_id"], "reliability": reliable, "rankings": ranked, "calls": counted,
        "robustness": rows, "clips": [clip.__dict__ for clip in fitted],
        "copies": {name: [copy.score for copy in again] for name, again in copies.items()}})
    write_bytes(arguments.out / "quality.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


def name_of(clip: Judged) -> str:
    """A clip's name without the folders of this machine."""
    return f"{clip.corpus}/{Path(clip.path).name}"


def summary(clips: Sequence[Judged]) -> dict[str, Any]:
    """AUC and verdicts over all these clips, with the band that the model carries."""
    scored = [clip for clip in clips if clip.score is not None]
    return {"auc": auc([c.score for c in scored if c.score is not None], [c.label for c in scored]),
            "n_real": sum(not c.label for c in clips), "n_fake": sum(c.label for c in clips),
            "real_as_fake": sum(c.verdict == "fake" and not c.label for c in clips),
            "fake_as_fake": sum(c.verdict == "fake" and bool(c.label) for c in clips),
            "unfit": sum(c.unfit for c in clips), "not_judged": sum(c.score is None for c in clips)}


if __name__ == "__main__":
    sys.exit(main())
