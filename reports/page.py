"""`make report`: from the tables of a run to one page, its figures and its numbers.

    OUT/report/report.html   one file without any outside request: opens from a mail, prints, works on a phone
    OUT/report/metrics.json  every number of the page, unrounded
    OUT/report/metrics.csv   the same as a long table
    OUT/report/figures/      the figures, each as SVG and PDF for a paper and PNG for a slide
    OUT/report/sheets/       the evidence on the worst false calls, a page each, opened from the report

It needs tables and stored crops only, the sheets the model and the videos too; where those are gone it says so. Same
tables, crops and videos, same bytes. The numbers come from classify.evaluation.metrics, .worst and .against; this
module and
findings.py put them into words and tables.
"""
from __future__ import annotations

import base64
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classify.evaluation.options import ForeignScoresOptions
from classify.evaluation.score import chosen_model, scored_by
from classify.judging import sheet
from extract.layouts.base import thing_of
from pipeline import stages
from pipeline.errors import OptionsError, TableError, command
from pipeline.run_record import look, same
from pipeline.tables import (
    ALTERED_SCORES,
    INDEX,
    SPLIT,
    VIDEO_SCORES,
    read_json,
    read_table,
    write_bytes,
    write_json,
    write_table,
)
from reports.findings import WORDS, findings
from reports.options import ReportOptions
from reports.run_tables import PART, Run, outcomes, parts, read_card, read_run, warnings

if TYPE_CHECKING:
    import pandas as pd

    from classify.judging.sheet.style import Drawn

SHEET = Path(sheet.__file__).parent  # its base.css is the report's, too
SHOWN_ROWS = 100   # of a table on the page; what is left out is counted, and is in the CSV files
METRICS_AGAINST = ("accuracy", "balanced_accuracy", "auc", "recall", "precision", "eer", "log_loss")
SHOWN_FACES = 40   # false calls with a face: some 5 KB each
METRICS_CSV = {"level": "str", "subset": "str", "counting": "str", "metric": "str", "value": "float64",
               "low": "float64", "high": "float64", "n": "int64", "reason": "str"}
CAPTIONS = {
    "confusion": "Calls and failures", "roc": "ROC", "precision_recall": "Precision and recall",
    "histogram_videos": "Scores of {}s", "histogram_frames": "Scores of frames",
    "calibration_videos": "Calibration of {}s", "calibration_frames": "Calibration of frames",
    "robustness": "Altered crops",
    "epochs_accuracy": "Accuracy while training", "epochs_loss": "Loss while training",
}


