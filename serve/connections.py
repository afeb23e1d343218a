"""Connections before anything is known of their clients: how many there may be, and how long one may say nothing.

uvicorn waits for ever for the head of a first request, and so a thousand connections that send nothing take all
descriptors. Here each gets HEADER_S for it. Where all places are taken one that waits for its head makes room for a new
one: of the client with the most silent ones, the one that has waited longest. A client has a share of all places.
"""
from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from serve.guard import client_of
from serve.options import ServeOptions

HEADER_S = 10.0        # seconds in which the head of a request must have arrived
MOST = 400             # connections; the worker, files and answers need descriptors, too
MOST_OF_CLIENT = 100   # of them
DESCRIPTORS = 2048     # that are asked for, where the system's hard limit allows it
SWEEP_S = 1.0


class Connections:
    """All connections of a server."""

    def __init__(self) -> None:
        self.waiting: dict[Any, float] = {}  # connection -> since when it has waited for a head; oldest first
        self.of_client: Counter[str] = Counter()
        self.all: dict[Any, str] = {}

    def add(self, one: Protocol) -> bool:
        """Whether there is a place for one more."""
        client = client_of({"client": one.client})
        if self.of_client[client] >= MOST_OF_CLIENT:
            return False
        if len(self.all) >= MOST:
            self.sweep()
            if not self.waiting:
                return False
            # Of the client with the most silent ones, its oldest: whoever floods closes its own and not the others'.
            # One that has asked before is not silent: it may be closed already, which is heard later.
            silent = Counter(self.all[other] for other in self.waiting if other.cycle is None)
            max(self.waiting, key=lambda other: silent[self.all[other]]).drop()
        self.all[one], self.waiting[one] = client, time.monotonic()
        self.of_client[client] += 1
        return True

    def remove(self, one: Protocol) -> None:
        """Forget a connection; its client has a place again."""
        self.waiting.pop(one, None)
        client = self.all.pop(one, None)
        if client is not None:
            self.of_client[client] -= 1
            if not self.of_client[client]:
                del self.of_client[client]

    def sweep(self) -> None:
        """Note who waits for a head now, and close those that have for too long."""
        now = time.monotonic()
        for one in list(self.all):
            if one.is_answering():
                self.waiting.pop(one, None)
            elif now - self.waiting.setdefault(one, now) > HEADER_S:
                one.drop()


class Protocol(H11Protocol):
    """A connection that is counted."""

    everyone: Connections

    def connection_made(self, transport: Any) -> None:
        """Admit a connection, or close it at once."""
        super().connection_made(transport)
        if not self.everyone.add(self):
            transport.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection as closed."""
        self.everyone.remove(self)
        super().connection_lost(exc)

    def is_answering(self) -> bool:
        """Whether a request has arrived (its head, at least) that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def drop(self) -> None:
        """Close a connection."""
        self.everyone.remove(self)
        self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn with counted connections, which ends streams of events before it ends.

    closing: called when the server begins to end.
    """

    def __init__(self, config: uvicorn.Config, closing: Callable[[], None]):
        self.connections = Connections()
        config.http = type("Counted", (Protocol,), {"everyone": self.connections})  # type: ignore[assignment]
        super().__init__(config)
        self._closing = closing

    async def main_loop(self) -> None:
        """Serve until the process receives a signal to stop. Close silent connections meanwhile."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            await super().main_loop()
        finally:
            sweeper.cancel()

    async def shutdown(self, sockets: Any = None) -> None:
        """End event streams, then all connections."""
        self._closing()
        await super().shutdown(sockets)

    async def _sweep(self) -> None:
        while True:
            self.connections.sweep()
            await asyncio.sleep(SWEEP_S)


def proxies_of(options: ServeOptions) -> dict[str, Any]:
    """Return the options of uvicorn for proxies.

    Headers that name a client are believed only from addresses in the options: whoever writes one chooses which client
    is counted.
    """
    named = options.forwarded_allow_ips
    return {"proxy_headers": bool(named), "forwarded_allow_ips": named or ""}


def allow_descriptors() -> None:
    """Raise this process' limit of open files to DESCRIPTORS, as far as the system lets it."""
    with contextlib.suppress(ValueError, OSError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
