"""The map over many videos: a function over items in worker processes, in any order, surviving a worker's death.

Here the workers are processes of this machine; ray_map.py has the same map on a Ray cluster. A worker holds one item at
a time, so that one that dies or hangs tells which item it had, and is replaced.
"""
from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from typing import Any, NoReturn, TypeVar

from pipeline.errors import PipelineError, fail
from pipeline.ray_map import map_ray
from pipeline.workers import LIVES_TO_START, START_S, TimedOut, WorkerDied, call, cpu_count

Item = TypeVar("Item")
END_S = 5.0            # in which an idle worker must have ended


def map_unordered(function: Callable[[Item], Any], items: Iterable[Item], workers: int | None,
                  start: Callable[..., None] | None = None, start_args: tuple[Any, ...] = (), engine: str = "local",
                  gpus: float = 0.0, limit_s: Callable[[Item], float] | None = None,
                  expired: Callable[[Item, TimedOut], None] | None = None) -> Iterator[tuple[Item, Any]]:
    """Yield (item, result) as they finish; a raised exception is the result of its item.

    Args:
        function: with start and start_args it must pickle.
        workers: processes; None: all cores, of this machine or of the cluster; 0: everything runs in this process.
        start: `start(*start_args)` runs once in each worker. The first that raises ends the map with its error.
        engine: "local", or "ray" for workers on a Ray cluster, each with one core and `gpus` of a GPU.
        limit_s: how long an item may take; its worker is then replaced and its result is a TimedOut.
        expired: with workers=0, where nothing can be replaced, it is called instead and this process ends, status 1.

    An item whose worker dies (killed, out of memory) is tried once more; the second time its result is a WorkerDied.
    """
    items = list(items)
    if engine == "ray" and workers != 0 and items:
        yield from map_ray(function, items, workers, start, start_args, gpus, limit_s)
        return
    workers = cpu_count() if workers is None else workers
    if workers == 0:
        if start:
            start(*start_args)
        for item in items:
            late = functools.partial(expired, item) if expired else fail
            with watchdog(limit_s(item) if limit_s else None, late):
                result = call(function, item)
            yield item, result
        return
    yield from _Pool(function, items, workers, start, start_args, limit_s).run()


class _Worker:
    """A process. number: of the item that it has, None while it starts or waits. since: when that began."""

    def __init__(self, context: Any, function: Callable[..., Any], start: Callable[..., Any] | None,
                 start_args: tuple[Any, ...]):
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, function, start, start_args), daemon=True)
        with _no_interrupts():
            self.process.start()
        theirs.close()
        self.number: int | None = None
        self.started, self.since = False, time.monotonic()

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


