"""The page in a real browser, where one is installed."""
import csv
import shutil
import time
from importlib.resources import files

import pytest
import requests

from classify.judging.judge import Judge
from classify.models.shipped import SHIPPED
from data.demo.make import stage
from extract.decoding.sampling import Clip, FrameOptions
from serve import samples
from tests.serve.conftest import serving

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
sync_api = pytest.importorskip("playwright.sync_api")
WAIT_MS = 60_000
HAND_OVER = """([way, name, bytes]) => {
  const files = new DataTransfer(), init = { bubbles: true, cancelable: true };
  files.items.add(new File([new Uint8Array(bytes)], name));
  document.body.dispatchEvent(way == "drop" ? new DragEvent("drop", { dataTransfer: files, ...init })
    : new ClipboardEvent("paste", { clipboardData: files, ...init }));
}"""


@pytest.fixture(params=[(1280, "light"), (375, "dark")], ids=["desk", "phone"])
def page(request):
    if not BROWSER:
        pytest.skip("no Chromium here (apt-get install chromium)")
    width, scheme = request.param
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.set_default_timeout(WAIT_MS)
        yield page
        browser.close()


def until(page, expression):
    """Wait until a JavaScript expression, or the promise that it is, is true. The page's policy forbids polling inside.
    """
    limit = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < limit, expression
        page.wait_for_timeout(50)


def test_files_are_judged_refused_cancelled_and_remembered(page, server, clips, tmp_path):
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    (tmp_path / "text.mp4").write_text("no clip")
    page.set_input_files("#file", [clips[0], tmp_path / "text.mp4", clips[1], clips[2]])
    page.get_by_role("button", name=f"Cancel {clips[2].name}").click()
    page.locator("#jobs summary").nth(1).wait_for()
    until(page, "JSON.parse(localStorage['recent-judgements'] || '[]').length == 2")
    assert "is no clip or picture" in page.locator("#jobs .wrong").text_content()
    assert "cancelled" in page.locator("#jobs > li").nth(3).text_content()
    assert page.locator("#jobs .verdict").count() == 2 and page.locator("#jobs progress").count() == 0
    page.reload()
    page.locator("#recent li").nth(1).wait_for()
    assert page.locator("#recent li").count() == 2
    page.get_by_role("button", name="Delete recent results").click()
    assert page.evaluate("localStorage.length") == 0 and page.evaluate("caches.keys()") == []
    assert not errors and all(url.startswith((server.url, "data:")) for url in asked)


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_what_is_dropped_or_pasted_has_a_sheet_that_the_browser_keeps_after_it_is_deleted_on_the_server(
        page, server, clips, way):
    page.goto(server.url + "/")
    page.evaluate(HAND_OVER, [way, "<b>&.mp4", list(clips[0].read_bytes())])
    page.locator("#jobs summary").click()
    sheet = page.frame_locator("#jobs iframe")
    assert sheet.locator("h1").text_content() == "<b>&.mp4" and sheet.locator(".verdict b").is_visible()
    until(page, "document.querySelector('iframe').offsetHeight > 1000")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    with page.expect_download() as saved:
        page.get_by_text("Save the sheet").click()
    assert "FAKE from" in open(saved.value.path(), encoding="utf-8").read()
    until(page, "caches.open('recent-judgements').then((c) => c.keys()).then((found) => found.length == 2)")
    desk = server.app.state.desk
    for judgement in list(desk.judgements.values()):
        requests.delete(f"{server.url}/v1/judgements/{judgement.id}", timeout=60)
    page.reload()
    page.locator("#recent summary").click()
    assert page.frame_locator("#recent iframe").locator("h1").text_content() == "<b>&.mp4"
    assert page.locator("#recent .faces img").count() >= 1


