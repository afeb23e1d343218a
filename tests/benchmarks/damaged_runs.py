"""What `make report` does where a file of a finished run was damaged.

    python -m tests.benchmarks.damaged_runs OUT       OUT: a finished run; it is copied, never changed

Prints a table: the file, the damage, the exit status, what was said, and whether the results are those of before.
"""
from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ("index.csv", "split.csv", "faces/faces.csv", "faces/videos.csv", "scores/frames.csv", "scores/videos.csv",
           "report/metrics.json", "report/metrics.csv", "report/report.html")


def removed(content: bytes) -> None:
    """Remove the file."""


def emptied(content: bytes) -> bytes:
    """Leave nothing of it."""
    return b""


def cut(content: bytes) -> bytes:
    """Keep the first half."""
    return content[:len(content) // 2]


def flipped(content: bytes) -> bytes:
    """Flip one bit near its middle."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1:]


def quarter_zeroed(content: bytes) -> bytes:
    """Set the last quarter to zero."""
    n = len(content) // 4
    return content[:-n] + bytes(n)


def one_value(old: str, new: str):
    """Return a damage that changes the first match of a pattern."""
    def changed(content: bytes) -> bytes:
        return re.sub(old.encode(), new.encode(), content, count=1)

    changed.__name__ = f"{old} becomes {new}"
    return changed


def other_crop(content: bytes) -> bytes:
    """Replaced by another crop of the run."""
    return content


CASES = [
    ("index.csv", removed), ("index.csv", cut), ("index.csv", one_value(",1,", ",7,")),
    ("split.csv", removed), ("split.csv", one_value(",train,", ",trian,")), ("split.csv", one_value(r",0,", ",7,")),
    ("split.json", removed), ("split.json", cut),
    ("faces/faces.csv", removed), ("faces/faces.csv", cut), ("faces/faces.csv", flipped),
    ("faces/videos.csv", emptied), ("faces/options.json", flipped),
    ("crop", removed), ("crop", flipped), ("crop", other_crop), ("row", flipped),
    ("pack", removed), ("pack", quarter_zeroed), ("pack", cut),
    ("model/model.safetensors", removed), ("model/model.safetensors", cut), ("model/model.safetensors", flipped),
    ("model/epochs.csv", flipped),
    ("scores/videos.csv", one_value(r",0\.\d+,", ",7.5,")), ("scores/videos.csv", flipped), ("scores/frames.csv", cut),
    ("scores/run.json", emptied), ("report/report.html", removed), ("report/metrics.json", flipped),
    ("run.json", flipped), ("run.json", removed),
]


def file_of(out: Path, name: str) -> Path:
    """Return the file that a case is about."""
    crops = sorted((out / "faces").rglob("*/*.png"))
    special = {"crop": crops[0], "row": crops[0].with_name("row.json"),
               "pack": next(iter(sorted((out / "packed").glob("*.npy"))), out)}
    return special.get(name, out / name)


def run(out: Path) -> tuple[int, str]:
    """Run `make report`. Returns its status and all that it said."""
    environment = {**os.environ, "MAKEFLAGS": f" -- OUT={out} DEVICE=cpu WORKERS=0", "GOALS": "report"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "pipeline", "report"], cwd=ROOT, env=environment,
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.damaged_runs", description="Damage a run.")
    parser.add_argument("out", type=Path)
    source = parser.parse_args().out
    print("| file | damage | status | said | results |\n|---|---|---|---|---|")
    for name, damage in CASES:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(shutil.copytree(source, Path(folder) / "out"))
            run(out)  # a copy has new times: that is looked at first
            before = {result: (out / result).read_bytes() for result in RESULTS}
            file = file_of(out, name)
            if damage is other_crop:
                content = sorted((out / "faces").rglob("*/*.png"))[-1].read_bytes()
            else:
                content = damage(file.read_bytes())
            file.unlink()
            if content is not None:
                file.write_bytes(content)
            status, said = run(out)
            lines = [line for line in said.splitlines() if line.startswith("error:")] + [
                line for line in said.splitlines() if re.match(r"\w+: (again|starting|checking)|.* left out", line)]
            words = lines[0] if lines else "up to date"
            same = status == 0 and all((out / result).read_bytes() == content for result, content in before.items())
            traceback = " **TRACEBACK**" if "Traceback" in said else ""
            results = "the same" if same else "none" if status else "other"
            print(f"| {name} | {damage.__name__.replace('_', ' ')} | {status} | "
                  f"{words.replace(str(out), 'OUT')[:150]}{traceback} | {results} |", flush=True)


if __name__ == "__main__":
    main()
