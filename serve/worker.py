"""The process that judges: one model in memory, one file after the other, controlled through a pipe.

    server -> worker   Task, or None to end; while it judges, anything else cancels
    worker -> server   ("ready",), ("state", name, frames), ("done", object, faces), ("failed", sentence),
                       ("cancelled",)

A decoder that a hostile file brings down takes this process along, never the server.
"""
from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extract.decoding.media import Limits, set_limits
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from classify.judging.evidence import Evidence

MOST_FACES = 6  # that the page shows beside a result
FACE_PX = 112   # side of each; about 4 kB
NO_MEMORY = "judging it needs more memory than the server allows"
OF_MEMORY = ("allocate memory", "Insufficient memory", "MemoryError")  # as OpenCV, FFmpeg, torch and Pillow say it


@dataclass(frozen=True)
class Task:
    """A file to judge. path: of the file. name: for the answer. sheet: path of the sheet to write."""

    path: str
    name: str
    sheet: str


class Cancelled(Exception):
    """The judgement was cancelled."""


class _Watched:
    """A detector that reports each batch of frames; everything else is passed on to the real one."""

    def __init__(self, detector: Any, tell):
        self._detector, self._tell, self.n_frames = detector, tell, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def detect(self, frames):
        self.n_frames += len(frames)
        self._tell("faces", self.n_frames)
        return self._detector.detect(frames)


def work(pipe: Connection, model: str, device: str, memory_mb: int, most: Limits) -> None:
    """Load the model, then judge until the server goes. memory_mb: beyond the loaded model, 0 is no limit."""
    set_limits(most)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server ends its worker itself
    from classify.models.shipped import SHIPPED

    try:
        judge = _judge(pipe, model, device)
    except PipelineError as error:
        pipe.send(("broken", str(error)))
        return
    if memory_mb and judge.device == "cpu":  # CUDA reserves address space beyond all measure
        _limit_memory(memory_mb * 10 ** 6)
    pipe.send(("ready",))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while isinstance(task := pipe.recv(), Task | str):
            if isinstance(task, str):  # a cancellation that came too late
                continue
            said = _answer(judge, task, Path(model) == SHIPPED)
            pipe.send(said)
            if said == ("failed", NO_MEMORY):
                return  # memory may be inconsistent after a failed allocation: the server starts a new worker


def _judge(pipe: Connection, model: str, device: str):
    import jinja2  # noqa: F401
    import numpy as np

    from classify.judging.attribution import heat_maps
    from classify.judging.judge import Judge

    def tell(state: str, n_frames: int) -> None:
        if pipe.poll():
            raise Cancelled
        pipe.send(("state", state, n_frames))

    class Telling(Judge):
        """Reports when faces are found and the network begins."""

        def _verdict(self, path, found, facts):
            tell("judging", found.video.n_read)
            return super()._verdict(path, found, facts)

        def begin(self) -> None:
            watched.n_frames = 0
            tell("decoding", 0)

    judge = Telling(Path(model), device)
    watched = _Watched(judge.detector, tell)
    judge.detector = watched  # type: ignore[assignment]
    # What the first sheet would else load, while no file's time runs and memory is not yet limited.
    heat_maps(judge.net, np.zeros((1, judge.card["size_px"], judge.card["size_px"], 3), np.uint8))
    return judge


def _answer(judge: Any, task: Task, shipped: bool) -> tuple:
    try:
        judge.begin()
        evidence = _judged(judge, task, shipped)
        return "done", evidence.verdict.as_json(), shown_faces(evidence)
    except Cancelled:
        return ("cancelled",)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise  # the server is gone
    except Exception as error:
        if isinstance(error, MemoryError) or any(said in str(error) for said in OF_MEMORY):
            return "failed", NO_MEMORY
        if isinstance(error, PipelineError):
            return "failed", str(error).replace(task.path, task.name)
        traceback.print_exc(file=sys.stderr)
        return "failed", "internal server error; see the log"


def _judged(judge: Any, task: Task, shipped: bool) -> Evidence:
    """Judge a file and write its sheet. A full disk costs the sheet, not the verdict."""
    from classify.judging.evidence import gather
    from classify.judging.sheet.page import render

    evidence = gather(judge, task.path)
    evidence = dataclasses.replace(evidence, verdict=dataclasses.replace(evidence.verdict, path=task.name))
    try:
        Path(task.sheet).write_text(render(evidence, shipped), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        Path(task.sheet).unlink(missing_ok=True)
        print(f"error: no sheet: {error}", file=sys.stderr)
    return evidence


def shown_faces(evidence: Evidence) -> list[dict[str, Any]]:
    """Return up to MOST_FACES judged faces, evenly over the clip and with the highest score, in the order of time.

    Each has time_s, score, where (which person, "" for one alone) and jpeg (a data: address of a small picture).
    """
    from classify.judging.evidence import chosen

    frames = {frame.number: (frame, faces) for frame, faces in evidence.shown if faces}
    scores = [max(face.score for face in faces) for _, faces in frames.values()]
    found = []
    for number in chosen(list(frames), scores, MOST_FACES) if frames else []:
        frame, faces = frames[number]
        face = max(faces, key=lambda face: face.score)
        found.append({"time_s": frame.time_s, "score": face.score, "where": evidence.people[face.person].where,
                      "jpeg": as_data(face.face)})
    return found


def as_data(jpeg: bytes) -> str:
    """Return a smaller copy of a picture as a data: address."""
    import cv2
    import numpy as np

    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None  # this process has encoded it
    small = cv2.resize(picture, (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(coded).decode()


def _limit_memory(more: int) -> None:
    """Allow this process `more` bytes beyond the address space that it has now; where the system cannot, nothing."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + more,) * 2)
