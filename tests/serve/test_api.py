"""The API over a real socket, with a real worker."""
import base64
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import requests

from serve.worker import FACE_PX, MOST_FACES
from tests.serve.conftest import ended, is_problem, left, post, serving

TOKEN = "0123456789abcdef"


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
                                     b"%PDF-1.7" + bytes(9000)])
def test_what_is_no_clip_is_refused_whatever_it_is_called(server, content):
    assert is_problem(post(server, ("clip.mp4", content)), 415) and not left(server)


def test_a_heic_picture_is_judged_where_its_package_is_and_named_where_not(server, monkeypatch):
    import base64

    from serve import sniff, uploads
    from tests.extract.decoding.test_animation import HEIC

    pytest.importorskip("pi_heif")
    content = base64.b64decode(HEIC)
    said = ended(server, post(server, ("phone.jpg", content)).headers["Location"])
    assert said["state"] == "done" and (said["result"]["n_read"], said["result"]["reason"]) == (1, "no face")
    assert "HEIC" in requests.get(server.url + "/v1/model").json()["kinds"]
    for module in (sniff, uploads):
        monkeypatch.setattr(module, "heif_formats", lambda: ())
    answer = post(server, ("phone.jpg", content))
    assert is_problem(answer, 415) and "the package pi-heif" in answer.json()["detail"] and not left(server)


def test_an_avif_picture_is_judged(server, tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64), "green").save(tmp_path / "a.avif")
    said = ended(server, post(server, ("a", (tmp_path / "a.avif").read_bytes())).headers["Location"])
    assert said["state"] == "done" and said["result"]["reason"] == "no face"


def test_a_picture_with_a_hole_is_damaged_and_gets_no_score(server, shared):
    said = ended(server, post(server, ("hole.png", shared("cases", "hole.png").read_bytes())).headers["Location"])
    assert (said["state"], said["result"]) == ("failed", None) and "damaged" in said["problem"]["detail"]


def test_an_animated_gif_is_a_clip_of_its_frames(server, clips, tmp_path):
    from PIL import Image

    from extract.decoding.sampling import Clip, FrameOptions

    first, *rest = [Image.fromarray(frame.rgb) for frame in Clip(clips[0], FrameOptions(every=.5)).frames()]
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=500)
    said = ended(server, post(server, ("a.gif", (tmp_path / "a.gif").read_bytes())).headers["Location"])
    times = [frame["time_s"] for frame in said["result"]["frames"]]
    assert said["state"] == "done" and said["result"]["n_read"] >= 5 and times == sorted(set(times))


def test_a_batch_with_one_bad_file_is_refused_whole(server, clips):
    assert is_problem(post(server, ("a.mp4", clips[0].read_bytes()), ("b.mp4", b"text")), 415)
    assert not left(server) and not server.app.state.desk.arriving


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
    refused = requests.put(server.url + "/v1/judgements")
    assert is_problem(refused, 405) and refused.headers["Allow"] == "GET, POST"
    assert is_problem(requests.get(server.url + "/v1/judgements"), 422)


def test_the_sheet_is_that_of_the_command_runs_nothing_and_goes_with_its_judgement(server, clips, demo_model, tmp_path):
    from classify import video

    where = server.url + post(server, (f"/a/{clips[0].name}", clips[0].read_bytes())).headers["Location"]
    assert ended(server, where.removeprefix(server.url))["sheet"] == where.removeprefix(server.url) + "/sheet"
    said = requests.get(where + "/sheet")
    sheet = tmp_path / "sheet.html"
    assert video.main([str(clips[0]), "--model", str(demo_model), "--device", "cpu", "--report", str(sheet)]) == 0
    assert said.text == sheet.read_text() and said.headers["Content-Type"] == "text/html; charset=utf-8"
    assert said.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert f"{clips[0].stem}-sheet.html" in said.headers["Content-Disposition"]
    before = len(list(server.app.state.folder.iterdir()))
    assert requests.delete(where).status_code == 204 and len(list(server.app.state.folder.iterdir())) == before - 1
    assert requests.get(where).status_code == requests.get(where + "/sheet").status_code == 404


def test_a_sheet_that_made_room_is_gone_and_one_that_never_was_is_a_conflict(server, clips):
    where = post(server, ("<script>.mp4", clips[0].read_bytes())).headers["Location"]
    ended(server, where)
    assert "<script" not in requests.get(server.url + where + "/sheet").text
    server.app.state.desk.get(where.rpartition("/")[2]).drop_sheet()
    assert is_problem(requests.get(server.url + where + "/sheet"), 410)
    assert requests.get(server.url + where).json()["sheet"] is None
    where = post(server, ("bad.mp4", clips[0].read_bytes()[:600])).headers["Location"]
    assert ended(server, where)["sheet"] is None and is_problem(requests.get(server.url + where + "/sheet"), 409)


