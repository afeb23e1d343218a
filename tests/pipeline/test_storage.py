"""Paths that are elsewhere, with a local S3 server."""
import importlib.util
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import PipelineError
from pipeline.storage import Remote, local_copy, place, read_many
from pipeline.tables import VIDEOS, read_table, write_bytes, write_table
from tests import s3 as server

s3, s3_server = server.s3, server.s3_server


def test_what_has_a_scheme_is_remote_and_all_else_a_path():
    assert place("s3://bucket/a b/") == Remote("s3", "bucket/a b") and str(place("gs://b/c")) == "gs://b/c"
    assert place("/data/s3:/x") == Path("/data/s3:/x") and place("C:/x") == Path("C:/x")
    file = place("s3://bucket/a") / "b/c.mp4"
    assert (file.name, str(file.parent)) == ("c.mp4", "s3://bucket/a/b") and place(file) is file


def test_a_scheme_nobody_knows_is_a_line(tmp_path):
    with pytest.raises(PipelineError, match="no scheme that fsspec knows"):
        place("nowhere://a/b").files()


@pytest.mark.skipif(importlib.util.find_spec("fsspec") is None, reason="the extra remote is not installed")
def test_any_other_scheme_goes_through_fsspec():
    folder = place("memory://folder")
    (folder / "a/b.txt").write_bytes(b"one")
    assert folder.files()["a/b.txt"][0] == 3 and (folder / "a/b.txt").read_bytes() == b"one"


def test_files_are_listed_read_and_removed(s3):
    assert s3.files() == {}
    write_bytes(s3 / "deep/er/a, 1.txt", b"one")
    write_bytes(s3 / "b.txt", b"three")
    assert {name: stamp[0] for name, stamp in s3.files().items()} == {"deep/er/a, 1.txt": 3, "b.txt": 5}
    assert read_many([s3 / "b.txt", s3 / "none", s3 / "deep/er/a, 1.txt"]) == [b"three", None, b"one"]
    assert (s3 / "b.txt").is_file() and not (s3 / "deep").is_file() and not (s3 / "none").is_file()
    (s3 / "b.txt").unlink()
    assert list(s3.files()) == ["deep/er/a, 1.txt"]


def test_a_table_comes_back_as_it_was_written(s3):
    row = {"video_id": "ä, b.mp4", "label": 1, "status": "ok", "reason": "", "n_asked": 1, "n_read": 1, "n_faces": 1,
           "width_px": 2, "height_px": 2, "duration_s": .1}
    assert write_table(s3 / "videos.csv", [row], VIDEOS, only_if_changed=True)
    assert not write_table(s3 / "videos.csv", [row], VIDEOS, only_if_changed=True)
    assert read_table(s3 / "videos.csv", VIDEOS).to_dict("records") == [row]


def test_a_copy_is_gone_afterwards_also_after_an_error(s3):
    write_bytes(s3 / "a.mp4", b"12345")
    with pytest.raises(ZeroDivisionError), local_copy(s3 / "a.mp4") as path:
        assert path.name == "a.mp4" and path.read_bytes() == b"12345"
        raise ZeroDivisionError
    assert not path.parent.exists()


def test_a_download_that_ends_early_is_an_error(s3, monkeypatch):
    write_bytes(s3 / "a.mp4", b"12345")
    filesystem = storage._filesystem("s3")
    monkeypatch.setattr(filesystem, "get_file", lambda key, to: Path(to).write_bytes(b"123"))
    with pytest.raises(OSError, match="only 3 of 5 bytes came"), local_copy(s3 / "a.mp4"):
        pass


def test_a_missing_bucket_is_a_line(s3):
    with pytest.raises(PipelineError, match="s3://no-such-bucket/a cannot be written: .*bucket does not exist"):
        place("s3://no-such-bucket/a").write_bytes(b"")


def test_no_server_is_a_line(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    storage._filesystem.cache_clear()
    with pytest.raises(PipelineError, match="s3://bucket/a cannot be listed"):
        place("s3://bucket/a").files()
