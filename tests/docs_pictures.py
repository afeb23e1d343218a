"""`make docs-pictures`: the pictures of the docs, made from the demo run, so that they show what the project shows.

    docs/pictures/contact-sheet.jpg    crops of the demo corpus
    docs/pictures/evidence-sheet.jpg   evidence sheet of a drawn fake, as a slide
    docs/pictures/report.jpg           top of the report page          (needs Chromium)
    docs/pictures/web-page.jpg         web page with a judged clip     (needs Chromium)

Only drawn faces are shown. `make demo` must have run.
"""
from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator

import cv2
import numpy as np

from classify.judging.evidence import gather
from classify.judging.judge import Judge
from classify.judging.sheet.write import write_sheet
from pipeline.errors import PipelineError, TableError, command
from pipeline.tables import DEMO_MARK, VIDEO_SCORES, read_table, write_bytes

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
MOST_BYTES = 290_000
WIDTH_PX = 1000      # of a picture at most
QUALITIES = (90, 80, 70, 60, 50)
WAIT_MS = 300_000    # for the judgement, on a busy machine
SHEET_MS = 2_000     # for the frame of the sheet to get its height


def save(name: str, content: bytes) -> None:
    """Write an encoded picture as docs/pictures/NAME: JPEG, at most WIDTH_PX wide and MOST_BYTES long."""
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    height, width = picture.shape[:2]
    if width > WIDTH_PX:
        picture = cv2.resize(picture, (WIDTH_PX, round(height * WIDTH_PX / width)), interpolation=cv2.INTER_AREA)
    for quality in QUALITIES:
        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(coded) <= MOST_BYTES:
            break
    else:
        raise PipelineError(f"{name} has {len(coded)} bytes, at most {MOST_BYTES} are allowed")
    write_bytes(PICTURES / name, coded)
    print(f"docs-pictures: {PICTURES / name} ({len(coded) // 1000} kB)", flush=True)


def pick_fake(out: Path) -> Path:
    """Return the drawn test clip that the demo's model is surest to be fake."""
    rows = read_table(out / "scores" / "videos.csv", VIDEO_SCORES).query("part == 'test' and label == 1")
    return out / "corpus" / str(rows.sort_values(["score", "video_id"])["video_id"].iloc[-1])


def save_evidence(clip: Path, model: Path) -> None:
    """Write the evidence sheet of a clip."""
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.png"
        write_sheet(slide, gather(Judge(model, "cpu"), clip))
        save("evidence-sheet.jpg", slide.read_bytes())


@contextlib.contextmanager
def open_browser(path: str) -> Iterator[Any]:
    """Start Chromium and give an empty page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=WAIT_MS)
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": 1250}, color_scheme="light")
        page.set_default_timeout(WAIT_MS)
        yield page
        browser.close()


def save_pages(out: Path, clip: Path, model: Path, browser: str) -> None:
    """Write the report page and the web page."""
    from tests.serve.conftest import serving

    with open_browser(browser) as page:
        page.goto((out / "report" / "report.html").resolve().as_uri())
        save("report.jpg", page.screenshot(type="png"))
    with serving(model) as server, open_browser(browser) as page:
        page.goto(server.url + "/")
        page.set_input_files("#file", [str(clip)])
        page.locator("#jobs .verdict").wait_for()
        page.wait_for_timeout(SHEET_MS)
        save("web-page.jpg", page.screenshot(type="png"))


@command
def main(argv: list[str] | None = None) -> int | None:
    parser = argparse.ArgumentParser(prog="python -m tests.docs_pictures", description="Make docs/pictures/ from the "
                                     "demo run.")
    parser.add_argument("--demo-out", type=Path, default=Path("out/demo"), help="folder of the demo run")
    out = parser.parse_args(argv).demo_out
    if not (out / "corpus" / DEMO_MARK).is_file() or not (out / "report" / "report.html").is_file():
        raise TableError(f"{out} is no finished demo run: run `make demo` first")
    clip, model = pick_fake(out), out / "model" / "model.safetensors"
    save("contact-sheet.jpg", (out / "faces" / "sheet.png").read_bytes())
    save_evidence(clip, model)
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise PipelineError("Chromium is missing, so report.jpg and web-page.jpg are as before: apt-get install "
                            "chromium")
    save_pages(out, clip, model, browser)
    return None


if __name__ == "__main__":
    sys.exit(main())
