"""The worker and its limits: what a file costs, and whom."""
import asyncio
import dataclasses
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import requests

from serve.desk import Desk
from serve.options import ServeOptions
from serve.uploads import Upload
from tests.serve.conftest import ended, is_problem, left, post, serving


def test_sixteen_clients_at_once_each_get_their_own_result(server, clips):
    def ask(number):
        clip = clips[number % len(clips)]
        said = ended(server, post(server, (f"{number}.mp4", clip.read_bytes())).headers["Location"])
        return number, clip, said

    alone: dict = {}
    with ThreadPoolExecutor(16) as pool:
        for number, clip, said in pool.map(ask, range(16)):
            assert said["name"] == said["result"]["path"] == f"{number}.mp4"
            assert said["result"]["facts"]["bytes"] == clip.stat().st_size
            assert alone.setdefault(clip, said["result"]["frames"]) == said["result"]["frames"]
    assert len({json.dumps(frames) for frames in alone.values()}) == len(clips)


def in_the_middle(desk):
    """The worker's process when it has begun with a file."""
    until = time.monotonic() + 300
    while not desk.begun:
        assert time.monotonic() < until
        time.sleep(.001)
    return desk.process.pid


def test_a_killed_worker_costs_its_file_and_no_other(demo_model, clips):
    with serving(demo_model) as server:
        desk, content = server.app.state.desk, clips[0].read_bytes()
        os.kill(desk.process.pid, signal.SIGSTOP)
        first, second = (post(server, (name, content)).headers["Location"] for name in ("a.mp4", "b.mp4"))
        os.kill(desk.process.pid, signal.SIGCONT)
        os.kill(in_the_middle(desk), signal.SIGKILL)
        assert ended(server, first)["problem"]["status"] == 500
        assert ended(server, second)["state"] == "done"
        os.kill(desk.process.pid, signal.SIGKILL)  # while it has nothing to do
        assert ended(server, post(server, ("c.mp4", content)).headers["Location"])["state"] == "done"
        assert not left(server) and desk.n_started == 3


def test_a_full_queue_cancelling_and_the_time_limit(demo_model, clips):
    with serving(demo_model, queue=2, time_limit=2.0) as server:
        desk, content = server.app.state.desk, clips[0].read_bytes()
        os.kill(desk.process.pid, signal.SIGSTOP)
        where = [post(server, (name, content)).headers["Location"] for name in "ab"]
        while requests.get(server.url + where[0]).json()["state"] == "queued":
            time.sleep(.02)
        where.append(post(server, ("c", content)).headers["Location"])
        refused = post(server, ("d", content))
        assert is_problem(refused, 429) and refused.headers["Retry-After"]
        assert requests.delete(server.url + where[1]).status_code == 204
        assert "longer than 2 s" in ended(server, where[0])["problem"]["detail"]
        desk.options = dataclasses.replace(desk.options, time_limit=300.0)  # before the next worker is ready
        assert ended(server, where[2])["state"] == "done" and not left(server)
        os.kill(desk.process.pid, signal.SIGSTOP)
        running = post(server, ("e", content)).headers["Location"]
        while requests.get(server.url + running).json()["state"] == "queued":
            time.sleep(.02)
        assert requests.delete(server.url + running).status_code == 204
        assert ended(server, post(server, ("f", content)).headers["Location"])["state"] == "done"
        assert requests.get(server.url + running).status_code == 404 and not left(server)
        assert 'state="cancelled"} 2' in requests.get(server.url + "/metrics").text


def test_a_picture_too_large_for_the_memory_allowed_is_refused_and_the_next_file_judged(demo_model, clips):
    with serving(demo_model, memory_mb=300) as server:
        large, bomb = (cv2.imencode(".png", np.zeros(size, np.uint8))[1].tobytes()
                       for size in ((7000, 7000, 3), (12000, 12000)))
        assert len(large) < 200_000
        refused = ended(server, post(server, ("large.png", large)).headers["Location"])["problem"]
        assert refused["status"] == 422 and "more memory than the server allows" in refused["detail"]
        assert ended(server, post(server, ("a.mp4", clips[0].read_bytes())).headers["Location"])["state"] == "done"
        assert "megapixels" in ended(server, post(server, ("b.png", bomb)).headers["Location"])["problem"]["detail"]
        assert server.app.state.desk.n_started == 2 and not left(server)


def test_the_newest_sheets_stay_as_far_as_they_fit(tmp_path):
    desk, made = Desk(tmp_path / "no.safetensors", ServeOptions(sheets_mb=.0025)), []
    for name in "abc":
        made.append(desk.take(Upload(name, tmp_path / f"{name}.mp4", 0), "client"))
        made[-1].sheet_path.write_bytes(bytes(1000))
        made[-1].set(state="done", sheet=made[-1].sheet_path)
        desk.limit_sheets()
    assert [bool(judgement.sheet) for judgement in made] == [False, True, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.html", "c.html"]
    desk.delete(made[2])
    assert [path.name for path in tmp_path.iterdir()] == ["b.html"]


def test_a_sheet_goes_after_its_time_though_nobody_asks(tmp_path):
    async def later():
        desk = Desk(tmp_path / "no.safetensors", ServeOptions(keep=.05))
        done = desk.take(Upload("a", tmp_path / "a.mp4", 0), "client")
        desk.take(Upload("b", tmp_path / "b.mp4", 0), "client")
        done.sheet_path.touch()
        done.set(state="done", sheet=done.sheet_path)
        forgetting = asyncio.create_task(desk.forget())
        await asyncio.sleep(.5)
        forgetting.cancel()
        return desk

    desk = asyncio.run(later())
    assert not list(tmp_path.iterdir()) and [judgement.upload.name for judgement in desk.judgements.values()] == ["b"]
