"""Pictures that are judged whole: each is opened once to see that it can be, and no crop is made.

    OUT/faces/.pictures*.jsonl    what became of each picture, a line per bundle, so that a killed run goes on
    OUT/faces/options.json        crop "whole"; crop_folder: the corpus, which the column crop is relative to
    OUT/faces/videos.csv, faces.csv, sheet.png    as of videos: a picture is a clip of one frame with one "face", itself
"""
from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

from extract.contact_sheet import write_sheet
from extract.decoding.image import read_picture
from extract.decoding.media import limits, set_limits
from extract.store import Store, sha256_of, stamp_of
from pipeline.errors import CorpusError, VideoError
from pipeline.parallel import map_unordered
from pipeline.storage import Remote
from pipeline.tables import FACES, VIDEOS, write_bytes, write_json, write_table
from pipeline.workers import TimedOut, time_limit_of

if TYPE_CHECKING:
    from extract.options import RunOptions

BUNDLE = 64  # pictures that a worker is handed at once: opening one may take less than handing it over
VERSION = 2  # raised when the same file gives another row

Row = list[Any]  # video_id, stamp, status, reason, width_px, height_px, sha256


def extract_whole(root: Path, index, out: Path, options: dict[str, Any], run: RunOptions,
                  progress=None) -> collections.Counter:
    """As run.extract_corpus, for an index of pictures that are judged whole. options: for options.json.

    Raises CorpusError where corpus or output are not folders of this machine: training reads the pictures again.
    """
    for place in (root, out):
        if isinstance(place, Remote):
            raise CorpusError(f"pictures that are judged whole are read in training too, so they must be in local "
                              f"folders, not {place}: copy them here first, or say CROP=face")
    part, parts = map(int, (run.shard or "1/1").split("/"))
    names = list(index["video_id"])[part - 1::parts]
    share = f"{part}of{parts}" if run.shard else "all"
    with Store(out, {}, share).locked(), contextlib.ExitStack() as stack:
        rows = {} if run.verify else {row[0]: row for row in _kept(out) if row[1] == stamp_of(root / row[0])}
        rows = {name: rows[name] for name in names if name in rows and rows[name][2] not in ("error", "timeout")
                and not (run.retry_failed and rows[name][2] == "unreadable")}
        todo = [name for name in names if name not in rows]
        if progress:
            stack.enter_context(progress)
            progress.start(len(todo), len(rows), "picture")
        with open(out / f".pictures-{share}.jsonl", "a") as journal:
            for found in _looked_at(root, todo, run):
                journal.write(json.dumps({"version": VERSION, "rows": found}) + "\n")
                journal.flush()
                rows.update({row[0]: row for row in found})
                for row in found if progress else ():
                    progress.add({"video": {"status": row[2], "n_read": int(row[2] == "ok")}}, {})
        if not run.shard:
            _write_tables(root, index, out, [rows[name] for name in names], options)
            _compact(out, rows)
    return collections.Counter(row[2] for row in rows.values())


def _looked_at(root: Path, names: list[str], run: RunOptions) -> Iterator[list[Row]]:
    """Rows of all these pictures, a bundle at a time. The pictures of a bundle whose worker died are tried alone."""
    bundles = [(root, names[i:i + BUNDLE]) for i in range(0, len(names), BUNDLE)]
    lost: list[str] = []

    def limit_s(job: tuple[Path, list[str]]) -> float:
        sizes = [stamp[0] for name in job[1] if (stamp := stamp_of(root / name))]
        return time_limit_of(sum(sizes), run.time_limit)

    how: Any = (run.workers, set_limits, (limits(),), run.engine, 0.0, limit_s)
    for (_, bundle), found in map_unordered(_look, bundles, *how):
        if isinstance(found, Exception):
            lost += bundle
        else:
            yield found
    alone = [(root, [name]) for name in lost]
    for (_, [name]), found in map_unordered(_look, alone, *how):
        if isinstance(found, Exception):
            status, why = ("timeout", "") if isinstance(found, TimedOut) else ("error", f"{type(found).__name__}: ")
            found = [[name, None, status, f"{why}{found}", 0, 0, None]]
        yield found


def _look(bundle: tuple[Path, list[str]]) -> list[Row]:
    """In a worker: open each picture."""
    root, names = bundle
    rows = []
    for name in names:
        stamp = stamp_of(root / name)
        try:
            height, width = read_picture(root / name).shape[:2]
            rows.append([name, stamp, "ok", "", width, height, sha256_of(root / name)])
        except VideoError as error:
            rows.append([name, stamp, error.status, str(error), 0, 0, None])
    return rows


def _kept(out: Path) -> Iterator[Row]:
    """Rows that earlier runs wrote, the newer after the older; a line cut off by a kill is skipped."""
    for path in sorted(out.glob(".pictures-*.jsonl"), key=lambda path: path.stat().st_mtime_ns):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found = json.loads(line)
                if found["version"] == VERSION:
                    yield from found["rows"]


def _compact(out: Path, rows: dict[str, Row]) -> None:
    """One journal of what the tables hold, in place of all."""
    journals = set(out.glob(".pictures-*.jsonl"))
    write_bytes(out / ".pictures-all.jsonl",
                (json.dumps({"version": VERSION, "rows": list(rows.values())}) + "\n").encode())
    for path in journals - {out / ".pictures-all.jsonl"}:
        path.unlink()


def _write_tables(root: Path, index, out: Path, rows: list[Row], options: dict[str, Any]) -> None:
    names = ("video_id", "stamp", "status", "reason", "width_px", "height_px", "sha256")
    found = [dict(zip(names, row)) for row in rows]
    labels = dict(zip(index["video_id"], index["label"]))
    videos = [{**one, "label": labels[one["video_id"]], "n_asked": 1, "n_read": int(one["status"] == "ok"),
               "n_faces": int(one["status"] == "ok"), "duration_s": 0.0} for one in found]
    faces = [{**dict.fromkeys(FACES), "video_id": one["video_id"], "time_s": 0.0, "frame": 0, "face": 0, "x0": 0.0,
              "y0": 0.0, "x1": one["width_px"], "y1": one["height_px"], "n_faces": 1, "track": 0,
              "crop": one["video_id"]} for one in found if one["status"] == "ok"]
    folder = Path(root).resolve()
    run_folder = out.resolve().parent
    inside = folder.is_relative_to(run_folder)
    write_json(out / "options.json", {
        **options, "crop_folder": os.path.relpath(folder, run_folder) if inside else str(folder),
        "crops_sha256": hashlib.sha256(json.dumps(sorted((row[0], row[6]) for row in rows)).encode()).hexdigest()})
    write_table(out / "faces.csv", faces, FACES)
    good = {face["video_id"] for face in faces}
    write_sheet(out, {name: [name] if name in good else [] for name in labels}, labels, folder)
    write_table(out / "videos.csv", videos, VIDEOS)
