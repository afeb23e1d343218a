"""Clients that are slow, many, wrong or gone, a full disk, and a server that was killed."""
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

from serve import connections, desk, uploads
from tests.serve.conftest import ended, is_problem, left, post, serving

TOKEN = "0123456789abcdef"
HEAD = (b"POST /v1/judgements HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 900000\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n")


def connected(server, source="127.0.0.1"):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 30, (source, 0))


def test_silent_connections_make_room_and_are_closed(demo_model, monkeypatch):
    for name, value in (("MOST", 60), ("MOST_OF_CLIENT", 20), ("HEADER_S", 1.5), ("SWEEP_S", .1)):
        monkeypatch.setattr(connections, name, value)
    with serving(demo_model, wait=False) as server, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connected(server, f"127.0.0.{2 + n // 20}")) for n in range(200)]
        for _ in range(5):
            assert requests.get(server.url + "/v1/model", timeout=5).status_code == 200
        assert len({one for one in server.server.connections.all}) <= 60
        for one in silent:  # each was closed, at once or when its time was over
            one.settimeout(10)
            with contextlib.suppress(ConnectionError):
                assert one.recv(1) == b""
        assert not server.server.connections.all and not server.server.connections.of_client


def test_who_floods_makes_room_and_a_client_with_one_connection_keeps_it(demo_model, monkeypatch):
    monkeypatch.setattr(connections, "MOST", 40)
    with serving(demo_model, wait=False) as server, contextlib.ExitStack() as stack:
        honest = stack.enter_context(connected(server, "127.0.0.9"))
        for n in range(100):
            stack.enter_context(connected(server, f"127.0.0.{2 + n // 20}"))
        requests.get(server.url + "/v1/model", timeout=5)
        honest.sendall(b"GET /v1/model HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert honest.recv(100).startswith(b"HTTP/1.1 200")


def test_a_client_has_a_share_of_the_connections(demo_model, monkeypatch):
    monkeypatch.setattr(connections, "MOST_OF_CLIENT", 3)
    with serving(demo_model, wait=False) as server, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(server, "127.0.0.2"))
        fourth = stack.enter_context(connected(server, "127.0.0.2"))
        assert fourth.recv(100).startswith(b"HTTP/1.1 503")
        assert requests.get(server.url + "/v1/model", timeout=5).status_code == 200


def test_a_slow_upload_is_ended_and_a_steady_one_is_not(demo_model, clips, monkeypatch):
    monkeypatch.setattr(uploads, "GRACE_S", .5)
    with serving(demo_model, least_kbytes_s=20.0) as server:
        with connected(server) as slow:
            slow.sendall(HEAD)
            with slow.makefile("rb") as said:
                answer = said.read()  # to the end of the connection
            assert b" 408 " in answer and b"slower than 20 kB" in answer

        def drops(content):
            for start in range(0, len(content), 20_000):
                time.sleep(.2)
                yield content[start:start + 20_000]

        body = (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + clips[0].read_bytes()
                + b"\r\n--b--\r\n")
        answer = requests.post(server.url + "/v1/judgements", data=drops(body), timeout=60,
                               headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert answer.status_code == 202 and not server.app.state.desk.arriving


def test_one_client_takes_its_places_and_leaves_the_others(demo_model, clips):
    with serving(demo_model, wait=False, queue=4, client_queue=2) as server, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connected(server, "127.0.0.2")).sendall(HEAD + clips[0].read_bytes()[:9000])
        until = time.monotonic() + 30
        while server.app.state.desk.arriving.total() < 2:
            assert time.monotonic() < until
            time.sleep(.01)
        third = stack.enter_context(connected(server, "127.0.0.2"))
        third.sendall(HEAD.replace(b"900000", b"400") + bytes(400))
        with third.makefile("rb") as answer:
            assert b" 429 " in answer.readline()
            assert any(b"of your files" in answer.readline() for _ in range(30))
        assert post(server, ("a.mp4", clips[0].read_bytes())).status_code == 202


def test_slow_uploads_of_many_clients_leave_the_queue_to_others(demo_model, clips):
    with serving(demo_model, wait=False, queue=2) as server, contextlib.ExitStack() as stack:
        for number in range(6):
            stack.enter_context(connected(server, f"127.0.0.{2 + number}")).sendall(HEAD)
        until = time.monotonic() + 30
        while server.app.state.desk.arriving.total() < 6:
            assert time.monotonic() < until
            time.sleep(.01)
        assert post(server, ("a.mp4", clips[0].read_bytes())).status_code == 202


