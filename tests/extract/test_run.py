import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import pytest

from extract import corpus, run
from extract.faces import FaceOptions
from extract.frames import FrameOptions
from pipeline.errors import PipelineError
from pipeline.tables import FACES, INDEX, VIDEOS, read_table


@pytest.fixture
def some(demo_corpus, tmp_path):
    """A corpus of three good clips and three bad ones, and its index."""
    root = tmp_path / "corpus"
    (root / "real").mkdir(parents=True)
    (root / "fake").mkdir()
    good = sorted((demo_corpus / "Celeb-real").iterdir())
    shutil.copy(good[0], root / "real" / "one.mp4")
    shutil.copy(good[1], root / "real" / "two, 2.mp4")
    shutil.copy(sorted((demo_corpus / "Celeb-synthesis").iterdir())[0], root / "fake" / "three.mp4")
    (root / "real" / "empty.mp4").touch()
    (root / "fake" / "words.mp4").write_text("no video\n" * 100)
    (root / "fake" / "cut.mp4").write_bytes(good[0].read_bytes()[:2000])
    assert corpus.main([str(root), "--out", str(tmp_path / "index.csv")]) == 0
    return root, tmp_path / "index.csv", tmp_path / "faces"


def extract(root, index, out, every=1.0, **options):
    return run.extract_corpus(root, read_table(index, INDEX), out, FrameOptions(every=every), FaceOptions(),
                              run.RunOptions(**{"workers": 0, "device": "cpu", **options}), lambda r, *_: r)


def tables(out):
    return [(out / name).read_bytes() for name in ("faces.csv", "videos.csv", "sheet.png", "options.json")]


def test_every_video_gets_a_row_and_every_main_face_a_crop(some):
    root, index, out = some
    assert extract(root, index, out) == {"ok": 3, "unreadable": 3}
    videos = read_table(out / "videos.csv", VIDEOS).set_index("video_id")
    assert videos.loc["real/empty.mp4", "reason"] == "the file is empty (0 bytes)"
    assert (videos.loc[["real/one.mp4", "real/two, 2.mp4", "fake/three.mp4"], "n_asked"] == 4).all()
    faces = read_table(out / "faces.csv", FACES)
    main = faces[faces["face"] == 0]
    assert len(main) == videos["n_faces"].sum() >= 11
    for row in main.itertuples():
        picture = cv2.imread(str(out / row.crop))
        assert picture.shape == (224, 224, 3)
        assert row.crop == f"{row.video_id}/{row.frame:06d}.png" and row.time_s == pytest.approx(row.frame / 5)
    assert (main["x0"] < main["x_left_eye"]).all() and (main["x_left_eye"] < main["x_right_eye"]).all()
    assert not (out / ".partial").exists()


def test_a_second_run_does_nothing_and_another_option_does_all_again(some):
    root, index, out = some
    extract(root, index, out)
    crop = out / "real" / "one.mp4" / "000000.png"
    before = crop.stat().st_ino, tables(out)
    extract(root, index, out)
    assert before == (crop.stat().st_ino, tables(out))
    extract(root, index, out, every=2.0)
    assert crop.stat().st_ino != before[0] and not (out / "real" / "one.mp4" / "000005.png").exists()


def test_a_replaced_video_is_extracted_again(some):
    root, index, out = some
    extract(root, index, out)
    shutil.copy(root / "real" / "one.mp4", root / "real" / "empty.mp4")
    assert extract(root, index, out) == {"ok": 4, "unreadable": 2}


def test_worker_processes_change_no_byte(some):
    root, index, out = some
    extract(root, index, out)
    extract(root, index, out.with_name("other"), workers=2)
    assert tables(out) == tables(out.with_name("other"))


@pytest.mark.slow
def test_a_run_killed_at_any_moment_is_finished_by_the_next_with_the_same_bytes(some):
    root, index, out = some
    extract(root, index, out.with_name("undisturbed"))
    command = [sys.executable, "-m", "extract.run", str(root), "--index", str(index), "--out", str(out), "--every", "1",
               "--workers", "1", "--device", "cpu"]
    for rows_before_the_kill in (0, 1, 3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(out.glob("*/*/row.json"))) < rows_before_the_kill:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    assert tables(out) == tables(out.with_name("undisturbed"))
    assert not (out / ".partial").exists()


def test_a_detector_that_raises_on_one_video_loses_only_that_one_and_it_is_tried_again(some, monkeypatch):
    from extract import video

    root, index, out = some
    whole = video.extract_video

    def sometimes(path, *rest):
        if path.name == "one.mp4":
            raise ZeroDivisionError("detector")
        return whole(path, *rest)

    monkeypatch.setattr(video, "extract_video", sometimes)
    assert extract(root, index, out) == {"ok": 2, "unreadable": 3, "error": 1}
    videos = read_table(out / "videos.csv", VIDEOS).set_index("video_id")
    assert videos.loc["real/one.mp4", "reason"] == "ZeroDivisionError: detector"
    monkeypatch.undo()
    assert extract(root, index, out) == {"ok": 3, "unreadable": 3}


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(some, monkeypatch):
    root, index, out = some
    written = run.write_bytes
    n_written = []

    def full(path, content):
        n_written.append(path)
        if len(n_written) > 2:
            raise OSError(28, "No space left on device", str(path))
        written(path, content)

    monkeypatch.setattr(run, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        extract(root, index, out)
    assert not (out / "videos.csv").exists() and len(list(out.glob("*/*/row.json"))) == 2
    monkeypatch.undo()
    extract(root, index, out)
    extract(root, index, out.with_name("undisturbed"))
    assert tables(out) == tables(out.with_name("undisturbed"))


def test_two_runs_do_not_write_to_one_folder(some):
    root, index, out = some
    with run._only_run(out):
        with pytest.raises(PipelineError, match="another extraction"):
            extract(root, index, out)


def test_the_command_says_what_became_of_the_videos(some, capsys):
    root, index, out = some
    assert run.main([str(root), "--index", str(index), "--out", str(out), "--workers", "0", "--device", "cpu",
                     "--every", "2"]) == 0
    said = capsys.readouterr().out
    assert "3 ok, 3 unreadable" in said and "the file is empty (0 bytes): real/empty.mp4" in said


def test_a_corpus_without_any_face_is_an_error_after_the_tables_are_written(some, capsys):
    root, index, out = some
    for path in (root / "real" / "one.mp4", root / "real" / "two, 2.mp4", root / "fake" / "three.mp4"):
        path.write_bytes(b"")
    assert run.main([str(root), "--index", str(index), "--out", str(out), "--workers", "0", "--device", "cpu"]) == 1
    assert "no video gave a face" in capsys.readouterr().err
    assert (read_table(out / "videos.csv", VIDEOS)["status"] == "unreadable").all()
