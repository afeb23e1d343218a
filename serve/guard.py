"""Checks of every request (token, host, origin, rate) and the headers of every answer."""
from __future__ import annotations

import ipaddress
import secrets
import time
from typing import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.options import LOOPBACK, ServeOptions
from serve.problems import Problem, answer

FILES = ("page.js", "job.js", "results.js", "table.js", "page.css", "sample-real.mp4", "sample-swapped.mp4")
OPEN = ("/", *(f"/{name}" for name in FILES), "/healthz", "/docs", "/openapi.json")  # need no token: nobody's data
# Styles inside a page are let through for the sheet, which the page shows in a frame where no script runs.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
          "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
HEADERS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
           "x-frame-options": "DENY", "cross-origin-resource-policy": "same-origin", "cache-control": "no-store"}
MOST_CLIENTS = 10_000  # whose rate is remembered


class Rate:
    """A bucket of tokens per client. rate: tokens a minute, which is also what a full bucket holds."""

    def __init__(self, rate: float):
        self.rate = rate
        self.left: dict[str, tuple[float, float]] = {}  # client -> tokens, at which time.monotonic()

    def spend(self, client: str) -> None:
        """Raises Problem 429, with the seconds until the next token."""
        now = time.monotonic()
        tokens, since = self.left.pop(client, (max(1.0, self.rate), now))
        tokens = min(max(1.0, self.rate), tokens + (now - since) * self.rate / 60)
        while len(self.left) >= MOST_CLIENTS:
            del self.left[next(iter(self.left))]
        self.left[client] = (max(tokens - 1, 0.0) if tokens >= 1 else tokens, now)
        if tokens < 1:
            wait = int((1 - tokens) * 60 / self.rate) + 1
            raise Problem(429, f"more than {self.rate:g} requests a minute: try again in {wait} s",
                          Retry_After=str(wait))


def client_of(scope: Scope) -> str:
    """Whose rate is counted: an IPv4 address, or the network of an IPv6 one, which one client owns whole."""
    host = (scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if address.version == 6 else host


class Guard:
    """ASGI middleware around the app. counted: called with the status of every answer."""

    def __init__(self, app: ASGIApp, options: ServeOptions, counted: Callable[[int], None]):
        self.app, self.options, self.counted = app, options, counted
        self.rate = Rate(options.rate)
        self.wrong_tokens = Rate(options.wrong_tokens)  # who guesses must not lock out who knows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                self.counted(message["status"])
            await send(message)

        try:
            self._check(scope)
        except Problem as problem:
            return await answer(problem)(scope, receive, dressed)
        await self.app(scope, receive, dressed)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self.options.token and _name(host) not in LOOPBACK:
            # Somebody's page whose name leads to this machine would else read the answers (DNS rebinding).
            raise Problem(421, "without a token this server answers only at localhost, 127.0.0.1 and ::1")
        origin = headers.get("origin")
        if origin and origin.partition("://")[2] != host:
            raise Problem(403, "requests from pages of other servers are refused")
        if self.options.token and scope["path"] not in OPEN:
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(),
                                                                      self.options.token.encode()):
                self.wrong_tokens.spend(client_of(scope))
                raise Problem(401, "send the server's token: Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")
        if scope["method"] == "POST":
            self.rate.spend(client_of(scope))


def _name(host: str) -> str:
    """`[::1]:8000` and `localhost:8000` without port and brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
