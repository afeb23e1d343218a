"""Scores that another detector gave the videos of a corpus: a CSV to the tables that a report is made from.

    video_id (or path), score          one row a video, or with the columns frame or time one row a frame
    part                               optional: train, val or test, the split that the detector was made with

Written below OUT/others/<id>/:

    scores/frames.csv, scores/videos.csv, scores/run.json    as `make score` writes them
    videos.csv       tables.VIDEOS: every video of the index, with a score or without
    rows.csv         the rows that could not be used as they are, and the videos that have none
    split.csv/json   where the file names its split, or the run has none

Scores outside [0, 1] are scaled linearly to it: every ranking stays, and log-loss and calibration are then n/a.
"""
from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

from classify.evaluation.options import ForeignScoresOptions
from classify.judging.aggregate import aggregate, choose_threshold
from extract.layouts.base import clip_key, read_csv
from extract.layouts.labels import PART_WORDS
from pipeline.errors import OptionsError, TableError
from pipeline.tables import FRAME_SCORES, SPLIT, VIDEO_SCORES, VIDEOS, write_json, write_table

if TYPE_CHECKING:
    import pandas as pd

    from data.split import Split

ROWS = {"line": "int64", "name": "str", "problem": "str"}  # line 0: a video without a row
UNKNOWN, DOUBLED, CONTRADICTING = "unknown", "doubled", "contradicting"
NO_NUMBER, MISSING, NOT_TESTED = "no_number", "missing", "not_in_test"
PROBLEMS = {UNKNOWN: "names no video of the corpus", DOUBLED: "doubled, with the same score",
            CONTRADICTING: "doubled, with another score: none of them is used", NO_NUMBER: "the score is no number",
            MISSING: "no row", NOT_TESTED: "not in the test part"}
SHOWN = 3     # names of a kind in a warning


@dataclass
class Scored:
    """The scores of a file, as they were found.

    Attributes:
        by_video: video_id -> its scores as (time_s, frame, score), one for a score of the video.
        parts: video_id -> part that the file names; empty where it has no such column.
        rows: of ROWS.
        counts: name of a problem in PROBLEMS -> how many rows or videos.
        n_rows: rows of the file.
        per_frame: whether a row is a frame.
    """

    by_video: dict[str, list[tuple[float, int, float]]] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    n_rows: int = 0
    per_frame: bool = False

    def note(self, problem: str, line: int, name: str) -> None:
        """Count and list a row."""
        self.counts[problem] += 1
        self.rows.append({"line": line, "name": name, "problem": PROBLEMS[problem]})


@dataclass
class ForeignScores:
    """What a report needs of another detector: the tables of `make score`, a card, and a split of its own or None."""

    card: dict[str, Any]
    frames: pd.DataFrame
    videos: pd.DataFrame
    everything: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    split: Split | None


def read_scores(path: Path, video_ids: Sequence[str], root: Path | None = None) -> Scored:
    """Read a file of scores and find the video of each row.

    A name is looked for as a video_id, then as a path below `root`, then without regard to case, suffix and folders
    called videos or frames, where only one video fits.

    Args:
        path: a CSV file with a header.
        video_ids: of the index.
        root: folder that they are relative to; None where it is not known.

    Raises:
        CorpusError: the file is no such table.
        TableError: a value is impossible, with its line.
    """
    wanted = read_csv(path, ("score",), ("video_id", "path", "frame", "time", "time_s", "part"))
    find = _Finder(video_ids, root)
    found = Scored(n_rows=len(wanted))
    found.per_frame = any(row["frame"] or row["time"] or row["time_s"] for _, row in wanted)
    by_key: dict[tuple[str, str, str], float] = {}
    contradicted: set[tuple[str, str, str]] = set()
    for line, row in wanted:
        name = (row["video_id"] or row["path"]).strip()
        if not name:
            raise TableError(f"{path}, line {line}: neither video_id nor path names a video")
        if not (video_id := find(name)):
            found.note(UNKNOWN, line, name)
            continue
        if row["part"].strip():
            part = PART_WORDS.get(row["part"].strip().lower())
            if part is None or found.parts.setdefault(video_id, part) != part:
                raise TableError(f"{path}, line {line}: part is {row['part']!r}, expected train, val or test, and one "
                                 "part for all rows of a video")
        if found.parts.get(video_id) == "train" and not row["score"].strip():
            continue  # named for its part alone
        frame, time_s = row["frame"].strip(), (row["time"] or row["time_s"]).strip()
        key = (video_id, frame, time_s)
        try:
            score = float(row["score"])
            at = (float(time_s or 0), int(float(frame or len(found.by_video.get(video_id, ())))), score)
        except ValueError:
            score, at = math.nan, (0.0, 0, math.nan)
        if not all(map(math.isfinite, at)):
            found.note(NO_NUMBER, line, name)
        elif key not in by_key:
            by_key[key] = score
            found.by_video.setdefault(video_id, []).append(at)
        elif by_key[key] == score:
            found.note(DOUBLED, line, name)
        else:
            found.note(CONTRADICTING, line, name)
            contradicted.add(key)
    for video_id, frame, time_s in contradicted:  # which of them is meant is not known
        value = by_key[video_id, frame, time_s]
        found.by_video[video_id].remove(next(one for one in found.by_video[video_id] if one[2] == value and (
            not frame or one[1] == int(float(frame))) and (not time_s or one[0] == float(time_s))))
    found.by_video = {video_id: seen for video_id, seen in found.by_video.items() if seen}
    return found


