"""Judgements from their upload to their answer: a bounded queue, one worker process, and what becomes of each.

All of this runs in the server's event loop; only the waiting for the worker is in a thread.
"""
from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import secrets
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from extract.decoding.media import limits
from serve.judgement import ENDED, Judgement
from serve.options import ServeOptions
from serve.problems import Problem, as_problem
from serve.uploads import Upload
from serve.worker import NO_MEMORY, Task, work

MOST_KEPT = 1000       # judgements that have ended
START_S = 120.0        # seconds in which a worker must have loaded its model
ARRIVING = 4           # uploads that may be on their way, for each place in the queue
GRACE_S = 3.0          # seconds in which a worker must notice a cancellation
RETRY_S = 5.0          # seconds before a worker that cannot load is tried again
FORGET_S = 60.0        # seconds between looks for what has been kept long enough


class Desk:
    """Queue of judgements: takes uploads, has them judged one after the other, keeps results for `keep` seconds."""

    def __init__(self, model: Path, options: ServeOptions):
        self.model, self.options = model, options
        self.judgements: dict[str, Judgement] = {}
        self.waiting: asyncio.Queue[Judgement] = asyncio.Queue()
        self.arriving: Counter[str] = Counter()  # client -> uploads on their way
        self.ended: Counter[str] = Counter()  # by state
        self.verdicts: Counter[str] = Counter()
        self.judged_s, self.n_started = 0.0, 0
        self.begun = False         # whether the worker has reported progress of its file
        self.broken = ""           # why no worker can be started
        self.process: Any = None
        self.pipe: Any = None
        self.ready = asyncio.Event()
        self.is_closing = False    # whether streams of events are to end

    def close(self) -> None:
        """End the streams of events: the server ends."""
        self.is_closing = True
        for judgement in self.judgements.values():
            judgement.wake()

    def admit(self, client: str) -> None:
        """Let an upload begin; `leave` says that it has ended. Raises Problem 429.

        Uploads on their way take no place in the queue, or slow ones would keep everybody else out of it.
        """
        queued = [judgement for judgement in self.judgements.values() if judgement.state == "queued"]
        if len(queued) >= self.options.queue:
            raise Problem(429, f"{self.options.queue} files are waiting already: try again later", Retry_After="10")
        if self.arriving.total() >= ARRIVING * self.options.queue:
            raise Problem(429, f"{self.arriving.total()} uploads are on their way already: try again later",
                          Retry_After="10")
        own = sum(judgement.client == client for judgement in queued) + self.arriving[client]
        if own >= self.options.client_queue:
            raise Problem(429, f"{own} of your files are waiting already: try again later", Retry_After="10")
        self.arriving[client] += 1

    def leave(self, client: str, n: int) -> None:
        """Give back the places of uploads that have ended."""
        self.arriving[client] -= n
        if self.arriving[client] <= 0:
            del self.arriving[client]

    def take(self, upload: Upload, client: str) -> Judgement:
        """Queue an upload and return its judgement."""
        judgement = Judgement(secrets.token_urlsafe(16), upload, client)
        self._forget_old()
        self.judgements[judgement.id] = judgement
        self.waiting.put_nowait(judgement)
        return judgement

    @property
    def n_queued(self) -> int:
        """Return how many judgements wait."""
        return sum(judgement.state == "queued" for judgement in self.judgements.values())

    def place(self, judgement: Judgement) -> int:
        """How many are before this one."""
        before = 0
        for other in self.judgements.values():
            if other is judgement:
                break
            before += other.state not in ENDED
        return before

    def get(self, name: str) -> Judgement:
        """Raises Problem 404."""
        self._forget_old()
        if name not in self.judgements:
            raise Problem(404, f"no judgement {name[:40]!a}: it is unknown, deleted, or older than "
                               f"{self.options.keep:g} s")
        return self.judgements[name]

    def delete(self, judgement: Judgement) -> None:
        """Cancel it where it has not ended, and forget it."""
        self._end(judgement, state="cancelled")
        self._forget(judgement)

    def _forget(self, judgement: Judgement) -> None:
        judgement.drop_sheet()
        del self.judgements[judgement.id]

    def _forget_old(self) -> None:
        ended = [j for j in self.judgements.values() if j.state in ENDED]
        oldest = time.monotonic() - self.options.keep
        for number, judgement in enumerate(ended):
            if judgement.ended_s < oldest or number < len(ended) - MOST_KEPT:
                self._forget(judgement)

    async def forget(self) -> None:
        """Delete results older than the limit, also without requests; until cancelled."""
        while True:
            await asyncio.sleep(min(self.options.keep, FORGET_S))
            self._forget_old()

    def limit_sheets(self) -> None:
        """Delete the oldest sheets until the rest fit into the limit."""
        left = self.options.sheets_mb * 1e6
        for judgement in reversed([j for j in self.judgements.values() if j.sheet]):
            left -= judgement.sheet.stat().st_size  # type: ignore[union-attr]
            if left < 0:
                judgement.drop_sheet()

    def _end(self, judgement: Judgement, **news: Any) -> None:
        if judgement.state not in ENDED:
            judgement.set(**news)
            self.ended[judgement.state] += 1

    # The worker.

    async def run(self) -> None:
        """Judge what comes, until cancelled."""
        try:
            while True:
                try:
                    while not self.ready.is_set():
                        await self._start()
                    judgement = await self.waiting.get()
                    if judgement.state == "queued":
                        await self._judge(judgement)
                except Exception:  # of no file: the queue outlives it
                    traceback.print_exc(file=sys.stderr)
                    await self._fail("the worker cannot be used: see the server's log")
        finally:
            await self._stop()
            for judgement in self.judgements.values():
                self._end(judgement, state="cancelled")

    async def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share torch's threads and our sockets
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, daemon=True, name="judge", args=(
            theirs, str(self.model), self.options.device, self.options.memory_mb, limits()))
        try:
            await asyncio.to_thread(self.process.start)
        except OSError as error:  # no memory, no descriptors, no processes left
            self.pipe.close()
            self.process = None
            return await self._fail(f"the worker cannot be started: {error.strerror or error}")
        finally:
            theirs.close()
        self.n_started += 1
        try:
            said = await self._said(START_S)
        except (EOFError, OSError):
            said = None
        if said and said[0] == "ready":
            self.broken = ""
            self.ready.set()
            return
        await self._fail(said[1] if said else "the worker ended while it loaded the model")

    async def _fail(self, why: str) -> None:
        """Fail everything that waits, since no worker can be started, and wait before the next try."""
        self.broken = why
        print(f"error: {why}", file=sys.stderr)
        await self._stop()
        while not self.waiting.empty():
            self._end(self.waiting.get_nowait(), state="failed", problem=as_problem(503, self.broken))
        await asyncio.sleep(RETRY_S)

    async def _stop(self) -> None:
        self.ready.clear()
        if self.process:
            self.process.kill()
            await asyncio.to_thread(self.process.join)
            self.pipe.close()
            self.process = None

    async def _said(self, limit_s: float) -> tuple | None:
        """Return the next message of the worker, None after `limit_s` without one. Raises EOFError if it died."""
        return self.pipe.recv() if await asyncio.to_thread(self.pipe.poll, limit_s) else None

    async def _judge(self, judgement: Judgement, again: bool = True) -> None:
        """Have one file judged. A worker that dies, hangs or is full of memory is replaced.

        again: whether a worker that dies before it has begun with the file, which then is not to blame, is forgiven.
        """
        began, self.begun = time.monotonic(), False
        try:
            self.pipe.send(Task(str(judgement.upload.path), judgement.upload.name, str(judgement.sheet_path)))
            judgement.set(state="decoding")
            good = await self._follow(judgement, began + self.options.time_limit)
        except (EOFError, OSError):
            good = False
        self.judged_s += time.monotonic() - began
        if not good:
            await self._stop()
        if not judgement.sheet:  # of a worker that was killed, or of what was cancelled meanwhile
            judgement.sheet_path.unlink(missing_ok=True)
        if good:
            return
        if judgement.state not in ENDED and again and not self.begun:
            await self._start()
            if self.ready.is_set():
                return await self._judge(judgement, again=False)
        self._end(judgement, state="failed", problem=as_problem(
            500, "the process that judges ended on this file; others are not affected"))

    async def _follow(self, judgement: Judgement, until: float) -> bool:
        """Wait until the worker has answered. Return False if it did not, and must be replaced."""
        asked_to_stop = False
        while True:
            if judgement.state == "cancelled" and not asked_to_stop:
                with contextlib.suppress(OSError):
                    self.pipe.send("cancel")
                asked_to_stop, until = True, min(until, time.monotonic() + GRACE_S)
            # In short waits, so that a cancellation is passed on at once.
            if time.monotonic() > until:
                self._end(judgement, state="failed", problem=as_problem(
                    422, f"judging it took longer than {self.options.time_limit:g} s, which is the limit"))
                return False
            said = await self._said(min(.1, max(0.0, until - time.monotonic())))
            if said is None:
                continue
            if said[0] == "state":
                self.begun = True
                judgement.set(state=said[1], n_frames=said[2])
            elif said[0] == "done":
                if judgement.state not in ENDED:
                    self.verdicts[said[1]["verdict"]] += 1
                self._end(judgement, state="done", result=said[1], faces=said[2],
                          sheet=judgement.sheet_path if judgement.sheet_path.exists() else None)
                self.limit_sheets()
                return True
            elif said[0] == "failed":
                self._end(judgement, state="failed", problem=as_problem(422, said[1]))
                return said[1] != NO_MEMORY
            else:
                return True
