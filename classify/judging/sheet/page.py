"""The sheet of one clip or picture: `python -m classify.video clip.mp4 --report sheet.html` (or .png, for a slide).

One file without any outside request: opens from a mail, prints, works on a phone. It is drawn from the evidence
(classify.judging.evidence) alone: no model, no video. Same evidence, same bytes. Its numbers are those of `--json`.
"""
from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classify.judging.inputs import printable
from classify.judging.judge import FrameScore

if TYPE_CHECKING:
    from classify.judging.evidence import Evidence

MOST_POINTS = 400  # of a person in the timeline; of more, the highest of each stretch are drawn
MOST_ROWS = 200    # of the table of scores
UNITS = {"size_px": "size in px", "fps": "frames per second", "c2pa": "", "bytes": "", "gps": "says where it was taken"}


def render(evidence: Evidence, shipped: bool = False) -> str:
    """Return the page as HTML text."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
                                     undefined=jinja2.StrictUndefined,
                                     loader=jinja2.FileSystemLoader(Path(__file__).parent))
    environment.filters.update(number=_number, jpeg=_jpeg, score=lambda value: f"{value:.3f}")
    template = environment.get_template("sheet.html")
    said = evidence.verdict
    return template.render(
        e=evidence, said=said, name=file_name(evidence), headline=headline(evidence), meaning=meaning(evidence),
        plot=timeline(evidence), facts=fact_rows(said.facts or {}), shipped=shipped, command=command_line(evidence),
        sampling=sampling(evidence),
        complaints={n: person.quality.complaints() for n, person in enumerate(evidence.people) if person.quality},
        rows=score_rows(evidence)[:MOST_ROWS], n_rows=sum(len(p.frames) for p in evidence.people))


def sampling(evidence: Evidence) -> str:
    """Describe which frames were asked for."""
    options = evidence.sampling
    which = (f"{options.frames}, evenly over the clip" if options.frames else
             f"one every {options.every:g} s, at least {options.min_frames}")
    return f"{which}; read with {options.reader}"


def file_name(evidence: Evidence) -> str:
    """Return the name of the file without its folder, which is private to the person who judged."""
    return printable(Path(evidence.verdict.path).name)


def headline(evidence: Evidence) -> str:
    """Say the verdict in a sentence."""
    said, thing = evidence.verdict, evidence.thing
    what = "this picture" if thing == "picture" else "the face in this clip"
    if said.score is None:
        return f"There is too little of a face in this {thing} to judge."
    if len(evidence.people) > 1:
        fit = " that can be judged" if any(person.is_unfit for person in said.people or []) else ""
        what = f"a face in this {thing}" if said.verdict == "fake" else f"any face in this {thing}{fit}"
    if said.verdict == "fake":
        return f"The model takes {what} for a fake."
    if said.verdict == "real":
        return f"The model found no sign that {what} is a fake."
    return f"The score is in the uncertain band: the model decides nothing about {what}."


def meaning(evidence: Evidence) -> list[str]:
    """Say what the verdict does not mean, most important first."""
    said, faces = evidence.verdict, evidence.card.get("crop") != "whole"
    lines = {
        "fake": f"It is not proof. Real {evidence.thing}s are called FAKE, too: unusual cameras, make-up, filters, low "
                "light and strong compression are common reasons.",
        "real": "It is not a certificate. A method that the model has not learned, or a copy that was compressed or "
                "shrunk on its way, hides a fake from it.",
        "undecided": "This is not a weak FAKE. Nothing here speaks for or against the " + evidence.thing + "."}
    found = [lines[said.verdict]]
    if faces:
        found.append(f"Only faces were looked at: not the sound, not the scene, not whether the {evidence.thing} shows "
                     "what it is said to show.")
    found.append("It says nothing about who made the file, when, or why." if said.verdict == "fake" else
                 f"It does not say where the {evidence.thing} comes from.")
    found.append("Where the answer matters, ask for the original file and for its source, and have a person look.")
    return found


def timeline(evidence: Evidence) -> dict[str, Any]:
    """Compute where everything is in the plot, in per cent from its upper left corner.

    lines: per person {"points": [(x, y, score, fake)]}; marks: times under the axis as (x, words).
    """
    threshold = evidence.verdict.threshold
    times = [f.time_s for person in evidence.people for f in person.frames]
    end = max([evidence.duration_s, *times], default=0.0)

    def place(frame: FrameScore) -> tuple[float, float, float, bool]:
        x = 100 * frame.time_s / end if end else 50.0
        return round(x, 2), _down(frame.score), frame.score, frame.score >= threshold

    band = evidence.band and {"top": _down(evidence.band[1]),
                              "height": round(100 * (evidence.band[1] - evidence.band[0]), 2)}
    return {"threshold": _down(threshold), "band": band, "end": end, "n": len(times),
            "lines": [[place(f) for f in _thinned(person.frames)] for person in evidence.people],
            "thinned": any(len(person.frames) > MOST_POINTS for person in evidence.people),
            "marks": [(25 * k, clock(end * k / 4)) for k in range(5)] if end else []}


def clock(time_s: float) -> str:
    """Write a time as `1:02.5` or `12.5 s`."""
    return f"{int(time_s // 60)}:{time_s % 60:04.1f}" if time_s >= 60 else f"{time_s:.1f} s"


def score_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """Return a row per judged face in the order of time: time_s, where, score."""
    rows = [{"time_s": f.time_s, "where": person.where, "score": f.score}
            for person in evidence.people for f in person.frames]
    return sorted(rows, key=lambda row: row["time_s"])


def fact_rows(facts: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Return what the file says of itself as pairs of words. A C2PA manifest has a place of its own in the sheet."""
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        words = before + (UNITS.get(name) or name.replace("_", " "))
        if name in ("c2pa", "bytes") or value in ("", None):
            continue
        if isinstance(value, dict):
            rows += fact_rows(value, f"{words}: ")
        else:
            rows.append((words, _number(value)))
    return rows


def command_line(evidence: Evidence) -> str:
    """Return the command that gives the same verdict with the same model."""
    module = "image" if evidence.thing == "picture" else "video"
    return f"python -m classify.{module} {shlex.quote(file_name(evidence))} --json"


def _thinned(frames: list[FrameScore]) -> list[FrameScore]:
    """Return at most MOST_POINTS frames: the highest of each stretch."""
    step = -(-len(frames) // MOST_POINTS) or 1
    return [max(frames[at:at + step], key=lambda f: f.score) for at in range(0, len(frames), step)]


def _down(score: float) -> float:
    return round(100 * (1 - score), 2)


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _jpeg(picture: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()
