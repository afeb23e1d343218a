"""`python -m classify.video clip.mp4 [more…]`: one line per clip, REAL, FAKE or UNDECIDED."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from classify.command import add_judge_flags, by, explained, fact_lines, judge_each, judge_for, judge_to_csv
from classify.judging.inputs import printable
from pipeline.errors import command

BAR = 24  # characters of a full bar
BAR_SIGNS = "█·"  # of its score, and of the rest


def line(verdict) -> str:
    """One line for people. verdict: a classify.judging.judge.Verdict."""
    score = "no score" if verdict.score is None else f"score {verdict.score:.3f} (fake from {verdict.threshold:.3f})"
    why = f": {verdict.reason}" if verdict.reason and (verdict.verdict != "fake" or verdict.people) else ""
    damage = f" of {verdict.n_asked} asked" if verdict.n_asked != verdict.n_read else ""
    damage += f" ({verdict.reason})" if damage and not why else ""
    return (f"{printable(verdict.path)}  {verdict.verdict.upper()}{why}  {score}  "
            f"a face in {verdict.n_faces} of {verdict.n_read} frames{damage}")


def bars(verdict) -> list[str]:
    """A bar per frame with a face: seconds, score, and the score drawn."""
    full, empty = tuple(BAR_SIGNS if _can_print(BAR_SIGNS) else "#.")
    return [f"  {f.time_s:8.2f} s  {f.score:.3f}  {full * round(f.score * BAR):{empty}<{BAR}}"
            for f in verdict.frames]


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


@command
def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m classify.video", description="Was the face in this video swapped? One line per clip; the score "
        "is P(fake), higher is faker. Status 1 if a clip could not be read.")
    add_judge_flags(parser, "clip", "video files")
    parser.add_argument("--annotate", type=Path, metavar="OUT.mp4", help="also write the clip with its boxes and "
                        "scores drawn in, sound kept")
    parser.add_argument("--frames-csv", type=Path, metavar="FRAMES.csv", help="also write a table with a row for each "
                        "judged face: clip, person, time in s, score")
    parser.add_argument("-v", "--verbose", action="store_true", help="also the score of every frame as a bar, and what "
                        "the file says of itself")
    arguments = parser.parse_args(argv)

    paths, judge = judge_for(arguments, "video", "clip")
    if arguments.csv:
        return judge_to_csv(arguments, paths, judge, "clip")

    def lines(verdict) -> list[str]:
        more = bars(verdict) + fact_lines(verdict.facts or {}) if arguments.verbose else []
        return [line(verdict) + by(arguments.model), *more]

    from classify.judging.frame_table import rows_of, write_frames

    judged = explained(judge, arguments) if arguments.report or arguments.annotate else judge.judge
    frames: list[dict[str, Any]] = []

    def listed(path: str) -> Any:
        frames.extend(rows_of(verdict := judged(path)))
        return verdict

    status = judge_each(paths, listed if arguments.frames_csv else judged, None if arguments.json else lines,
                        judge.card["model_id"], "video", arguments.time_limit)
    if arguments.frames_csv:
        write_frames(arguments.frames_csv, frames)
    return status


if __name__ == "__main__":
    sys.exit(main())