def write_report(out: Path, options: ReportOptions = ReportOptions(), root: Path | None = None,
                 foreign: tuple[Path | None, Path] | None = None, epochs: bool = True) -> dict[str, Any]:
    """Write the report of a run and return its metrics, findings included.

    Args:
        out: folder of the run; the report goes to OUT/report.
        options: what is shown.
        root: folder that the video_ids are relative to, for the sheets; None where it is not known.
        foreign: a model that was trained elsewhere, None where only its scores are here; and its folder
            OUT/others/<id>, where the report then goes.
        epochs: whether the curves of training are drawn.

    Raises:
        TableError: a table is missing, damaged or contradicts another.
    """
    from classify.evaluation.errors import false_calls, methods, people
    from classify.evaluation.metrics import evaluate, to_rows, videos_of, without_probabilities
    from classify.evaluation.robustness import summaries
    from classify.judging.sheet.style import UNSAID
    from reports.error_sheets import write_sheets
    from reports.figures import draw_all

    own = foreign[1] if foreign else out
    run = read_run(out, own, epochs)
    threshold = float(run.card["threshold"])
    originals = dict(zip(run.index["video_id"], run.index["original"]))
    metrics = {"model_id": run.card.get("model_id"), "demo": bool(run.card.get("demo")),
               "dataset": run.card.get("dataset"), "split_hash": run.card.get("split_hash"),
               "aggregation": run.card.get("aggregation"),
               **evaluate(run.video_scores, run.frame_scores, threshold, PART, originals,
                          thing_of(run.index["modality"]))}
    if not run.card.get("probabilities", True):
        without_probabilities(metrics)
    rows = videos_of(run.video_scores, PART, threshold, originals)
    faces = run.frame_scores.merge(rows[["video_id", "label"]], on="video_id")
    metrics["robustness"] = summaries(read_table(own / "scores" / "altered.csv", ALTERED_SCORES), rows, threshold) \
        if options.robust else None
    figures = draw_all(metrics, rows, faces, run.epochs, run.card.get("best_epoch"))
    metrics["worst"] = {"methods": methods(rows),
                        "people": people(rows, dict(zip(run.index["video_id"], run.index["target_id"])))}
    metrics["against"] = compared(rows, Path(options.against), metrics["thing"]) if options.against else None
    metrics["findings"] = findings(metrics)
    wrong = false_calls(rows, run.frame_scores, run.crops, threshold, SHOWN_FACES)
    model = foreign[0] if foreign else scored_by(out, metrics["model_id"])
    sheets, why = write_sheets(own / "report" / "sheets", root, model, wrong[:options.sheets])
    if run.foreign_scores and wrong[:options.sheets]:
        why = "the scores were made elsewhere, so there is no model here that could explain them"
    metrics["sheets"] = {"asked": options.sheets, "sheets": sheets, "reason": why}
    html = render(run, metrics, rows, wrong, figures, options)
    folder = own / "report"
    for name, drawn in figures.items():
        (folder / f"{name}.svg").unlink(missing_ok=True)  # where reports used to put it
        for suffix in UNSAID:
            if isinstance(drawn, str):  # one of an earlier run would pass for this one's
                (folder / "figures" / f"{name}.{suffix}").unlink(missing_ok=True)
            else:
                write_bytes(folder / "figures" / f"{name}.{suffix}", drawn[suffix])
    write_table(folder / "metrics.csv", to_rows(metrics), METRICS_CSV)
    write_json(folder / "metrics.json", metrics)
    write_bytes(folder / "report.html", html.encode("utf-8", "backslashreplace"))  # names may hold odd bytes
    return metrics


def compared(rows: pd.DataFrame, earlier: Path, thing: str) -> dict[str, Any]:
    """The comparison of `rows` (of `videos_of`) with the run in folder `earlier`. Raises TableError."""
    from classify.evaluation.metrics import videos_of
    from classify.evaluation.paired import against

    card = read_card(earlier)
    there = videos_of(read_table(earlier / "scores" / "videos.csv", VIDEO_SCORES), PART, float(card["threshold"]))
    try:
        return {"out": str(earlier), "model_id": card.get("model_id"), "thing": thing, **against(rows, there)}
    except TableError as error:
        raise TableError(f"AGAINST={earlier}: {error}") from None


