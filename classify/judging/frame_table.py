"""`--frames-csv out.csv`: a row for each judged face of each clip, for whoever plots or sums up scores over time."""
from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Iterable

from classify.judging.csv_output import CODEC, as_cell
from classify.judging.judge import PersonVerdict, Verdict
from pipeline.tables import write_bytes

# person: number of the person in the clip where several were judged, the one who decides first; else 0. verdict and
# person_score: of that person.
COLUMNS = ("path", "person", "where", "time_s", "score", "verdict", "person_score", "threshold", "model")


def rows_of(verdict: Verdict) -> list[dict[str, Any]]:
    """Return a row of COLUMNS for each judged face of a clip or picture, in the order of time within a person."""
    alone = PersonVerdict(None, "", verdict.verdict, verdict.score, None, "", verdict.n_faces, None, verdict.frames)
    return [{"path": verdict.path, "person": number, "where": person.where, "time_s": frame.time_s,
             "score": frame.score, "verdict": person.verdict, "person_score": person.score,
             "threshold": verdict.threshold, "model": verdict.model}
            for number, person in enumerate(verdict.people or [alone]) for frame in person.frames]


def write_frames(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the table whole or not at all; cells are made harmless as in the table of verdicts."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: as_cell("" if value is None else str(value)) for name, value in row.items()}
                     for row in rows)
    write_bytes(path, text.getvalue().encode(CODEC["encoding"], CODEC["errors"]))
