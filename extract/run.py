"""`make extract`: every video of an index to face crops and two tables, resumable at any moment.

    OUT/faces/<video_id>/<frame>.png    crop of the main face, lossless
    OUT/faces/<video_id>/row.json       what became of the video; the folder appears whole or not at all
    OUT/faces/faces.csv                 one row per recorded face (tables.FACES)
    OUT/faces/videos.csv                one row per video (tables.VIDEOS), written last
    OUT/faces/sheet.png                 random crops, real beside fake, to look at before training
    OUT/faces/options.json              the options that made them; training puts them into the checkpoint
"""
from __future__ import annotations

import argparse
import collections
import contextlib
import errno
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from extract.faces import FaceOptions, pick_device
from extract.frames import FrameOptions
from pipeline.errors import PipelineError, VideoError, command
from pipeline.options import add_flags, as_record, from_flags, option
from pipeline.parallel import cpu_count, map_unordered
from pipeline.tables import DEMO_MARK, FACES, INDEX, VIDEOS, read_table, write_bytes, write_json, write_table

GPU_WORKERS = 6  # by default: each holds a CUDA context of its own, about half a GiB of the device's memory
EMPTY_VIDEO = {"n_asked": 0, "n_read": 0, "n_faces": 0, "width_px": 0, "height_px": 0, "duration_s": 0.0}


@dataclass(frozen=True)
class RunOptions:
    """How the work is done; none of it changes a result on a CPU."""

    workers: int | None = option(None, "worker processes, 0 for none (default: one per core, at most 6 on a GPU)")
    device: str = option("auto", "where the detector runs: auto, cpu, cuda, cuda:1, mps")
    retry_failed: bool = option(False, "try videos again that could not be read before")

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must be 0 or more, got {self.workers}")


def extract_corpus(root: Path, index, out: Path, frames: FrameOptions, faces: FaceOptions, run: RunOptions,
                   progress=iter) -> collections.Counter:
    """Extract all videos of `index` (a table INDEX with paths relative to `root`) below `out`.

    What is there already, made with the same options from the same file (size and modification time), is kept.
    A video that cannot be used is a row with its status; an unexpected error of one video is a row with status
    "error", which the next run tries again. Returns how many videos ended in each status.
    Raises OSError when the disk is full; finished videos are kept.
    """
    from extract.sheet import write_sheet

    made_with = {**as_record(frames), **as_record(faces)}
    with _only_run(out):
        rows: dict[str, dict] = {}
        todo = []
        for video_id in index["video_id"]:
            kept = _kept(root, out, video_id, made_with)
            if kept and not (run.retry_failed and kept["video"]["status"] == "unreadable"):
                rows[video_id] = kept
            else:
                todo.append(video_id)
        device = pick_device(run.device) if todo else "cpu"  # a wrong one ends here, not in every worker
        most = cpu_count() if device == "cpu" else min(cpu_count(), GPU_WORKERS)
        workers = min(most if run.workers is None else run.workers, len(todo))
        results = map_unordered(_extract_one, todo, workers, _start_worker,
                                (root, out, frames, faces, device, made_with))
        for video_id, result in progress(results, len(todo), rows):
            rows[video_id] = _row_of(result)
        write_json(out / "options.json", {"frames": as_record(frames), "faces": as_record(faces),
                                          "dataset": next(iter(index["dataset"]), ""),
                                          "demo": (root / DEMO_MARK).exists()})
        labels = dict(zip(index["video_id"], index["label"]))
        write_table(out / "faces.csv", [{"video_id": v, **face} for v, row in rows.items() for face in row["faces"]],
                    FACES)
        write_sheet(out, rows, labels)
        write_table(out / "videos.csv",
                    [{"video_id": v, "label": labels[v], **row["video"]} for v, row in rows.items()], VIDEOS)
    return collections.Counter(row["video"]["status"] for row in rows.values())


_worker: dict[str, Any] = {}


def _start_worker(root: Path, out: Path, frames: FrameOptions, faces: FaceOptions, device: str,
                  made_with: dict) -> None:
    import cv2
    import torch

    from extract.faces import Detector

    torch.set_num_threads(1)  # a worker a core: more threads only wait for each other
    cv2.setNumThreads(0)
    _worker.update(root=root, out=out, frames=frames, made_with=made_with, detector=Detector(faces, device))


def _extract_one(video_id: str) -> dict:
    """Extract one video and put its folder in place. Returns its row."""
    from extract.video import Extraction, extract_video

    path = _worker["root"] / video_id
    try:
        found = extract_video(path, _worker["detector"], _worker["frames"])
    except VideoError as error:
        found = Extraction({"status": error.status, "reason": str(error), **EMPTY_VIDEO})
    return _put(_worker["out"], video_id, found, _worker["made_with"], _stamp(path))


