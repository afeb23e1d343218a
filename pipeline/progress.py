"""Progress on stderr: a bar where a person watches, a line every half minute where it goes into a file."""
from __future__ import annotations

import sys
import time
from typing import Any, Iterable

EVERY_S = 30.0
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed} passed, {remaining} left, {rate_fmt}{postfix}"
_said_s = time.monotonic()  # when the last line was written, by whichever bar


def progress_bar(items: Iterable[Any] | None = None, **how: Any) -> Any:
    """Return a tqdm bar over `items`, or one to be moved by `update()`; without a terminal it writes whole lines.

    how: of tqdm, such as total, desc, unit, initial, leave and disable.
    """
    from tqdm import tqdm

    return for_stderr(tqdm)(items, **{"file": sys.stderr, **how})


def for_stderr(kind: type) -> type:
    """Return this kind of tqdm bar, or where stderr is no terminal one that writes a line every EVERY_S seconds.

    A bar that stays (tqdm's `leave`) writes a line at its end too.
    """
    if sys.stderr.isatty():
        return kind

    class Lines(kind):  # type: ignore[misc, valid-type]
        disable: bool
        monitor_interval = 0  # no thread that would write in between

        def __init__(self, *args: Any, **how: Any):
            super().__init__(*args, **{**how, "file": sys.stderr, "mininterval": 1.0, "miniters": 1,
                                       "bar_format": LINE})

        def refresh(self, *args: Any, **how: Any) -> bool:
            global _said_s
            due = not self.disable and time.monotonic() - _said_s >= EVERY_S
            if due:
                _said_s = time.monotonic()
                self._write()
            return due

        def _write(self) -> None:
            self.fp.write(f"{self}\n")
            self.fp.flush()

        def clear(self, *args: Any, **how: Any) -> None:
            """Do nothing: a line that was written stays."""

        def close(self) -> None:
            if not self.disable:
                if self.leave:
                    self._write()
                self.disable = True
                self._decr_instances(self)

    return Lines
