"""What programs import from the stages: names, frames in memory, metrics; nothing is printed."""
import importlib
import subprocess
import sys

import numpy as np
import pytest

from classify import SHIPPED, Judge, measure
from classify.evaluation.bootstrap import METRICS
from extract import Clip, Detector, FaceOptions, FrameOptions, FramesInMemory, extract_video
from pipeline.errors import PipelineError, TableError, VideoError
from serve.samples import HERE, REAL, SWAPPED


@pytest.mark.parametrize("package", ["extract", "data", "classify"])
def test_every_name_can_be_imported_and_no_other(package):
    found = importlib.import_module(package)
    assert all(getattr(found, name) is not None for name in found.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        found.nothing


def test_importing_the_stages_loads_no_library():
    code = ("import sys, extract, data, classify; "
            "print([name for name in ('numpy', 'cv2', 'torch', 'pandas') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.fixture(scope="module")
def judge():
    return Judge(SHIPPED, "cpu")


@pytest.mark.parametrize("name, said", [(REAL, "real"), (SWAPPED, "fake")])
def test_frames_in_memory_are_judged_as_the_file_is(judge, name, said, capfd):
    path = HERE / name
    frames = [(frame.time_s, frame.rgb) for frame in Clip(path, judge.frames).frames()]
    verdict, whole = judge.judge_frames(frames, "name"), judge.judge(path)
    assert (verdict.verdict, verdict.score, verdict.frames) == (said, whole.score, whole.frames)
    assert verdict.path == "name" and verdict.facts is None and verdict.n_asked == len(frames)
    assert capfd.readouterr() == ("", "")


def test_faces_of_frames_in_memory_are_those_of_the_file():
    detector, options = Detector(FaceOptions(), "cpu"), FrameOptions(every=1)
    frames = list(Clip(HERE / REAL, options).frames())
    found = extract_video(FramesInMemory((frame.time_s, frame.rgb) for frame in frames), detector, options)
    whole = extract_video(HERE / REAL, detector, options)
    assert [face.box for face in found.faces] == [face.box for face in whole.faces]
    assert [face.time_s for face in found.faces] == [face.time_s for face in whole.faces]


GREY = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize("frames, why", [
    ([], "no frames"), ([(0, GREY[..., 0])], r"got uint8 \(64, 64\)"), ([(0, GREY / 255)], "got float64"),
    ([(0, [[0]])], "got list"), ([(1, GREY), (1, GREY)], "each later"), ([(float("nan"), GREY)], "seconds from 0"),
    ([(-1, GREY)], "seconds from 0"), ([(0, GREY[:0])], "no pixels")])
def test_frames_that_are_not_as_described_are_refused(judge, frames, why):
    with pytest.raises(VideoError, match=why) as raised:
        judge.judge_frames(frames)
    assert isinstance(raised.value, PipelineError)


def test_metrics_of_perfect_and_opposite_scores_are_known():
    labels = [0, 1] * 10
    right, wrong = measure(labels, labels, .5), measure(labels, [1 - label for label in labels], .5)
    assert set(right) == set(METRICS)
    assert (right["auc"].value, right["accuracy"].value, wrong["auc"].value, wrong["accuracy"].value) == (1, 1, 0, 0)
    some = measure(labels, [.1, .9, .6, .4] * 5, .5)
    assert some["accuracy"].value == .5 and some["accuracy"].low < .5 < some["accuracy"].high
    few = measure([0, 1], [.2, .8], .5)["auc"]
    assert few.value is None and "needs 2 of each" in few.reason
    one_person = measure(labels, labels, .5, groups=["a"] * 20)["accuracy"]
    assert one_person.value == 1 and one_person.low is None and "groups" in one_person.reason


@pytest.mark.parametrize("labels, scores", [([0, 1], [.5]), ([0, 2], [.5, .5]), ([0, 1], [.5, 1.5]),
                                            ([0, 1], [.5, float("nan")])])
def test_labels_and_scores_that_do_not_exist_are_refused(labels, scores):
    with pytest.raises(TableError):
        measure(labels, scores, .5)
