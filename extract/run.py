"""`make extract`: every video of an index to face crops and two tables, resumable at any moment.

    OUT/faces/<video_id>/       crops and row of a video (extract/store.py)
    OUT/faces/faces.csv         one row per recorded face (tables.FACES)
    OUT/faces/videos.csv        one row per video (tables.VIDEOS), written last
    OUT/faces/copies.csv        videos that show the same as another (tables.COPIES, extract/copies.py)
    OUT/faces/sheet.png         random crops, real beside fake, to look at before training
    OUT/faces/options.json      the options that made them; training puts them into the checkpoint

A worker takes a video through decoding, detection and writing, one batch of frames in memory at a time; the workers
are at different ones of the three, so that a core is never without work.
"""
from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import json
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2

from extract.contact_sheet import write_sheet
from extract.copies import near_copies, same_samples
from extract.decoding.media import Limits, limits, set_limits
from extract.decoding.opening import as_indexed
from extract.decoding.sampling import SAMPLING, FrameOptions
from extract.faces.detector import DETECTOR, Detector, FaceOptions, WholeFrame, make_cascade, pick_device
from extract.layouts.base import thing_of
from extract.options import RunOptions
from extract.store import Store, sha256_of, stamps_below, store_at
from extract.video import Extraction, Outcome, extract_video, known_faces
from pipeline import stages
from pipeline.errors import PipelineError, VideoError, command, fail
from pipeline.options import as_record
from pipeline.parallel import map_unordered
from pipeline.progress import progress_bar
from pipeline.run_record import column
from pipeline.storage import Remote, local_copy
from pipeline.tables import COPIES, DEMO_MARK, FACES, INDEX, VIDEOS, read_rows, write_json, write_table
from pipeline.workers import TimedOut, cpu_count, time_limit_of

GPU_SHARE = 1 / 6  # of a GPU for a worker on Ray, which has a detector of its own and so a context of half a GiB
WAITING = 2  # workers more than cores where a GPU detects: so many wait for it at any moment
COPY_WORDS = {"samples": "show the same frames as another, whatever container and metadata",
              "near": "are reals that look like another all along (another bitrate or size)"}


def extract_corpus(root: Path, index, out: Path, frames: FrameOptions, faces: FaceOptions, run: RunOptions,
                   progress=None) -> collections.Counter:
    """Extract the videos of `index` (the columns of INDEX by name, with paths relative to `root`) below `out`.

    What is there already, made with the same options from the same file (size and modification time), is kept.
    A video that cannot be used is a row with its status; an unexpected error of one video is a row with status
    "error", which the next run tries again. progress: a Progress that is called for every video, or None.
    Crops of files that are gone (a disk that was taken out) are kept, too; where the whole corpus is gone, what was not
    extracted before is a row with status "error".
    Returns how many videos ended in each status.
    Raises OSError when nothing can be written (a full disk; finished videos are kept), PipelineError where the corpus
    is gone and nothing of it was extracted.
    """
    thing = thing_of(index["modality"])
    if faces.crop == "auto":  # a few animations among pictures are judged as these are
        n_images = list(index["modality"]).count("image")
        faces = replace(faces, crop="whole" if 2 * n_images > len(index["modality"]) else "face")
    if thing == "picture" and faces.crop == "whole":
        from extract.whole_images import extract_whole

        return extract_whole(root, index, out, _options(root, index, frames, faces), run, progress)
    part, parts = map(int, (run.shard or "1/1").split("/"))
    names, modality = list(index["video_id"])[part - 1::parts], dict(zip(index["video_id"], index["modality"]))
    original = dict(zip(index["video_id"], index["original"])) if run.reuse_boxes else {}
    made_with = {**as_record(frames), **as_record(faces), "detector": DETECTOR, "sampling": SAMPLING,
                 "reuse_boxes": run.reuse_boxes}
    if faces.crop == "face":
        del made_with["crop"]  # crops older than this option are faces too
    if not faces.align:
        del made_with["align"]  # and upright ones
    store = store_at(out, made_with, f"{part}of{parts}" if run.shard else "all")
    with store.locked(), contextlib.ExitStack() as stack:
        rows, stamp_of = {}, stamps_below(root)
        for video_id in names:
            kept = store.kept(video_id, _stamp(stamp_of, video_id, original), run.verify,
                              functools.partial(_digests, root, video_id, original.get(video_id)))
            if kept and not (run.retry_failed and kept["video"]["status"] == "unreadable"):
                rows[video_id] = kept
        todo = [video_id for video_id in names if video_id not in rows]
        gone = [video_id for video_id in names if stamp_of(video_id) is None]
        n_kept, n_gone = len(rows), len(set(gone) & set(rows))
        if names and gone == names:
            rows |= _without_corpus(root, rows, todo)
            todo = []
        if progress:
            stack.enter_context(progress)
            progress.start(len(todo), n_kept, thing, n_gone)
        workers, start, start_args, engine, gpus = _workers(root, store, frames, faces, run, len(todo), stack)

        def limit_s(item: tuple) -> float:
            stamp = stamp_of(item[0])
            return time_limit_of(stamp[0] if stamp else None, run.time_limit)

        # A fake that may take the boxes of its real comes after it.
        for videos in ([v for v in todo if not original.get(v)], [v for v in todo if original.get(v)]):
            items = [(v, modality[v], _stamp(stamp_of, v, original), rows.get(original.get(v, "")), original.get(v))
                     for v in videos]
            for (video_id, _, _, real, _), result in map_unordered(
                    extract_one, items, workers, start, start_args, engine, gpus, limit_s, _expired):
                rows[video_id], spent = _row_of(result)
                if progress:
                    progress.add(rows[video_id], spent, real is not None)
        if not run.shard:
            _write_tables(out, index, rows, _options(root, index, frames, faces, gone == names and out))
    return collections.Counter(row["video"]["status"] for row in rows.values())


