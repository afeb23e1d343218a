"""`make report`: from the tables of a run to one page, its figures and its numbers.

    OUT/report/report.html   one file without any outside request: opens from a mail, prints, works on a phone
    OUT/report/metrics.json  every number of the page, unrounded
    OUT/report/metrics.csv   the same as a long table
    OUT/report/figures/      the figures, each as SVG and PDF for a paper and PNG for a slide

It needs tables and stored crops only: no model, no video, no GPU. Same tables and crops, same bytes. The numbers come
from classify.metrics, .worst and .against; this module and findings.py put them into words and tables.
"""
from __future__ import annotations

import argparse
import base64
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extract.layouts import thing_of
from pipeline.errors import TableError, command
from pipeline.options import add_flags, from_flags, option
from pipeline.tables import (
    FRAME_SCORES,
    INDEX,
    SPLIT,
    VIDEO_SCORES,
    VIDEOS,
    read_table,
    write_bytes,
    write_json,
    write_table,
)
from reports.findings import WORDS, count, findings

if TYPE_CHECKING:
    import pandas as pd

    from reports.figures import Drawn

PART = "test"
SHOWN_ROWS = 100   # of a table on the page; what is left out is counted, and is in the CSV files
METRICS_AGAINST = ("accuracy", "balanced_accuracy", "auc", "recall", "precision", "eer", "log_loss")
SHOWN_FACES = 40   # false calls with a face: some 5 KB each
METRICS_CSV = {"level": "str", "subset": "str", "counting": "str", "metric": "str", "value": "float64",
               "low": "float64", "high": "float64", "n": "int64", "reason": "str"}
CAPTIONS = {
    "confusion": "Calls and failures", "roc": "ROC", "precision_recall": "Precision and recall",
    "histogram_videos": "Scores of {}s", "histogram_frames": "Scores of frames",
    "calibration_videos": "Calibration of {}s", "calibration_frames": "Calibration of frames",
    "epochs_accuracy": "Accuracy while training", "epochs_loss": "Loss while training",
}


@dataclass(frozen=True)
class ReportOptions:
    """What the page says beyond its numbers."""

    title: str = option("Real or fake: how well the model tells", "heading of the page")
    against: str | None = option(None, "folder (OUT) of an earlier run to compare with, on the test videos of both")


@dataclass(frozen=True)
class Run:
    """The tables and records of one run, as they were read from its folder."""

    index: pd.DataFrame
    videos: pd.DataFrame            # what extraction made of each
    split: pd.DataFrame
    frame_scores: pd.DataFrame
    video_scores: pd.DataFrame
    audit: dict[str, Any]           # of the split
    card: dict[str, Any]            # of the model
    epochs: pd.DataFrame | None     # None where training left no table


def read_run(out: Path) -> Run:
    """Read what a report needs from a run's folder. Raises TableError for the first thing missing or damaged."""
    import pandas as pd

    card = _read_card(out)
    epochs, path = None, out / "model" / "epochs.csv"
    if path.is_file():
        try:
            epochs = pd.read_csv(path)
        except (ValueError, pd.errors.ParserError) as error:
            raise TableError(f"{path} is not a table of epochs ({error}): train again") from None
    return Run(read_table(out / "index.csv", INDEX), read_table(out / "faces" / "videos.csv", VIDEOS),
               read_table(out / "split.csv", SPLIT), read_table(out / "scores" / "frames.csv", FRAME_SCORES),
               read_table(out / "scores" / "videos.csv", VIDEO_SCORES), _read_record(out / "split.json"), card, epochs)


def write_report(out: Path, options: ReportOptions = ReportOptions()) -> dict[str, Any]:
    """Write the report of the run in folder `out` to `out`/report and return its metrics, findings included.

    Raises TableError where a table is missing, damaged or contradicts another.
    """
    from classify.metrics import evaluate, to_rows, videos_of
    from classify.worst import false_calls, methods, people
    from reports.figures import UNSAID, draw_all

    run = read_run(out)
    threshold = float(run.card["threshold"])
    originals = dict(zip(run.index["video_id"], run.index["original"]))
    metrics = {"model_id": run.card.get("model_id"), "demo": bool(run.card.get("demo")),
               "dataset": run.card.get("dataset"), "split_hash": run.card.get("split_hash"),
               "aggregation": run.card.get("aggregation"),
               **evaluate(run.video_scores, run.frame_scores, threshold, PART, originals)}
    rows = videos_of(run.video_scores, PART, threshold, originals)
    faces = run.frame_scores.merge(rows[["video_id", "label"]], on="video_id")
    figures = draw_all(metrics, rows, faces, run.epochs, run.card.get("best_epoch"))
    metrics["worst"] = {"methods": methods(rows),
                        "people": people(rows, dict(zip(run.index["video_id"], run.index["target_id"])))}
    metrics["against"] = compared(rows, Path(options.against), metrics["thing"]) if options.against else None
    metrics["findings"] = findings(metrics)
    wrong = false_calls(rows, run.frame_scores, out / "faces", threshold, SHOWN_FACES)
    html = render(run, metrics, rows, wrong, figures, options)
    folder = out / "report"
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
    from classify.against import against
    from classify.metrics import videos_of

    card = _read_card(earlier)
    there = videos_of(read_table(earlier / "scores" / "videos.csv", VIDEO_SCORES), PART, float(card["threshold"]))
    try:
        return {"out": str(earlier), "model_id": card.get("model_id"), "thing": thing, **against(rows, there)}
    except TableError as error:
        raise TableError(f"AGAINST={earlier}: {error}") from None


