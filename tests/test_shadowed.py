"""A folder or file of the user's that is named like one of this project's packages."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path):
    """A working directory whose names are those of packages here."""
    for name in ("classify", "serve", "extract"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    (tmp_path / "data.py").write_text("raise SystemExit('the wrong one')\n")
    return tmp_path


@pytest.mark.parametrize("module", ["classify.video", "serve.app", "extract.corpus"])
def test_with_python_p_the_working_directory_hides_nothing(folder, module):
    def helped(*flags):
        return subprocess.run([sys.executable, *flags, "-m", module, "--help"], cwd=folder, capture_output=True,
                              text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})

    assert "the wrong one" in helped().stderr  # what it is for
    assert helped("-P").returncode == 0 and f"python -m {module}" in helped("-P").stdout


def test_make_works_from_any_folder(folder):
    done = subprocess.run(["make", "-s", "-C", str(ROOT), "check", "CORPUS=" + str(folder)], cwd=folder,
                          capture_output=True, text=True)
    assert "the wrong one" not in done.stdout + done.stderr and "holds no video" in done.stderr
