"""Where a run keeps its work, and who works: other workers and other storage change no byte."""
import importlib.util
import os
import subprocess
import sys

import pytest

from extract import corpus, run
from extract.corpus import find_corpus
from extract.decoding.sampling import FrameOptions
from extract.faces.detector import FaceOptions
from extract.options import RunOptions
from pipeline import storage
from pipeline.tables import INDEX, VIDEOS, read_table, write_table
from tests import s3 as server

s3, s3_server = server.s3, server.s3_server
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")


def extract(root, index, out, **options):
    return run.extract_corpus(root, read_table(index, INDEX), out, FrameOptions(every=2.0), FaceOptions(),
                              RunOptions(**{"workers": 0, "device": "cpu", **options}))


def contents(out):
    """Relative path -> bytes of all that a run keeps, rows left out: they hold a stamp of the file."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*"))
            if path.is_file() and path.suffix in (".png", ".csv") or path.name == "options.json"}


@pytest.fixture
def local(demo_corpus, tmp_path):
    """The demo corpus, its index, and the folder of a run in this process."""
    assert corpus.main(["--out", str(tmp_path), "--corpus", str(demo_corpus)]) == 0
    assert extract(demo_corpus, tmp_path / "index.csv", tmp_path / "local") == {"ok": 12}
    return demo_corpus, tmp_path / "index.csv", tmp_path / "local"


@needs_ray
@pytest.mark.slow
def test_the_command_with_engine_ray_makes_the_same_tables_and_crops(local, tmp_path):
    root, index, out = local
    done = subprocess.run([sys.executable, "-m", "extract.run", "--out", str(tmp_path), "--every", "2", "--engine",
                           "ray", "--workers", "3", "--device", "cpu"], capture_output=True, text=True)
    assert done.returncode == 0 and "extract: 12 ok" in done.stdout, done.stderr
    assert len(contents(out)) > 24 and contents(tmp_path / "faces") == contents(out)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, pytest.param({"engine": "ray", "workers": 2}, marks=needs_ray)])
def test_corpus_and_output_on_s3_make_the_same_tables_crops_and_sheet(local, s3, tmp_path, monkeypatch, options):
    root, index, out = local
    for path in root.rglob("*.*"):
        (s3 / "corpus" / path.relative_to(root).as_posix()).write_bytes(path.read_bytes())
    if options:
        import ray

        ray.shutdown()  # its workers have the environment that Ray was started with
    there = find_corpus(s3 / "corpus")
    assert corpus.main(["--out", str(tmp_path / "other"), "--corpus", str(s3 / "corpus")]) == 0
    assert (tmp_path / "other" / "index.csv").read_bytes() == index.read_bytes()
    assert extract(there.root, index, s3 / "faces", **options) == {"ok": 12}
    kept = {name: (s3 / "faces" / name).read_bytes() for name in (s3 / "faces").files()}
    assert {name: data for name, data in kept.items() if not name.endswith("row.json")} == contents(out)
    before = {name: stamp for name, stamp in (s3 / "faces").files().items() if name.count("/") > 1}
    monkeypatch.setattr(run, "extract_one", None)  # nothing is left to do
    assert extract(there.root, index, s3 / "faces", verify=True) == {"ok": 12}
    after = (s3 / "faces").files()
    assert before and before == {name: after[name] for name in before}


def test_on_s3_a_video_without_its_row_is_not_there_and_one_that_ends_early_is_tried_again(local, s3, monkeypatch):
    root, index, out = local
    clips = read_table(index, INDEX)["video_id"][:2]
    few = index.with_name("few.csv")
    write_table(few, read_table(index, INDEX)[:2], INDEX)
    for name in clips:
        (s3 / "corpus" / name).write_bytes((root / name).read_bytes())
    whole = storage._filesystem("s3").get_file

    def short(key, to):
        whole(key, to)
        if key.endswith(clips[1]):
            os.truncate(to, 1000)

    with monkeypatch.context() as patch:
        patch.setattr(storage._filesystem("s3"), "get_file", short)
        assert extract(s3 / "corpus", few, s3 / "faces") == {"ok": 1, "error": 1}
    assert [name for name in (s3 / "faces").files() if name.endswith("row.json")] == [f"{clips[0]}/row.json"]
    reason = read_table(s3 / "faces" / "videos.csv", VIDEOS)["reason"][1]
    assert reason.startswith("cannot be read: only 1,000 of ")
    (s3 / "faces" / clips[0] / "row.json").unlink()  # as after a kill between the crops and the row
    (s3 / "faces" / clips[0] / "999999.png").write_bytes(b"of another run")
    assert extract(s3 / "corpus", few, s3 / "faces") == {"ok": 2}
    crops = {name: (s3 / "faces" / name).read_bytes() for name in (s3 / "faces").files() if name.count("/") == 2}
    assert {n: c for n, c in crops.items() if n.endswith(".png")} == {
        n: c for n, c in contents(out).items() if n.startswith(tuple(clips)) and n.endswith(".png")}
