"""What is gathered beside a verdict: the same verdict, the frames as they were read, few and small enough to show."""
import hashlib
import json

import cv2
import numpy as np
import pytest

from classify.judging import evidence as gathering
from classify.judging.evidence import MOST_FRAMES, chosen, gather, jpeg
from classify.judging.judge import Judge
from tests.clips import write_clip


@pytest.fixture(scope="module")
def judge(demo_run):
    return Judge(demo_run / "model" / "model.safetensors", "cpu")


@pytest.fixture(scope="module")
def clip(demo_corpus):
    return demo_corpus / "Celeb-real" / "id0_0000.mp4"


@pytest.fixture(scope="module")
def found(judge, clip):
    return gather(judge, clip)


def test_the_verdict_is_the_one_without_evidence(judge, clip, found):
    assert json.dumps(found.verdict.as_json()) == json.dumps(judge.judge(clip).as_json())
    assert found.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest() and found.thing == "clip" and found.demo


def test_every_judged_face_is_shown_with_its_score_box_and_heat(found):
    said = found.verdict
    assert found.n_judged == len(found.shown) == len(said.frames)
    for (frame, [face]), scored, box in zip(found.shown, said.frames, found.boxes[0]):
        assert (frame.time_s, face.score) == (scored.time_s, scored.score)
        assert face.box == pytest.approx((box[0] / 256, box[1] / 192, box[2] / 256, box[3] / 192), abs=1e-5)
        heat, plain = (cv2.imdecode(np.frombuffer(p, np.uint8), 1) for p in (face.heat, face.face))
        assert heat.shape == plain.shape == (gathering.FACE_PX, gathering.FACE_PX, 3)
    heats = {face.heat for _, faces in found.shown for face in faces}
    assert len(heats) == len(found.shown)


def test_the_clip_is_decoded_once_and_frames_are_those_that_were_judged(judge, clip, found, monkeypatch):
    from extract.decoding.readers import PyAV

    read = []
    original = PyAV.read
    monkeypatch.setattr(PyAV, "read", lambda self, wanted: read.append(list(wanted)) or original(self, wanted))
    again = gather(judge, clip)
    assert len(read) == 1 and read[0] == [frame.number for frame in again.sampled]
    assert again == found  # and the same bytes every time


def test_a_plain_judgement_makes_no_heat_and_no_jpeg(judge, clip, monkeypatch):
    def never(*_):
        raise AssertionError("not asked for")

    monkeypatch.setattr(gathering, "jpeg", never)
    monkeypatch.setattr(gathering, "heat_maps", never)
    judge.judge(clip)


def test_a_clip_without_a_face_shows_what_was_looked_at(judge, tmp_path):
    found = gather(judge, write_clip(tmp_path / "bars.mp4", [n / 10 for n in range(50)]))
    assert found.verdict.verdict == "undecided" and found.n_judged == 0
    assert len(found.shown) == 5 and all(faces == [] for _, faces in found.shown)


def test_of_many_frames_some_are_chosen_evenly_and_the_highest_is_among_them():
    scores = [0.1] * 100
    scores[41] = 0.9
    picked = chosen(range(100), scores, MOST_FRAMES)
    assert len(picked) == MOST_FRAMES and 41 in picked and picked == sorted(picked)
    assert picked[0] == 0 and picked[-1] == 99
    assert chosen([3, 5], [.1, .2], 20) == [3, 5]


def test_a_jpeg_of_noise_fits_too():
    noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    coded = jpeg(noise, gathering.FRAME_PX, gathering.FRAME_BYTES)
    assert len(coded) <= gathering.FRAME_BYTES and cv2.imdecode(np.frombuffer(coded, np.uint8), 1).shape[1] >= 180
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert cv2.imdecode(np.frombuffer(jpeg(red, 8, 9999), np.uint8), 1)[4, 4].argmax() == 2  # BGR: red it stays