def render(run: Run, metrics: dict[str, Any], rows: pd.DataFrame, wrong: list[dict[str, Any]],
           figures: dict[str, Drawn | str], options: ReportOptions) -> str:
    """Return the page as HTML text.

    Args:
        run: the tables and records of the run.
        metrics: every number of the page.
        rows: of `classify.evaluation.metrics.videos_of`.
        wrong: of `classify.evaluation.errors.false_calls`.
        figures: of `reports.figures.draw_all`.
        options: what is shown beyond the numbers.
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
                                     undefined=jinja2.StrictUndefined,
                                     loader=jinja2.FileSystemLoader([Path(__file__).parent, SHEET]))
    environment.filters["number"] = show_number
    template = environment.get_template("page.html")
    audit = {key: value for key, value in run.audit.items() if key != "warnings"}
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    pictures = {name: "data:image/svg+xml;base64," + base64.b64encode(drawn["svg"]).decode()
                if not isinstance(drawn, str) else None for name, drawn in figures.items()}
    captions = {name: caption.format(metrics["thing"]) for name, caption in CAPTIONS.items()
                if metrics["thing"] == "video" or not name.endswith("_frames")}
    notes: dict[str, int] = {}  # reason -> its number, in the order the page comes to them
    return template.render(
        title=options.title, metrics=metrics, words=WORDS, captions=captions, pictures=pictures, figures=figures,
        warnings=warnings(run), outcomes=outcomes(run), parts=parts(run), audit=audit, card=run.card,
        note=lambda reason: notes.setdefault(reason, len(notes) + 1), notes=notes,
        wrong=wrong, sheets={sheet["video_id"]: sheet for sheet in metrics["sheets"]["sheets"]},
        n_wrong=len(wrong), shown_faces=SHOWN_FACES, columns=METRICS_AGAINST,
        sorted_methods=[(row["name"], metrics["video"]["methods"][row["name"]])
                        for row in metrics["worst"]["methods"]],
        failed=rows[~rows["judged"]].head(SHOWN_ROWS).to_dict("records"), n_failed=int((~rows["judged"]).sum()),
        shown=SHOWN_ROWS)


def show_number(value: Any) -> str:
    """A value of a record for people: 4 digits, yes and no, n/a for nothing."""
    if value is None or value == "":
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _report(work: stages.Work) -> None:
    """Write the page, and print what it found."""
    options, root = work.options(ReportOptions), stages.corpus_root(work.record)
    foreign: tuple[Path | None, Path] | None = None
    given = work.options(ForeignScoresOptions)
    if given.scores:
        if options.robust:
            raise OptionsError("ROBUST= judges altered crops with the model, and SCORES= has none here: pass ROBUST=0")
        _import(work, Path(given.scores), work.folder, given)
        work.wrote([name for name in work.stage.inputs if name.startswith("scores/")])
    if options.against and Path(options.against).is_file():  # scores of another detector, too
        folder = work.out / stages.OTHERS / stages.foreign_scores(Path(options.against))
        _import(work, Path(options.against), folder, replace(given, threshold=None))
        options = replace(options, against=str(folder))
    if work.folder != work.out:
        foreign = None if given.scores else chosen_model(work), work.folder
        # What comes from elsewhere is compared with the run's own model, if it has one.
        if options.against is None and (work.out / "scores" / "videos.csv").is_file():
            options = replace(options, against=str(work.out))
    epochs, trained = work.out / "model" / "epochs.csv", work.record.done("train")
    intact = trained is None or not epochs.is_file() or same(look(epochs), trained.get("epochs"))
    if not intact:
        print(f"report: {epochs} is not what training wrote: its curves are left out")
    metrics = write_report(work.out, options, root if isinstance(root, Path) else None, foreign, intact)
    if metrics["demo"]:
        print("report: demo on drawn faces, its numbers say nothing about real videos")
    for line in metrics["findings"]:
        print(f"report: {line}")
    folder = work.folder / "report"
    if made := sum(bool(sheet["file"]) for sheet in metrics["sheets"]["sheets"]):
        print(f"report: sheets of {made} false calls in {folder / 'sheets'}")
    elif metrics["sheets"]["reason"]:
        print(f"report: no sheets: {metrics['sheets']['reason']}")
    print(f"report: {folder / 'report.html'}")
    work.finish(metrics["video"].get("n", 0) if isinstance(metrics.get("video"), dict) else 0)


def _import(work: stages.Work, path: Path, folder: Path, options: ForeignScoresOptions) -> None:
    """Write the tables of a file of scores below OUT/others, and say what of it was used."""
    from classify.evaluation.foreign_scores import tables_of, write_scores

    root, split, split_hash = stages.corpus_root(work.record), None, ""
    if (work.out / "split.csv").is_file():
        split = read_table(work.out / "split.csv", SPLIT)
        audit = read_json(work.out / "split.json")
        split_hash = audit["split_hash"] if audit["rule"] == "given" else ""  # the split that was named for them
    found = tables_of(path, read_table(work.out / "index.csv", INDEX), split, split_hash,
                      root.resolve() if isinstance(root, Path) else None, options, folder.name)
    write_scores(folder, found)
    rows = found.card["rows"]
    print(f"report: {path.name}: {rows['in_the_file']:,} rows, {rows['videos_with_a_score']:,} videos with a score; "
          f"threshold {found.card['threshold']:.4g} ({found.card['threshold_reason']})")
    for line in found.card["rows_warnings"]:
        print(f"report: {path.name}: {line}")


@command
def main(argv: list[str] | None = None) -> int | None:
    """Run the command; return its exit status."""
    return stages.run("report", argv, "Turn the scores of a run into one page that people read.", _report)


if __name__ == "__main__":
    sys.exit(main())