def _without_corpus(root: Path, rows: dict[str, dict], todo: list[str]) -> dict[str, dict]:
    """Rows of what cannot be extracted now, since no file of the corpus is there. The next run tries them again.

    Raises PipelineError where nothing was extracted before.
    """
    if not rows:
        raise PipelineError(f"no video of the index is at {root}, and none was extracted before: plug the corpus in, "
                            "or name the folder that it is in now (CORPUS=)")
    return {video_id: _failed(f"the corpus is not at {root}, and this was not extracted before") for video_id in todo}


def _options(root: Path, index, frames: FrameOptions, faces: FaceOptions, earlier: Any = None) -> dict[str, Any]:
    """What OUT/faces/options.json holds; crop is "face" or "whole". earlier: a folder that has one, where the corpus
    cannot be asked."""
    known = earlier / "options.json" if earlier else None
    demo = json.loads(known.read_bytes())["demo"] if known is not None and known.is_file() else False
    return {"frames": as_record(frames), "faces": as_record(faces), "crop": faces.crop,
            "dataset": ", ".join(sorted(set(index["dataset"]))), "demo": bool(demo or (root / DEMO_MARK).exists())}


def _workers(root: Path, store: Store, frames: FrameOptions, faces: FaceOptions, run: RunOptions, n_todo: int,
             stack: contextlib.ExitStack) -> tuple:
    """The arguments of map_unordered after the items: how many workers, how each starts, and where.

    On a GPU of this machine one detector, served until `stack` closes, is there for all.
    """
    if run.engine == "ray" and run.workers != 0 and n_todo:
        from pipeline.ray_map import cluster

        n_cpus, n_gpus = cluster(run.workers)
        # No look at this machine's devices: the workers are elsewhere.
        device = run.device if run.device != "auto" else "cuda" if n_gpus else "cpu"
        gpus = GPU_SHARE if device.startswith("cuda") else 0.0
        most = min(n_cpus, int(n_gpus / gpus)) if gpus else n_cpus
        return (min(most if run.workers is None else run.workers, n_todo), start_worker,
                (root, store, frames, faces, device, None, limits()), "ray", gpus)
    # A wrong one ends here, not in every worker.
    device = pick_device(run.device) if n_todo and faces.crop == "face" else "cpu"
    most = cpu_count() + (0 if device == "cpu" else WAITING)
    workers = min(most if run.workers is None else run.workers, n_todo)
    served = None
    if device != "cpu" and workers:
        from extract.faces.gpu_server import DetectorServer

        server = stack.enter_context(DetectorServer(make_cascade(faces, device)))
        served = server.address, server.key
    return workers, start_worker, (root, store, frames, faces, device, served, limits()), "local", 0.0


