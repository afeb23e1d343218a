"""`make bench-quality`: how often a model is right on clips that it has not learned from, beside another model.

    python -m classify.evaluation.cross_corpus --corpus Celeb-DF-v2 --natural clips --talking heads --model FILE
        --against FILE --cache FOLDER --out OUT

A corpus is anything that `make index` reads; its fakes are swaps and reenactments. Natural clips are unmanipulated ones
of other origins. Talking heads are generated as a whole, a sub-folder a family. The faces of the clips are stored
(classify.evaluation.stored_faces), so that another checkpoint costs the network alone; compression and scaling are done
to the stored faces.
"""
from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Sequence

from classify.evaluation.bootstrap import RESAMPLES, SEED, exact, interval
from classify.evaluation.corruptions import ALTERATIONS, COMMON
from classify.judging.aggregate import auc
from classify.judging.calibration import Calibration, Copy, false_alarms_by_origin, fit, reliability
from pipeline.errors import command
from pipeline.parallel import cpu_count, map_unordered
from pipeline.progress import progress_bar
from pipeline.tables import write_bytes, write_json

if TYPE_CHECKING:
    import numpy as np

UNALTERED = "as they are"
CONDITIONS = (UNALTERED, "H.264 crf 34", "scaled to 1/2")  # that rankings are printed for
SWAPS, TALKING = "swaps and reenactments", "talking heads"
ALARMS = 0.05  # share of false alarms at which recall is reported


@dataclass(frozen=True)
class Judged:
    """One clip. corpus: name of its folder; person: what is resampled as a whole; score: None where undecided for want
    of faces or unreadable (`reason` says which). unfit: its faces are too soft, small, dark or bright for a verdict,
    whatever the score. origin: of a real, where it comes from. kind: SWAPS or TALKING, what its fakes are. further: a
    real of `sources`, which rankings are given with and without."""

    path: str
    corpus: str
    label: int
    method: str
    person: str
    score: float | None = None
    verdict: str = ""
    reason: str = ""
    unfit: bool = False
    origin: str = ""
    kind: str = SWAPS
    further: bool = False


def clips_of(corpora: Sequence[Path], natural: Sequence[Path], talking: Sequence[Path] = (),
             sources: Sequence[Path] = ()) -> list[Judged]:
    """List the clips to judge, not yet judged.

    Args:
        corpora: labelled corpora.
        natural: folders of unmanipulated clips. Where names have the form origin__name, they say the origin.
        talking: folders whose sub-folders are families of generated clips.
        sources: folders whose sub-folders hold unmanipulated clips of one source each.

    Clips of one origin are resampled together, as those of one person are: the scores of reals move with their origin.

    Raises:
        CorpusError: a folder holds no clips.
    """
    from classify.judging.inputs import files_below
    from data.splitting.groups import ends_of, names_of
    from extract.corpus import find_corpus, grouping

    found = []
    for folder in corpora:
        corpus = find_corpus(folder)
        name = folder.stem if folder.is_file() else folder.name
        rule = grouping(corpus.rows)
        group = names_of(ends_of(row, rule) for row in corpus.rows)
        found += [Judged(str(Path(corpus.root) / row["video_id"]), name, row["label"], row["method"],
                         f"{name}/{group[ends_of(row, rule)[0]]}", origin=name) for row in corpus.rows]
    for folder in natural:
        for path in files_below([str(folder)], "video"):
            stem = Path(path).stem
            origin = f"{folder.name}/{stem.split('__')[0]}" if "__" in stem else folder.name
            found.append(Judged(path, folder.name, 0, "", origin if "__" in stem else f"{folder.name}/{stem}",
                                origin=origin))
    for folder in sources:
        for source in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
            origin = f"{folder.name}/{source.name}"
            found += [Judged(path, folder.name, 0, "", origin, origin=origin, further=True)
                      for path in files_below([str(source)], "video")]
    for folder in talking:
        found += [Judged(path, folder.name, 1, Path(path).parent.name, f"{folder.name}/{Path(path).stem}", kind=TALKING)
                  for family in sorted(entry for entry in folder.iterdir() if entry.is_dir())
                  for path in files_below([str(family)], "video")]
    return found


