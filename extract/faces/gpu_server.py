"""One detector for all workers of a machine: what they ask at the same time goes over the GPU as one batch.

The workers decode, shrink, crop and write on their cores; the process that started them holds the networks, so that
the device carries one context instead of one per worker.
A worker that is killed closes its connection and takes nothing else with it.
"""
from __future__ import annotations

import contextlib
import os
import queue
import threading
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Sequence

import numpy as np

BATCH = 64  # frames at once; a batch never waits to become full, so this only bounds the device's memory


class DetectorServer:
    """Serves a `Cascade` to other processes while it is entered; `address` and `key` are what a RemoteCascade needs."""

    def __init__(self, cascade):
        self.cascade, self.key = cascade, os.urandom(32)
        self._listener = Listener(authkey=self.key, backlog=128)
        self.address = self._listener.address
        self._asked: queue.Queue[tuple[np.ndarray, Connection] | None] = queue.Queue()
        self.batches: list[int] = []  # frames in each batch so far

    def __enter__(self) -> DetectorServer:
        for target in (self._accept, self._detect):
            threading.Thread(target=target, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self._listener.close()
        self._asked.put(None)

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return  # closed: the run is over
            except Exception:  # a worker that was killed in the handshake, or a stranger without the key
                continue
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):  # the worker has ended, one way or another
            while True:
                self._asked.put((connection.recv(), connection))

    def _detect(self) -> None:
        waiting: list[tuple[np.ndarray, Connection]] = []
        while True:
            if not waiting:
                asked = self._asked.get()
                if asked is None:
                    return
                waiting.append(asked)
            with contextlib.suppress(queue.Empty):
                while (asked := self._asked.get_nowait()) is not None:
                    waiting.append(asked)
            batch = [waiting.pop(0)]
            while waiting and sum(len(frames) for frames, _ in batch) + len(waiting[0][0]) <= BATCH:
                batch.append(waiting.pop(0))
            self._answer(batch)

    def _answer(self, batch: list[tuple[np.ndarray, Connection]]) -> None:
        frames = [frame for asked, _ in batch for frame in asked]
        self.batches.append(len(frames))
        found: Any
        try:
            found = [tuple(faces) for faces in self.cascade(frames)]
        except Exception as error:  # raised again where it was asked for
            found = error
        for asked, connection in batch:
            mine = found
            if isinstance(found, list):
                mine, found = found[:len(asked)], found[len(asked):]
            with contextlib.suppress(OSError):
                connection.send(mine)


class RemoteCascade:
    """The `Cascade` of a DetectorServer, called alike from another process. Raises what the server's raised."""

    batch = 16  # frames of one clip at once

    def __init__(self, address, key: bytes):
        self._connection = Client(address, authkey=key)

    def __call__(self, frames: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        self._connection.send(np.stack(frames))
        found = self._connection.recv()
        if isinstance(found, Exception):
            raise found
        return found
