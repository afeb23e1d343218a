import multiprocessing
import os
import signal

import numpy as np
import pytest

from extract.faces.detector import Detector, FaceOptions, make_cascade
from extract.faces.gpu_server import DetectorServer, RemoteCascade
from extract.options import RunOptions
from pipeline.errors import OutOfMemoryError


@pytest.fixture
def server():
    with DetectorServer(make_cascade(FaceOptions(), "cpu")) as server:
        yield server


def pictures(demo_corpus):
    """The first frame of two drawn clips, one of them cut to another size."""
    from extract.decoding.sampling import Clip, FrameOptions

    first, second = sorted((demo_corpus / "Celeb-real").iterdir())[:2]
    frames = [next(Clip(path, FrameOptions()).frames()).rgb for path in (first, second)]
    return frames[0], np.ascontiguousarray(frames[1][:, 20:-20])


def ask(address, key, picture, times, answers):
    detector = Detector(FaceOptions(), cascade=RemoteCascade(address, key))
    for _ in range(times):
        answers.put([face.box for face in detector.detect([picture])[0]])


def test_several_processes_get_the_faces_that_a_detector_of_their_own_finds(server, demo_corpus):
    context, expected, workers = multiprocessing.get_context("spawn"), {}, []
    for picture in pictures(demo_corpus):
        answers = context.Queue()
        workers.append((context.Process(target=ask, args=(server.address, server.key, picture, 5, answers)), answers))
        expected[answers] = [face.box for face in Detector(FaceOptions(), "cpu").detect([picture])[0]]
    for process, _ in workers:
        process.start()
    for process, answers in workers:
        for _ in range(5):
            [box] = answers.get(timeout=60)
            assert np.abs(box - expected[answers][0]).max() < 0.01
        process.join()
    assert sum(server.batches) == 10


def test_questions_that_wait_go_as_one_batch_whatever_their_sizes(demo_corpus):
    import threading

    server = DetectorServer(make_cascade(FaceOptions(), "cpu"))
    small, large = pictures(demo_corpus)
    answers = {}

    def one(name, picture):
        answers[name] = RemoteCascade(server.address, server.key)([picture, picture])

    threading.Thread(target=server._accept, daemon=True).start()
    asking = [threading.Thread(target=one, args=pair) for pair in (("small", small), ("large", large))]
    for thread in asking:
        thread.start()
    while server._asked.qsize() < 2:
        pass
    threading.Thread(target=server._detect, daemon=True).start()
    for thread in asking:
        thread.join()
    server.__exit__()
    assert server.batches == [4]
    alone = make_cascade(FaceOptions(), "cpu")
    for name, picture in (("small", small), ("large", large)):
        boxes = [faces[0] for faces in answers[name]]
        assert len(boxes) == 2 and np.abs(boxes[0] - alone([picture])[0].boxes).max() < 0.01


def test_a_killed_process_takes_nobody_elses_answer(server, demo_corpus):
    picture = pictures(demo_corpus)[0]
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    doomed = context.Process(target=ask, args=(server.address, server.key, picture, 1000, answers))
    doomed.start()
    answers.get(timeout=60)
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.join()
    assert len(Detector(FaceOptions(), cascade=RemoteCascade(server.address, server.key)).detect([picture])[0]) == 1


def test_an_error_of_the_device_is_raised_where_it_was_asked_for():
    def full(frames):
        raise OutOfMemoryError("no room")

    with DetectorServer(full) as server:
        remote = RemoteCascade(server.address, server.key)
        for _ in range(2):
            with pytest.raises(OutOfMemoryError, match="no room"):
                remote([np.zeros((40, 40, 3), np.uint8)])


def test_a_stranger_without_the_key_gets_no_answer(server):
    with pytest.raises(multiprocessing.AuthenticationError):
        RemoteCascade(server.address, b"guess")
    RemoteCascade(server.address, server.key)


def test_extraction_with_a_served_detector_gives_the_tables_of_one_without(demo_corpus, tmp_path, monkeypatch):
    from extract import corpus, run
    from extract.decoding.sampling import FrameOptions
    from pipeline.tables import INDEX, read_table

    corpus.main(["--out", str(tmp_path), "--corpus", str(demo_corpus)])
    index = read_table(tmp_path / "index.csv", INDEX)[:4]

    def extract(name):
        counts = run.extract_corpus(demo_corpus, index, tmp_path / name, FrameOptions(every=1), FaceOptions(),
                                    RunOptions(workers=2))
        return counts, [(tmp_path / name / table).read_bytes() for table in ("videos.csv", "faces.csv")]

    monkeypatch.setattr(run, "pick_device", lambda device: "cpu")
    own = extract("own")
    monkeypatch.setattr(run, "pick_device", lambda device: "cuda")
    monkeypatch.setattr(run, "make_cascade", lambda options, device: make_cascade(options, "cpu"))
    assert extract("served") == own