def measured(models: Sequence[Path], clips: Sequence[Judged], cache: Path, conditions: Sequence[str] = (UNALTERED,),
             reals_only: Sequence[str] = (), first_only: Sequence[str] = (), device: str = "auto", pinned: bool = True
             ) -> list[dict[str, list[Judged]]]:
    """Judge clips from their stored faces, each alteration made once for all models.

    Args:
        models: model files.
        clips: of `clips_of`.
        cache: folder of the stored faces.
        conditions: names of ALTERATIONS or UNALTERED.
        reals_only: further ones that only the first model judges, and only reals.
        first_only: further ones that only the first model judges.
        device: where models compute. On the CPU each core is a process, elsewhere there is one.
        pinned: of classify.models.card.read_card.

    Returns:
        For each model and each condition the clips with the model's score and verdict.
    """
    from classify.evaluation.stored_faces import store
    from classify.judging.judge import Judge

    first = Judge(models[0], device, pinned)
    files = store([clip.path for clip in clips], first.card, first.frames, cache)
    names = [tuple(dict.fromkeys((*conditions, *first_only, *reals_only)))] + [tuple(conditions)] * (len(models) - 1)
    fakes_too = {*conditions, *first_only}
    out: list[dict[str, list[Judged]]] = [{name: [] for name in kinds} for kinds in names]
    jobs = [(number, clip, files[clip.path]) for number, clip in enumerate(clips)]
    done = map_unordered(_judge_clip, jobs, min(cpu_count(), len(jobs)) if first.device == "cpu" else 0, _start_judging,
                         (models, device, pinned, names, fakes_too))
    found = []
    for (number, _, _), result in progress_bar(done, total=len(jobs), unit="clip", leave=False):
        if isinstance(result, Exception):
            raise result
        found.append((number, result))
    for _, result in sorted(found, key=lambda pair: pair[0]):
        for mine, judged in zip(out, result):
            for name, clip in judged.items():
                mine[name].append(clip)
    return out


_worker: Any = None  # what `_start_judging` was given, with the judges loaded


def _start_judging(models: Sequence[Path], device: str, pinned: bool, names: Sequence[Sequence[str]],
                   fakes_too: set[str]) -> None:
    global _worker

    from classify.judging.judge import Judge
    from classify.models.load import use_one_thread

    for model in models:
        use_one_thread(model)
    _worker = [Judge(model, device, pinned) for model in models], names, fakes_too


def _judge_clip(job: tuple[int, Judged, Path]) -> list[dict[str, Judged]]:
    """Judge one clip with each model in each of its conditions."""
    from classify.evaluation.stored_faces import altered, read
    from classify.judging.judge import MIN_FACES

    (judges, names, fakes_too), (_, clip, file) = _worker, job
    found, out = read(file), [dict[str, Judged]() for _ in judges]
    for name in names[0]:
        if clip.label and name not in fakes_too:
            continue
        people: dict[int, list] = {}  # side of the crops -> people
        for judge, mine, wanted in zip(judges, out, names):
            if name not in wanted:
                continue
            if found.reason:
                mine[name] = replace(clip, verdict="undecided", reason=found.reason)
                continue
            px = judge.card["faces"]["crop_px"]
            if px not in people:
                people[px] = [altered(person, px, ALTERATIONS.get(name)) for person in found.people]
            decides = judge.judge_crops(people[px], found.n_read, MIN_FACES)[0][0]
            unfit = bool(decides.quality and decides.quality.unfit())
            mine[name] = replace(clip, score=decides.score, verdict=decides.verdict, reason=decides.reason,
                                 unfit=unfit)
    return out


def copies_of(found: dict[str, list[Judged]]) -> list[Copy]:
    """Scores of altered copies of reals in the COMMON ways, where they are fit for a verdict."""
    return [Copy(clip.score, clip.origin) for name in COMMON for clip in found.get(name, ())
            if not clip.label and clip.score is not None and not clip.unfit]


def band_of(found: dict[str, list[Judged]]) -> Calibration:
    """Choose the calibration from the clips that can be judged, with the altered copies of the reals among them."""
    scores, labels, origins = _judgeable(found[UNALTERED])
    return fit(scores, labels, origins, copies_of(found))


def by_origin(found: dict[str, list[Judged]]) -> dict[str, tuple[int, int, int]]:
    """False alarms of each origin under a band that the other origins choose: of `false_alarms_by_origin`."""
    return false_alarms_by_origin(*_judgeable(found[UNALTERED]), copies_of(found))


def _judgeable(clips: Iterable[Judged]) -> tuple[list[float], list[int], list[str]]:
    scored = [clip for clip in clips if clip.score is not None and not clip.unfit]
    return ([clip.score for clip in scored if clip.score is not None], [clip.label for clip in scored],
            [clip.origin for clip in scored])


