"""Models of a run that were replaced: kept with their scores, and brought back.

    OUT/model/replaced/<model id>/    model.safetensors, epochs.csv, scores/, and record.json of the stages
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

from classify.models.card import read_card
from pipeline.errors import CheckpointError, command
from pipeline.run_record import RunRecord, locked, look
from pipeline.tables import write_json

KEPT = 3                       # models that were replaced
STAGES = ("train", "score", "robustness")  # whose records go with a model


def next_folder(out: Path, resume: bool) -> Path:
    """Return the folder to train in. To resume a finished training, its last state is copied there.

    Args:
        out: folder of the run.
        resume: whether an interrupted or finished training goes on.
    """
    folder, run = out / "model" / "next", out / "model" / "run"
    if resume and not (folder / "run").exists() and run.is_dir() and not int(os.environ.get("RANK", 0)):
        shutil.copytree(run, folder / "run")
    return folder


def install(record: RunRecord, folder: Path) -> Path | None:
    """Put what was trained in `folder` in the place of OUT's model.

    Returns:
        The folder in which the model before is kept, None where there was none or it is the same.
    """
    model = Path(record.out) / "model"
    new = {model_id(path) for path in folder.glob("model.*") if path.suffix in (".safetensors", ".keras")}
    before = _current(model)
    kept = None
    if before is not None and (name := model_id(before)) not in new:
        kept = _keep(record, name)
    for path in sorted(folder.iterdir()):
        target = model / path.name
        if path.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        os.replace(path, target)
    folder.rmdir()
    return kept


def restore(out: Path, name: str) -> None:
    """Bring a replaced model back; the one in its place is kept in turn.

    Raises:
        CheckpointError: no model of this name is kept.
    """
    folder = out / "model" / "replaced" / name
    if not (folder / "record.json").is_file():
        known = sorted(path.name for path in folder.parent.glob("*") if path.is_dir())
        raise CheckpointError(f"{folder.parent} holds no model {name}; it holds {', '.join(known) or 'none'}")
    with locked(out, "restore"):
        record = RunRecord(out)
        sections = json.loads((folder / "record.json").read_text())
        aside = out / "model" / "restoring"
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        if (before := _current(out / "model")) is not None:
            _keep(record, model_id(before))
        (aside / "record.json").unlink()
        if (aside / "scores").is_dir():
            shutil.rmtree(out / "scores", ignore_errors=True)
            (aside / "scores").rename(out / "scores")
        for path in sorted(aside.iterdir()):
            os.replace(path, out / "model" / path.name)
        aside.rmdir()
        record.stages.update({name: section for name, section in sections.items() if name in STAGES})
        record.write()


def model_id(path: Path) -> str:
    """Return the id of a model, or a name made from its content where it cannot be read."""
    with contextlib.suppress(CheckpointError):
        return str(read_card(path)["model_id"])
    return "unreadable-" + (look(path) or {"sha256": "missing"})["sha256"][:8]


def _current(model: Path) -> Path | None:
    return next((path for kind in ("safetensors", "keras") if (path := model / f"model.{kind}").is_file()), None)


def _keep(record: RunRecord, name: str) -> Path:
    """Move OUT's model, its epochs and its scores to the replaced ones, of which the last few stay."""
    out = Path(record.out)
    folder = out / "model" / "replaced" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (out / "model").iterdir():
        if path.is_file() and (path.name.startswith("model.") or path.name == "epochs.csv"):
            os.replace(path, folder / path.name)
    if (out / "scores").is_dir():
        os.replace(out / "scores", folder / "scores")
    # What the model was made with, not what was named for the one that replaces it.
    sections = {stage: done for stage in STAGES if (done := record.done(stage))}
    write_json(folder / "record.json", {stage: {"done": done, "named": {
        option: {"value": value, "since": done["finished"]} for option, value in done["named"].items()}}
        for stage, done in sections.items()})
    others = sorted((path for path in folder.parent.iterdir() if (path / "record.json").is_file()),
                    key=lambda path: (path / "record.json").stat().st_mtime_ns)
    for path in others[:-KEPT]:
        shutil.rmtree(path)
    return folder


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m classify.training.replaced",
                                     description="Bring a model back that was replaced by a later training.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run (OUT)")
    parser.add_argument("--model-id", required=True, help="its name below OUT/model/replaced")
    arguments = parser.parse_args(argv)
    restore(arguments.out, arguments.model_id)
    print(f"restore: {arguments.model_id} is the model of {arguments.out} again")


if __name__ == "__main__":
    sys.exit(main())
