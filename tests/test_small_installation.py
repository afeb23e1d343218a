"""What `make setup-small` installs is enough to judge, and to extract on a CPU; what needs more says so in a line."""
import configparser
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import OF_TRAINING

WITHOUT = f"""if True:
    import sys

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {OF_TRAINING}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Missing())
    import importlib

    sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))
"""


def run(*arguments):
    return subprocess.run([sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True)


def ended_well(*arguments):
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_clip_is_judged_with_a_sheet_and_a_table(demo_corpus, tmp_path):
    clip = demo_corpus / "Celeb-real" / "id0_0000.mp4"
    assert "(shipped detector)" in ended_well("classify.video", clip, "--report", tmp_path / "sheet.html")
    assert "data:image/jpeg" in (tmp_path / "sheet.html").read_text()
    said = ended_well("classify.video", demo_corpus, "--csv", tmp_path / "t.csv", "--workers", 0)
    assert "recall per method" in said and "exact 95 % interval" in said


def test_a_stream_is_judged(demo_corpus):
    said = ended_well("classify.live", demo_corpus / "Celeb-real" / "id0_0000.mp4", "--fast")
    assert "at least 3 are needed" in said and len(said.splitlines()) == 4


def test_faces_are_extracted(demo_corpus, tmp_path):
    ended_well("extract.corpus", "--corpus", demo_corpus, "--out", tmp_path)
    said = ended_well("extract.run", "--out", tmp_path, "--every", "2", "--workers", "0")
    assert "12 ok" in said and (tmp_path / "faces" / "faces.csv").is_file()


def test_what_needs_more_is_one_line(demo_corpus, tmp_path):
    model = Path(__file__).parents[1] / "classify" / "release" / "detector.safetensors"
    clip = demo_corpus / "Celeb-real" / "id0_0000.mp4"
    for arguments in (("classify.video", clip, "--model", model), ("classify.video", clip, "--device", "mps"),
                      ("classify.video", clip, "--report", tmp_path / "sheet.png"), ("classify.export", model)):
        done = run(*arguments)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("extra", ["serve", "mcp", None])
def test_setup_cfg_asks_for_none_of_it(extra):
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg")
    asked = config["options.extras_require"][extra] if extra else config["options"]["install_requires"]
    names = {line.strip().replace("-", "_").split(">")[0].split("=")[0] for line in asked.splitlines() if line.strip()}
    assert names and not names & set(OF_TRAINING)


def test_every_console_command_names_a_main():
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg")
    commands = dict(line.split(" = ") for line in config["options.entry_points"]["console_scripts"].split("\n") if line)
    assert set(commands) == {"deepfake-video", "deepfake-image", "deepfake-serve"}
    for place in commands.values():
        module, name = place.split(":")
        assert callable(getattr(importlib.import_module(module), name))