def ranking(clips: Sequence[Judged], other: Sequence[Judged] = ()) -> dict[str, Any]:
    """Rank fakes against reals.

    Args:
        clips: reals and fakes, judged.
        other: the same clips judged by another model.

    Returns:
        n_real, n_fake, and for `auc` and `recall` (at ALARMS false alarms): the value, `low` and `high` of its interval
        by people; where there is another model its `other_` value and `gain_low`, `gain_high`, the interval of the
        difference on the same resamples, or None.
    """
    import numpy as np

    kept = [number for number, clip in enumerate(clips)
            if clip.score is not None and (not other or other[number].score is not None)]
    labels = np.array([clips[n].label for n in kept], int)
    row: dict[str, Any] = {"n_real": int((labels == 0).sum()), "n_fake": int(labels.sum())}
    if not row["n_real"] or not row["n_fake"]:
        return row | {"auc": None, "recall": None}
    _, member = np.unique([clips[n].person for n in kept], return_inverse=True)
    n_people = int(member.max()) + 1
    drawn = np.random.default_rng(SEED).multinomial(n_people, np.full(n_people, 1 / n_people), RESAMPLES)[:, member]
    weights = np.vstack([np.ones(len(kept)), drawn]).astype(float)
    here = _ranked(labels, np.array([clips[n].score for n in kept], float), weights)
    there = _ranked(labels, np.array([other[n].score for n in kept], float), weights) if other else {}
    for name, values in here.items():
        low, high, _ = interval(values[1:])
        row |= {name: float(values[0]), f"{name}_low": low, f"{name}_high": high}
        if there:
            gain_low, gain_high, _ = interval((values - there[name])[1:])
            row |= {f"other_{name}": float(there[name][0]), f"{name}_gain_low": gain_low,
                    f"{name}_gain_high": gain_high}
    return row


def _ranked(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """AUC, and recall at ALARMS, for each row of weights (n_draws, n): (n_draws,), NaN where a class is missing."""
    import numpy as np

    reals, fakes = labels == 0, labels == 1
    above = (scores[fakes][:, None] > scores[reals]) + .5 * (scores[fakes][:, None] == scores[reals])
    of_fakes, of_reals = weights[:, fakes], weights[:, reals]
    with np.errstate(invalid="ignore", divide="ignore"):
        total = of_fakes.sum(1) * of_reals.sum(1)
        order = np.argsort(-scores[reals])
        # The first real, from the highest, that would be one false alarm too many: fakes above it are found.
        first = np.argmax(np.cumsum(of_reals[:, order], 1) > ALARMS * of_reals.sum(1, keepdims=True), 1)
        bar = scores[reals][order][first]
        recall = ((scores[fakes] > bar[:, None]) * of_fakes).sum(1) / of_fakes.sum(1)
        return {"auc": np.einsum("df,fr,dr->d", of_fakes, above, of_reals, optimize=True) / total,
                "recall": np.where(total > 0, recall, np.nan)}


def rankings(found: dict[str, list[Judged]], other: dict[str, list[Judged]] | None = None) -> list[dict[str, Any]]:
    """Rank in each condition the fakes of each kind and of each method against all reals, and those of each corpus
    against its own. Fakes of a kind also against the reals without those of further sources, where there are such.

    Returns:
        Rows with condition, fakes, reals, and the entries of `ranking`.
    """
    rows = []
    for name in [condition for condition in CONDITIONS if condition in found]:
        clips, second = found[name], other[name] if other else []

        def add(fakes: str, reals: str, wanted) -> None:
            kept = [n for n, clip in enumerate(clips) if wanted(clip)]
            if any(clips[n].label for n in kept):
                rows.append({"condition": name, "fakes": fakes, "reals": reals,
                             **ranking([clips[n] for n in kept], [second[n] for n in kept] if second else ())})

        which = {"all": lambda clip: True}
        if any(clip.further for clip in clips):
            which["all but further sources"] = lambda clip: not clip.further
        for kind in (SWAPS, TALKING):
            for reals, one_of in which.items():
                add(kind, reals, lambda clip: clip.kind == kind if clip.label else one_of(clip))
        for kind, method in sorted({(clip.kind, clip.method) for clip in clips if clip.label}):
            add(method, "all", lambda clip: not clip.label or (clip.kind, clip.method) == (kind, method))
        for corpus in dict.fromkeys(clip.corpus for clip in clips if clip.label and clip.kind == SWAPS):
            add(corpus, "its own", lambda clip: clip.corpus == corpus)
    return rows


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


def describe(ranked: list[dict], counted: list[dict], origins: dict[str, tuple[int, int, int]]) -> list[str]:
    """Write the findings as Markdown tables."""
    paired = any("other_auc" in row for row in ranked)
    lines = [f"| clips | fakes | against reals | n | video AUC | recall at {ALARMS:.0%} false alarms |"
             + (" AUC of the other | its recall |" if paired else ""),
             "|---|---|---|---|---|---|" + "---|---|" * paired]
    for row in ranked:
        lines.append(f"| {row['condition']} | {row['fakes']} | {row['reals']} | {row['n_real']} + {row['n_fake']} | "
                     + " | ".join(_value(row, name) for name in ("auc", "recall")) + " |"
                     + (" " + " | ".join(_other(row, name) for name in ("auc", "recall")) + " |" if paired else ""))
    lines += ["", "| corpus | clips | called FAKE | UNDECIDED | called REAL |", "|---|---|---|---|---|"]
    for row in counted:
        lines.append(f"| {row['corpus']} | {row['n']} {row['label']} {row['method']} | {row['called_fake']} "
                     f"({row['fake_low']:.2f} to {row['fake_high']:.2f}) | {row['undecided']} | {row['called_real']} |")
    if origins:
        fakes, unsure, n = (sum(row[k] for row in origins.values()) for k in range(3))
        even = [sum(row[k] / row[2] for row in origins.values()) / len(origins) for k in range(2)]
        lines += ["", f"Each origin judged by a band that the {len(origins) - 1} others choose: {fakes} of {n} reals "
                  f"FAKE, {unsure} UNDECIDED; every origin weighing the same, {even[0]:.1%} and {even[1]:.1%}. FAKE: "
                  + (", ".join(f"{name} {row[0]} of {row[2]}" for name, row in origins.items() if row[0]) or "none")]
    return lines


def _value(row: dict[str, Any], name: str) -> str:
    if row.get(name) is None:
        return "n/a"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.3f}" + (f" ({low:.3f} to {high:.3f})" if low is not None else "")


