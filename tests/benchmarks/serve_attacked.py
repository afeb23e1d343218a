"""What honest clients get while others do their worst: python -m tests.benchmarks.serve_attacked.

16 clients, each with an address of its own, send drawn clips one after the other and wait for their results: in quiet
rounds, and in rounds in which another process keeps 1,000 silent connections and 40 slow uploads open and sends 100
wrong tokens a second, from other loopback addresses. Rounds alternate, so that a busy machine stretches both alike.
Printed are each client's time under attack as a share of its quiet time (goal: 2 at most) and the server's memory.
Linux only.
"""
from __future__ import annotations

import argparse
import contextlib
import http.client
import multiprocessing
import os
import resource
import socket
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.errors import VideoError, command
from tests.benchmarks.serve import Server, rss_mb

TOKEN = "0123456789abcdef"
CLIENTS, CLIPS_EACH = 16, 3
SILENT, SLOW, WRONG_S = 1000, 40, 100  # silent connections, slow uploads, wrong tokens a second
HEAD = (f"POST /v1/judgements HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 900000\r\n\r\n"
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n").encode()
GUESSERS = 12  # at once, so that a slow answer does not slow them down
GOAL = 2.0


def judged_s(port: int, address: str, clips: list[Path]) -> float:
    """How long one client waits until all its clips, sent one after the other, are judged. Raises VideoError."""
    import json

    began = time.monotonic()
    for clip in clips:
        body = (b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\n" + clip.read_bytes()
                + b"\r\n--b--\r\n")
        where = ask(port, address, "POST", "/v1/judgements", body)[1]["Location"]
        ask(port, address, "GET", f"{where}/events")
        said = json.loads(ask(port, address, "GET", where)[2])
        if said["state"] != "done":
            raise VideoError(f"{clip.name}: {said}")
    return time.monotonic() - began


def ask(port: int, address: str, method: str, path: str, body: bytes | None = None, token: str = TOKEN) -> Any:
    """(status, headers, body) of a request from this loopback address. Raises VideoError unless the token is wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300, source_address=(address, 0))
    with contextlib.closing(connection):
        kind = {"Content-Type": "multipart/form-data; boundary=b"} if body else {}
        connection.request(method, path, body, {"Authorization": f"Bearer {token}", **kind})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 300 and token == TOKEN:
            raise VideoError(f"{address} {method} {path}: {answer.status} {content[:200]!r}")
        return answer.status, answer.headers, content


def attack(port: int, counts: Any, going: Any) -> None:
    """Do all three at once while `going` is set. counts: connections opened anew, uploads begun, tokens refused."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))

    def connect(number: int, net: int) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", port), 10, (f"127.0.{net}.{1 + number % 200}", 0))
        made.setblocking(False)
        return made

    def hold(which: int, n: int, net: int, said: bytes, drip: bytes) -> None:
        held: list[socket.socket | None] = [None] * n
        while True:
            going.wait()
            for number, one in enumerate(held):
                try:
                    if one is None:
                        held[number] = one = connect(number, net)
                        counts[which] += 1
                        if said:
                            one.send(said)
                    elif drip:
                        one.send(drip)
                    with contextlib.suppress(BlockingIOError):
                        if not one.recv(4096):
                            raise ConnectionError
                except OSError:
                    if one is not None:
                        one.close()
                    held[number] = None
            time.sleep(1)

    def guess() -> None:
        number = 0
        while True:
            going.wait()
            number += 1
            began = time.monotonic()
            with contextlib.suppress(OSError, http.client.HTTPException):
                ask(port, f"127.0.12.{1 + number % 4}", "GET", "/v1/model", token="wrong")
                counts[2] += 1
            time.sleep(max(0.0, GUESSERS / WRONG_S - (time.monotonic() - began)))

    for work in ((hold, 0, SILENT, 10, b"", b""), (hold, 1, SLOW, 11, HEAD, b"x"), *[(guess,)] * GUESSERS):
        threading.Thread(target=work[0], args=work[1:], daemon=True).start()
    time.sleep(10 ** 6)


@command
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serve_attacked", description="Serve, attacked.")
    parser.add_argument("--rounds", type=int, default=4, help="quiet ones, and as many under attack (default 4)")
    arguments = parser.parse_args(argv)
    from data.demo.make import DemoOptions, make_demo

    os.environ["SERVE_TOKEN"] = TOKEN
    context = multiprocessing.get_context("spawn")
    going, counts = context.Event(), context.Array("q", 3)
    with tempfile.TemporaryDirectory() as folder:
        make_demo(Path(folder), DemoOptions(identities=6, clips=1, seconds=4, fps=5, width=256, height=192))
        clips = sorted(Path(folder).rglob("*.mp4"))[:CLIPS_EACH]
        server = Server()
        port = int(server.url.rpartition(":")[2])
        attacker = context.Process(target=attack, args=(port, counts, going), daemon=True)
        attacker.start()
        took: dict[str, list[list[float]]] = {"quiet": [], "attacked": []}
        try:
            while True:
                with contextlib.suppress(OSError, VideoError):
                    judged_s(port, "127.0.0.1", clips)
                    break
                time.sleep(.2)
            for number in range(2 * arguments.rounds):
                kind = ("quiet", "attacked")[number % 2]
                (going.set if number % 2 else going.clear)()
                time.sleep(5)  # the attack begins, or is over
                before = list(counts)
                began = time.monotonic()
                with ThreadPoolExecutor(CLIENTS) as pool:
                    took[kind].append(list(pool.map(lambda n: judged_s(port, f"127.0.1.{n + 1}", clips),
                                                    range(CLIENTS))))
                opened, uploads, wrong = (now - then for now, then in zip(counts, before))
                wall = time.monotonic() - began
                rss = " and ".join(f"{rss_mb(pid):.0f}" for pid in server.processes())
                print(f"{kind}: clients took {min(took[kind][-1]):.1f} to {max(took[kind][-1]):.1f} s; in {wall:.0f} s "
                      f"{opened} silent connections and {uploads} slow uploads begun, {wrong / wall:.0f} wrong tokens "
                      f"a second; server and worker hold {rss} MB", flush=True)
        finally:
            attacker.kill()
            server.process.terminate()
            server.process.wait(30)
    ratios = sorted(statistics.median(attacked) / statistics.median(quiet)
                    for attacked, quiet in zip(zip(*took["attacked"]), zip(*took["quiet"])))
    print(f"attacked ÷ quiet, medians of {arguments.rounds} rounds, over {CLIENTS} clients: median "
          f"{statistics.median(ratios):.2f}, worst {ratios[-1]:.2f} (goal {GOAL:g}); no result was lost")
    return int(ratios[-1] > GOAL)


if __name__ == "__main__":
    sys.exit(main())
