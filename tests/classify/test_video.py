import csv
import json
import os
import shutil
import subprocess
import sys

import pytest

from classify import video
from classify.judging.frame_table import rows_of
from classify.judging.inputs import files_below
from classify.judging.judge import MIN_FACES, FrameScore, PersonVerdict, Verdict, decide
from tests.clips import write_clip

CARD = {"aggregation": "mean", "threshold": 0.4}


@pytest.fixture
def judge(demo_run, capfd):
    """judge(*arguments) -> (status, lines on stdout, lines on stderr), with the model of `demo_run`."""

    def run(*arguments):
        status = video.main([*map(str, arguments), "--device", "cpu", "--model", f"{demo_run}/model/model.safetensors"])
        said = capfd.readouterr()
        note, *errors = said.err.splitlines()
        assert "trained on drawn faces" in note
        return status, said.out.splitlines(), errors

    return run


def test_a_score_at_the_threshold_is_fake_and_one_below_is_real():
    assert decide([0.4, 0.4, 0.4], CARD, 3) == ("fake", pytest.approx(0.4), "")
    assert decide([0.4, 0.4, 0.3], CARD, 3)[0] == "real"
    assert decide([0.4, 0.4, 0.3], {**CARD, "real_means": "no mask was found"}, 3)[2] == "no mask was found"
    assert decide([0.4, 0.4, 0.4], {**CARD, "real_means": "no mask was found"}, 3)[2] == ""


@pytest.mark.parametrize("n", range(MIN_FACES))
def test_too_few_faces_are_undecided_with_the_count_and_without_a_score(n):
    judge, score, reason = decide([0.9] * n, CARD, 5)
    assert (judge, score) == ("undecided", None) and ("no face in 5" if n == 0 else f"only {n} of 5") in reason


def test_a_clip_is_one_line_with_verdict_score_and_frames(judge, demo_corpus):
    clip = demo_corpus / "Celeb-real" / "id0_0000.mp4"
    status, [line], errors = judge(clip)
    assert status == 0 and errors == [] and line.startswith(f"{clip}  ")
    assert ("REAL" in line or "FAKE" in line) and "score 0." in line and "of 5 frames" in line


def test_a_short_clip_is_judged_on_five_frames_and_the_json_says_all(judge, demo_corpus):
    # Trained at a frame a second, a clip of 3.8 s would give four.
    status, [line], _ = judge(demo_corpus / "Celeb-real" / "id0_0000.mp4", "--json")
    said = json.loads(line)
    assert list(said) == ["schema", "path", "verdict", "score", "probability", "threshold", "reason", "n_asked",
                          "n_read", "n_faces", "people", "quality", "frames", "model", "facts", "error"]
    assert (said["schema"], said["error"], said["probability"], said["people"]) == (1, None, None, None)
    assert said["n_asked"] == said["n_read"] == 5 and len(said["frames"]) == said["n_faces"] >= 4
    assert [f["time_s"] for f in said["frames"]] == sorted(f["time_s"] for f in said["frames"])
    assert said["verdict"] == ("fake" if said["score"] >= said["threshold"] else "real")


def test_a_clip_gets_the_score_that_its_extracted_crops_got(judge, demo_run, demo_corpus):
    """Judging samples, crops and scores with the same functions as extraction and scoring."""
    from pipeline.tables import VIDEO_SCORES, read_table

    scored = read_table(demo_run / "scores" / "videos.csv", VIDEO_SCORES)
    for row in scored.itertuples():
        _, [line], _ = judge(demo_corpus / row.video_id, "--json")
        assert json.loads(line)["score"] == pytest.approx(row.score, abs=1e-4), row.video_id
        assert json.loads(line)["verdict"] == row.verdict


def test_verbose_draws_a_bar_per_frame_and_tells_what_the_file_says_of_itself(judge, demo_corpus):
    _, [_, *lines], _ = judge(demo_corpus / "Celeb-real" / "id0_0000.mp4", "-v")
    bars = [line for line in lines if "s  0." in line]
    assert 4 <= len(bars) <= 5 and lines[:len(bars)] == bars
    assert any(line.startswith("  container: ") and "mp4" in line for line in lines[len(bars):])


def test_bad_clips_are_a_line_on_stderr_each_and_the_rest_go_on(judge, demo_corpus, tmp_path):
    good = demo_corpus / "Celeb-real" / "id0_0000.mp4"
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "words.mp4").write_text("words\n" * 100)
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:3000])
    (tmp_path / "folder").mkdir()
    bad = [tmp_path / name for name in ("empty.mp4", "words.mp4", "cut.mp4", "missing.mp4", "folder")]
    status, lines, errors = judge(*bad, good)
    assert status == 1 and len(lines) == 1 and lines[0].startswith(str(good))
    assert [e.split(": ")[1] for e in errors] == [str(p) for p in bad] and all(e.startswith("error: ") for e in errors)
    for words, error in zip(("empty", "not a video", "truncated", "no such file", "no video in this folder"), errors):
        assert words in error
    status, lines, errors = judge(*bad, "--json")
    assert status == 1 and [json.loads(line)["verdict"] for line in lines] == [None] * 5
    assert all(json.loads(line)["error"] for line in lines)


