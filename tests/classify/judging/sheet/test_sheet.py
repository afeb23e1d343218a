"""Facts about the sheet of a clip or picture: it stands alone, its numbers are the JSON's, it works for every kind."""
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from classify import image, video
from classify.judging.evidence import MOST_FRAMES, gather
from classify.judging.judge import FrameScore, Judge
from classify.judging.sheet.page import MOST_POINTS, render, timeline
from classify.judging.sheet.write import write_sheet
from tests.clips import noise, overwrite, write_clip

MOST_BYTES = 5_000_000


@pytest.fixture(scope="module")
def model(demo_run):
    return demo_run / "model" / "model.safetensors"


@pytest.fixture(scope="module")
def judge(model):
    return Judge(model, "cpu")


@pytest.fixture(scope="module")
def found(judge, demo_corpus):
    return gather(judge, demo_corpus / "Celeb-real" / "id0_0000.mp4")


@pytest.fixture(scope="module")
def two(found):
    """The same clip with a second person: the first one mirrored, below the threshold, from a model with a band."""
    low = [replace(f, score=.123456) for f in found.people[0].frames]
    first = replace(found.people[0], track=0, where="on the left")
    second = replace(found.people[0], track=1, where="on the right", verdict="real", score=.123456, probability=.0123,
                     frames=low)
    shown = [(frame, [*faces, replace(faces[0], person=1, score=.123456)]) for frame, faces in found.shown]
    return replace(found, people=[first, second], shown=shown, band=(.2, .7), boxes=[*found.boxes, *found.boxes],
                   verdict=replace(found.verdict, people=[first, second], reason="2 people, the left one decides"))


class Numbers(HTMLParser):
    """The exact values of a page's <data>, and what it says for them."""

    def __init__(self):
        super().__init__()
        self.said, self.open, self.values = {}, None, []

    def handle_starttag(self, tag, attrs):
        if tag == "data":
            self.open = dict(attrs)["value"]
            self.values.append(self.open)

    def handle_data(self, data):
        if self.open is not None:
            self.said[self.open] = data
            self.open = None


def numbers_of(value):
    """All numbers of a JSON value."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers_of(v)]
    if isinstance(value, list):
        return [n for v in value for n in numbers_of(v)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def check(page):
    """What every sheet is: one file, no script, no request, no unfilled place."""
    assert len(page.encode()) <= MOST_BYTES
    assert not re.findall(r"""(?:src|href|srcset|action)\s*=\s*["']?\s*(?!data:|#)[^"'\s>]+""", page)
    bare = re.sub(r"base64,[^\"]*", "", page)
    assert not re.findall(r"https?://|@import|url\(|<script|<link|<iframe", bare)
    assert "default-src 'none'" in bare and not re.search(r"\bnan\b|NaN|\bNone\b", bare)
    assert page.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]+"', page)) <= 5 * MOST_FRAMES
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("case", ["found", "two"])
def test_every_number_is_one_of_the_json(request, case):
    evidence = request.getfixturevalue(case)
    page = render(evidence)
    check(page)
    parser = Numbers()
    parser.feed(page)
    known = {float(n) for n in numbers_of(evidence.verdict.as_json())} | set(evidence.band or ()) | {evidence.bytes}
    known |= {frame.time_s for frame, _ in evidence.shown}
    assert len(parser.values) > 10 and {float(v) for v in parser.values} <= known
    for exact, said in parser.said.items():  # and rounded, not cut
        assert float(said) == pytest.approx(float(exact), abs=.51 * 10 ** -len(said.partition(".")[2]))


def test_the_verdict_stands_first_and_what_it_does_not_mean_follows(found):
    for verdict, words in (("fake", "not proof"), ("real", "not a certificate"), ("undecided", "not a weak FAKE")):
        page = render(replace(found, verdict=replace(found.verdict, verdict=verdict)))
        assert page.index(f"<b>{verdict.upper()}</b>") < page.index(words) < page.index("Scores over the clip")


def test_faces_frames_and_boxes_are_there_and_open_without_a_script(found):
    page = render(found)
    n = len(found.shown)
    assert page.count('alt="Face ') == page.count("coloured by what moved") == n
    assert page.count('alt="The full frame') == n and page.count("<summary>") >= n
    assert page.count('stroke-width="3"') == n


def test_two_people_are_told_apart_in_words_marks_and_a_table(two):
    page = render(two)
    assert 'id="people"' in page and page.count("on the left") > 3 and "square ones the person on the right" in page
    assert "UNDECIDED from there to" in page and two.verdict.reason in page


def test_a_faceless_clip_says_so_and_shows_what_was_looked_at(judge, tmp_path):
    page = render(gather(judge, write_clip(tmp_path / "bars.mp4", [n / 10 for n in range(50)])))
    check(page)
    assert "too little of a face in this clip to judge" in page and "at least 5; read with pyav" in page
    assert "No face was found in these frames" in page and "Scores over the clip" not in page
    assert page.count('alt="The full frame') == 5 and "no face in 5 frames" in page


