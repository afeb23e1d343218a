"""Facts about the tools for agents, asked by the client of the protocol's own SDK over stdin and stdout."""
from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client

from classify.models.card import read_card
from classify.models.shipped import SHIPPED
from classify.video import main as judge


def asked(calls, *flags):
    """The answers to (tool, arguments) of one server process, and the names of its tools."""
    async def ask():
        server = StdioServerParameters(command=sys.executable, args=["-m", "serve.mcp", "--device", "cpu", *flags],
                                       env={**os.environ})
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            return tools, [await session.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(asyncio.wait_for(ask(), 300))


@pytest.fixture(scope="module")
def answers(demo_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent")
    clip = demo_corpus / "Celeb-real" / "id0_0000.mp4"
    os.mkfifo(folder / "pipe.mp4")
    (folder / "text.mp4").write_text("no video")
    calls = [("judge_file", {"path": str(clip)}),
             ("explain_verdict", {"path": str(clip), "sheet": str(folder / "sheet.html")}),
             ("explain_verdict", {"path": str(clip), "sheet": str(folder / "sheet.html")}),
             ("describe_model", {}),
             *(("judge_file", {"path": str(folder / name)}) for name in ("none.mp4", "pipe.mp4", "text.mp4"))]
    return folder, clip, *asked(calls)


def test_the_verdict_is_that_of_the_command(answers, capsys):
    _, clip, tools, (found, *_) = answers
    assert set(tools) == {"judge_file", "explain_verdict", "describe_model"}
    assert judge([str(clip), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    result = found.structured_content
    result = result.get("result", result)
    assert {name: result[name] for name in ("verdict", "score", "frames", "model", "n_faces")} == {
        name: said[name] for name in ("verdict", "score", "frames", "model", "n_faces")}


def test_an_explanation_has_faces_and_a_sheet_that_is_not_overwritten(answers):
    folder, _, _, (_, found, again, *_) = answers
    said, *pictures = found.content
    said = json.loads(said.text)
    assert said["sheet"] == str(folder / "sheet.html") and "data:image/jpeg" in (folder / "sheet.html").read_text()
    assert len(pictures) == len(said["faces"]) > 0 and {picture.type for picture in pictures} == {"image"}
    assert again.is_error and "exists already" in again.content[0].text


def test_the_model_is_described(answers):
    said = answers[3][3].structured_content
    said = said.get("result", said)
    card = read_card(SHIPPED)
    assert (said["model"], said["threshold"], said["shipped"]) == (card["model_id"], card["threshold"], True)
    assert said["uncertain_band"] == [card["calibration"]["low"], card["calibration"]["high"]]


def test_what_is_no_video_is_refused_and_the_server_goes_on(answers):
    for found, why in zip(answers[3][4:], ("cannot be read", "is no regular file", "no video or picture")):
        assert found.is_error and why in found.content[0].text


def test_only_files_of_the_folder_and_of_the_size_are_judged(demo_corpus, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    clip = demo_corpus / "Celeb-real" / "id0_0000.mp4"
    (inside / "link.mp4").symlink_to(clip)
    (inside / "large.mp4").write_bytes(bytes(2000))
    paths = (inside / "link.mp4", inside / ".." / "x.mp4", inside / "large.mp4")
    _, (link, outside, large) = asked([("judge_file", {"path": str(path)}) for path in paths],
                                      "--folder", str(inside), "--max-mb", "0.001")
    assert all(found.is_error for found in (link, outside, large))
    assert "is not below" in link.content[0].text and "is not below" in outside.content[0].text
    assert "exceeds 0.001 MB" in large.content[0].text