def test_a_clip_without_a_face_is_undecided_and_no_error(judge, tmp_path):
    path = write_clip(tmp_path / "bars.mp4", [n / 10 for n in range(50)])
    status, [line], errors = judge(path)
    assert (status, errors) == (0, []) and "UNDECIDED: no face in 5 frames" in line and "no score" in line
    _, [line], _ = judge(path, "--json")
    assert json.loads(line)["score"] is None and json.loads(line)["frames"] == []


def test_a_folder_is_all_its_videos(judge, demo_corpus, tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.MP4", "sub/b.mp4", "sub/.hidden.mp4", "notes.txt"):
        shutil.copy(demo_corpus / "Celeb-real" / "id0_0000.mp4", tmp_path / name)
    _, lines, _ = judge(tmp_path)
    assert [os.path.relpath(line.split("  ")[0], tmp_path) for line in lines] == ["a.MP4", "sub/b.mp4"]


def test_without_a_model_the_command_says_which_command_makes_one(tmp_path, capsys):
    assert video.main(["x.mp4", "--model", str(tmp_path / "none.safetensors")]) == 1
    assert "make train" in capsys.readouterr().err


def test_a_checkpoint_of_another_split_is_not_scored(demo_run, tmp_path, capsys):
    from classify import score

    shutil.copytree(demo_run, tmp_path / "out")
    audit = json.loads((tmp_path / "out" / "split.json").read_text())
    (tmp_path / "out" / "split.json").write_text(json.dumps({**audit, "split_hash": "other"}))
    assert score.main(["--out", str(tmp_path / "out")]) == 1
    assert "another split" in capsys.readouterr().err


def test_a_held_out_video_that_was_never_extracted_is_an_error(demo_run, tmp_path, capsys):
    from classify import score
    from pipeline.tables import VIDEOS, read_table, write_table

    shutil.copytree(demo_run, tmp_path / "out")
    table = tmp_path / "out" / "faces" / "videos.csv"
    write_table(table, read_table(table, VIDEOS)[:1], VIDEOS)
    assert score.main(["--out", str(tmp_path / "out")]) == 1
    assert "never extracted" in capsys.readouterr().err


def test_every_held_out_video_is_in_the_table_of_scores(demo_run):
    from pipeline.tables import SPLIT, VIDEO_SCORES, read_table

    split = read_table(demo_run / "split.csv", SPLIT)
    scored = read_table(demo_run / "scores" / "videos.csv", VIDEO_SCORES)
    assert set(scored["video_id"]) == set(split.loc[split["part"].isin(["val", "test"]), "video_id"])
    assert scored["score"].notna().equals(scored["verdict"] != "undecided")


def test_a_report_of_the_demo_says_that_it_is_one(demo_run):
    page = (demo_run / "report" / "report.html").read_text()
    assert "drawn" in page and "demo" in page.lower()


def test_a_judgement_that_hangs_ends_the_command_and_names_the_clip(demo_corpus, tmp_path):
    """Sleep stands in for a decoder that never returns."""
    import subprocess
    import sys

    clips = sorted(map(str, demo_corpus.rglob("*.mp4")))[:2]
    code = ("import sys, time\nfrom classify import video\nfrom classify.judging.judge import Judge\n"
            "judged = Judge.judge\n"
            f"Judge.judge = lambda self, path: time.sleep(600) if path == {clips[1]!r} else judged(self, path)\n"
            "sys.exit(video.main(sys.argv[1:]))\n")
    for form, n_lines in ((["--json"], 2), (["--csv", str(tmp_path / "out.csv")], 0)):
        ended = subprocess.run([sys.executable, "-c", code, *clips, *form, "--device", "cpu", "--time-limit", "5",
                                *(["--workers", "0"] if not n_lines else [])], capture_output=True, text=True,
                               timeout=300)
        assert ended.returncode == 1 and len(ended.stdout.splitlines()) == n_lines
        assert f"{clips[1]}: took longer than" in ended.stderr.splitlines()[-1]
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert len(rows) == 3 and "took longer than" in rows[2]


@pytest.mark.parametrize("flag", ["--report", "--annotate", "--csv"])
def test_a_folder_instead_of_a_file_to_write_is_one_line(tmp_path, capsys, flag):
    (tmp_path / "sheet.html").mkdir()
    assert video.main(["clip.mp4", flag, str(tmp_path / "sheet.html")]) == 1
    said = capsys.readouterr().err
    assert said == f"error: {flag} {tmp_path / 'sheet.html'} is a folder: name the file to write\n"


def test_a_folder_of_pictures_alone_is_sent_to_the_other_command(tmp_path):
    from classify.judging.inputs import nothing_in

    (tmp_path / "a.jpg").touch()
    assert nothing_in(str(tmp_path), "video") == ("no video in this folder, but 1 picture: python -m classify.image "
                                                  "judges them")
    assert nothing_in(str(tmp_path), "picture") == "no picture in this folder"


def test_a_locale_that_lacks_a_sign_does_not_end_the_command(demo_run, demo_corpus):
    clip = next(demo_corpus.glob("Celeb-real/*.mp4"))
    done = subprocess.run([sys.executable, "-m", "classify.video", "-v", str(clip), "--device", "cpu", "--model",
                           f"{demo_run}/model/model.safetensors"], capture_output=True,
                          env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"})
    assert done.returncode == 0 and b"#" in done.stdout and b"UnicodeEncodeError" not in done.stderr


def test_modules_of_our_names_in_the_working_directory_do_not_hide_ours(tmp_path):
    import classify

    for name in ("data", "extract", "pipeline", "serve", "reports"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    root = os.path.dirname(classify.__path__[0])
    done = subprocess.run([sys.executable, "-m", "classify.video", "no.mp4", "--device", "cpu"], cwd=tmp_path,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root})
    assert done.returncode == 1 and "error: no.mp4: no such file" in done.stderr, done.stderr


def test_the_table_of_frames_has_the_scores_of_the_json(demo_corpus, tmp_path, capsys):
    clips = [str(demo_corpus / name) for name in ("Celeb-real/id0_0000.mp4", "Celeb-real/id1_0000.mp4")]
    assert video.main([*clips, "--json", "--frames-csv", str(tmp_path / "frames.csv")]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    with open(tmp_path / "frames.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], float(row["time_s"]), float(row["score"])) for row in rows] == [
        (one["path"], frame["time_s"], frame["score"]) for one in said for frame in one["frames"]]
    assert {(row["path"], row["verdict"], row["model"]) for row in rows} == {
        (one["path"], one["verdict"], one["model"]) for one in said}


def test_people_of_a_clip_are_told_apart_in_the_table_of_frames():
    frames = [[FrameScore(0., .9)], [FrameScore(0., .1), FrameScore(1., .2)]]
    people = [PersonVerdict(track, where, verdict, score, None, "", len(own), None, own)
              for track, where, verdict, score, own in ((0, "on the left", "fake", .9, frames[0]),
                                                        (1, "on the right", "real", .15, frames[1]))]
    rows = rows_of(Verdict("x.mp4", "fake", .9, .5, "", 2, 2, 2, frames[0], "m", people=people))
    assert [(row["person"], row["where"], row["score"], row["verdict"]) for row in rows] == [
        (0, "on the left", .9, "fake"), (1, "on the right", .1, "real"), (1, "on the right", .2, "real")]


def test_frames_and_verdicts_are_two_tables(demo_corpus, tmp_path, capsys):
    tables = ["--csv", str(tmp_path / "a.csv"), "--frames-csv", str(tmp_path / "b.csv")]
    assert video.main([str(demo_corpus), *tables]) == 1
    assert "run the command once for each" in capsys.readouterr().err and not (tmp_path / "b.csv").exists()


@pytest.fixture(scope="module")
def frame_folders(demo_corpus, tmp_path_factory):
    """Frames of two clips in folders of their own, numbered, and single pictures beside them."""
    from PIL import Image

    from extract.decoding.sampling import Clip, FrameOptions

    root = tmp_path_factory.mktemp("frames")
    for number, clip in enumerate(sorted((demo_corpus / "Celeb-real").iterdir())[:2]):
        (root / "all" / f"v{number}").mkdir(parents=True)
        for n, frame in enumerate(Clip(clip, FrameOptions(every=.4)).frames()):
            Image.fromarray(frame.rgb).save(root / "all" / f"v{number}" / f"{n:04d}.png")
    (root / "photos").mkdir()
    for name in ("anna", "ben", "carl"):
        Image.new("RGB", (80, 80)).save(root / "photos" / f"{name}.png")
    return root


def test_a_folder_of_numbered_frames_is_judged_as_one_clip(frame_folders, capsys, tmp_path):
    assert video.main([str(frame_folders / "all/v0"), "--json", "--device", "cpu"]) == 0
    said = json.loads(capsys.readouterr().out)
    n = len(list((frame_folders / "all/v0").iterdir()))
    assert said["path"] == str(frame_folders / "all/v0") and said["n_read"] == said["n_asked"] == n
    renamed = shutil.copytree(frame_folders / "all/v0", tmp_path / "frames")  # a name that is a container in a corpus
    assert files_below([str(renamed)], "video") == [str(renamed)]
    assert video.main([str(renamed), "--json", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == said["score"]


def test_a_folder_of_such_folders_is_a_clip_each_also_in_a_table(frame_folders, capsys, tmp_path):
    folders = [str(frame_folders / f"all/v{number}") for number in range(2)]
    assert files_below([str(frame_folders / "all")], "video") == folders
    assert video.main([str(frame_folders / "all"), "--csv", str(tmp_path / "o.csv"), "--workers", "0",
                       "--device", "cpu"]) == 0
    assert [row.split(",")[0] for row in (tmp_path / "o.csv").read_text().splitlines()[1:]] == folders
    capsys.readouterr()


def test_a_folder_of_single_pictures_is_no_clip(frame_folders, capsys):
    assert video.main([str(frame_folders / "photos"), "--device", "cpu"]) == 1
    assert "no video in this folder, but 3 pictures: python -m classify.image" in capsys.readouterr().err
