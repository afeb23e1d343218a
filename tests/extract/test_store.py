"""Where a run keeps its work, and who works: other workers and other storage change no byte."""
import importlib.util
import subprocess
import sys

import pytest

from extract import corpus, run
from extract.faces import FaceOptions
from extract.frames import FrameOptions
from pipeline.tables import INDEX, read_table

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")


def extract(root, index, out, **options):
    return run.extract_corpus(root, read_table(index, INDEX), out, FrameOptions(every=2.0), FaceOptions(),
                              run.RunOptions(**{"workers": 0, "device": "cpu", **options}))


def contents(out):
    """Relative path -> bytes of all that a run keeps, rows left out: they hold a stamp of the file."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*"))
            if path.is_file() and path.suffix in (".png", ".csv") or path.name == "options.json"}


@pytest.fixture
def local(demo_corpus, tmp_path):
    """The demo corpus, its index, and the folder of a run in this process."""
    assert corpus.main([str(demo_corpus), "--out", str(tmp_path / "index.csv")]) == 0
    assert extract(demo_corpus, tmp_path / "index.csv", tmp_path / "local") == {"ok": 12}
    return demo_corpus, tmp_path / "index.csv", tmp_path / "local"


@needs_ray
@pytest.mark.slow
def test_the_command_with_engine_ray_makes_the_same_tables_and_crops(local, tmp_path):
    root, index, out = local
    done = subprocess.run([sys.executable, "-m", "extract.run", str(root), "--index", str(index), "--out",
                           str(tmp_path / "ray"), "--every", "2", "--engine", "ray", "--workers", "3", "--device",
                           "cpu"], capture_output=True, text=True)
    assert done.returncode == 0 and "extract: 12 ok" in done.stdout, done.stderr
    assert len(contents(out)) > 24 and contents(tmp_path / "ray") == contents(out)