def test_the_samples_are_judged_by_keyboard_and_their_results_can_be_shared_sorted_and_saved(page, server):
    page.goto(server.url + "/")
    page.get_by_text("Files are deleted once judged").wait_for()
    meanings = page.locator("#answers dd")
    assert page.locator("#answers dt").all_text_contents() == ["FAKE", "REAL", "UNDECIDED"]
    assert all(text.endswith(".") and text.count(".") == 1 for text in meanings.all_text_contents())
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#jobs details").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#jobs details").nth(1).wait_for()
    page.locator("#jobs > li").nth(1).locator(".faces img").first.wait_for()
    for result in page.locator("#jobs > li").all():
        assert result.locator(".reason").text_content() and result.locator("svg circle").count() >= 3
        assert 1 <= result.locator(".faces img").count() <= 6 and result.locator("details[open]").count() == 0
        label = result.locator("svg").get_attribute("aria-label")
        assert "threshold" in label and f"{result.locator('svg circle').count()} faces" in label
    names = page.locator("#table tbody th")
    page.get_by_role("button", name="File", exact=True).press("Enter")
    assert names.all_text_contents() == ["sample-real.mp4", "sample-swapped.mp4"]
    page.get_by_role("button", name="File", exact=True).press("Enter")
    assert names.all_text_contents() == ["sample-swapped.mp4", "sample-real.mp4"]
    assert page.locator("th[aria-sort=descending]").count() == 1
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as CSV").press("Enter")
    rows = list(csv.DictReader(open(saved.value.path(), encoding="utf-8")))
    assert [row["path"] for row in rows] == ["sample-real.mp4", "sample-swapped.mp4"]
    assert all(0 <= float(row["score"]) <= 1 and row["verdict"] in ("real", "fake", "undecided") for row in rows)

    link = page.locator("#jobs .share a").first.get_attribute("href")
    other = page.context.browser.new_page()
    other.goto(link)
    other.locator("#jobs .verdict").wait_for()
    assert other.locator("#jobs h2").text_content() == "sample-real.mp4"
    page.get_by_role("button", name="Remove sample-real.mp4").press("Enter")
    page.get_by_text("sample-real.mp4: removed").wait_for()
    other.close()
    late = page.context.browser.new_page()
    late.goto(link)
    late.get_by_text("no longer on the server").wait_for()
    late.close()


def test_no_rule_of_axe_is_broken(page, server, clips):
    """Before a file is chosen, and with results, a failure and the table."""
    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    page.goto(server.url + "/")
    page.get_by_text("Files are deleted once judged").wait_for()
    for _ in range(2):
        page.evaluate(axe)
        found = page.evaluate("axe.run()")
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []
        page.set_input_files("#file", [clips[0], clips[1], __file__])
        page.locator("#jobs .wrong").wait_for()
        page.locator("#jobs details").nth(1).wait_for()
        page.locator("#jobs .faces img").first.wait_for()


def test_the_samples_are_the_demos_and_the_shipped_detector_is_right_on_both():
    scene, overlays, _ = stage(samples.OPTIONS, samples.JOB)
    for name, drawn in zip((samples.REAL, samples.SWAPPED), scene.draw(0, overlays)):
        kept = next(Clip(samples.HERE / name, FrameOptions(every=1)).frames()).rgb
        assert kept.shape == drawn.shape and abs(kept[..., ::-1].astype(float) - drawn).mean() < 5
    judge = Judge(SHIPPED, "cpu")
    assert judge.judge(samples.HERE / samples.REAL).verdict == "real"
    assert judge.judge(samples.HERE / samples.SWAPPED).verdict == "fake"


def test_the_page_asks_for_the_token(page, demo_model):
    with serving(demo_model, wait=False, token="0123456789abcdef") as server:
        page.goto(server.url + "/")
        page.get_by_label("This server requires a token").fill("0123456789abcdef")
        page.get_by_role("button", name="Use it").click()
        page.locator("#access").wait_for(state="hidden")
        page.get_by_text("At most 512 MB").wait_for()
