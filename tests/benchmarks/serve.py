"""What serving costs: `make bench-serve`. Start to first answer, one clip again and again, many clients at once.

CPU seconds of server and worker stand beside wall seconds, which a busy machine stretches. Linux only: reads /proc.
"""
from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError, VideoError, command

EVERY = 50  # requests after which memory is read
WARM = 7    # times that one clip is judged


class Server:
    """A server with the shipped detector, on a free port."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "serve.app", "--port", str(port),
                                         "--rate", "1e6"], stdout=subprocess.DEVNULL)

    def judge(self, clip: Path, name: str) -> dict[str, Any]:
        """The result for a clip sent under this name, which then is deleted there. Raises VideoError."""
        import requests

        with open(clip, "rb") as file:
            answer = requests.post(f"{self.url}/v1/judgements", files={"file": (name, file)}, timeout=60)
        answer.raise_for_status()
        where = self.url + answer.headers["Location"]
        requests.get(f"{where}/events", timeout=600).raise_for_status()  # ends with the judgement
        said = requests.get(where, timeout=60).json()
        if said["state"] != "done":
            raise VideoError(f"{name}: {said['problem']}")
        requests.get(f"{where}/sheet", timeout=60).raise_for_status()
        requests.delete(where, timeout=60).raise_for_status()
        return said["result"]

    def processes(self) -> list[int]:
        """The server's and the worker's."""
        pid = self.process.pid
        children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
                    for child in (task / "children").read_text().split()]
        return [pid, max(children, key=rss_mb)]

    def cpu_s(self) -> float:
        ticks = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in self.processes()]
        return sum(int(tick) for pair in ticks for tick in pair) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def first(server: Server, clip: Path, began: float) -> None:
    """The first answer of a server that was started at time.monotonic() `began`. Raises PipelineError."""
    import requests

    while server.process.poll() is None:
        try:
            server.judge(clip, clip.name)
            break
        except requests.ConnectionError:
            time.sleep(.02)
    else:
        raise PipelineError("the server ended before it answered; its own line says why")
    print(f"first answer {time.monotonic() - began:.1f} s after the start, {server.cpu_s():.1f} CPU s", flush=True)


def warm(server: Server, clip: Path) -> None:
    walls, cpus = [], []
    for _ in range(WARM):
        wall, cpu = time.monotonic(), server.cpu_s()
        server.judge(clip, clip.name)
        walls.append(time.monotonic() - wall)
        cpus.append(server.cpu_s() - cpu)
    print(f"{clip.name} warm, with its sheet: {statistics.median(walls):.2f} s, {statistics.median(cpus):.2f} CPU s, "
          f"medians of {WARM}", flush=True)


def many(server: Server, clips: list[Path], n: int, n_clients: int) -> int:
    """How many of n results were lost or not those of their file, asked for by so many clients at once."""
    alone = {clip: server.judge(clip, "alone")["frames"] for clip in clips}
    if len({str(frames) for frames in alone.values()}) < len(clips):
        raise VideoError("two of the clips have the same scores: a mix-up would not be seen")

    def ask(number: int) -> bool:
        clip, name = clips[number % len(clips)], f"{number}.mp4"
        result = server.judge(clip, name)
        return result["path"] == name and result["frames"] == alone[clip]

    wrong = 0
    with ThreadPoolExecutor(n_clients) as pool:
        for done, right in enumerate(pool.map(ask, range(n)), 1):
            wrong += not right
            if done % EVERY == 0:
                rss = " and ".join(f"{rss_mb(pid):.0f}" for pid in server.processes())
                print(f"{done} requests, {wrong} lost or mixed up; server and worker hold {rss} MB", flush=True)
    return wrong


@command
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serve", description=__doc__.partition("\n")[0])
    parser.add_argument("--clip", type=Path, help="the clip to time (default: a drawn one)")
    parser.add_argument("--requests", type=int, default=500, help="how many, of drawn clips")
    parser.add_argument("--clients", type=int, default=16, help="how many ask at once")
    arguments = parser.parse_args(argv)
    from data.demo.make import DemoOptions, make_demo

    with tempfile.TemporaryDirectory() as folder:
        make_demo(Path(folder), DemoOptions(identities=6, clips=1, seconds=4, fps=5, width=256, height=192))
        clips = sorted(Path(folder).rglob("*.mp4"))
        began = time.monotonic()
        server = Server()
        try:
            first(server, arguments.clip or clips[0], began)
            warm(server, arguments.clip or clips[0])
            return int(many(server, clips, arguments.requests, arguments.clients) > 0)
        finally:
            server.process.terminate()
            server.process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
