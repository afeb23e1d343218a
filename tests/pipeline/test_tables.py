import os

import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.tables import FACES, FRAME_SCORES, INDEX, VIDEOS, read_rows, read_table, write_bytes, write_table

ROW = {"video_id": "a/00001.mp4", "label": 1, "dataset": "x", "method": "", "target_id": "000", "source_id": "",
       "original": "", "official": "", "modality": "video"}


def test_a_table_comes_back_as_it_was_sorted_by_its_key(tmp_path):
    rows = [{**ROW, "video_id": name} for name in ('b, "c".mp4', "é…/💡.mp4", "a\nb.mp4", "NA", "1.0", " x")]
    write_table(tmp_path / "t.csv", rows, INDEX)
    table = read_table(tmp_path / "t.csv", INDEX)
    assert table["video_id"].tolist() == sorted(row["video_id"] for row in rows)
    assert set(table["target_id"]) == {"000"} and set(table["method"]) == {""}


def test_the_same_rows_in_any_order_are_the_same_bytes_and_are_not_written_again(tmp_path):
    rows = [{**ROW, "video_id": name} for name in "cab"]
    write_table(tmp_path / "t.csv", rows, INDEX)
    before = (tmp_path / "t.csv").read_bytes(), os.stat(tmp_path / "t.csv").st_mtime_ns
    assert not write_table(tmp_path / "t.csv", rows[::-1], INDEX, only_if_changed=True)
    assert before == ((tmp_path / "t.csv").read_bytes(), os.stat(tmp_path / "t.csv").st_mtime_ns)
    assert write_table(tmp_path / "t.csv", rows[:1], INDEX, only_if_changed=True)


def test_an_empty_table_is_a_table(tmp_path):
    write_table(tmp_path / "t.csv", [], FRAME_SCORES)
    assert read_table(tmp_path / "t.csv", FRAME_SCORES).empty


def test_a_missing_score_stays_missing(tmp_path):
    rows = pd.DataFrame([{"video_id": "a", "time_s": 0.0, "frame": 0, "score": None, "crop": ""}])
    write_table(tmp_path / "t.csv", rows, FRAME_SCORES)
    assert read_table(tmp_path / "t.csv", FRAME_SCORES)["score"].isna().all()


@pytest.mark.parametrize("content, says", [(None, "does not exist"), ("", "not a table"), ("a,b\n1,2\n", "columns"),
                                           ('video_id\n"open', "not a table|columns")])
def test_what_is_no_table_is_a_clear_error(tmp_path, content, says):
    if content is not None:
        (tmp_path / "t.csv").write_text(content)
    with pytest.raises(TableError, match=says):
        read_table(tmp_path / "t.csv", INDEX)


def test_a_row_without_a_column_is_refused(tmp_path):
    with pytest.raises(TableError, match="lack.*official"):
        write_table(tmp_path / "t.csv", [{k: v for k, v in ROW.items() if k != "official"}], INDEX)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_bytes(tmp_path / "t", b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        write_bytes(tmp_path / "t", b"new")
    assert (tmp_path / "t").read_bytes() == b"old" and os.listdir(tmp_path) == ["t"]


def odd_rows():
    """Rows of faces with everything that a cell may hold."""
    names = ('b, "c".mp4', "é…/💡.mp4", "a\nb.mp4", "NA", "1.0", " x", "nan", "None")
    numbers = (0.0, 1 / 3, 1e-7, 123456789.123456, float("nan"), None, 5, -2.5e12, 1e16)
    return [{**dict.fromkeys(FACES, number), "video_id": name, "frame": frame, "face": 0, "n_faces": 1, "track": 0,
             "crop": None, "confidence": .5, "time_s": 0.25}
            for name, number in zip(names, numbers) for frame in (11, 2)]


def test_rows_give_the_bytes_that_a_data_frame_gives(tmp_path):
    write_table(tmp_path / "rows.csv", odd_rows(), FACES)
    write_table(tmp_path / "frame.csv", pd.DataFrame(odd_rows()), FACES)
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "frame.csv").read_bytes()


def test_rows_that_are_read_are_those_of_the_data_frame(tmp_path):
    write_table(tmp_path / "t.csv", odd_rows(), FACES)
    rows, frame = read_rows(tmp_path / "t.csv", FACES), read_table(tmp_path / "t.csv", FACES)
    pd.testing.assert_frame_equal(pd.DataFrame(rows).astype(FACES), frame)


@pytest.mark.parametrize("change, says", [
    (lambda text: text.replace("ok", "fine"), "line 2: status is 'fine', expected ok, no_face"),
    (lambda text: text.replace(",1,ok", ",7,ok"), "line 2: label is 7, expected 0 to 1"),
    (lambda text: text.replace("a.mp4", ""), "line 2: video_id is '', expected a path"),
    (lambda text: text.replace("640", "wide"), "not a table of this version .line 2"),
    (lambda text: text[:-9], "not a table of this version .line 2"), (lambda text: "", "has the columns"),
    (lambda text: text.replace("label", "class", 1), "has the columns"), (lambda text: None, "does not exist")])
def test_rows_are_checked_as_a_table_is(change, says, tmp_path):
    row = {"video_id": "a.mp4", "label": 1, "status": "ok", "reason": "", "n_asked": 5, "n_read": 5, "n_faces": 5,
           "width_px": 640, "height_px": 480, "duration_s": 12.0}
    write_table(tmp_path / "t.csv", [row], VIDEOS)
    assert read_rows(tmp_path / "t.csv", VIDEOS) == [row]
    content = change((tmp_path / "t.csv").read_text())
    if content is None:
        (tmp_path / "t.csv").unlink()
    else:
        (tmp_path / "t.csv").write_text(content)
    with pytest.raises(TableError, match=says):
        read_rows(tmp_path / "t.csv", VIDEOS)
