"""Batches: what a table of verdicts keeps, what it refuses, and what it says of methods."""
import csv
import fcntl
import os
import shutil
from types import SimpleNamespace

import pytest

from classify import image, video
from classify.evaluation.recall import labels_below, recall_lines
from classify.judging.csv_output import COLUMNS, as_cell, judge_all, summary
from pipeline.errors import OutOfMemoryError, TableError, VideoError
from pipeline.parallel import map_unordered
from pipeline.workers import WorkerDied

MODEL = "net-12345678"


class Judge:
    """Judges by a clip's name: what it holds is its verdict; remembers whom it was asked about."""

    def __init__(self):
        self.asked = []

    def __call__(self, path):
        name = os.path.basename(path)
        self.asked.append(name)
        if "broken" in name:
            raise VideoError("not a video")
        if "killed" in name:
            raise KeyboardInterrupt
        if "large" in name:
            raise OutOfMemoryError("no room")
        if "deadly" in name:
            raise WorkerDied
        verdict = next(v for v in ("fake", "real", "undecided") if v in name)
        known = {"verdict": verdict, "score": .25, "people": [{}, {}] if "two" in name else None, "frames": [],
                 "reason": "", "path": path, "model": MODEL, "probability": None, "threshold": .5, "error": None}
        return SimpleNamespace(as_json=lambda: known)


@pytest.fixture
def folder(tmp_path):
    """folder(*names) writes files of these names and returns their paths."""
    def write(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(os.fsencode(name))
        return [str(tmp_path / name) for name in names]

    return write


def judged(paths, table, model=MODEL):
    """(names asked about, rows returned)"""
    judge = Judge()
    rows = judge_all(paths, lambda todo: map_unordered(judge, todo, 0), model, table, "clip")
    return judge.asked, rows


def test_a_row_has_the_verdict_the_stamp_and_empty_fields_for_what_is_not_known(folder, tmp_path):
    [path] = folder("two fakes.mp4")
    _, [row] = judged([path], tmp_path / "out.csv")
    stat = os.stat(path)
    assert row == {**dict.fromkeys(COLUMNS, ""), "path": path, "verdict": "fake", "score": "0.25", "threshold": "0.5",
                   "people": "2", "model": MODEL, "size_bytes": str(stat.st_size), "mtime_ns": str(stat.st_mtime_ns)}
    with open(tmp_path / "out.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [row]


def test_a_second_run_judges_only_what_is_new_or_changed_and_a_broken_file_stays_an_error(folder, tmp_path, capsys):
    paths = folder("real.mp4", "fake.mp4", "broken.mp4")
    table = tmp_path / "out.csv"
    assert judged(paths[:2] + paths[2:], table)[0] == ["real.mp4", "fake.mp4", "broken.mp4"]
    assert "broken.mp4: not a video" in capsys.readouterr().err
    before = table.read_bytes()
    asked, rows = judged(paths, table)
    assert asked == [] and table.read_bytes() == before and [r["error"] for r in rows] == ["", "", "not a video"]
    folder("fake.mp4", "another real.mp4")
    os.utime(paths[1], ns=(1, 1))
    assert judged([*paths, str(tmp_path / "another real.mp4")], table)[0] == ["fake.mp4", "another real.mp4"]
    assert len(table.read_text().splitlines()) == 5  # the changed one has one row, not two


def test_rows_of_files_not_asked_for_stay(folder, tmp_path):
    a, b = folder("real.mp4", "fake.mp4")
    judged([a], tmp_path / "out.csv")
    os.unlink(a)
    judged([b], tmp_path / "out.csv")
    assert [line.split(",")[0] for line in (tmp_path / "out.csv").read_text().splitlines()] == ["path", a, b]


@pytest.mark.parametrize("name", [
    "=cmd|' calc'!A0 fake.mp4", "+1+1 fake.mp4", "-2 fake.mp4", "@SUM(A1) fake.mp4", "'quoted fake.mp4",
    "red \x1b[31m fake.mp4", "\ttab fake.mp4", "line\nbreak fake.mp4", "back\\slash fake.mp4",
    "\x1bback\\x1bslash fake.mp4", "gpj.\u202efake.mp4", "bytes \udcff\x07 fake.mp4", "\U000e0001 fake.mp4"])
def test_a_name_that_a_spreadsheet_would_compute_is_text_and_is_read_back(folder, tmp_path, monkeypatch, name):
    folder(name)
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "out.csv"
    asked, rows = judged([name], table)
    assert rows[0]["path"] == name and asked == [name]
    cells = list(csv.reader(table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()))[1]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in cells)
    assert all(c.isprintable() or "\udc80" <= c <= "\udcff" for c in "".join(cells))
    asked, again = judged([name], table)
    assert (asked, again) == ([], rows)


def test_numbers_stay_numbers_and_plain_names_are_as_they_were():
    for text in ("-1.5", "0.25", "1e-05", "a b.mp4", "", "bytes \udcff.mp4", "a\\b.mp4"):
        assert as_cell(text) == text
    assert as_cell("-1.5.mp4") == "'-1.5.mp4" and as_cell("=1+1") == "'=1+1"


def test_a_killed_run_goes_on_where_it_was(folder, tmp_path):
    paths = folder("1 real.mp4", "2 killed.mp4", "3 fake.mp4")
    with pytest.raises(KeyboardInterrupt):
        judged(paths, tmp_path / "out.csv")
    again = [paths[0], *folder("2 real.mp4"), paths[2]]
    assert judged(again, tmp_path / "out.csv")[0] == ["2 real.mp4", "3 fake.mp4"]


@pytest.mark.parametrize("name", ["fake.mp4", "odd,\n\"fake\".mp4", "bytes \udcff fake.mp4"])
def test_wherever_a_line_was_cut_off_the_next_run_mends_it(folder, tmp_path, name):
    paths, table = folder("real.mp4", name), tmp_path / "out.csv"
    judged(paths, table)
    whole = table.read_bytes()
    first = whole.index(b"\n", whole.index(b"\n") + 1) + 1
    for end in range(len(whole)):
        table.write_bytes(whole[:end])
        asked, _ = judged(paths, table)
        assert table.read_bytes() == whole
        assert asked == ([os.path.basename(paths[1])] if end >= first else [os.path.basename(p) for p in paths])


def test_another_models_table_something_else_and_one_in_use_are_refused_by_name_and_left_alone(folder, tmp_path):
    [path], table = folder("real.mp4"), tmp_path / "out.csv"
    judged([path], table)
    before = table.read_bytes()
    with pytest.raises(TableError, match="out.csv holds verdicts of net-12345678, and this is net-other"):
        judged([path], table, "net-other")
    with open(table) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TableError, match="another run is writing to .*out.csv"):
            judged([path], table)
    assert table.read_bytes() == before
    table.write_text("my notes\n")
    with pytest.raises(TableError, match="out.csv is not a table of verdicts"):
        judged([path], table)
    assert table.read_text() == "my notes\n"


