"""The sheets of a run's worst false calls, opened from its report: OUT/report/sheets/01-name.html.

A clip is judged anew from its file, as `python -m classify.video --report` does it: at least five frames, everybody in
it. So its verdict may be another than the call of the report, which rests on the stored crops of the main face; both
are shown. Always on the CPU, where the same clip gives the same bytes.
"""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Sequence

from pipeline.errors import PipelineError, VideoError
from pipeline.progress import progress_bar

LONGEST_NAME = 60


def write_sheets(folder: Path, root: Path | None, model: Path | None,
                 wrong: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Write a sheet of each of the calls `wrong` (of classify.evaluation.errors.false_calls) into `folder`.

    Sheets of earlier reports are removed.

    Returns (sheets, why): per call {video_id, file, verdict, score, reason}, with `file` relative to the report and ""
    where the clip cannot be read, as `reason` says; why there are no sheets at all, else "".

    root: folder that the video_ids are relative to. model: what made the scores. None where it is not known.
    """
    sheets, why = _written(root, model, wrong, folder) if wrong else ([], "")
    kept = {Path(sheet["file"]).name for sheet in sheets}
    for path in folder.glob("*.html"):
        if path.name not in kept:
            path.unlink()
    return sheets, why


def _written(root: Path | None, model: Path | None, wrong: Sequence[dict[str, Any]],
             folder: Path) -> tuple[list[dict[str, Any]], str]:
    if root is None or not root.is_dir():
        return [], "the videos are no longer where they were extracted from, or not on this machine"
    if model is None:
        return [], "the model that made these scores is no longer beside them"
    from classify.judging.evidence import gather
    from classify.judging.judge import Judge
    from classify.judging.sheet.write import write_sheet

    try:
        judge = Judge(model, "cpu")
    except PipelineError as error:
        return [], str(error)
    sheets: list[dict[str, Any]] = []
    for number, call in enumerate(progress_bar(wrong, desc="sheets", unit="sheet", leave=False), 1):
        sheet = {"video_id": call["video_id"], "file": "", "verdict": None, "score": None, "reason": ""}
        try:
            evidence = gather(judge, root / call["video_id"])
        except VideoError as error:
            sheet["reason"] = str(error)
        else:
            name = f"{number:02d}-{safe(call['video_id'])}.html"
            write_sheet(folder / name, evidence)
            said = evidence.verdict
            sheet |= {"file": f"sheets/{name}", "verdict": said.verdict, "score": said.score, "reason": said.reason}
        sheets.append(sheet)
    return sheets, ""


def safe(video_id: str) -> str:
    """The file's stem in letters that need no escape on any system or in a link."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(video_id).stem)[:LONGEST_NAME]