def test_a_damaged_clip_has_a_sheet_that_tells_and_an_unreadable_one_none(model, demo_corpus, tmp_path, capsys):
    whole = (demo_corpus / "Celeb-real" / "id0_0000.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[:3000])
    sheet = tmp_path / "sheet.html"
    assert video.main([str(tmp_path / "cut.mp4"), "--model", str(model), "--report", str(sheet)]) == 1
    assert not sheet.exists()
    good = write_clip(tmp_path / "good.mp4", [n / 10 for n in range(60)], draw=noise)
    clip = overwrite(good, tmp_path / "bad.mp4", .5, .6)
    assert video.main([str(clip), "--model", str(model), "--report", str(sheet), "--device", "cpu"]) == 0
    check(sheet.read_text())
    assert "</data> asked for" in sheet.read_text()  # of the frames that were looked at


def test_a_picture_has_a_sheet_without_a_timeline(model, demo_corpus, tmp_path, capsys):
    capture = cv2.VideoCapture(str(demo_corpus / "Celeb-real" / "id0_0000.mp4"))
    cv2.imwrite(str(tmp_path / "a <b> photo.png"), capture.read()[1])
    sheet = tmp_path / "sheet.html"
    assert image.main([str(tmp_path / "a <b> photo.png"), "--model", str(model), "--report", str(sheet), "--json",
                       "--device", "cpu"]) == 0
    said, page = json.loads(capsys.readouterr().out), sheet.read_text()
    check(page)
    assert f'<data value="{said["score"]}">' in page and "Where the score stands" in page
    assert "<b>" + said["verdict"].upper() in page and "photo.png" in page and "a <b>" not in page


def test_the_command_writes_both_forms_and_prints_the_same_as_without(model, demo_corpus, tmp_path, capsys):
    clip = demo_corpus / "Celeb-synthesis" / "id0_id1_0000.mp4"
    clip = clip if clip.exists() else sorted((demo_corpus / "Celeb-synthesis").iterdir())[0]
    command = [str(clip), "--model", str(model), "--device", "cpu", "--json"]
    assert video.main(command) == 0
    plain = capsys.readouterr().out
    for name in ("s.html", "s.png"):
        assert video.main([*command, "--report", str(tmp_path / name)]) == 0
        assert capsys.readouterr().out == plain
    check((tmp_path / "s.html").read_text())
    assert cv2.imdecode(np.frombuffer((tmp_path / "s.png").read_bytes(), np.uint8), 1).shape == (900, 1600, 3)


@pytest.mark.parametrize("extra, words", [(["--report", "a.pdf"], ".html"), (["--report", "a.html", "--csv", "t.csv"],
                                                                             "leave one out")])
def test_what_cannot_be_written_is_said_before_judging(model, demo_corpus, capsys, extra, words):
    assert video.main([str(demo_corpus / "Celeb-real" / "id0_0000.mp4"), "--model", str(model), *extra]) == 1
    assert words in capsys.readouterr().err


def test_several_clips_are_not_one_sheet(model, demo_corpus, capsys):
    assert video.main([str(demo_corpus / "Celeb-real"), "--model", str(model), "--report", "s.html"]) == 1
    assert "name one" in capsys.readouterr().err


def test_names_and_tags_are_escaped_and_the_folder_is_not_told(found):
    odd = replace(found.verdict, path="/home/somebody/<img alt=x>\ud800.mp4",
                  facts={"encoder": "<script>alert(1)</script>", "c2pa": True, "video": {"gps": True}})
    page = render(replace(found, verdict=odd))
    check(page)
    assert "somebody" not in page and "&lt;img alt=x&gt;" in page
    assert "there is a C2PA manifest in the file; it was not read here" in page and "says where it was taken" in page


def test_content_credentials_are_stated_as_facts_beside_what_was_not_checked(found):
    signed = {"c2pa": True, "credentials": {"signer": "<b>A Camera", "signature": "NOT valid: changed"}}
    page = render(replace(found, verdict=replace(found.verdict, facts=signed)))
    check(page)
    assert "whether its signer is who they say was not checked" in page and "credentials: signature" in page
    assert "&lt;b&gt;A Camera" in page and "NOT valid: changed" in page


def test_a_long_clip_s_timeline_keeps_its_highest_scores(found):
    frames = [FrameScore(float(n), .9 if n == 1234 else .1) for n in range(3000)]
    long = replace(found, people=[replace(found.people[0], frames=frames)], duration_s=3000.)
    plot = timeline(long)
    assert len(plot["lines"][0]) <= MOST_POINTS and max(p[2] for p in plot["lines"][0]) == .9 and plot["thinned"]
    check(render(long))


def test_the_same_evidence_gives_the_same_bytes(found, tmp_path):
    for name in ("a", "b"):
        for suffix in ("html", "png"):
            write_sheet(tmp_path / f"{name}.{suffix}", found)
    for suffix in ("html", "png"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_the_shipped_detector_s_card_is_named(found):
    assert "MODEL_CARD.md" in render(found, shipped=True) and "MODEL_CARD.md" not in render(found)