def _other(row: dict[str, Any], name: str) -> str:
    if row.get(f"other_{name}") is None:
        return "n/a"
    low, high = row[f"{name}_gain_low"], row[f"{name}_gain_high"]
    return f"{row[f'other_{name}']:.3f}" + (f" (this one {low:+.3f} to {high:+.3f})" if low is not None else "")


def add_clips(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name clips for `clips_of`, and where they are judged."""
    parser.add_argument("--corpus", type=Path, action="append", default=[], help="a labelled corpus, again for more")
    parser.add_argument("--natural", type=Path, action="append", default=[], help="a folder of unmanipulated clips")
    parser.add_argument("--talking", type=Path, action="append", default=[],
                        help="a folder of generated talking heads, a sub-folder a family; again for more")
    parser.add_argument("--sources", type=Path, action="append", default=[],
                        help="a folder of further unmanipulated clips, a sub-folder a source; again for more")
    parser.add_argument("--cache", type=Path, default=Path("out/quality/faces"),
                        help="folder of the stored faces (default out/quality/faces)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default auto)")


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    from classify.models.card import read_card
    from classify.models.shipped import SHIPPED

    parser = argparse.ArgumentParser(prog="python -m classify.evaluation.cross_corpus",
                                     description="How often a model is right on clips it has not learned from.")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint (default: the shipped detector)")
    parser.add_argument("--against", type=Path, help="another checkpoint, compared on the same clips")
    add_clips(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for quality.json and quality.md")
    parser.add_argument("--robustness", action="store_true", help="also all alterations: blurred, noisy, …")
    arguments = parser.parse_args(argv)
    card = read_card(arguments.model)
    clips = clips_of(arguments.corpus, arguments.natural, arguments.talking, arguments.sources)
    models = [arguments.model, *filter(None, [arguments.against])]
    found, *others = measured(models, clips, arguments.cache, CONDITIONS, COMMON,
                              tuple(ALTERATIONS) if arguments.robustness else (), arguments.device)
    other = others[0] if others else None
    ranked, counted, origins = rankings(found, other), calls(found[UNALTERED]), by_origin(found)
    calibration = Calibration.of(card)
    scored = [clip for clip in found[UNALTERED] if clip.score is not None and not clip.unfit and clip.kind == SWAPS]
    reliable = reliability([calibration.probability(clip.score) for clip in scored if clip.score is not None],
                           [clip.label for clip in scored]) if calibration and scored else None
    lines = [f"{card['model_id']}, {len(clips)} clips", "", *describe(ranked, counted, origins)]
    rows = []
    if arguments.robustness:
        lines += ["", "| faces altered | video AUC, swaps | reals called FAKE | fakes called FAKE | unfit | no face |",
                  "|---|---|---|---|---|---|"]
        for name in (UNALTERED, *ALTERATIONS):
            row = {"name": name, **summary([clip for clip in found[name] if clip.kind == SWAPS])}
            rows.append(row)
            lines.append(f"| {name} | {_value({'auc': row['auc'], 'auc_low': None, 'auc_high': None}, 'auc')} | "
                         f"{row['real_as_fake']} of {row['n_real']} | {row['fake_as_fake']} of {row['n_fake']} | "
                         f"{row['unfit']} | {row['not_judged']} |")
    write_json(arguments.out / "quality.json", {
        "model": card["model_id"], "reliability": reliable, "rankings": ranked, "calls": counted,
        "by_origin": origins, "robustness": rows, "clips": [clip.__dict__ for clip in found[UNALTERED]],
        "copies": {name: [copy.score for copy in again] for name, again in found.items() if name != UNALTERED}})
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