def test_proxies_that_are_named_say_who_the_client_is(demo_model):
    for named, expected in (("127.0.0.1", 401), (None, 429)):
        with serving(demo_model, wait=False, token=TOKEN, wrong_tokens=1.0, forwarded_allow_ips=named) as server:
            for client in ("192.0.2.1", "192.0.2.2"):
                last = requests.get(server.url + "/v1/model", headers={"X-Forwarded-For": client})
            assert is_problem(last, expected)


class FullDisk:
    """A file on a disk that has no room."""

    def __init__(self, **given):
        self.name = str(given["dir"] / "upload-full.mp4")

    def write(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        pass


def test_a_full_disk_is_said_and_the_next_upload_taken(demo_model, clips, monkeypatch):
    with serving(demo_model, wait=False) as server:
        with monkeypatch.context() as full:
            full.setattr(uploads.tempfile, "NamedTemporaryFile", FullDisk)
            assert is_problem(post(server, ("a.mp4", clips[0].read_bytes())), 507)
        assert not left(server) and not server.app.state.desk.arriving
        assert post(server, ("a.mp4", clips[0].read_bytes())).status_code == 202


def test_a_body_without_an_end_is_not_read_to_its_end(demo_model):
    sent = 0

    def body():
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n\0\0\0\x18ftypmp42'
        for _ in range(32_768):
            sent += 65_536
            yield bytes(65_536)

    with serving(demo_model, wait=False, max_mb=1.0) as server:
        with contextlib.suppress(requests.ConnectionError):  # closed while it still sends
            answer = requests.post(server.url + "/v1/judgements", data=body(), timeout=60,
                                   headers={"Content-Type": "multipart/form-data; boundary=b"})
            assert is_problem(answer, 413)
        assert sent < 50e6 and not left(server)
        claimed = requests.post(server.url + "/v1/judgements", data=b"x" * 2_000_000, timeout=60,
                                headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert is_problem(claimed, 413)


def test_what_a_killed_server_left_behind_goes_and_a_living_ones_files_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    for name in ("judgements-dead", "judgements-alive", "somebody-elses"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "upload-x.mp4").touch()
    (tmp_path / "judgements-link").symlink_to(tmp_path / "somebody-elses")
    with uploads._locked(tmp_path / "judgements-alive"), uploads.own_folder() as folder:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            ["judgements-alive", "judgements-link", "somebody-elses", folder.name])
        assert list((tmp_path / "somebody-elses").iterdir()) and list((tmp_path / "judgements-alive").iterdir())
    assert not folder.exists()


def test_a_worker_that_cannot_be_started_is_said_and_tried_again(demo_model, clips, monkeypatch):
    from multiprocessing.context import SpawnProcess

    tried, start = [], SpawnProcess.start

    def once_not(self):
        tried.append(self)
        if len(tried) == 1:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        start(self)

    monkeypatch.setattr(SpawnProcess, "start", once_not)
    monkeypatch.setattr(desk, "RETRY_S", 3.0)
    with serving(demo_model, wait=False) as server:
        until = time.monotonic() + 30
        while (said := requests.get(server.url + "/healthz")).json()["state"] == "starting":
            assert time.monotonic() < until
        assert (said.status_code, said.json()["state"]) == (503, "broken")
        server.wait_ready()
        assert requests.get(server.url + "/healthz").status_code == 200 and len(tried) == 2
        assert ended(server, post(server, ("a.mp4", clips[0].read_bytes())).headers["Location"])["state"] == "done"


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_ends_with_an_open_stream_says_nothing(demo_model, clips, kind):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "serve.app", "--model", str(demo_model), "--port", str(port),
                                "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert "http://127.0.0.1" in process.stdout.readline()
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            with contextlib.suppress(requests.ConnectionError):
                answer = requests.post(url + "/v1/judgements", files={"file": ("a.mp4", clips[0].read_bytes())})
                break
            assert time.monotonic() < until
            time.sleep(.1)
        with requests.get(url + answer.headers["Location"] + "/events", stream=True, timeout=60) as stream:
            assert next(stream.iter_lines()) == b"event: state"  # it waits for the worker, which is loading its model
            os.kill(process.pid, kind)
            _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors and "Error" not in errors, errors
    finally:
        process.kill()