def _stamp(stamp_of, video_id: str, original: dict[str, str]) -> list | None:
    """What tells that a video was replaced, or the real whose boxes it takes. None for a file that is gone."""
    real, stamp = original.get(video_id), stamp_of(video_id)
    return [stamp, stamp_of(real)] if real and stamp else stamp


def _digests(root: Any, video_id: str, original: str | None) -> list[str] | None:
    """SHA-256 of a video and of its real, where it takes the real's boxes; None where one cannot be read."""
    found = [sha256_of(root / name) for name in (video_id, original) if name]
    return None if None in found else [digest for digest in found if digest]


def _write_tables(out: Path, index, rows: dict[str, dict], options: dict) -> None:
    labels = dict(zip(index["video_id"], index["label"]))
    copies = [{"video_id": name, "same_as": first, "how": how}
              for how, found in (("samples", same_samples(rows)), ("near", near_copies(rows, labels)))
              for name, first in found.items()]
    write_table(out / "copies.csv", copies, COPIES)
    crops = sorted((f"{v}/{name}", crc) for v, row in rows.items() for name, crc in row.get("crc32", {}).items())
    # What the crops are, so that training sees that one was made anew from another video of the same shape.
    write_json(out / "options.json", {**options,
                                      "crops_sha256": hashlib.sha256(json.dumps(crops).encode()).hexdigest()})
    write_table(out / "faces.csv", [{"video_id": v, **face} for v, row in rows.items() for face in row["faces"]], FACES)
    write_sheet(out, {v: [f["crop"] for f in row["faces"] if f["crop"]] for v, row in rows.items()}, labels)
    write_table(out / "videos.csv", [{"video_id": v, "label": labels[v], **row["video"]} for v, row in rows.items()],
                VIDEOS)


# -------------------------------------------------------------------------------------------------- in a worker process

_worker: dict[str, Any] = {}


class _Timed:
    """A detector that counts the seconds spent in it."""

    def __init__(self, detector):
        self.detector, self.options, self.batch, self.spent_s = detector, detector.options, detector.batch, 0.0

    def detect(self, frames):
        start = time.perf_counter()
        try:
            return self.detector.detect(frames)
        finally:
            self.spent_s += time.perf_counter() - start


def start_worker(root: Path, store: Store, frames: FrameOptions, faces: FaceOptions, device: str,
                 served: tuple | None = None, most: Limits = Limits()) -> None:
    """Prepare a worker process.

    served: address and key of a DetectorServer; without one the worker has a detector of its own.
    """
    set_limits(most)
    cv2.setNumThreads(0)  # a worker a core: more threads only wait for each other
    cascade = None
    if served:
        from extract.faces.gpu_server import RemoteCascade

        cascade = RemoteCascade(*served)
    detector = WholeFrame(faces) if faces.crop == "whole" else Detector(faces, device, cascade)
    _worker.update(root=root, store=store, frames=frames, detector=_Timed(detector))


def extract_one(item: tuple[str, str, list | None, dict | None, str | None]) -> tuple[dict, dict[str, float]]:
    """Extract one video and put its folder in place: its row, and the seconds that decode, detect and write took.

    item: video_id, modality, stamp, row and video_id of the real whose boxes it may take.
    """
    video_id, modality, stamp, real, original = item
    detector = _worker["detector"]
    start, detector.spent_s = time.perf_counter(), 0.0
    try:
        with local_copy(_worker["root"] / video_id) as path:
            found = extract_video(as_indexed(path, modality), detector, _worker["frames"],
                                  known_faces(real) if real else None, False, True)
    except VideoError as error:
        found = Extraction(Outcome(error.status, str(error)))
    except PipelineError as error:  # of all videos (no room on the GPU): it ends the run, and says at which one
        error.args = (f"{video_id}: {error}",)
        raise
    except OSError as error:  # of the video's disk; an error of ours' is raised below, and ends the run
        return _failed(f"cannot be read: {error.strerror or error}"), {}
    read = time.perf_counter()
    row = _worker["store"].put(video_id, found, stamp, _digests(_worker["root"], video_id, original))
    return row, {"decode": read - start - detector.spent_s, "detect": detector.spent_s,
                 "write": time.perf_counter() - read}


