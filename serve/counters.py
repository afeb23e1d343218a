"""The server's counters as Prometheus reads them."""
from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Iterator

if TYPE_CHECKING:
    from serve.desk import Desk


def as_text(desk: Desk, statuses: Counter[int]) -> str:
    """statuses: answers by status of HTTP."""
    return "\n".join([
        *_metric("judgements_total", "counter", "Judgements that ended, by state", "state", desk.ended),
        *_metric("verdicts_total", "counter", "Verdicts, by verdict", "verdict", desk.verdicts),
        *_metric("http_responses_total", "counter", "Answers, by status", "status", statuses),
        *_metric("judging_seconds_total", "counter", "Seconds that the worker spent on files", value=desk.judged_s),
        *_metric("workers_started_total", "counter", "Worker processes, the first included", value=desk.n_started),
        *_metric("queue_length", "gauge", "Judgements that wait", value=desk.n_queued),
        *_metric("worker_ready", "gauge", "1 when the worker has its model loaded", value=int(desk.ready.is_set())),
        ""])


def _metric(name: str, kind: str, help: str, label: str = "", counts: Counter | None = None, value: float = 0
            ) -> Iterator[str]:
    yield f"# HELP deepfake_{name} {help}"
    yield f"# TYPE deepfake_{name} {kind}"
    if counts is None:
        yield f"deepfake_{name} {value:g}" if isinstance(value, float) else f"deepfake_{name} {value}"
    else:
        yield from (f'deepfake_{name}{{{label}="{key}"}} {n}' for key, n in sorted(counts.items()))
