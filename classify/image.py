"""`python -m classify.image photo.jpg [more…]`: one line per picture, REAL, FAKE or UNDECIDED."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from classify.command import add_judge_flags, by, explained, fact_lines, judge_each, judge_for, judge_to_csv
from classify.judging.inputs import printable
from pipeline.errors import command
from pipeline.own_files import marked_png

PANEL_PX = 480  # height of each of the two halves of --picture


def line(verdict) -> str:
    """One line for people. verdict: a classify.judging.judge.Verdict."""
    score = "no score" if verdict.score is None else f"score {verdict.score:.3f} (fake from {verdict.threshold:.3f})"
    reason = f": {verdict.reason}" if verdict.reason else ""
    return f"{printable(verdict.path)}  {verdict.verdict.upper()}{reason}  {score}"


def draw(verdict, look) -> bytes:
    """A PNG of what was looked at: the picture with the box on the left, what the network saw on the right.

    verdict: of Judge.judge_picture, with its look.
    """
    picture, scale = _scaled(look.picture)
    if look.box is not None:
        corners = [round(v * scale) for v in look.box]
        x0, y0 = (max(0, v) for v in corners[:2])
        x1, y1 = min(corners[2], picture.shape[1]) - 1, min(corners[3], picture.shape[0]) - 1
        cv2.rectangle(picture, (x0, y0), (x1, y1), (255, 160, 0), 2)
    seen = np.full((PANEL_PX, PANEL_PX, 3), 230, np.uint8)
    if look.input is not None:
        # Pixels as they are: what looks coarse here is as coarse for the network.
        seen = cv2.resize(look.input, (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_NEAREST)
    bar = np.full((40, picture.shape[1] + 8 + PANEL_PX, 3), 255, np.uint8)
    why = verdict.reason if verdict.score is None else f"score {verdict.score:.3f}, fake from {verdict.threshold:.3f}"
    cv2.putText(bar, f"{verdict.verdict.upper()}: {why}", (8, 27), cv2.FONT_HERSHEY_SIMPLEX, .6, (0, 0, 0), 1,
                cv2.LINE_AA)
    gap = np.full((PANEL_PX, 8, 3), 255, np.uint8)
    ok, png = cv2.imencode(".png", np.vstack([bar, np.hstack([picture, gap, seen])])[:, :, ::-1])
    if not ok:
        raise RuntimeError("OpenCV cannot encode what was looked at")
    return marked_png(png.tobytes())


def _scaled(picture) -> tuple:
    """A copy PANEL_PX high and at most four times as wide, on grey where it is wider; and its scale."""
    height, width = picture.shape[:2]
    scale = min(PANEL_PX / height, 4 * PANEL_PX / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    panel = np.full((PANEL_PX, size[0], 3), 230, np.uint8)
    panel[:size[1]] = small[:PANEL_PX]
    return panel, scale


@command
def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m classify.image", description="Is this picture fake? One line per picture; the score is "
        "P(fake), higher is faker. Status 1 if a picture could not be read.")
    add_judge_flags(parser, "picture", "picture files")
    parser.add_argument("--picture", type=Path, metavar="FILE.png",
                        help="write what was looked at: the picture with its box, and what the network saw")
    parser.add_argument("-v", "--verbose", action="store_true", help="also what the file says of itself (metadata)")
    arguments = parser.parse_args(argv)

    from pipeline.tables import write_bytes

    paths, judge = judge_for(arguments, "image", "picture")
    sheet = explained(judge, arguments) if arguments.report else None

    def judged(path: str):
        if sheet and not arguments.picture:
            return sheet(path)
        verdict, look = judge.judge_picture(path)
        if arguments.picture:
            write_bytes(arguments.picture, draw(verdict, look))
        return sheet(path) if sheet else verdict

    if arguments.csv:
        return judge_to_csv(arguments, paths, judge, "picture")

    def lines(verdict) -> list[str]:
        return [line(verdict) + by(arguments.model), *(fact_lines(verdict.facts or {}) if arguments.verbose else [])]

    return judge_each(paths, judged, None if arguments.json else lines, judge.card["model_id"], "picture",
                      arguments.time_limit)


if __name__ == "__main__":
    sys.exit(main())
