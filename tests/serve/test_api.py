"""The API over a real socket, with a real worker."""
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.serve.conftest import serving

TOKEN = "0123456789abcdef"


def post(server, *files, **headers):
    return requests.post(server.url + "/v1/judgements", files=[("file", file) for file in files], headers=headers,
                         timeout=60)


def ended(server, where, **headers):
    until = time.monotonic() + 90
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
    return list(server.app.state.folder.iterdir())


def test_a_clip_is_judged_as_by_the_command_and_its_upload_is_deleted(server, clips, demo_model, capsys):
    from classify import video

    answer = post(server, (clips[0].name, clips[0].read_bytes()))
    assert answer.status_code == 202
    said = ended(server, answer.headers["Location"])
    capsys.readouterr()
    assert video.main([str(clips[0]), "--model", str(demo_model), "--json", "--device", "cpu"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert said["result"] == {**expected, "path": clips[0].name} and not left(server)


def test_a_picture_is_judged(server, demo_run):
    picture = next((demo_run / "faces").rglob("*.png"))
    said = ended(server, post(server, ("a.png", picture.read_bytes())).headers["Location"])
    assert said["state"] == "done" and said["result"]["n_read"] == 1


def test_events_tell_each_state_in_order_and_end(server, clips):
    where = post(server, ("a.mp4", clips[0].read_bytes())).headers["Location"]
    with requests.get(server.url + where + "/events", stream=True, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        states = [json.loads(line[6:])["state"] for line in answer.iter_lines() if line.startswith(b"data: ")]
    order = ["queued", "decoding", "faces", "judging", "done"]
    assert states[-1] == "done" and states == sorted(states, key=order.index) and "faces" in states


def test_several_files_of_one_request_keep_their_order(server, clips):
    answer = post(server, *[(clip.name, clip.read_bytes()) for clip in clips[:2]])
    where = answer.headers["Location"]
    assert [j["name"] for j in requests.get(server.url + where).json()["judgements"]] == [c.name for c in clips[:2]]
    for judgement in answer.json()["judgements"]:
        assert ended(server, judgement["url"])["result"]["path"] == judgement["name"]


@pytest.mark.parametrize("content", [b"", b"hello", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"<svg/>",
                                     b"\0\0\0\x18ftypheic" + bytes(5000), b"%PDF-1.7" + bytes(9000)])
def test_what_is_no_clip_is_refused_whatever_it_is_called(server, content):
    assert is_problem(post(server, ("clip.mp4", content)), 415) and not left(server)


def test_a_batch_with_one_bad_file_is_refused_whole(server, clips):
    assert is_problem(post(server, ("a.mp4", clips[0].read_bytes()), ("b.mp4", b"text")), 415)
    assert not left(server) and server.app.state.desk.arriving == 0


def test_a_damaged_clip_fails_with_the_reason_and_names_no_path_of_the_server(server, clips):
    said = ended(server, post(server, ("bad.mp4", clips[0].read_bytes()[:600] + bytes(5000))).headers["Location"])
    assert said["state"] == "failed" and said["problem"]["status"] == 422
    assert str(server.app.state.folder) not in json.dumps(said)


@pytest.mark.parametrize("body, kind, status", [
    (b"x", "text/plain", 415), (b"x", "multipart/form-data", 415), (b"x", "multipart/form-data; boundary=b", 400),
    (b"--b\r\n", "multipart/form-data; boundary=b", 400), (b"--b--\r\n", "multipart/form-data; boundary=b", 422),
    (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n', "multipart/form-data; boundary=b",
     422),
    (b"--b\r\nX: " + b"x" * 20000 + b"\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b", 400)])
def test_a_body_that_is_no_upload_is_refused(server, body, kind, status):
    answer = requests.post(server.url + "/v1/judgements", data=body, headers={"Content-Type": kind})
    assert is_problem(answer, status)


def test_what_is_unknown_is_a_problem(server):
    assert is_problem(requests.get(server.url + "/v1/judgements/nothing"), 404)
    assert is_problem(requests.get(server.url + "/nothing"), 404)
    assert is_problem(requests.put(server.url + "/v1/model"), 405)
    assert is_problem(requests.get(server.url + "/v1/judgements"), 422)


def test_deleting_forgets_what_has_ended(server, clips):
    where = server.url + post(server, ("a.mp4", clips[0].read_bytes())).headers["Location"]
    ended(server, where.removeprefix(server.url))
    assert requests.delete(where).status_code == 204 and requests.get(where).status_code == 404


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
    until = time.monotonic() + 30
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
    with serving(demo_model, queue=2, time_limit=8.0) as server:
        desk, content = server.app.state.desk, clips[0].read_bytes()
        os.kill(desk.process.pid, signal.SIGSTOP)
        where = [post(server, (name, content)).headers["Location"] for name in "ab"]
        while requests.get(server.url + where[0]).json()["state"] == "queued":
            time.sleep(.02)
        where.append(post(server, ("c", content)).headers["Location"])
        refused = post(server, ("d", content))
        assert is_problem(refused, 429) and refused.headers["Retry-After"]
        assert requests.delete(server.url + where[1]).json()["state"] == "cancelled"
        assert "longer than 8 s" in ended(server, where[0])["problem"]["detail"]
        assert ended(server, where[2])["state"] == "done" and not left(server)
        os.kill(desk.process.pid, signal.SIGSTOP)
        running = post(server, ("e", content)).headers["Location"]
        while requests.get(server.url + running).json()["state"] == "queued":
            time.sleep(.02)
        assert requests.delete(server.url + running).json()["state"] == "cancelled"
        assert ended(server, post(server, ("f", content)).headers["Location"])["state"] == "done"
        assert ended(server, running)["state"] == "cancelled" and 'state="cancelled"} 2' in requests.get(
            server.url + "/metrics").text


def test_a_token_a_size_and_a_rate(demo_model, clips):
    with serving(demo_model, wait=False, token=TOKEN, max_mb=.001, rate=3.0) as server:
        good = {"Authorization": f"Bearer {TOKEN}"}
        for path in ("/", "/page.js", "/docs", "/openapi.json", "/healthz"):
            assert requests.get(server.url + path).status_code in (200, 503)
        for path in ("/v1/model", "/metrics", "/v1/judgements/x"):
            answer = requests.get(server.url + path, headers={"X-Forwarded-For": "192.0.2.1"})
            assert is_problem(answer, 401) and answer.headers["WWW-Authenticate"] == "Bearer"
        assert is_problem(requests.get(server.url + "/v1/model", headers={"Authorization": "Bearer wrong"}), 429)
        assert requests.get(server.url + "/v1/model", headers=good).json()["max_bytes"] == 1000
        assert is_problem(post(server, ("a.mp4", b"x"), **good), 429)
    with serving(demo_model, wait=False, max_mb=.001) as server:
        assert is_problem(post(server, ("a.mp4", clips[0].read_bytes() + bytes(70000))), 413)
        chunks = requests.post(server.url + "/v1/judgements", data=iter([b"--b\r\n", *[b"x" * 9000] * 9]),
                               headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert is_problem(chunks, 413) and not left(server)


def test_pages_of_others_and_other_names_of_this_machine_are_refused(server):
    assert is_problem(requests.get(server.url + "/v1/model", headers={"Host": "evil.example"}), 421)
    assert is_problem(requests.get(server.url + "/v1/model", headers={"Origin": "https://evil.example"}), 403)
    assert requests.get(server.url + "/v1/model", headers={"Origin": server.url}).status_code == 200


def test_every_answer_has_its_headers_and_nothing_comes_from_elsewhere(server):
    for path in ("/", "/docs", "/v1/model", "/nothing"):
        answer = requests.get(server.url + path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    for path in ("/", "/docs", "/page.js", "/page.css"):
        assert "//" not in requests.get(server.url + path).text.replace(": //", "").replace("// ", ""), path


def test_the_schema_tells_all_routes(server):
    said = requests.get(server.url + "/openapi.json").json()
    assert set(said["paths"]) == {"/v1/judgements", "/v1/judgements/{id}", "/v1/judgements/{id}/events", "/v1/model",
                                  "/healthz", "/metrics"}


@pytest.mark.parametrize("arguments, said", [(["--host", "0.0.0.0"], "give a token"),
                                             (["--token", "short"], "at least 16 characters"),
                                             (["--model", "nothing.safetensors"], "no model at")])
def test_an_unsafe_or_impossible_start_is_one_line(capsys, arguments, said, monkeypatch):
    from serve import app

    monkeypatch.delenv("SERVE_TOKEN", raising=False)
    assert app.main(arguments) == 1
    errors = capsys.readouterr().err
    assert said in errors and len(errors.splitlines()) == 1


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "serve.app", "--help"], capture_output=True,
                          text=True)
    assert done.returncode == 0 and "fastapi" not in done.stderr and "torch" not in done.stderr