def _row_of(result: Any) -> tuple[dict, dict[str, float]]:
    """What extract_one gave; an error that is not the video's own becomes a row too, but one that is never kept."""
    if isinstance(result, tuple):
        return result
    if isinstance(result, (PipelineError, OSError)):
        raise result
    if isinstance(result, TimedOut):
        return _failed(str(result), "timeout"), {}
    return _failed(f"{type(result).__name__}: {result}"), {}


def _expired(item: tuple, error: TimedOut) -> None:
    """Without worker processes nothing can go on after a video that hangs."""
    fail(f"{item[0]}: {error}; give --workers, then the others go on")


def _failed(reason: str, status: str = "error") -> dict:
    return {"video": asdict(Outcome(status, reason)), "faces": []}


# ------------------------------------------------------------------------------------------------------- for a person

class Progress:
    """A bar on stderr: videos and frames a second, what they are spent on, time left, failures so far."""

    def start(self, n_todo: int, n_kept: int, thing: str = "video", n_gone: int = 0) -> None:
        """Say how much there is to do, and begin the progress bar."""
        if n_gone:
            print(f"{n_gone:,} {thing}{'s are' if n_gone > 1 else ' is'} not where the corpus was: going on with the "
                  "crops that were made of them before", file=sys.stderr)
        if n_kept:
            print(f"{n_kept:,} {thing}s are there already, {n_todo:,} to do", file=sys.stderr)
        self.bar = progress_bar(total=n_todo, unit=thing, desc="extract", smoothing=0.05, disable=not n_todo)
        self.began, self.n_frames, self.unit = time.perf_counter(), 0, "frame" if thing == "video" else thing
        self.spent: collections.Counter = collections.Counter()
        self.failed: collections.Counter = collections.Counter()
        self.reuse: collections.Counter = collections.Counter()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error) -> None:
        self.bar.close()

    def add(self, row: dict, spent: dict[str, float], had_real: bool = False) -> None:
        """Add the outcome of one video."""
        video = row["video"]
        self.n_frames += video["n_read"]
        self.spent.update(spent)
        if had_real:
            self.reuse.update(fakes=1, frames=video["n_read"], reused=row.get("n_reused", 0),
                              unlike=row.get("mismatch", 0))
        if video["status"] != "ok":
            self.failed[video["status"]] += 1
        self.bar.set_postfix_str(", ".join([self.speed(), *(f"{n} {status}" for status, n in self.failed.items())]),
                                 refresh=False)
        self.bar.update()

    def speed(self) -> str:
        """"41.2 frames/s, decode 21 %, detect 74 %, write 5 %": shares of the workers' time."""
        total = sum(self.spent.values()) or 1.0
        rate = self.n_frames / max(time.perf_counter() - self.began, 1e-9)
        return ", ".join([f"{rate:.1f} {self.unit}s/s", *(f"{kind} {s / total:.0%}".replace("%", " %")
                                                          for kind, s in self.spent.items())])


def _summary(out: Path, thing: str) -> list[str]:
    """Lines for a person: how many videos and faces, and every video that gave none, by reason."""
    videos = read_rows(out / "videos.csv", VIDEOS)
    counts = collections.Counter(video["status"] for video in videos)
    n = {name: sum(video[name] for video in videos) for name in ("n_faces", "n_read", "n_asked")}
    from_frames = (" (pictures)" if thing == "picture" else
                   f"; {n['n_faces']} crops from {n['n_read']} frames read of {n['n_asked']} asked")
    lines = ["extract: " + ", ".join(f"{counts[s]} {s}" for s in sorted(counts, key=lambda s: (s != "ok", s)))
             + from_frames]
    groups: dict[tuple[str, str], list[str]] = {}
    for video in videos:
        groups.setdefault((video["status"], video["reason"]), []).append(video["video_id"])
    for (status, reason), names in sorted(sorted(groups.items()), key=lambda pair: -len(pair[1])):
        if status != "ok":
            shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
            lines.append(f"  {status} ({len(names)}): {reason}: {shown}")
    kinds: dict[str, list[dict[str, Any]]] = {}
    for pair in read_rows(out / "copies.csv", COPIES) if thing == "video" else ():
        kinds.setdefault(pair["how"], []).append(pair)
    for how, pairs in sorted(kinds.items()):
        lines.append(f"  copies ({len(pairs)}): {COPY_WORDS[how]}: {pairs[0]['video_id']} = {pairs[0]['same_as']}")
    for (status, reason), names in sorted(groups.items()):
        if status == "ok" and reason:
            lines.append(f"  damaged but used ({len(names)}): {reason}: {', '.join(names[:3])}")
    return lines


