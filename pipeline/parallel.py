"""The map over many videos: a function over items in worker processes, in any order, surviving a worker's death.

Here the workers are processes of this machine; ray_map.py has the same map on a Ray cluster.
"""
from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any, Callable, Iterable, Iterator, TypeVar

Item = TypeVar("Item")


class WorkerDied(RuntimeError):
    """The result of an item that ended its worker each time it was tried."""

    def __init__(self) -> None:
        super().__init__("its worker process died twice (killed, or out of memory)")


def cpu_count() -> int:
    """The cores this process may use (a container's or taskset's share, not the machine's)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_unordered(function: Callable[[Item], Any], items: Iterable[Item], workers: int | None,
                  start: Callable[..., None] | None = None, start_args: tuple = (), engine: str = "local",
                  gpus: float = 0.0) -> Iterator[tuple[Item, Any]]:
    """Yield (item, result) as they finish; a raised exception is the result of its item.

    function, start and start_args must pickle; `start(*start_args)` runs once in each worker. With workers=0 everything
    runs in this process. A worker that dies (killed, out of memory) breaks its pool: the items it may have been working
    on are tried again one at a time, so that only the one that kills its worker ends as an error.
    engine: "local", or "ray" for workers on a Ray cluster, each with one core and `gpus` of a GPU.
    workers=None: all cores, of this machine or of the cluster.
    """
    items = list(items)
    if engine == "ray" and workers != 0 and items:
        from pipeline.ray_map import map_ray

        yield from map_ray(function, items, workers, start, start_args, gpus)
        return
    workers = cpu_count() if workers is None else workers
    if workers == 0:
        if start:
            start(*start_args)
        for item in items:
            yield item, call(function, item)
        return
    suspects = yield from _pooled(function, items, workers, start, start_args)
    while suspects:
        # One worker, one item in flight: a second death convicts the item.
        item, *suspects = suspects
        again = yield from _pooled(function, [item], 1, start, start_args)
        if again:
            yield item, WorkerDied()


def _pooled(function, items, workers, start, start_args):
    """Run items in one pool after another until all are done; returns those in flight when a pool broke."""
    import multiprocessing
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool

    waiting = list(reversed(items))
    suspects: list[Any] = []
    while waiting:
        running: dict[Any, Any] = {}
        # spawn: CUDA and OpenCV do not survive a fork.
        with ProcessPoolExecutor(min(workers, len(waiting)), multiprocessing.get_context("spawn"),
                                 initializer=_start, initargs=(start, start_args)) as pool:
            try:
                broken = False
                while (waiting and not broken) or running:
                    while waiting and not broken and len(running) < workers + 1:
                        item = waiting.pop()
                        try:
                            with _no_interrupts():
                                running[pool.submit(call, function, item)] = item
                        except BrokenProcessPool:
                            waiting.append(item)
                            broken = True
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        item = running.pop(future)
                        if isinstance(future.exception(), BrokenProcessPool):
                            suspects.append(item)
                            broken = True
                        else:
                            yield item, future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list((getattr(pool, "_processes", None) or {}).values()):
                    process.terminate()
                raise
        if broken and len(items) == 1:
            break
    return suspects


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


def _start(start, start_args) -> None:
    """In each worker: end with the parent, however that ends (kill -9 included), then the caller's own start."""
    import multiprocessing

    def follow() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    if start:
        start(*start_args)


def call(function: Callable[[Item], Any], item: Item) -> Any:
    """What the function returns, or the exception it raises."""
    try:
        return function(item)
    except Exception as error:  # the caller decides what an item's error means
        return error