def _put(out: Path, video_id: str, found, made_with: dict, stamp: list | None) -> dict:
    """Write a video's crops and row into a folder of its own, then rename it into place."""
    import cv2

    folder = out / ".partial" / str(os.getpid())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for frame, crop in found.crops.items():
        ok, png = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
        if not ok:
            raise RuntimeError(f"OpenCV cannot encode the crop of frame {frame}")
        (folder / f"{frame:06d}.png").write_bytes(png.tobytes())  # raises on a full disk, which imwrite does not
    for face in found.faces:
        face["crop"] = f"{video_id}/{face['frame']:06d}.png" if face["face"] == 0 else ""
    row = {"video": found.video, "faces": found.faces, "made_with": made_with, "stamp": stamp}
    write_bytes(folder / "row.json", json.dumps(row).encode())
    final = out / video_id
    if final.exists():
        shutil.rmtree(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    os.rename(folder, final)
    return row


def _kept(root: Path, out: Path, video_id: str, made_with: dict) -> dict | None:
    """The row of a video that needs no new extraction."""
    try:
        row = json.loads((out / video_id / "row.json").read_bytes())
    except (OSError, ValueError):
        return None
    same = row.get("made_with") == made_with and row.get("stamp") == _stamp(root / video_id)
    return row if same else None


def _stamp(path: Path) -> list | None:
    """Size and modification time of the video: what tells that it was replaced."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return [status.st_size, status.st_mtime_ns]
    return None


def _row_of(result: Any) -> dict:
    """The row of a finished item; errors that are not the video's own become a row too, but are never kept."""
    if isinstance(result, dict):
        return result
    if isinstance(result, PipelineError) or (isinstance(result, OSError) and result.errno in (
            errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)):
        raise result
    return {"video": {"status": "error", "reason": f"{type(result).__name__}: {result}", **EMPTY_VIDEO}, "faces": []}


@contextlib.contextmanager
def _only_run(out: Path) -> Iterator[None]:
    """Hold the folder's lock, and clear what a killed run left half done."""
    import fcntl

    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(f"another extraction is writing to {out}: wait for it, or choose another OUT=") \
                from None
        shutil.rmtree(out / ".partial", ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(out / ".partial", ignore_errors=True)


def _progress(results, n_todo: int, rows: dict):
    """A bar on stderr: videos done, rate, time left, failures so far."""
    from tqdm import tqdm

    if rows:
        print(f"{len(rows)} videos are there already, {n_todo} to do", file=sys.stderr)
    failed: collections.Counter = collections.Counter()
    with tqdm(results, total=n_todo, unit="video", desc="extract", smoothing=0.05, disable=not n_todo) as bar:
        for video_id, result in bar:
            status = result["video"]["status"] if isinstance(result, dict) else "error"
            if status != "ok":
                failed[status] += 1
                bar.set_postfix(failed)
            yield video_id, result


def _summary(out: Path, index) -> list[str]:
    """Lines for a person: how many videos and faces, and every video that gave none, by reason."""
    videos = read_table(out / "videos.csv", VIDEOS)
    counts = collections.Counter(videos["status"])
    lines = ["extract: " + ", ".join(f"{counts[s]} {s}" for s in sorted(counts, key=lambda s: (s != "ok", s)))
             + f"; {videos['n_faces'].sum()} crops from {videos['n_read'].sum()} frames read"
             + f" of {videos['n_asked'].sum()} asked"]
    failed = videos[videos["status"] != "ok"]
    for (status, reason), group in sorted(failed.groupby(["status", "reason"]), key=lambda pair: -len(pair[1])):
        names = ", ".join(group["video_id"][:3]) + (" …" if len(group) > 3 else "")
        lines.append(f"  {status} ({len(group)}): {reason}: {names}")
    damaged = videos[(videos["status"] == "ok") & (videos["reason"] != "")]
    for reason, group in damaged.groupby("reason"):
        lines.append(f"  damaged but used ({len(group)}): {reason}: {', '.join(group['video_id'][:3])}")
    return lines


@command
def main(argv: list[str] | None = None) -> int | None:
    parser = argparse.ArgumentParser(prog="python -m extract.run", description="Videos of an index to face crops.")
    parser.add_argument("corpus", type=Path, help="the corpus that the index was made from")
    parser.add_argument("--index", type=Path, required=True, help="table of videos made by extract.corpus")
    parser.add_argument("--out", type=Path, required=True, help="folder for crops and tables (OUT/faces)")
    add_flags(parser, FrameOptions, FaceOptions, RunOptions)
    arguments = parser.parse_args(argv)
    from extract.corpus import find_corpus

    index = read_table(arguments.index, INDEX)
    counts = extract_corpus(find_corpus(arguments.corpus).root, index, arguments.out,
                            from_flags(FrameOptions, arguments), from_flags(FaceOptions, arguments),
                            from_flags(RunOptions, arguments), _progress)
    print("\n".join(_summary(arguments.out, index)))
    print(f"look at {arguments.out / 'sheet.png'} before training")
    if not counts["ok"]:
        raise PipelineError("no video gave a face: nothing to train on")
    return None


if __name__ == "__main__":
    sys.exit(main())