def test_a_full_device_ends_the_run_instead_of_becoming_a_row(folder, tmp_path):
    with pytest.raises(OutOfMemoryError):
        judged(folder("real.mp4", "large.mp4"), tmp_path / "out.csv")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


def test_a_clip_that_kills_its_worker_is_a_row_and_the_rest_go_on(folder, tmp_path):
    asked, rows = judged(folder("deadly.mp4", "real.mp4"), tmp_path / "out.csv")
    assert asked == ["deadly.mp4", "real.mp4"] and [row["verdict"] for row in rows] == ["", "real"]
    assert "worker process died twice" in rows[0]["error"]


def test_recall_is_told_worst_method_first_with_exact_intervals_and_false_alarms_last(folder, tmp_path):
    names = [f"real/{i} real.mp4" for i in range(9)] + ["real/9 fake.mp4"]
    names += [f"fake_easy/{i} fake.mp4" for i in range(10)] + ["fake_easy/broken.mp4"]
    names += ["fake_hard/a real.mp4", "fake_hard/b undecided.mp4"]
    paths = folder(*names)
    _, rows = judged(paths, tmp_path / "out.csv")
    head, hard, easy, alarms, reals = recall_lines(rows, labels_below([str(tmp_path)]), "clip")
    assert head.startswith("recall per method, worst first") and alarms == "false alarms:"
    assert hard.split() == "fake_hard 0 of 2 0.000 (0.000 to 0.842) 1 UNDECIDED".split()  # 1 - .025^(1/2)
    assert easy.split() == "fake_easy 10 of 10 1.000 (0.692 to 1.000) 1 could not be read".split()
    assert reals.split() == "reals 1 of 10 0.100 (0.003 to 0.445)".split()  # 1 - .975^(1/10)
    assert summary(rows, "t.csv", "clip") == "t.csv: 23 clips, 11 FAKE, 1 UNDECIDED, 10 REAL, 1 could not be read"


