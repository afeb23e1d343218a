import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import cv2
import pytest

from extract import corpus, run, store
from extract.decoding.sampling import FrameOptions
from extract.faces.detector import FaceOptions
from extract.options import RunOptions
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
    assert corpus.main(["--out", str(tmp_path), "--corpus", str(root)]) == 0
    return root, tmp_path / "index.csv", tmp_path / "faces"


def extract(root, index, out, every=1.0, **options):
    return run.extract_corpus(root, read_table(index, INDEX), out, FrameOptions(every=every, min_frames=1),
                              FaceOptions(),
                              RunOptions(**{"workers": 0, "device": "cpu", **options}))


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
def test_a_run_killed_at_random_moments_is_finished_by_the_next_with_the_same_bytes(some):
    """KILLS=60 pytest … kills it that often."""
    root, index, out = some
    for number in range(20):
        shutil.copy(root / "real" / ("one.mp4", "two, 2.mp4")[number % 2], root / "fake" / f"copy {number}.mp4")
    whole = root.parent / "undisturbed"
    for folder in (root.parent, whole):
        assert corpus.main(["--out", str(folder), "--corpus", str(root)]) == 0
    command = [sys.executable, "-m", "extract.run", "--every", "1", "--workers", "2", "--device", "cpu", "--out"]
    undisturbed, moments, n_kills, half_done = whole / "faces", random.Random(0), 0, 0
    subprocess.run([*command, str(whole)], check=True, capture_output=True)

    def n_done():
        return len(list(out.glob("*/*/row.json")))

    while n_kills < int(os.environ.get("KILLS", 3)):
        until = n_done() + moments.randrange(8)
        process = subprocess.Popen([*command, str(out.parent)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and n_done() < until:
            time.sleep(0.005)
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert process.wait(moments.uniform(0, 0.2)) == 0
            assert tables(out) == tables(undisturbed)
            shutil.rmtree(out)  # it came through before the kill: from the start again
            continue
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        n_kills += 1
        half_done += 0 < n_done() < 26
    print(f"{half_done} of {n_kills} kills left some videos done and some not")
    subprocess.run([*command, str(out.parent)], check=True, capture_output=True)
    assert tables(out) == tables(undisturbed) and not (out / ".partial").exists()
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*.png")} == {
        path.relative_to(undisturbed): path.read_bytes() for path in undisturbed.rglob("*.png")}


@pytest.mark.parametrize("error, reason", [
    (ZeroDivisionError("detector"), "ZeroDivisionError: detector"),
    (PermissionError(13, "Permission denied", "one.mp4"), "cannot be read: Permission denied")])
def test_what_raises_on_one_video_loses_only_that_one_and_it_is_tried_again(some, monkeypatch, error, reason):
    root, index, out = some
    whole = run.extract_video

    def sometimes(path, *rest, **more):
        if path.name == "one.mp4":
            raise error
        return whole(path, *rest, **more)

    monkeypatch.setattr(run, "extract_video", sometimes)
    assert extract(root, index, out) == {"ok": 2, "unreadable": 3, "error": 1}
    videos = read_table(out / "videos.csv", VIDEOS).set_index("video_id")
    assert videos.loc["real/one.mp4", "reason"] == reason
    monkeypatch.undo()
    assert extract(root, index, out) == {"ok": 3, "unreadable": 3}


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(some, monkeypatch):
    root, index, out = some
    written = store.write_bytes
    n_written = []

    def full(path, content):
        n_written.append(path)
        if len(n_written) > 2:
            raise OSError(28, "No space left on device", str(path))
        written(path, content)

    monkeypatch.setattr(store, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        extract(root, index, out)
    assert not (out / "videos.csv").exists() and len(list(out.glob("*/*/row.json"))) == 2
    monkeypatch.undo()
    extract(root, index, out)
    extract(root, index, out.with_name("undisturbed"))
    assert tables(out) == tables(out.with_name("undisturbed"))


def test_two_runs_do_not_write_to_one_folder(some):
    root, index, out = some
    with store.Store(out, {}).locked():
        with pytest.raises(PipelineError, match="another extraction"):
            extract(root, index, out)


def test_the_command_says_what_became_of_the_videos(some, capsys):
    root, index, out = some
    assert run.main(["--out", str(out.parent), "--workers", "0", "--device", "cpu", "--every", "2"]) == 0
    said = capsys.readouterr().out
    assert "3 ok, 3 unreadable" in said and "the file is empty (0 bytes): real/empty.mp4" in said


def test_a_corpus_without_any_face_is_an_error_after_the_tables_are_written(some, capsys):
    root, index, out = some
    for path in (root / "real" / "one.mp4", root / "real" / "two, 2.mp4", root / "fake" / "three.mp4"):
        path.write_bytes(b"")
    assert run.main(["--out", str(out.parent), "--workers", "0", "--device", "cpu"]) == 1
    assert "no video gave a face" in capsys.readouterr().err
    assert (read_table(out / "videos.csv", VIDEOS)["status"] == "unreadable").all()


def test_shards_do_their_parts_and_a_last_run_writes_the_tables_of_an_undisturbed_one(some):
    root, index, out = some
    done = [extract(root, index, out, shard=f"{part}/3") for part in (1, 2, 3)]
    assert [sum(counts.values()) for counts in done] == [2, 2, 2] and not (out / "videos.csv").exists()
    before = {path: path.stat().st_ino for path in out.rglob("*.png")}
    extract(root, index, out)
    assert {path: path.stat().st_ino for path in before} == before
    extract(root, index, out.with_name("whole"))
    assert tables(out) == tables(out.with_name("whole"))


def test_two_shards_run_side_by_side_but_not_twice_the_same_nor_beside_the_whole(some):
    root, index, out = some
    with store.Store(out, {}, "1of2").locked():
        assert sum(extract(root, index, out, shard="2/2").values()) == 3
        for shard in ("1/2", None):
            with pytest.raises(PipelineError, match="another extraction"):
                extract(root, index, out, shard=shard)
    assert not (out / ".partial").exists()


@pytest.mark.parametrize("wrong", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_shard_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="shard must be i/n"):
        RunOptions(shard=wrong)


def test_verify_makes_damaged_and_lost_crops_again_and_touches_no_other(some):
    root, index, out = some
    extract(root, index, out)
    before = tables(out)
    damaged, lost, whole = (out / name / "000000.png" for name in ("real/one.mp4", "fake/three.mp4", "real/two, 2.mp4"))
    kept, pictures = whole.stat().st_ino, [path.read_bytes() for path in (damaged, lost)]
    data = bytearray(pictures[0])
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    lost.unlink()
    extract(root, index, out)
    assert damaged.read_bytes() == data and not lost.exists()  # without verify nothing is read
    extract(root, index, out, verify=True)
    assert [path.read_bytes() for path in (damaged, lost)] == pictures and whole.stat().st_ino == kept
    assert tables(out) == before


def test_progress_tells_frames_a_second_and_what_they_are_spent_on(capsys):
    bar = run.Progress()
    bar.start(2, 1)
    with bar:
        bar.add({"video": {"status": "ok", "n_read": 4}}, {"decode": 1.0, "detect": 2.5, "write": 0.5})
        bar.add({"video": {"status": "no_face", "n_read": 4}}, {"decode": 1.0, "detect": 2.5, "write": 0.5})
    said = capsys.readouterr().err
    assert "1 videos are there already, 2 to do" in said and "2 of 2 videos" in said and "1 no_face" in said
    assert bar.speed().endswith("frames/s, decode 25 %, detect 62 %, write 12 %")


def test_boxes_of_a_real_are_reused_for_a_fake_that_fits_after_a_kill_too(demo_corpus, tmp_path, capsys):
    root = tmp_path / "corpus"
    for kind in ("Celeb-real", "Celeb-synthesis"):
        (root / kind).mkdir(parents=True)
    real = sorted((demo_corpus / "Celeb-real").iterdir())[0]
    shutil.copy(real, root / "Celeb-real" / "id0_0000.mp4")
    shutil.copy(real, root / "Celeb-synthesis" / "id0_id1_0000.mp4")  # a fake that fits to the pixel
    for name in ("reused", "detected"):
        assert corpus.main(["--out", str(tmp_path / name), "--corpus", str(root)]) == 0
    command = ["--every", "1", "--workers", "0", "--device", "cpu", "--out"]
    assert run.main([*command, str(tmp_path / "reused"), "--reuse-boxes"]) == 0
    assert "reused in 3 of 5 frames of 1 fakes (60% of their detection saved); 0 fakes" in capsys.readouterr().out
    assert run.main([*command, str(tmp_path / "detected")]) == 0
    # The real's boxes are in hundredths of a pixel: crops may differ by a rounding, boxes do not.
    reused, detected = (tmp_path / name / "faces" for name in ("reused", "detected"))
    assert read_table(reused / "faces.csv", FACES).equals(read_table(detected / "faces.csv", FACES))
    # The fake is gone, as after a kill between the two: it takes the boxes of the real that was kept.
    before = tables(reused)
    shutil.rmtree(reused / "Celeb-synthesis")
    (reused / "videos.csv").unlink()
    capsys.readouterr()
    assert run.main([*command, str(tmp_path / "reused"), "--reuse-boxes"]) == 0
    assert "reused in 3 of 5 frames" in capsys.readouterr().out and tables(reused) == before
    # Without the option nothing of this is kept.
    run.main([*command, str(tmp_path / "reused"), "--no-reuse-boxes"])
    assert "videos are there already" not in capsys.readouterr().err


def test_reused_boxes_and_shards_are_not_to_be_had_together():
    with pytest.raises(ValueError, match="without shard"):
        RunOptions(reuse_boxes=True, shard="1/2")


def test_a_corpus_that_is_unplugged_goes_on_with_its_crops_and_says_so(some, capsys):
    root, index, out = some
    extract(root, index, out)
    before = tables(out)
    root.rename(root.with_name("unplugged"))
    with run.Progress() as progress:
        progress.start(0, 6, "video", 6)
    assert "6 videos are not where the corpus was: going on with the crops" in capsys.readouterr().err
    assert extract(root, index, out) == {"ok": 3, "unreadable": 3} and tables(out) == before
    root.mkdir()  # a mount point without its disk
    assert extract(root, index, out) == {"ok": 3, "unreadable": 3} and tables(out) == before


def test_what_was_not_extracted_before_the_corpus_was_unplugged_is_an_error_that_is_tried_again(some):
    root, index, out = some
    extract(root, index, out)
    shutil.rmtree(out / "real" / "one.mp4")
    root.rename(root.with_name("unplugged"))
    assert extract(root, index, out) == {"ok": 2, "unreadable": 3, "error": 1}
    videos = read_table(out / "videos.csv", VIDEOS).set_index("video_id")
    assert "the corpus is not at" in videos.loc["real/one.mp4", "reason"]
    root.with_name("unplugged").rename(root)
    assert extract(root, index, out) == {"ok": 3, "unreadable": 3}


def test_an_unplugged_corpus_of_which_nothing_was_extracted_is_an_error_that_says_what_to_do(some):
    root, index, out = some
    root.rename(root.with_name("unplugged"))
    with pytest.raises(PipelineError, match="plug the corpus in"):
        extract(root, index, out)


def test_crops_of_another_way_of_sampling_are_made_again(some, monkeypatch):
    root, index, out = some
    extract(root, index, out)
    before = (out / "real" / "one.mp4" / "row.json").stat().st_ino
    monkeypatch.setattr(run, "SAMPLING", run.SAMPLING + 1)
    extract(root, index, out)
    assert (out / "real" / "one.mp4" / "row.json").stat().st_ino != before


def test_an_error_that_ends_the_run_names_its_clip(some, monkeypatch):
    from pipeline.errors import OutOfMemoryError

    def full(path, *rest, **more):
        raise OutOfMemoryError("the GPU has no room for a frame: try DEVICE=cpu")

    monkeypatch.setattr(run, "extract_video", full)
    root, index, out = some
    with pytest.raises(OutOfMemoryError, match=r"^(real|fake)/.*\.mp4: the GPU has no room for a frame: try DEVICE="):
        extract(root, index, out)
