import numpy as np
import pytest
import torch

from extract.decoding.sampling import Clip, FrameOptions
from extract.faces import mtcnn
from extract.faces.detector import THRESHOLDS, Detector, FaceOptions, overlap
from extract.faces.mtcnn import Cascade, _suppress, _suppress_contained
from pipeline.errors import WeightsError


def facenet(frame):
    """Largest face that facenet-pytorch at full size is at least 90 % sure of: (box, landmarks) or None."""
    from facenet_pytorch import MTCNN

    facenet.net = getattr(facenet, "net", None) or MTCNN(keep_all=True, device="cpu")
    boxes, sure, points = facenet.net.detect(frame, landmarks=True)
    found = [] if boxes is None else [(np.prod(b[2:] - b[:2]), i) for i, b in enumerate(boxes) if sure[i] >= 0.9]
    return (np.float32(boxes[max(found)[1]]), np.float32(points[max(found)[1]])) if found else None


def test_at_full_size_the_cascade_finds_what_facenet_pytorch_finds(demo_corpus):
    cascade = Cascade(20, THRESHOLDS, "cpu")
    for path in sorted((demo_corpus / "Celeb-real").iterdir()):
        frame = next(Clip(path, FrameOptions()).frames()).rgb
        box, points = facenet(frame)
        found = cascade([frame])[0]
        assert len(found.boxes) == len(found.landmarks) == len(found.confidences) == 1
        assert overlap(box, found.boxes[0]) > 0.8
        assert np.abs(points - found.landmarks[0]).max() < 0.06 * (box[2] - box[0])


@pytest.mark.slow
def test_on_real_clips_the_main_face_agrees_with_facenet_at_full_size(shared):
    """The bound is SPEED.md's: intersection over union of at least .5 in 95 % of the frames."""
    detector = Detector(FaceOptions(), "cpu")
    agree = []
    for path in sorted(shared("corpus").rglob("*.mp4"))[::5]:
        for frame in Clip(path, FrameOptions()).frames():
            theirs, ours = facenet(frame.rgb), detector.detect([frame.rgb])[0]
            if theirs:
                agree.append(bool(ours) and overlap(theirs[0], ours[0].box) >= 0.5)
    assert len(agree) > 50 and np.mean(agree) >= 0.95


def test_frames_together_give_the_faces_they_give_alone(demo_corpus):
    frames = [f.rgb for f in Clip(sorted((demo_corpus / "Celeb-real").iterdir())[0], FrameOptions(every=1)).frames()]
    cascade = Cascade(20, THRESHOLDS, "cpu")
    together = cascade([*frames, np.zeros_like(frames[0])])
    assert [len(f.boxes) for f in together] == [1] * len(frames) + [0]
    for frame, found in zip(frames, together):
        assert np.abs(cascade([frame])[0].boxes - found.boxes).max() < 0.01


@pytest.mark.parametrize("frame", [np.zeros((100, 100, 3), np.uint8),
                                   np.random.default_rng(0).integers(0, 256, (120, 90, 3), dtype=np.uint8)])
def test_where_no_face_is_the_answer_is_empty(frame):
    [found] = Cascade(20, THRESHOLDS, "cpu")([frame])
    assert found.boxes.shape == (0, 4) and found.landmarks.shape == (0, 5, 2) and found.confidences.shape == (0,)


def test_the_networks_answer_as_facenet_pytorchs_do():
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    cascade = Cascade(20, THRESHOLDS, "cpu")
    for side, theirs, ours in ((40, PNet(), cascade._p_net), (24, RNet(), cascade._r_net),
                               (48, ONet(), cascade._o_net)):
        x = torch.randint(0, 256, (3, 3, side, side), generator=torch.Generator().manual_seed(0)).float()
        with torch.inference_mode():
            move, *points, scores = theirs((x - 127.5) / 128)
            expected = torch.cat([scores[:, 1:2], move, *points], 1)
            assert (ours(x) - expected).abs().max() < 1e-4


def test_the_weaker_of_two_boxes_of_one_kind_goes():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [1, 1, 11, 11], [50, 50, 60, 60]], float)
    kept = _suppress(boxes, np.array([0.7, 0.9, 0.8, 0.6]), np.array([0, 0, 1, 0]), 0.5)
    assert sorted(kept) == [1, 2, 3]
    inside = np.array([[0, 0, 100, 100, 0.8], [10, 10, 40, 40, 0.9], [200, 0, 300, 100, 0.7]])
    assert _suppress_contained(inside) == [1, 2]


def test_missing_weights_are_a_clear_error(monkeypatch):
    monkeypatch.setattr(mtcnn.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="facenet-pytorch.*make setup"):
        Cascade(20, THRESHOLDS, "cpu")