class _Finder:
    """Finds the video_id that a name stands for, "" for none."""

    def __init__(self, video_ids: Sequence[str], root: Path | None):
        self.known, self.root = set(video_ids), root
        keys: dict[str, list[str]] = defaultdict(list)
        for video_id in video_ids:
            keys[clip_key(video_id)].append(video_id)
        self.by_key = {key: names[0] for key, names in keys.items() if len(names) == 1}

    def __call__(self, name: str) -> str:
        below = name
        if name not in self.known and self.root is not None:
            for path in (Path(name), Path(name).absolute()):
                if path.is_relative_to(self.root):
                    below = path.relative_to(self.root).as_posix()
        below = below.removeprefix("./")
        return below if below in self.known else self.by_key.get(clip_key(below), "")


def tables_of(path: Path, index: pd.DataFrame, split: pd.DataFrame | None, split_hash: str, root: Path | None,
              options: ForeignScoresOptions, name: str) -> ForeignScores:
    """Make the tables of a report from a file of scores.

    Args:
        path: the file.
        index: rows of tables.INDEX.
        split: the run's, rows of tables.SPLIT; None where it has none. A split that the file names comes first.
        split_hash: of that split, where the detector is known to be made with it, else "".
        root: folder that the video_ids are relative to.
        options: what the scores mean.
        name: id of the scores.

    Raises:
        CorpusError, TableError: the file is no such table, or names no video of the corpus.
        OptionsError: the scores are no probabilities, and from which score on a video is fake is not known.
    """
    import pandas as pd

    from data.split import everything_is_test, given_split

    scored = read_scores(path, index["video_id"].tolist(), root)
    if not scored.by_video:
        raise TableError(f"{path} has no score for any of the {len(index):,} videos of the corpus "
                         f"({scored.counts[UNKNOWN]:,} of {scored.n_rows:,} rows are unknown"
                         + (f", e.g. {scored.rows[0]['name']}" if scored.rows else "") + "): its column video_id or "
                         "path must hold paths relative to the corpus")
    own: Split | None = None
    if scored.parts:
        own = given_split(index, pd.DataFrame(sorted(scored.parts.items()), columns=["video_id", "part"]), None, path,
                          needed=())
        split_hash = own.audit["split_hash"]
    elif split is None:
        own = everything_is_test(index)
    if own is not None:
        split = own.rows
    assert split is not None
    part_of = dict(zip(split["video_id"], split["part"]))
    scale = _scale(scored, options, path)
    frames, videos, everything = [], [], []
    facts = index.set_index("video_id")
    group_of = dict(zip(split["video_id"], split["group"]))
    for video_id in sorted(part_of):
        seen = [(time_s, frame, scale(score)) for time_s, frame, score in scored.by_video.get(video_id, ())]
        part = part_of[video_id]
        row = {"video_id": video_id, "label": int(facts.at[video_id, "label"]), "part": part,
               "method": facts.at[video_id, "method"], "group": group_of[video_id],
               "status": "ok" if seen else "no_score", "reason": "" if seen else f"no score in {path.name}",
               "n_asked": len(seen), "n_read": len(seen), "n_faces": len(seen), "width_px": 0, "height_px": 0,
               "duration_s": 0.0,
               "score": math.nan if not seen else
               aggregate([one[2] for one in seen], options.aggregation) if scored.per_frame else seen[0][2]}
        everything.append(row)
        if part in ("val", "test"):
            videos.append(row)
            if not seen:
                scored.note(MISSING, 0, video_id)
            if scored.per_frame:
                frames += [{"video_id": video_id, "time_s": time_s, "frame": frame, "score": score, "crop": ""}
                           for time_s, frame, score in seen]
        elif seen:
            scored.note(NOT_TESTED, 0, video_id)
    threshold, why = _threshold(videos, options, scale, path)
    for row in videos:
        row["verdict"] = "undecided" if math.isnan(row["score"]) else "fake" if row["score"] >= threshold else "real"
    card = {"model_id": name, "foreign_scores": path.name, "threshold": threshold, "threshold_reason": why,
            "aggregation": options.aggregation if scored.per_frame else "none: one score a video",
            "lower_is_fake": options.lower_is_fake, "probabilities": scale.is_probability,
            "dataset": str(index["dataset"].iloc[0]), "split_hash": split_hash, "demo": False,
            "rows": {"in_the_file": scored.n_rows, "videos_with_a_score": len(scored.by_video),
                     **{problem: scored.counts[problem] for problem in PROBLEMS}},
            "rows_warnings": warnings_of(scored, own is not None and not scored.parts)}
    return ForeignScores(card, pd.DataFrame(frames, columns=list(FRAME_SCORES)), pd.DataFrame(videos), everything,
                         scored.rows, own)


