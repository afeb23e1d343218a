"""A real server in a thread, with the small model of `demo_run`, and what its clients do."""
from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any, Iterator, NamedTuple

import pytest
import requests


class Served(NamedTuple):
    """A server that runs. url: without a path at its end. app: its desk is app.state.desk. server: of
    serve.connections."""

    url: str
    app: Any
    server: Any

    def wait_ready(self, limit_s=300):
        until = time.monotonic() + limit_s
        while not self.app.state.desk.ready.is_set():
            assert time.monotonic() < until, self.app.state.desk.broken or "the worker is not ready"
            time.sleep(.05)


@contextlib.contextmanager
def serving(model, wait=True, **options) -> Iterator[Served]:
    import uvicorn

    from serve.api import make_app
    from serve.connections import Server, proxies_of
    from serve.options import ServeOptions

    app = make_app(model, ServeOptions(**{"device": "cpu", "rate": 10000.0, **options}))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, **proxies_of(
            app.state.desk.options)),
                        app.state.desk.close)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        served = Served(f"http://127.0.0.1:{listening.getsockname()[1]}", app, server)
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


def post(server, *files, **headers):
    return requests.post(server.url + "/v1/judgements", files=[("file", file) for file in files], headers=headers,
                         timeout=60)


def ended(server, where, **headers):
    until = time.monotonic() + 300
    while time.monotonic() < until:
        said = requests.get(server.url + where, headers=headers, timeout=30).json()
        if said["state"] in ("done", "failed", "cancelled"):
            return said
        time.sleep(.05)
    raise AssertionError(said)


def is_problem(answer, status):
    said = answer.json()
    return (answer.status_code == said["status"] == status and said["title"] and said["detail"]
            and answer.headers["Content-Type"] == "application/problem+json")


def left(server):
    """Files of the server that are no sheets."""
    return [path for path in server.app.state.folder.iterdir() if path.suffix != ".html"]


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
