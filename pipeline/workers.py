"""What the maps over many videos share: how an item ends without a result, limits of time, and counting cores."""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

Item = TypeVar("Item")
START_S = 600.0        # in which a worker must have started
LIVES_TO_START = 3     # workers in a row that may die before they have started, for each that is wanted
PER_MB_S = 10.0        # seconds that each MB of a file adds to the limit, so that a long file does not count as hung


class WorkerDied(RuntimeError):
    """The result of an item that ended its worker each time it was tried."""

    def __init__(self) -> None:
        super().__init__("its worker process died twice (killed, or out of memory)")


class TimedOut(RuntimeError):
    """The result of an item that took longer than it may. Its worker was ended."""

    def __init__(self, limit_s: float):
        super().__init__(f"took longer than {limit_s:.0f} s, which is the limit of time: see --time-limit")
        self.limit_s = limit_s

    def __reduce__(self) -> Any:
        return type(self), (self.limit_s,)


def time_limit_of(n_bytes: int | None, base_s: float) -> float:
    """Return how many seconds a file of this size may take: `base_s`, and PER_MB_S more for each MB."""
    return base_s + PER_MB_S * (n_bytes or 0) / 1e6


def cpu_count() -> int:
    """Return how many cores this process may use (a container's or taskset's share, not the machine's)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def call(function: Callable[[Item], Any], item: Item) -> Any:
    """Return what the function returns, or the exception that it raises."""
    try:
        return function(item)
    except Exception as error:  # the caller decides what an item's error means
        return error
