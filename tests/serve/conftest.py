"""A real server in a thread, with the small model of `demo_run`."""
from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any, Iterator, NamedTuple

import pytest


class Served(NamedTuple):
    """A server that runs. url: without a path at its end. app: its desk is app.state.desk."""

    url: str
    app: Any

    def wait_ready(self, limit_s=120):
        until = time.monotonic() + limit_s
        while not self.app.state.desk.ready.is_set():
            assert time.monotonic() < until, self.app.state.desk.broken or "the worker is not ready"
            time.sleep(.05)


@contextlib.contextmanager
def serving(model, wait=True, **options) -> Iterator[Served]:
    import uvicorn

    from serve.api import make_app
    from serve.options import ServeOptions

    app = make_app(model, ServeOptions(**{"device": "cpu", "rate": 10000.0, **options}))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", proxy_headers=False,
                                               timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        served = Served(f"http://127.0.0.1:{listening.getsockname()[1]}", app)
        try:
            while not server.started:
                time.sleep(.01)
            if wait:
                served.wait_ready()
            yield served
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the server does not end"


@pytest.fixture(scope="session")
def demo_model(demo_run):
    return demo_run / "model" / "model.safetensors"


@pytest.fixture(scope="session")
def server(demo_model):
    with serving(demo_model) as served:
        yield served


@pytest.fixture(scope="session")
def clips(demo_corpus):
    return sorted(demo_corpus.rglob("*.mp4"))
