"""Write the evidence sheet of a clip or an image, as a page or, by its suffix, as one picture."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import OptionsError

if TYPE_CHECKING:
    from classify.judging.evidence import Evidence

SUFFIXES = (".html", ".htm", ".png")


def check_report(path: Path) -> None:
    """Raises OptionsError where no sheet can be written under this name: before minutes of judging."""
    if path.suffix.lower() not in SUFFIXES:
        raise OptionsError(f"--report {path}: name a file that ends in .html, or .png for a slide")


def write_sheet(path: Path, evidence: Evidence, shipped: bool = False) -> None:
    """Write the sheet as a page or, by its suffix, as a picture. shipped: the model is the one that ships."""
    from classify.judging.sheet.page import render
    from pipeline.tables import write_bytes

    check_report(path)
    if path.suffix.lower() == ".png":
        from classify.judging.sheet.slide import draw_slide

        write_bytes(path, draw_slide(evidence))
    else:
        write_bytes(path, render(evidence, shipped).encode("utf-8", "backslashreplace"))
