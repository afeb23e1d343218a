"""The process that judges: one model in memory, one file after the other, told and asked through a pipe.

    server -> worker   Task, or None to end; while it judges, anything else cancels
    worker -> server   ("ready",), ("state", name, frames), ("done", object), ("failed", sentence), ("cancelled",)

A decoder that a hostile file brings down takes this process along, never the server.
"""
from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError

NO_MEMORY = "judging it needs more memory than the server allows"


@dataclass(frozen=True)
class Task:
    """A file to judge. path: where it lies. name: how the answer calls it."""

    path: str
    name: str


class Cancelled(Exception):
    """The server wants no answer any more."""


class _Watched:
    """A detector that tells when frames have reached it; in all else the one it stands for."""

    def __init__(self, detector: Any, tell):
        self._detector, self._tell, self.n_frames = detector, tell, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def detect(self, frames):
        self.n_frames += len(frames)
        self._tell("faces", self.n_frames)
        return self._detector.detect(frames)


def work(pipe: Connection, model: str, device: str, memory_mb: int) -> None:
    """Load the model, then judge until the server goes. memory_mb: beyond the loaded model, 0 is no limit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server ends its worker itself
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
            said = _answer(judge, task)
            pipe.send(said)
            if said == ("failed", NO_MEMORY):
                return  # what a failed allocation left behind is not worth trusting


def _judge(pipe: Connection, model: str, device: str):
    from classify.verdict import Judge

    def tell(state: str, n_frames: int) -> None:
        if pipe.poll():
            raise Cancelled
        pipe.send(("state", state, n_frames))

    class Telling(Judge):
        """Tells when the network's turn comes."""

        def _verdict(self, path, found):
            tell("judging", found.video["n_read"])
            return super()._verdict(path, found)

        def begin(self) -> None:
            watched.n_frames = 0
            tell("decoding", 0)

    judge = Telling(Path(model), device)
    watched = _Watched(judge.detector, tell)
    judge.detector = watched  # type: ignore[assignment]
    return judge


def _answer(judge: Any, task: Task) -> tuple:
    from extract.layouts import is_picture

    try:
        judge.begin()
        verdict = judge.judge_picture(task.path)[0] if is_picture(task.path) else judge.judge(task.path)
        return "done", {**verdict.as_json(), "path": task.name}
    except Cancelled:
        return ("cancelled",)
    except PipelineError as error:
        return "failed", str(error).replace(task.path, task.name)
    except MemoryError:
        return "failed", NO_MEMORY
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise  # the server is gone
    except Exception as error:
        if any(said in str(error) for said in ("allocate memory", "Insufficient memory", "Cannot allocate")):
            return "failed", NO_MEMORY
        traceback.print_exc(file=sys.stderr)
        return "failed", "a bug of the server; its log has more"


def _limit_memory(more: int) -> None:
    """Allow this process `more` bytes beyond the address space that it has now; where the system cannot, nothing."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + more,) * 2)
