"""The result of a run in sentences, most important first; every number is one of the metrics, rounded."""
from __future__ import annotations

from typing import Any

MIN_FAKES = 5  # of a method, before a finding calls it the hardest or the easiest; of a person's reals, too
# Order and words of the page: name, heading, what it means.
WORDS = {
    "accuracy": ("Accuracy", "share of calls that are right"),
    "balanced_accuracy": ("Balanced accuracy", "mean of the share of reals and the share of fakes called right"),
    "auc": ("AUC", "share of pairs of a fake and a real in which the fake scores higher; 0.5 is guessing"),
    "recall": ("Recall", "share of fakes called FAKE"),
    "precision": ("Precision", "share of fakes among those called FAKE; depends on the share of fakes in the corpus"),
    "f1": ("F1", "harmonic mean of precision and recall; depends on the share of fakes"),
    "ap": ("AP", "area under precision against recall; depends on the share of fakes"),
    "eer": ("EER", "error rate where as many reals as fakes are called wrong; lower is better"),
    "log_loss": ("Log-loss", "mean of -ln(P of the true class); lower is better, always saying 0.5 gives 0.693"),
}


def findings(metrics: dict[str, Any]) -> list[str]:
    """The result in sentences, most important first; every number is one of `metrics`, rounded."""
    n, counted, thing = metrics["n"], metrics["video"]["all"], metrics["thing"]
    left_out, as_wrong = counted["left_out"], counted["as_wrong"]
    confusion, got = left_out["confusion"], left_out["metrics"]
    lines = [f"{count(n['videos'], metrics['part'] + ' ' + thing)}: {n['real']} real and {n['fake']} fake. "
             + (f"{n['judged']} were judged, {n['failed']} could not be ({n['failed_real']} real, {n['failed_fake']} "
                "fake)." if n["failed"] else "All were judged." if n["videos"] else "There is nothing to measure.")]
    if n["judged"]:
        called = [f"{confusion[label + '_as_fake']} of {count(left_out['n_' + label], label)}"
                  for label in ("fake", "real") if left_out["n_" + label]]
        lines.append(f"Accuracy {show_cell(got['accuracy'])}: {' and '.join(called)} called FAKE. Balanced accuracy "
                     f"{show_cell(got['balanced_accuracy'])}.")
    lines.append(f"AUC {show_cell(got['auc'])}" + (
        ": in that share of pairs the fake scores higher than the real." if got["auc"]["value"] is not None else "."))
    if n["failed"]:
        lines.append(f"With failed {thing}s counted as wrong calls: accuracy "
                     f"{show_cell(as_wrong['metrics']['accuracy'])}, AUC {show_cell(as_wrong['metrics']['auc'])}.")
    lines += _worst(metrics)
    lines += _altered(metrics["robustness"]) if metrics.get("robustness") else []
    without: dict[str, list[str]] = {}  # why a value has no interval -> the metrics above that lack one
    for name in ("accuracy", "balanced_accuracy", "auc"):
        if got[name]["value"] is not None and got[name]["reason"]:
            without.setdefault(got[name]["reason"], []).append(WORDS[name][0])
    lines += [f"{', '.join(names)}: {reason}." for reason, names in without.items()]
    if left_out["note"]:
        lines.append(f"The intervals are {left_out['note']}.")
    return lines + _compared(metrics["against"]) if metrics.get("against") else lines


def _worst(metrics: dict[str, Any]) -> list[str]:
    """The method that is found least and the one that is ranked worst, the person with the most false alarms."""
    lines = []
    methods = {name: countings["left_out"] for name, countings in metrics["video"]["methods"].items()}
    least = next((row for row in metrics["worst"]["methods"] if row["n"] >= MIN_FAKES), None)
    if least and len(methods) > 1:
        lines.append(f"Found least is {least['name']}: {least['called']} of {count(least['n'], 'fake')} called FAKE.")
    aucs = sorted((block["metrics"]["auc"]["value"], name) for name, block in methods.items()
                  if block["metrics"]["auc"]["value"] is not None and block["n_fake"] >= MIN_FAKES)
    if len(aucs) > 1 and aucs[-1][0] - aucs[0][0] >= .001:
        (worst, hard), (best, easy) = aucs[0], aucs[-1]
        lines.append(f"Lowest AUC of {len(aucs)} methods: {hard} ({worst:.3f}). Highest: {easy} ({best:.3f}).")
    most = next((row for row in metrics["worst"]["people"] if row["n"] >= MIN_FAKES), None)
    if most and most["called"]:
        lines.append(f"Most false alarms are on {most['name']}: {most['called']} of {count(most['n'], 'real')} called "
                     "FAKE.")
    return lines