def test_a_folder_of_unknown_labels_says_nothing_of_recall(folder, tmp_path):
    _, rows = judged(folder("a/fake.mp4", "b/real.mp4"), tmp_path / "out.csv")
    assert recall_lines(rows, labels_below([str(tmp_path)]), "clip") == []


def test_the_table_says_what_the_json_says_and_the_command_tells_recall(demo_run, demo_corpus, tmp_path, capsys):
    import json

    model = ["--device", "cpu", "--model", f"{demo_run}/model/model.safetensors"]
    table = tmp_path / "out.csv"
    assert video.main([str(demo_corpus), "--csv", str(table), "--workers", "0", *model]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{table}: 12 clips, ") and said[1].startswith("recall per method")
    assert "of    6" in said[2] and said[3] == "false alarms:" and "of    6" in said[4]
    with open(table, newline="") as file:
        row = next(csv.DictReader(file))
    assert video.main([row["path"], "--json", *model]) == 0
    known = json.loads(capsys.readouterr().out)
    for name in ("verdict", "score", "threshold", "n_faces", "model", "path"):
        assert row[name] == str(known[name])
    assert video.main([str(demo_corpus), "--csv", str(tmp_path / "2.csv"), "--workers", "2", *model]) == 0
    assert sorted((tmp_path / "2.csv").read_text().splitlines()) == sorted(table.read_text().splitlines())


@pytest.mark.parametrize("flags", [["--workers", "2"], ["--csv", "t.csv", "--workers", "-1"]])
def test_workers_are_for_tables_and_not_fewer_than_none(flags, capsys):
    assert video.main(["clip.mp4", *flags]) == 1
    assert "error: --workers is how many processes judge for --csv" in capsys.readouterr().err


def test_pictures_make_a_table_too(demo_run, tmp_path, capsys):
    crop = next((demo_run / "faces").glob("*/*/*.png"))
    for label in ("real", "fake"):
        (tmp_path / label).mkdir()
        shutil.copy(crop, tmp_path / label / "a.png")
    (tmp_path / "fake" / "b.png").write_text("words")
    status = image.main([str(tmp_path), "--csv", str(tmp_path / "out.csv"), "--device", "cpu", "--model",
                         f"{demo_run}/model/model.safetensors"])
    said = capsys.readouterr()
    assert status == 1 and "3 pictures" in said.out and "1 could not be read" in said.out and "b.png" in said.err
    assert "pictures called FAKE" in said.out


def test_the_absolute_and_the_relative_path_of_a_clip_are_one_row(folder, tmp_path, monkeypatch):
    [path] = folder("real.mp4")
    monkeypatch.chdir(tmp_path)
    asked, rows = judged(["real.mp4", path, "./real.mp4"], tmp_path / "out.csv")
    assert asked == ["real.mp4"] and [row["path"] for row in rows] == ["real.mp4"]
    assert judged([path], tmp_path / "out.csv")[0] == []  # nor does a later run judge it again
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


def test_recall_counts_a_found_fake_by_the_rule_of_an_index(folder, tmp_path):
    names = ["fake/LivePortrait/a fake.mp4", "fake/original/b fake.mp4", "fake/Deep-Live-Cam/c fake.mp4",
             "real/Ai Weiwei/d real.mp4"]
    _, rows = judged(folder(*names), tmp_path / "out.csv")
    lines = recall_lines(rows, labels_below([str(tmp_path)]), "clip")
    assert [line.split()[0] for line in lines[1:4]] == ["Deep-Live-Cam", "LivePortrait", "fake"]
    assert all("1 of    1" in line for line in lines[1:4]) and "0 of    1" in lines[-1]


def test_pictures_judged_one_by_one_have_labels_though_an_index_would_group_them(folder, tmp_path):
    names = [f"{kind}/v1/{n}.png" for kind in ("real", "fake") for n in range(3)]
    known = labels_below([str(tmp_path)], "picture") if folder(*names) else {}
    assert {os.path.relpath(path, tmp_path): label for path, (label, _) in known.items()} == {
        name: int(name.startswith("fake")) for name in names}