class _Pool:
    """The workers of one map."""

    def __init__(self, function: Any, items: list[Any], workers: int, start: Any, start_args: tuple[Any, ...],
                 limit_s: Any):
        # spawn: CUDA and OpenCV do not survive a fork.
        self.make = (multiprocessing.get_context("spawn"), function, start, start_args)
        self.items, self.limit_s = items, limit_s
        self.wanted = min(workers, len(items))
        self.waiting = deque(range(len(items)))
        self.deaths: Counter[int] = Counter()
        self.lost = 0  # workers in a row that died without an item
        self.workers: dict[Any, _Worker] = {}

    def run(self) -> Iterator[tuple[Any, Any]]:
        left = len(self.items)
        try:
            while left:
                while len(self.workers) < min(self.wanted, left):
                    worker = _Worker(*self.make)
                    self.workers[worker.pipe] = worker
                results = self._hear()
                left -= len(results)
                for number, result in results:  # when all that are idle have something to do again
                    yield self.items[number], result
            for worker in self.workers.values():
                worker.pipe.close()
            for worker in self.workers.values():
                worker.process.join(END_S)
        finally:
            for worker in self.workers.values():
                worker.end()

    def _hear(self) -> list[tuple[int, Any]]:
        """Wait until a worker says something, or one has run out of time. Returns results."""
        until = min(worker.since + self._limit(worker) for worker in self.workers.values())
        results: list[tuple[int, Any]] = []
        # A minute at most: a limit of years is more than the system's call takes.
        for pipe in connection.wait(list(self.workers), max(0.0, min(until - time.monotonic(), 60.0))):
            results += self._answer(self.workers[pipe])
        for worker in list(self.workers.values()):
            limit = self._limit(worker)
            if time.monotonic() - worker.since >= limit and not worker.pipe.poll():
                if not worker.started:
                    raise PipelineError(f"a worker process has not started in {limit:.0f} s")
                self._drop(worker)
                if worker.number is not None:
                    results.append((worker.number, TimedOut(limit)))
        self._feed()
        return results

    def _feed(self) -> None:
        """Give items to all workers that wait for one, also to those that found none before another worker died."""
        for worker in self.workers.values():
            if self.waiting and worker.started and worker.number is None:
                worker.number, worker.since = self.waiting.popleft(), time.monotonic()
                with contextlib.suppress(OSError):  # it is dead, which is heard next
                    worker.pipe.send(self.items[worker.number])

    def _limit(self, worker: _Worker) -> float:
        if not worker.started:
            return START_S
        return self.limit_s(self.items[worker.number]) if self.limit_s and worker.number is not None else float("inf")

    def _answer(self, worker: _Worker) -> list[tuple[int, Any]]:
        """What a worker has said: nothing, or the result of its item."""
        try:
            kind, result = worker.pipe.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        number = worker.number
        if kind == "broken":
            raise result
        worker.number, worker.started, self.lost = None, True, 0
        return [] if kind == "ready" else [(number, result)]  # type: ignore[list-item]

    def _bury(self, worker: _Worker) -> list[tuple[int, Any]]:
        """A worker that has died: its item is tried again, once."""
        self._drop(worker)
        if worker.number is None:
            self.lost += 1
            if self.lost >= LIVES_TO_START * self.wanted:
                raise PipelineError("worker processes die before they have started (the last with exit status "
                                    f"{worker.process.exitcode}: a negative one was killed, or was out of memory)")
            return []
        self.deaths[worker.number] += 1
        if self.deaths[worker.number] == 2:
            return [(worker.number, WorkerDied())]
        self.waiting.append(worker.number)
        return []

    def _drop(self, worker: _Worker) -> None:
        del self.workers[worker.pipe]
        worker.process.join(END_S)  # for its exit status, where it is dying
        worker.end()


def _work(pipe: Any, function: Callable[..., Any], start: Callable[..., Any] | None,
          start_args: tuple[Any, ...]) -> None:
    """In each worker: end with the parent, however that ends (kill -9 included); start, then answer item after item."""
    def follow() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the map has ended, also while this worker was still starting
        try:
            if start:
                start(*start_args)
        except Exception as error:
            _send(pipe, "broken", error)
            return
        pipe.send(("ready", None))
        while True:
            _send(pipe, "done", call(function, pipe.recv()))
            give_back_memory()
    sys.stdout.flush()
    os._exit(0)  # nothing is left to do, and the libraries' own endings take long


def give_back_memory() -> None:
    """Return freed memory to the system where its C library can (glibc); elsewhere do nothing.

    After a large file glibc keeps up to 160 MB of small holes, which a long-lived process would hold beside the next.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _send(pipe: Any, kind: str, result: Any) -> None:
    """Send a result, or an error in its place where it does not pickle."""
    try:
        content = pickle.dumps((kind, result))
        if isinstance(result, Exception):
            pickle.loads(content)  # one with arguments of its own may be written and not read
    except Exception as error:
        text = f"{type(result).__name__}: {result}" if isinstance(result, Exception) else f"a result: {error}"
        content = pickle.dumps((kind, RuntimeError(text)))
    pipe.send_bytes(content)


@contextlib.contextmanager
def watchdog(limit_s: float | None, expired: Callable[[TimedOut], Any]) -> Iterator[None]:
    """End this process, status 1, where the body takes longer than `limit_s`; before, call `expired`.

    For what runs in this process: nothing else can end a decoder that hangs. None is no limit.
    """
    if limit_s is None:
        yield
        return

    def end() -> NoReturn:
        try:
            expired(TimedOut(limit_s))  # type: ignore[arg-type]
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(1)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C from their first instruction: this process ends them itself.

    Else one that is still importing prints a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
