"""Facts about the rolling verdict, on drawn clips, raw frames on stdin, and streams put together by hand."""
from __future__ import annotations

import io
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from classify.judging.judge import Judge
from classify.judging.rolling import Rolling
from classify.live import LiveOptions, frames_from, line, main
from classify.models.shipped import SHIPPED
from extract.decoding.frame import Frame
from extract.decoding.sampling import Clip, FrameOptions
from extract.decoding.streams import frames_of_clip, frames_of_raw, paced, picture_size
from pipeline.errors import OptionsError, VideoError


@pytest.fixture(scope="module")
def clip(demo_corpus):
    return demo_corpus / "Celeb-real" / "id0_0000.mp4"


@pytest.fixture(scope="module")
def frames(clip):
    """Every frame of a drawn clip of 4 s at 5 frames a second, uint8 RGB (192, 256, 3)."""
    opened = Clip(clip, FrameOptions())
    opened.want_all()
    return [frame.rgb for frame in opened.frames()]


@pytest.fixture(scope="module")
def judge():
    return Judge(SHIPPED, "cpu")


def test_undecided_until_there_are_enough_faces_and_then_as_the_clip_is_judged(clip, judge):
    rolling = Rolling(judge)
    looks = [rolling.look(frame) for frame in Clip(clip, judge.frames).frames()]
    assert [look.verdict for look in looks[:2]] == ["undecided"] * 2 and "at least 3" in looks[1].reason
    assert looks[0].score is None and looks[2].score is not None
    said, [person] = judge.judge(clip), looks[-1].people
    scores = [[face.score for face in one] for one in (person.frames, said.frames)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert looks[-1].score == pytest.approx(said.score, abs=1e-4)
    assert (looks[-1].verdict, looks[-1].reason, person.quality) == (said.verdict, said.reason, said.quality)


def test_who_has_left_is_forgotten_after_the_window_and_nothing_grows(frames, judge):
    rolling = Rolling(judge, window=4)
    black = np.zeros_like(frames[0])
    pictures = [frames[0]] * 6 + [black] * 4 + [frames[0]] * 2
    looks = [rolling.look(Frame(number, float(number), picture)) for number, picture in enumerate(pictures)]
    assert [len(look.people) for look in looks] == [1] * 9 + [0, 1, 1]
    assert looks[5].people[0].n_faces == 4 and looks[5].n_looks == 4
    assert looks[9].verdict == "undecided" and "no face in the last 4 looks" in looks[9].reason
    assert looks[10].people[0].verdict == "undecided"  # who comes back begins anew
    assert sum(len(one) for one in rolling.seen.values()) <= 4


def test_two_people_keep_their_numbers_and_the_worst_decides(demo_corpus, judge):
    pair = [next(Clip(demo_corpus / "Celeb-real" / f"id{n}_0000.mp4", FrameOptions()).frames()).rgb for n in (0, 3)]
    both = np.ascontiguousarray(np.hstack(pair))
    rolling = Rolling(judge)
    looks = [rolling.look(Frame(number, float(number), both)) for number in range(4)]
    assert [[person.track for person in look.people] for look in looks] == [[1, 2]] * 4
    assert {person.where for person in looks[-1].people} == {"on the left", "on the right"}
    assert looks[-1].score == max(person.score for person in looks[-1].people)
    assert line(looks[-1]).count("|") == 1


def test_raw_frames_are_looked_at_once_a_second(frames):
    content = b"".join(frame.tobytes() for frame in frames)
    found = list(frames_of_raw(io.BytesIO(content), 256, 192, 5, 1.0))
    assert [frame.time_s for frame in found] == [0, 1, 2, 3] and len(frames) == 20
    assert all((frame.rgb == frames[5 * n]).all() for n, frame in enumerate(found))
    turned = list(frames_of_raw(io.BytesIO(content), 256, 192, 5, 1.0, "bgr24"))
    assert (turned[0].rgb == frames[0][..., ::-1]).all()
    with pytest.raises(VideoError, match="ended within frame 15"):
        list(frames_of_raw(io.BytesIO(content[:-5 * frames[0].nbytes + 10]), 256, 192, 5, 1.0))
    with pytest.raises(OptionsError, match="exceed --max-frame-mpx"):
        next(frames_of_raw(io.BytesIO(b""), 9000, 9000, 5, 1.0))


def test_a_looped_clip_goes_on_and_time_with_it(clip):
    stream = frames_of_clip(clip, 1.0, loop=True)
    times = [next(stream).time_s for _ in range(10)]
    assert times == sorted(times) and len(set(times)) == 10 and times[-1] > 8


def test_frames_come_no_earlier_than_their_times():
    picture = np.zeros((2, 2, 3), np.uint8)
    began = time.monotonic()
    times = [time.monotonic() - began for _ in paced(iter([Frame(0, 5., picture), Frame(1, 5.2, picture)]))]
    assert times[1] >= .2 and times[0] < 4


def test_the_command_reads_stdin_and_logs_what_it_prints(frames, tmp_path):
    content = b"".join(frame.tobytes() for frame in frames)
    done = subprocess.run([sys.executable, "-m", "classify.live", "-", "--size", "256x192", "--fps", "5", "--json",
                           "--log", str(tmp_path / "log.jsonl")], input=content, capture_output=True)
    assert done.returncode == 0, done.stderr
    said = [json.loads(text) for text in done.stdout.splitlines()]
    assert [one["time_s"] for one in said] == [0, 1, 2, 3] and said[0]["verdict"] == "undecided"
    assert [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()] == said


@pytest.mark.parametrize("source, size, why", [
    ("-", None, "--size is the size"), ("x.mp4", "64x64", "--size is the size"), ("-", "64", "WIDTHxHEIGHT")])
def test_raw_frames_need_a_size_and_nothing_else_takes_one(source, size, why):
    with pytest.raises(OptionsError, match=why):
        frames_from(source, LiveOptions(), size)


def test_a_camera_that_is_not_there_and_a_pipe_are_one_line(tmp_path, capsys):
    import os

    os.mkfifo(tmp_path / "pipe.mp4")
    assert picture_size("640x360") == (640, 360)
    for source, why in (("99", "camera 99 cannot be opened"), (str(tmp_path / "pipe.mp4"), "not a")):
        assert main([source, "--fast"]) == 1
        assert why in capsys.readouterr().err
