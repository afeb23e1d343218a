"""The sheet as one picture for a slide: verdict, scores over the clip, up to eight faces with their heat."""
from __future__ import annotations

import io
import textwrap
from typing import TYPE_CHECKING, Any

from pipeline.own_files import MARK

if TYPE_CHECKING:
    from classify.judging.evidence import Evidence

SIZE_IN, DPI = (16, 9), 100
MOST_FACES = 8
COLOURS = {"fake": "#b34700", "real": "#00568a", "undecided": "#595959"}


def draw_slide(evidence: Evidence) -> bytes:
    """A PNG of 1600 x 900 px."""
    import matplotlib.image
    from matplotlib.figure import Figure

    from classify.judging.evidence import chosen
    from classify.judging.sheet.page import file_name, headline, meaning

    said = evidence.verdict
    figure = Figure(figsize=SIZE_IN, dpi=DPI, facecolor="white")  # without pyplot: no global state, no display

    def write(y: float, words: str, size: float, colour: str = "black", weight: str = "normal") -> None:
        figure.text(.04, y, words.replace("$", r"\$"), fontsize=size, color=colour, weight=weight, va="top")

    write(.96, said.verdict.upper(), 44, COLOURS[said.verdict], "bold")
    write(.86, headline(evidence), 21)
    numbers = [f"score {said.score:.3f}, FAKE from {said.threshold:.3f}" if said.score is not None else "no score"]
    numbers += [f"probability {said.probability:.3f}"] if said.probability is not None else []
    write(.805, " · ".join([*numbers, f"model {said.model}", file_name(evidence)[:80]]), 14, "#444444")
    if evidence.demo or said.reason or evidence.no_heat:
        note = ("trained on drawn faces: knows nothing about real clips" if evidence.demo else
                said.reason or f"no heat map: {evidence.no_heat}")
        write(.765, textwrap.shorten(note, 150), 14, "#8a3700")
    if any(person.frames for person in evidence.people):
        _timeline(figure.add_axes((.07, .44, .89, .27)), evidence)
    faces = [(frame, face) for frame, entries in evidence.shown for face in entries]
    keep = chosen(range(len(faces)), [face.score for _, face in faces], MOST_FACES) if faces else []
    for place, number in enumerate(keep):
        frame, face = faces[number]
        for row, picture in enumerate(filter(None, (face.face, face.heat))):
            axes = figure.add_axes((.04 + .116 * place, .225 - .145 * row, .108, .14), frameon=False)
            axes.imshow(matplotlib.image.imread(io.BytesIO(picture), format="jpeg"))
            axes.set(xticks=[], yticks=[])
            if row == 0:
                when = f"{frame.time_s:.1f} s: " if evidence.thing == "clip" else ""
                axes.set_title(f"{when}{face.score:.3f}", fontsize=12, pad=3)
    write(.065, "\n".join(textwrap.wrap(" ".join(meaning(evidence)[:2]), 165)), 12, "#444444")
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": MARK})
    return target.getvalue()


def _timeline(axes: Any, evidence: Evidence) -> None:
    threshold = evidence.verdict.threshold
    if evidence.band:
        axes.axhspan(*evidence.band, color="#dcdcd8", label="uncertain band")
    axes.axhline(threshold, color="black", ls="--", lw=1, label=f"FAKE from {threshold:.3f}")
    for number, person in enumerate(evidence.people):
        times, scores = [f.time_s for f in person.frames], [f.score for f in person.frames]
        axes.plot(times, scores, ":" if number % 2 else "-", color="#777777", lw=1.2)
        colours = [COLOURS["fake" if score >= threshold else "real"] for score in scores]
        axes.scatter(times, scores, c=colours, marker="os^D"[number % 4], s=45, zorder=3, clip_on=False,
                     label=person.where or None)
    axes.set(ylim=(0, 1), ylabel="score", xlabel="seconds" if evidence.thing == "clip" else "")
    if evidence.thing == "picture":
        axes.set_xticks([])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=8, fontsize=11, frameon=False)  # above the marks
