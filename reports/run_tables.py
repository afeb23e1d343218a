"""The tables and records of a finished run, as a report reads them, and what it says of them beside its numbers."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classify.evaluation.score import split_of
from extract.layouts.base import thing_of
from pipeline.errors import TableError
from pipeline.tables import FRAME_SCORES, INDEX, SPLIT, VIDEO_SCORES, VIDEOS, read_json, read_table
from reports.findings import count

if TYPE_CHECKING:
    import pandas as pd

PART = "test"


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
    crops: Path                     # folder that the column `crop` is relative to
    foreign: bool = False           # whether the model was trained elsewhere
    foreign_scores: bool = False    # whether it was also scored elsewhere, so that nothing was decoded here


def read_run(out: Path, folder: Path | None = None, with_epochs: bool = True) -> Run:
    """Read what a report needs from a run.

    Args:
        out: folder of the run.
        folder: OUT/others/<id> with the scores of a model that was trained elsewhere, or scores that were made
            elsewhere; None for OUT's own.
        with_epochs: whether the table of epochs is read, if it exists.

    Raises:
        TableError: for the first table that is missing or damaged.
    """
    import pandas as pd

    from data.loading.pack import crop_folder

    own, split = folder or out, split_of(out, folder)
    card = read_card(own)
    epochs, path = None, out / "model" / "epochs.csv"
    if with_epochs and own == out and path.is_file():
        try:
            epochs = pd.read_csv(path)
        except (ValueError, pd.errors.ParserError) as error:
            raise TableError(f"{path} is not a table of epochs ({error}): train again") from None
    foreign_scores = "foreign_scores" in card
    videos = own / "videos.csv" if foreign_scores else out / "faces" / "videos.csv"
    return Run(read_table(out / "index.csv", INDEX), read_table(videos, VIDEOS),
               read_table(split, SPLIT), read_table(own / "scores" / "frames.csv", FRAME_SCORES),
               read_table(own / "scores" / "videos.csv", VIDEO_SCORES), read_json(split.with_suffix(".json")), card,
               epochs, out if foreign_scores else crop_folder(out)[0], own != out, foreign_scores)


def warnings(run: Run) -> list[str]:
    """What a reader must know before believing a number: of the split, and of tables that do not fit together."""
    lines, thing = [str(line) for line in run.audit.get("warnings", [])], thing_of(run.index["modality"])
    lines += [f"{run.card['foreign_scores']}: {line}." for line in run.card.get("rows_warnings", [])]
    hashes = run.audit.get("split_hash"), run.card.get("split_hash")
    if run.foreign and hashes[0] != hashes[1]:
        lines.append(f"The model was trained elsewhere. Whether it was trained on any of these {thing}s, or on other "
                     f"{thing}s of the same people, is not known here.")
    elif all(hashes) and hashes[0] != hashes[1]:
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


def read_card(out: Path) -> dict[str, Any]:
    """What the scores of the run say of their model. Raises TableError where there is none, or no threshold in it."""
    card = read_json(out / "scores" / "run.json")
    if not isinstance(card.get("threshold"), (int, float)):
        raise TableError(f"{out / 'scores' / 'run.json'} has no threshold: score the videos again")
    return card
