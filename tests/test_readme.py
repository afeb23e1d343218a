"""The README is true: its tree is the tree, its commands exist."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def tracked():
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout.splitlines()


def test_the_tree_names_every_folder_and_nothing_else():
    block = re.search(r"```tree\n(.*?)```", README, re.S)[1]
    named, path = set(), []
    for line in block.splitlines():
        path[(len(line) - len(line.lstrip())) // 2:] = [line.split()[0]]
        named.add("".join(path))
    packages = {f.removesuffix("__init__.py") for f in tracked() if f.endswith("__init__.py") if "/" in f}
    assert named == packages | {"tests/"}


def test_every_make_target_in_the_readme_exists():
    targets = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split())
    used = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)?)\b", README))
    assert used and used <= targets


def test_every_module_in_the_readme_can_be_run():
    for module in set(re.findall(r"python -m ([a-z_.]+)", README)):
        path = ROOT / (module.replace(".", "/") + ".py")
        assert path.is_file() and "__main__" in path.read_text(), module
