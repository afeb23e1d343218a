"""The page in a real browser, where one is installed."""
import shutil

import pytest

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
    assert "is no clip or picture" in page.locator("#jobs .wrong").text_content()
    assert "cancelled" in page.locator("#jobs > li").nth(3).text_content()
    assert page.locator("#jobs .verdict").count() == 2 and page.locator("#jobs progress").count() == 0
    page.reload()
    page.locator("#recent li").nth(1).wait_for()
    assert page.locator("#recent li").count() == 2
    page.get_by_role("button", name="Forget them").click()
    assert page.evaluate("localStorage.length") == 0 and page.evaluate("caches.keys()") == []
    assert not errors and all(url.startswith((server.url, "data:")) for url in asked)


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_what_is_dropped_or_pasted_shows_its_sheet_which_the_server_forgets_and_the_browser_keeps(page, server, clips,
                                                                                                  way):
    page.goto(server.url + "/")
    page.evaluate(HAND_OVER, [way, "<b>&.mp4", list(clips[0].read_bytes())])
    sheet = page.frame_locator("#jobs iframe")
    assert sheet.locator("h1").text_content() == "<b>&.mp4" and sheet.locator(".verdict b").is_visible()
    page.wait_for_function("document.querySelector('iframe').offsetHeight > 1000")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    with page.expect_download() as saved:
        page.get_by_text("Save the sheet").click()
    assert "FAKE from" in open(saved.value.path(), encoding="utf-8").read()
    assert "<b>&.mp4" not in [judgement.upload.name for judgement in server.app.state.desk.judgements.values()]
    page.reload()
    page.locator("#recent summary").click()
    assert page.frame_locator("#recent iframe").locator("h1").text_content() == "<b>&.mp4"


def test_the_page_asks_for_the_token(page, demo_model):
    with serving(demo_model, wait=False, token="0123456789abcdef") as server:
        page.goto(server.url + "/")
        page.get_by_label("This server wants a token").fill("0123456789abcdef")
        page.get_by_role("button", name="Use it").click()
        page.locator("#access").wait_for(state="hidden")
        page.get_by_text("Up to 512 MB").wait_for()
