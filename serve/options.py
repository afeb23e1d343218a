"""The options of the server; every limit with its unit."""
from __future__ import annotations

from dataclasses import dataclass

from pipeline.options import option

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServeOptions:
    """Where the server listens and what it lets through."""

    host: str = option("127.0.0.1", "address to listen on; any but this machine's own needs a token")
    port: int = option(8000, "port to listen on")
    token: str | None = option(None, "clients must send `Authorization: Bearer TOKEN`; at least 16 characters. Rather "
                               "in the environment as SERVE_TOKEN: a flag is seen by everyone on the machine")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps")
    max_mb: float = option(512.0, "an upload may have so many MB")
    queue: int = option(32, "judgements that may wait; more are refused with status 429")
    client_queue: int = option(16, "of them, those of one client; uploads on their way count")
    time_limit: float = option(120.0, "seconds that one file may take in the worker")
    memory_mb: int = option(4096, "MB that judging may take beyond the loaded model; 0 is no limit. CPU only")
    rate: float = option(60.0, "uploads a minute from one client; status 429 beyond")
    wrong_tokens: float = option(60.0, "requests a minute with a wrong token that one client may make; status 429 "
                                       "beyond. Uploads with the right one are counted apart")
    least_kbytes_s: float = option(20.0, "kB a second that an upload must arrive with, after its first 10 seconds; "
                                         "status 408 below")
    forwarded_allow_ips: str | None = option(None, "addresses of proxies, with commas, whose X-Forwarded-For says who "
                                                   "the client is; * for any. Without it everyone behind a proxy is "
                                                   "one client")
    keep: float = option(3600.0, "seconds that a finished judgement and its sheet can be fetched")
    sheets_mb: float = option(200.0, "MB of sheets that are kept on disk; beyond, the oldest go")

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.token:
            raise ValueError(f"host {self.host} is reached by others: give a token, too (SERVE_TOKEN=…)")
        if self.token is not None and (len(self.token) < 16 or not self.token.isascii() or not self.token.isprintable()
                                       or " " in self.token):
            raise ValueError("the token must have at least 16 characters, printable ASCII without spaces")
        for name in ("max_mb", "queue", "client_queue", "time_limit", "rate", "wrong_tokens",
                     "least_kbytes_s", "keep", "sheets_mb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)}")
        if self.memory_mb < 0 or not 0 <= self.port < 65536:
            raise ValueError(f"memory_mb {self.memory_mb} or port {self.port} is out of range")

    @property
    def max_bytes(self) -> int:
        """Return the most bytes of one file."""
        return round(self.max_mb * 1e6)