def _extract(work: stages.Work) -> int | None:
    """Extract the run's corpus: into OUT/faces, or beside it while crops made with other options are there."""
    root = stages.corpus_root(work.record)
    if root is None:
        raise PipelineError(f"{work.out} has no index: run `make index CORPUS=folder` first")
    set_limits(work.options(Limits))
    rows = read_rows(work.out / "index.csv", INDEX)
    index = {name: [row[name] for row in rows] for name in INDEX}
    run, progress = work.options(RunOptions), Progress()
    # Crops that changed since are read again, and made again where they are not what was written.
    run = replace(run, verify=run.verify or "sizes or times of crops changed" in work.reasons)
    folder = _folder(work)
    counts = extract_corpus(root, index, folder, work.options(FrameOptions), work.options(FaceOptions), run, progress)
    if progress.spent:
        print(f"extract: {progress.speed()}")
    if reuse := progress.reuse:
        print(f"extract: boxes of the reals reused in {reuse['reused']:,} of {reuse['frames']:,} frames of "
              f"{reuse['fakes']:,} fakes ({reuse['reused'] / max(reuse['frames'], 1):.0%} of their detection saved); "
              f"{reuse['unlike']:,} fakes did not fit and were detected whole")
    if run.shard:
        print(f"extract: shard {run.shard}: {sum(counts.values()):,} of {len(rows):,} videos done, no tables written: "
              "when all shards are done, run the same without --shard")
        return None
    if folder != work.out / "faces":
        _exchange(folder, work.out / "faces")
    print("\n".join(_summary(work.out / "faces", thing_of(index["modality"]))))
    print(f"look at {work.out / 'faces' / 'sheet.png'} before training")
    if not counts["ok"]:
        nothing = "picture could be used" if thing_of(index["modality"]) == "picture" else "video gave a face"
        raise PipelineError(f"no {nothing}: nothing to train on")
    return _errors(work, len(rows))


def _errors(work: stages.Work, n_videos: int) -> int | None:
    """Record that extraction is done, unless videos ended in errors that did not happen before. Returns the status."""
    videos = read_rows(work.out / "faces" / "videos.csv", VIDEOS)
    errors = {video["video_id"]: video["reason"] for video in videos if video["status"] == "error"}
    section = work.record.section(work.key)
    new = [name for name, reason in errors.items() if section.get("errors", {}).get(name) != reason]
    section["errors"] = errors
    if new:
        work.record.write()
        raise PipelineError(f"{len(new)} of {n_videos} videos ended in an unexpected error, e.g. {new[0]}: "
                            f"{errors[new[0]]}. All others are done; the same command tries these again, and goes on "
                            "without those that fail again in the same way")
    faces = work.out / "faces"
    size = 0 if isinstance(faces, Remote) else sum((faces / name).stat().st_size for name in column(
        faces / "faces.csv", "crop") if name and (faces / name).is_file())
    work.finish(n_videos, bytes=size)
    return None


def _folder(work: stages.Work) -> Any:
    """OUT/faces; OUT/faces.next where OUT/faces holds finished crops that were made with other options."""
    faces = work.out / "faces"
    if isinstance(work.out, Remote):
        return faces
    before = faces.with_name("faces.before")
    if before.exists() and not faces.exists():  # killed between the two renames
        before.rename(faces)
    shutil.rmtree(before, ignore_errors=True)
    done = work.record.done("extract")
    if not done or not (faces / "videos.csv").is_file():
        return faces
    now = work.remembered_values()
    if all(done["options"].get(name) == value for name, value in now.items()):
        return faces
    print(f"extract: the crops that are there stay in {faces} until the new ones are complete", flush=True)
    return faces.with_name("faces.next")


def _exchange(made: Path, faces: Path) -> None:
    before = faces.with_name("faces.before")
    faces.rename(before)
    made.rename(faces)
    shutil.rmtree(before, ignore_errors=True)


@command
def main(argv: list[str] | None = None) -> int | None:
    """Run the command; return its exit status."""
    return stages.run("extract", argv, "Sample frames of the videos of OUT/index.csv, find faces, store square crops.",
                      _extract)


if __name__ == "__main__":
    sys.exit(main())
