"""The map over many videos on a Ray cluster: the same promise as in parallel.py, with workers on any node.

RAY_ADDRESS names the cluster (as Ray itself reads it); without it a Ray of this machine's cores comes and goes with
this process. A worker is an actor that holds one core and one item at a time, so that an actor or node that dies tells
which item it had. Items only go to workers that have started: one that no node has room for waits and holds up nothing.
"""
from __future__ import annotations

import importlib
import os
import sys
import time
from collections import Counter, deque
from typing import Any, Callable, Iterator

from pipeline.errors import PipelineError
from pipeline.workers import LIVES_TO_START, START_S, TimedOut, WorkerDied, call, cpu_count

STORE_BYTES = 100 * 2**20  # of shared memory for a Ray that this process starts: rows pass through it, no pictures


def cluster(workers: int | None = None) -> tuple[int, float]:
    """Connect, or start a Ray of this machine with room for `workers`: its cores and GPUs.

    Raises PipelineError where Ray is not installed or the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns of what it will do one day
    try:
        import ray
    except ImportError:
        raise PipelineError("ENGINE=ray needs the package ray: run make setup, or pip install -e '.[ray]'"
                            ) from None
    if not ray.is_initialized():
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False}
        address = os.environ.get("RAY_ADDRESS")
        try:
            if address:
                del quiet["include_dashboard"]  # the cluster's own affair
                ray.init(address="auto", **quiet)
            else:
                ray.init(address="local", num_cpus=max(workers or 1, cpu_count()), object_store_memory=STORE_BYTES,
                         **quiet)
        except (ConnectionError, OSError, RuntimeError, ValueError, TimeoutError) as error:
            raise PipelineError(f"no Ray at RAY_ADDRESS={address}: {error}" if address else
                                f"Ray does not start here: {error}") from None
    found = ray.cluster_resources()
    return int(found.get("CPU", 0)), found.get("GPU", 0.0)


def map_ray(function: Callable[[Any], Any], items: list[Any], workers: int | None, start: Callable[..., None] | None,
            start_args: tuple[Any, ...], gpus: float,
            limit_s: Callable[[Any], float] | None = None) -> Iterator[tuple[Any, Any]]:
    """As parallel.map_unordered; `start` that raises ends the map with its error."""
    n_cpus, _ = cluster(workers)
    import ray

    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Worker)
    shared = ray.put((_importable(function), _importable(start), start_args))
    waiting, deaths = deque(range(len(items))), Counter[int]()
    running: dict[Any, tuple[Any, int | None]] = {}  # what is awaited: the worker, and its item or None while it starts
    until: dict[int, float] = {}  # item -> when its time is over

    def recruit() -> None:
        worker: Any = actor.remote(shared)
        running[worker.ready.remote()] = worker, None

    def feed(worker: Any) -> None:
        if waiting:
            number = waiting.popleft()
            running[worker.run.remote(ray.put(items[number]))] = worker, number
            if limit_s:
                until[number] = time.monotonic() + limit_s(items[number])
        else:
            ray.kill(worker)

    wanted = min(n_cpus if workers is None else workers, len(items))
    lost_starting = 0
    try:
        for _ in range(wanted):
            recruit()
        while waiting or any(number is not None for _, number in running.values()):
            alone = all(number is None for _, number in running.values())
            left = min((until[n] for _, n in running.values() if n in until), default=float("inf")) - time.monotonic()
            done, _ = ray.wait(list(running), num_returns=1, timeout=START_S if alone else max(0.0, min(left, 60.0)))
            if not done and not alone:
                late = [ref for ref, (_, n) in running.items() if n in until and until[n] <= time.monotonic()]
                for ref in late:
                    worker, number = running.pop(ref)
                    ray.kill(worker)
                    recruit()
                    yield items[number], TimedOut(limit_s(items[number]))  # type: ignore[index, misc]
                continue
            if not done:
                raise PipelineError(f"no worker started in {START_S:.0f} s: the cluster has {n_cpus} cores, and each "
                                    f"worker needs one{f' and {gpus:.2g} of a GPU' if gpus else ''}")
            worker, number = running.pop(done[0])
            try:
                result = ray.get(done[0])
            except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError,
                    ray.exceptions.OutOfMemoryError) as error:
                if number is None:
                    lost_starting += 1
                    if lost_starting > LIVES_TO_START * wanted:
                        raise PipelineError(f"workers die before they have started: {error}") from None
                else:
                    deaths[number] += 1
                    if deaths[number] == 2:
                        yield items[number], WorkerDied()
                    else:
                        waiting.appendleft(number)
                recruit()
                continue
            except ray.exceptions.RayError as error:  # e.g. a result that does not pickle
                result = RuntimeError(str(error))
            if number is not None:
                yield items[number], result
            elif isinstance(result, Exception):
                raise result
            else:
                lost_starting = 0
            feed(worker)
    finally:
        for worker, _ in running.values():
            ray.kill(worker)


class _Worker:
    """One actor."""

    def __init__(self, shared: tuple[Any, ...]):
        self.function, self.start, self.start_args = shared

    def ready(self) -> Exception | None:
        return call(lambda start: start(*self.start_args), self.start) if self.start else None

    def run(self, item: Any) -> Any:
        return call(self.function, item)


def _importable(function: Any) -> Any:
    """A function of the command that runs, by the name under which a worker imports it: of __main__ it would get a
    copy, without the globals that `start` has set."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if function is not None and function.__module__ == "__main__" and spec:
        return getattr(importlib.import_module(spec.name), function.__name__)
    return function