def render(run: Run, metrics: dict[str, Any], rows: pd.DataFrame, wrong: list[dict[str, Any]],
           figures: dict[str, Drawn | str], options: ReportOptions) -> str:
    """The page as HTML text; rows as of `classify.metrics.videos_of`, wrong as of `classify.worst.false_calls`, figures
    as of `reports.figures.draw_all`."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
                                     undefined=jinja2.StrictUndefined)
    environment.filters["number"] = show_number
    template = environment.from_string((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
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
        wrong=wrong, n_wrong=len(wrong), shown_faces=SHOWN_FACES, columns=METRICS_AGAINST,
        sorted_methods=[(row["name"], metrics["video"]["methods"][row["name"]])
                        for row in metrics["worst"]["methods"]],
        failed=rows[~rows["judged"]].head(SHOWN_ROWS).to_dict("records"), n_failed=int((~rows["judged"]).sum()),
        shown=SHOWN_ROWS)


def warnings(run: Run) -> list[str]:
    """What a reader must know before believing a number: of the split, and of tables that do not fit together."""
    lines, thing = [str(line) for line in run.audit.get("warnings", [])], thing_of(run.index["video_id"])
    hashes = run.audit.get("split_hash"), run.card.get("split_hash")
    if all(hashes) and hashes[0] != hashes[1]:
        lines.append(f"The model was trained on another split than the one in this folder: test {thing}s may have been "
                     "trained on. Train again.")
    held_out = set(run.split.loc[run.split["part"] == PART, "video_id"])
    scored = set(run.video_scores.loc[run.video_scores["part"] == PART, "video_id"])
    if held_out - scored:
        lines.append(f"{count(len(held_out - scored), f'test {thing}')} of the split without a row among the scores, "
                     f"so in no number here: {min(held_out - scored)} for one.")
    if scored - held_out:
        lines.append(f"{count(len(scored - held_out), f'scored test {thing}')} outside the split's test part: "
                     f"{min(scored - held_out)} for one.")
    return lines


def outcomes(run: Run) -> list[dict[str, Any]]:
    """What became of the corpus' videos: {status, real, fake, n, reasons: [(reason, n)]}, ok first, then by n."""
    import pandas as pd

    lost = run.index.loc[~run.index["video_id"].isin(run.videos["video_id"]), ["video_id", "label"]]
    table = pd.concat([run.videos[["label", "status", "reason"]],
                       lost.assign(status="not extracted", reason="in the index, but not among the extracted")])
    rows = []
    for status, group in table.groupby("status"):
        reasons = group.loc[group["reason"] != "", "reason"].value_counts()
        rows.append({"status": status, "real": int((group["label"] == 0).sum()), "n": len(group),
                     "fake": int((group["label"] == 1).sum()),
                     "reasons": sorted(reasons.items(), key=lambda item: (-item[1], item[0]))})
    return sorted(rows, key=lambda row: (row["status"] != "ok", -row["n"], row["status"]))


def parts(run: Run) -> list[dict[str, Any]]:
    """The parts of the split as they are in its table: {part, real, fake, groups}."""
    order = ["train", "val", PART, "dropped"]
    return [{"part": part, "real": int((rows["label"] == 0).sum()), "fake": int((rows["label"] == 1).sum()),
             "groups": int(rows["group"].nunique())}
            for part, rows in sorted(run.split.groupby("part"), key=lambda p: (order + [p[0]]).index(p[0]))]


def show_number(value: Any) -> str:
    """A value of a record for people: 4 digits, yes and no, n/a for nothing."""
    if value is None or value == "":
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _read_card(out: Path) -> dict[str, Any]:
    card = _read_record(out / "scores" / "run.json")
    if not isinstance(card.get("threshold"), (int, float)):
        raise TableError(f"{out / 'scores' / 'run.json'} has no threshold: score the videos again")
    return card


def _read_record(path: Path) -> dict[str, Any]:
    """A JSON object. Raises TableError when it is missing, damaged or no object."""
    if not path.is_file():
        raise TableError(f"{path} does not exist: run the stage that makes it first (`make` lists the stages)")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TableError(f"{path} is not JSON ({error}): remove it and make it again") from None
    if not isinstance(record, dict):
        raise TableError(f"{path} holds no object: remove it and make it again")
    return record


@command
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m reports.page", description="Scores to a page that people read.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run (OUT); the page goes to OUT/report")
    add_flags(parser, ReportOptions)
    arguments = parser.parse_args(argv)
    metrics = write_report(arguments.out, from_flags(ReportOptions, arguments))
    if metrics["demo"]:
        print("report: demo on drawn faces, its numbers say nothing about real videos")
    for line in metrics["findings"]:
        print(f"report: {line}")
    print(f"report: {arguments.out / 'report' / 'report.html'}")


if __name__ == "__main__":
    sys.exit(main())
