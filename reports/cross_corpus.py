"""`make bench-quality`, last step: its reliability diagram and its robustness, drawn.

    OUT/reliability.png, .svg, .pdf    share of fakes by cross-fitted probability, classes weighing alike
    OUT/robustness.png, .svg, .pdf     video AUC and calls under each alteration
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.errors import command
from pipeline.tables import read_json, write_bytes
from reports.figures import calibration, robustness


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m reports.cross_corpus",
                                     description="Draw what classify.evaluation.cross_corpus has measured.")
    parser.add_argument("--out", type=Path, required=True, help="folder of quality.json")
    arguments = parser.parse_args(argv)
    found = read_json(arguments.out / "quality.json")
    drawn = {"reliability": calibration(found["reliability"], "clips")} if found["reliability"] else {}
    if found["robustness"]:
        rows = [{**row, "auc": {"here": row["auc"]}} for row in found["robustness"]]
        drawn["robustness"] = robustness(rows, "clips", "frames")
    for name, files in drawn.items():
        for suffix, file in files.items():
            write_bytes(arguments.out / f"{name}.{suffix}", file)


if __name__ == "__main__":
    sys.exit(main())