def warnings_of(scored: Scored, unsplit: bool) -> list[str]:
    """Say in lines what became of rows that were not used as they are, and of videos without one.

    unsplit: whether the split that the detector was made with is not known, so that every video is test.
    """
    lines = []
    for problem, words in PROBLEMS.items():
        names = list(dict.fromkeys(row["name"] for row in scored.rows if row["problem"] == words))
        if not names:
            continue
        what = {UNKNOWN: "rows name no video of the corpus", DOUBLED: "rows are doubled, and counted once",
                CONTRADICTING: "rows are doubled with another score, and no score of them is used",
                NO_NUMBER: "rows have no number as score", MISSING: "held-out videos have no score",
                NOT_TESTED: "videos with a score are in no held-out part, and in no number here"}[problem]
        line = f"{scored.counts[problem]:,} {what}: {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}"
        if problem == MISSING and unsplit:
            line += ". If only a test part was scored, name it: a column part in the file, or SPLIT="
        lines.append(line)
    return lines


def write_scores(folder: Path, found: ForeignScores) -> None:
    """Write the tables below OUT/others/<id>/, the table of video scores last."""
    for name in ("split.json", "split.csv"):
        (folder / name).unlink(missing_ok=True)
    if found.split is not None:
        write_json(folder / "split.json", found.split.audit)
        write_table(folder / "split.csv", found.split.rows, SPLIT)
    write_table(folder / "rows.csv", found.rows, ROWS)
    write_table(folder / "videos.csv", found.everything, VIDEOS)
    write_table(folder / "scores" / "frames.csv", found.frames, FRAME_SCORES)
    write_json(folder / "scores" / "run.json", found.card)
    write_table(folder / "scores" / "videos.csv", found.videos, VIDEO_SCORES)


class _Scale:
    """From a score of the file to one in [0, 1], higher is faker."""

    def __init__(self, values: Sequence[float], lower_is_fake: bool):
        self.lower = lower_is_fake
        low, high = min(values), max(values)
        self.is_probability = 0 <= low and high <= 1
        if self.is_probability:
            low, high = 0.0, 1.0
        self.low, self.span = low, (high - low) or 1.0

    def __call__(self, score: float) -> float:
        share = min(1.0, max(0.0, (score - self.low) / self.span))
        return 1 - share if self.lower else share


def _scale(scored: Scored, options: ForeignScoresOptions, path: Path) -> _Scale:
    values = [score for rows in scored.by_video.values() for _, _, score in rows]
    return _Scale(values, options.lower_is_fake)


def _threshold(videos: list[dict[str, Any]], options: ForeignScoresOptions, scale: _Scale,
               path: Path) -> tuple[float, str]:
    """The threshold in [0, 1], and why: as given, chosen on their validation videos, or .5."""
    if options.threshold is not None:
        return scale(options.threshold), f"THRESHOLD={options.threshold:g}"
    held = [row for row in videos if row["part"] == "val" and not math.isnan(row["score"])]
    if len({row["label"] for row in held}) == 2:
        chosen = choose_threshold([row["score"] for row in held], [row["label"] for row in held])
        return chosen.value, chosen.reason
    if not scale.is_probability:
        worst = scale.low if scale.low < 0 else scale.low + scale.span
        raise OptionsError(f"{path} has scores outside 0 to 1 (e.g. {worst:g}), so from where on a video is called "
                           "fake is not known: pass THRESHOLD=, in the scale of the file")
    return 0.5, "the middle of 0 to 1: none was given, and the file has no validation videos to choose on"
