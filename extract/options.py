"""How extraction does its work. Imported without numpy."""
from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pipeline.options import option


@dataclass(frozen=True)
class RunOptions:
    """How the work is done; on a CPU only reuse_boxes changes a result."""

    workers: int | None = option(None, "worker processes, 0 for none (default: one per core; two more with a GPU)",
                                 remembered=False)
    device: str = option("auto", "where the detector runs: auto, cpu, cuda, cuda:1, mps", remembered=False)
    shard: str | None = option(None, "i/n: do only the i-th of n parts of the videos and write no tables; a run "
                                     "without it, after the n, finds them done and writes the tables",
                               remembered=False)
    retry_failed: bool = option(False, "try videos again that could not be read before", remembered=False)
    verify: bool = option(False, "read all crops that are there already, and make those again that are damaged",
                          remembered=False)
    engine: str = option("local", "where the workers run: here, or on Ray (a cluster that RAY_ADDRESS names, "
                                  "or one of this machine's cores)", choices=("local", "ray"), remembered=False)
    time_limit: float = option(600.0, "seconds that one video may take, and 10 more for each MB of it; beyond, its "
                                      "worker is replaced and its row has the status timeout", remembered=False)
    reuse_boxes: bool = option(False, "take the boxes of a real for its fakes, checked on every third frame")

    def __post_init__(self) -> None:
        if self.reuse_boxes and self.shard:
            raise ValueError("reuse_boxes needs a fake and its real in one run: give it without shard")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must be 0 or more, got {self.workers}")
        if not 0 < self.time_limit < math.inf:
            raise ValueError(f"time_limit must be more than 0 seconds, got {self.time_limit}")
        if self.shard is not None:
            match = re.fullmatch(r"(\d+)/(\d+)", self.shard)
            if not match or not 1 <= int(match[1]) <= int(match[2]):
                raise ValueError(f"shard must be i/n with i from 1 to n (2/8), got {self.shard!r}")