def _altered(summaries: list[dict[str, Any]]) -> list[str]:
    """Under which alteration the ranking surely suffers most, and where most reals are called FAKE."""
    plain, altered = summaries[0], summaries[1:]
    worse = [row for row in altered if row["auc"]["verdict"] == "worse"]
    if worse:
        worst = min(worse, key=lambda row: row["auc"]["here"])
        cell = worst["auc"]
        lines = [f"Altered crops: AUC is surely lower in {len(worse)} of {count(len(altered), 'alteration')}, most by "
                 f"\"{worst['name']}\": {cell['here']:.3f} against {cell['there']:.3f} as they are "
                 f"({cell['difference']:+.3f}, 95 % interval {cell['low']:+.3f} to {cell['high']:+.3f})."]
    else:
        lines = [f"Altered crops: in none of {count(len(altered), 'alteration')} is AUC surely lower."]
    most = max(altered, key=lambda row: row["real_as_fake"], default=plain)
    if most["real_as_fake"] > plain["real_as_fake"]:
        lines.append(f"Most false alarms come with \"{most['name']}\": {most['real_as_fake']} of "
                     f"{count(most['n_real'], 'real')} called FAKE, {plain['real_as_fake']} as they are.")
    return lines


def _compared(against: dict[str, Any]) -> list[str]:
    """What became better and worse since an earlier run."""
    thing = against["thing"]
    left = ", ".join(f"{against[key]} {words}" for key, words in (
        ("only_here", "only in this run"), ("only_there", "only in the earlier one"),
        ("not_judged", "not judged in one of the two")) if against[key])
    lines = [f"Against {against['out']} (model {against['model_id']}), on the {count(against['n'], 'test ' + thing)} "
             f"that both judged{f' ({left})' if left else ''}: {count(len(against['mended']), 'wrong call')} mended, "
             f"{count(len(against['spoiled']), 'right call')} spoiled."]
    for name in ("auc", "balanced_accuracy"):
        cell = against["metrics"][name]
        if cell["difference"] is not None:
            span = f", 95 % interval {cell['low']:+.3f} to {cell['high']:+.3f}" if cell["low"] is not None else ""
            told = {"better": "better", "worse": "worse", "same": "no difference",
                    "not told": "these videos do not show whether that is better" if thing == "video" else
                    "these pictures do not show whether that is better"}[cell["verdict"]]
            lines.append(f"{WORDS[name][0]} {cell['there']:.3f} before, {cell['here']:.3f} now "
                         f"({cell['difference']:+.3f}{span}): {told}.")
    if against["delong"]["p"] is not None:
        lines.append(f"DeLong's test of the two AUCs: z = {against['delong']['z']:.2f}, p = "
                     f"{against['delong']['p']:.3g}; it takes {thing}s as independent, the interval does not.")
    return lines


def show_cell(cell: dict[str, Any]) -> str:
    """`0.833 (95 % interval 0.700 to 0.930)`, `0.833` where there is no interval, or `n/a (no fake among …)`."""
    if cell["value"] is None:
        return f"n/a ({cell['reason']})"
    if cell["low"] is not None:
        return f"{cell['value']:.3f} (95 % interval {cell['low']:.3f} to {cell['high']:.3f})"
    return f"{cell['value']:.3f}"


def count(n: int, word: str) -> str:
    """Return a count with its noun, "1 clip" or "2 clips"."""
    return f"{n} {word}" + ("" if n == 1 else "s")
