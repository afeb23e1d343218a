import numpy as np
import pytest
import torch

from extract.decoding.sampling import Clip, FrameOptions
from extract.faces import export_nets, onnx_nets, torch_nets
from extract.faces.detector import THRESHOLDS, Detector, FaceOptions, overlap
from extract.faces.mtcnn import Cascade, suppress, suppress_contained
from extract.faces.onnx_nets import OnnxNets
from extract.faces.torch_nets import TorchNets
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


@pytest.mark.parametrize("nets", [OnnxNets(), TorchNets("cpu")], ids=["onnx", "torch"])
def test_the_networks_answer_as_facenet_pytorchs_do(nets):
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    asked = [(12, PNet(), lambda x: nets.propose([x])[0]), (40, PNet(), lambda x: nets.propose([x])[0]),
             (24, RNet(), nets.refine), (48, ONet(), nets.finish)]
    for side, theirs, ours in asked:
        for wide in ((side, side + 30) if isinstance(theirs, PNet) else (side,)):  # P-Net takes pictures of any size
            x = np.random.default_rng(0).integers(0, 256, (19, side, wide, 3), dtype=np.uint8)
            with torch.inference_mode():
                move, *points, scores = theirs((torch.from_numpy(x).permute(0, 3, 1, 2).float() - 127.5) / 128)
            answer = ours(x)
            assert 1 / (1 + np.exp(-answer[:, 0])) == pytest.approx(scores[:, 1].numpy(), abs=1e-4)
            assert answer[:, 1:] == pytest.approx(torch.cat([move, *points], 1).numpy(), abs=1e-4)


def test_the_shipped_files_are_those_that_the_script_makes():
    for name in "pro":
        weights = {key: value.numpy() for key, value in torch_nets.weights(name).items()}
        assert export_nets.make_net(name, weights) == (onnx_nets.FOLDER / f"{name}net.onnx").read_bytes()


def both_cascades():
    """Our cascade on ONNX Runtime, and on torch."""
    ours, theirs = Cascade(20, THRESHOLDS, "cpu"), Cascade(20, THRESHOLDS, "cpu")
    theirs.nets = TorchNets("cpu")
    return ours, theirs


def assert_alike(frames):
    """The same faces within .05 px, frame by frame. Returns how many there were."""
    ours, theirs = both_cascades()
    for found, expected in zip(ours(frames), theirs(frames)):
        assert found.boxes.shape == expected.boxes.shape
        assert found.boxes == pytest.approx(expected.boxes, abs=.05)
        assert found.landmarks == pytest.approx(expected.landmarks, abs=.05)
        assert found.confidences == pytest.approx(expected.confidences, abs=1e-4)
    return sum(len(found.boxes) for found in ours(frames))


def test_on_onnx_runtime_the_cascade_finds_what_it_finds_on_torch(demo_corpus):
    frames = [next(Clip(path, FrameOptions()).frames()).rgb for path in sorted((demo_corpus / "Celeb-real").iterdir())]
    assert assert_alike(frames) == len(frames)


@pytest.mark.slow
def test_on_real_clips_too(shared):
    n = [assert_alike([frame.rgb]) for path in sorted(shared("corpus").rglob("*.mp4"))
         for frame in Clip(path, FrameOptions()).frames()]
    assert len(n) > 300 and sum(n) > 300


def test_a_picture_as_small_as_the_smallest_face_is_looked_at():
    """12 / 47 * 47 is 11.999999999999998: such a picture has one level all the same."""
    for side in (12, 20, 47, 94):
        [found] = Cascade(side, THRESHOLDS, "cpu")([np.zeros((side, side, 3), np.uint8)])
        assert len(found.boxes) == 0


def test_the_weaker_of_two_boxes_of_one_kind_goes():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [1, 1, 11, 11], [50, 50, 60, 60]], float)
    kept = suppress(boxes, np.array([0.7, 0.9, 0.8, 0.6]), np.array([0, 0, 1, 0]), 0.5)
    assert sorted(kept) == [1, 2, 3]
    inside = np.array([[0, 0, 100, 100, 0.8], [10, 10, 40, 40, 0.9], [200, 0, 300, 100, 0.7]])
    assert suppress_contained(inside) == [1, 2]


def test_missing_weights_are_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(torch_nets.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="facenet-pytorch.*make setup"):
        TorchNets("cpu")
    (tmp_path / "pnet.onnx").write_bytes(b"no net")
    for folder in (tmp_path, tmp_path / "none"):
        monkeypatch.setattr(onnx_nets, "FOLDER", folder)
        with pytest.raises(WeightsError, match="pnet.onnx is missing or damaged.*export_nets"):
            Cascade(20, THRESHOLDS, "cpu")