def test_a_token_a_size_and_a_rate(demo_model, clips):
    with serving(demo_model, wait=False, token=TOKEN, max_mb=.001, rate=1.0, wrong_tokens=3.0) as server:
        good = {"Authorization": f"Bearer {TOKEN}"}
        for path in ("/", "/page.js", "/docs", "/openapi.json", "/healthz"):
            assert requests.get(server.url + path).status_code in (200, 503)
        for path in ("/v1/model", "/metrics", "/v1/judgements/x"):
            answer = requests.get(server.url + path, headers={"X-Forwarded-For": "192.0.2.1"})
            assert is_problem(answer, 401) and answer.headers["WWW-Authenticate"] == "Bearer"
        assert is_problem(requests.get(server.url + "/v1/model", headers={"Authorization": "Bearer wrong"}), 429)
        assert requests.get(server.url + "/v1/model", headers=good).json()["max_bytes"] == 1000
        assert is_problem(post(server, ("a.mp4", b"x"), **good), 415)  # not locked out by those who guess
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
    for path in ("/", "/docs", "/page.js", "/job.js", "/results.js", "/table.js", "/page.css"):
        answer = requests.get(server.url + path)
        text = answer.text.replace(": //", "").replace("// ", "").replace("http://www.w3.org/2000/svg", "")  # a name
        assert answer.status_code == 200 and "//" not in text, path


def test_a_result_has_small_pictures_of_its_faces(server, clips):
    url = post(server, (clips[0].name, clips[0].read_bytes())).json()["judgements"][0]["url"]
    said = ended(server, url)
    faces = requests.get(server.url + said["faces"], timeout=60).json()["faces"]
    scores = {frame["time_s"]: frame["score"] for frame in said["result"]["frames"]}
    times = [face["time_s"] for face in faces]
    assert 1 <= len(faces) <= MOST_FACES and times == sorted(times)
    assert all(scores[face["time_s"]] == face["score"] for face in faces)
    assert max(scores.values()) in [face["score"] for face in faces]
    for face in faces:
        kind, _, coded = face["jpeg"].partition(",")
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(coded), np.uint8), cv2.IMREAD_COLOR)
        assert kind == "data:image/jpeg;base64" and picture.shape == (FACE_PX, FACE_PX, 3)
    assert is_problem(requests.get(server.url + "/v1/judgements/nobody/faces", timeout=60), 404)


def test_the_schema_tells_all_routes_with_their_answers_and_refusals(server, clips):
    said = requests.get(server.url + "/openapi.json").json()
    assert set(said["paths"]) == {"/v1/judgements", "/v1/judgements/{id}", "/v1/judgements/{id}/events",
                                  "/v1/judgements/{id}/faces", "/v1/judgements/{id}/sheet", "/v1/model", "/healthz",
                                  "/metrics"}
    models = said["components"]["schemas"]
    assert set(models) == {"Problem", "Judgement", "Judgements", "Face", "Faces", "Model", "Health"}
    post_said = said["paths"]["/v1/judgements"]["post"]
    assert {"202", "400", "403", "408", "413", "415", "421", "422", "429", "507"} <= set(post_said["responses"])
    assert "multipart/form-data" in post_said["requestBody"]["content"]
    for path, methods in said["paths"].items():
        for route in methods.values():
            for code, answer in route["responses"].items():
                if code >= "400" and path != "/healthz":
                    assert answer["content"] == {"application/problem+json": {
                        "schema": {"$ref": "#/components/schemas/Problem"}}} and answer["description"]
    where = post(server, ("a.mp4", clips[0].read_bytes())).headers["Location"]
    assert set(ended(server, where)) == set(models["Judgement"]["properties"]) == set(models["Judgement"]["required"])
    assert set(requests.get(server.url + "/v1/model").json()) == set(models["Model"]["required"])


def test_the_schema_names_the_token_where_one_is_asked_for(demo_model):
    with serving(demo_model, wait=False, token=TOKEN) as server:
        said = requests.get(server.url + "/openapi.json").json()
        assert list(said["components"]["securitySchemes"].values()) == [{"type": "http", "scheme": "bearer"}]
        assert said["paths"]["/v1/model"]["get"]["security"] and "401" in said["paths"]["/v1/model"]["get"]["responses"]
        assert "security" not in said["paths"]["/healthz"]["get"]
        assert requests.get(server.url + "/docs").status_code == 200


@pytest.mark.parametrize("arguments, said", [(["--host", "0.0.0.0"], "give a token"),
                                             (["--token", "short"], "at least 16 characters"),
                                             (["--token", ""], "at least 16 characters"),
                                             (["--model", "nothing.safetensors"], "no model at")])
def test_an_unsafe_or_impossible_start_is_one_line(capsys, arguments, said, monkeypatch):
    from serve import app

    monkeypatch.setenv("SERVE_TOKEN", "")  # as `make serve` has it: no token
    assert app.main(arguments) == 1
    errors = capsys.readouterr().err
    assert said in errors and len(errors.splitlines()) == 1


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "serve.app", "--help"], capture_output=True,
                          text=True)
    assert done.returncode == 0 and "fastapi" not in done.stderr and "torch" not in done.stderr
