"""One file's way from its upload to its answer."""
from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serve.uploads import Upload

ENDED = ("done", "failed", "cancelled")  # of serve.answers.State


@dataclass
class Judgement:
    """One file's way. client: of serve.guard.client_of. state: of serve.answers.State.

    n_frames: that have been read by now. result: the object of `classify.video --json`, when done. faces: some judged
    faces, when done (of serve.worker.shown_faces). problem: a problem+json object, when failed. sheet: the page of its
    evidence, while it is kept. ended_s: of time.monotonic().
    """

    id: str
    upload: Upload
    client: str = ""
    state: str = "queued"
    n_frames: int = 0
    result: dict[str, Any] | None = None
    faces: list[dict[str, Any]] = field(default_factory=list)
    problem: dict[str, Any] | None = None
    sheet: Path | None = None
    ended_s: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def set(self, **news: Any) -> None:
        """Change fields, and wake who waits for that. What has ended stays as it is."""
        if self.state in ENDED:
            return
        for name, value in news.items():
            setattr(self, name, value)
        if self.state in ENDED:
            self.ended_s = time.monotonic()
            self.upload.path.unlink(missing_ok=True)
        self.wake()

    def wake(self) -> None:
        """Wake who waits for a change."""
        woken, self.changed = self.changed, asyncio.Event()
        woken.set()

    @property
    def sheet_path(self) -> Path:
        """Where the worker writes its sheet."""
        return self.upload.path.with_suffix(".html")

    def drop_sheet(self) -> None:
        """Delete the sheet, if there is one."""
        if self.sheet:
            self.sheet.unlink(missing_ok=True)
            self.sheet = None
