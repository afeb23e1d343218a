"""Facts about the sheets that a report opens: those of the clips that are there, and why the others have none."""
import os

import pytest

from classify.judging.judge import Judge
from classify.models.network import read_card
from reports.error_sheets import safe, write_sheets

CLIPS = ("Celeb-real/id0_0000.mp4", "Celeb-real/gone.mp4")


@pytest.fixture
def out(demo_run, tmp_path):
    """A run's folder with the demo's model."""
    os.symlink(demo_run / "model", tmp_path / "model")
    return tmp_path


@pytest.fixture
def model_id(demo_run):
    return read_card(demo_run / "model" / "model.safetensors")["model_id"]


def calls(*names):
    return [{"video_id": name} for name in names]


def files(out):
    return {path.name: path.read_bytes() for path in (out / "report" / "sheets").glob("*")}


def test_a_sheet_says_what_the_judge_says_and_a_clip_that_is_gone_says_so(out, demo_corpus, demo_run, model_id):
    (out / "report" / "sheets").mkdir(parents=True)
    (out / "report" / "sheets" / "01-of_an_earlier_report.html").touch()
    sheets, why = write_sheets(out, demo_corpus, model_id, calls(*CLIPS))
    said = Judge(demo_run / "model" / "model.safetensors", "cpu").judge(demo_corpus / CLIPS[0])
    assert why == "" and sheets[0] == {"video_id": CLIPS[0], "file": "sheets/01-id0_0000.html", "reason": said.reason,
                                       "verdict": said.verdict, "score": said.score}
    assert (sheets[1]["file"], sheets[1]["score"]) == ("", None) and sheets[1]["reason"]
    made = files(out)
    assert list(made) == ["01-id0_0000.html"] and f"{said.score:.3f}" in made["01-id0_0000.html"].decode()
    write_sheets(out, demo_corpus, model_id, calls(*CLIPS))
    assert files(out) == made
    assert write_sheets(out, demo_corpus, model_id, []) == ([], "") and files(out) == {}


@pytest.mark.parametrize("corpus, model_id, reason", [
    (None, "any", "nobody said where"), ("nowhere", "any", "the videos are no longer"),
    (".", "any", "the videos are no longer"), ("demo", "other-0000", "the model that made these scores is no longer")])
def test_without_videos_or_model_there_is_a_reason(out, demo_corpus, corpus, model_id, reason):
    found, why = write_sheets(out, demo_corpus if corpus == "demo" else corpus and out / corpus, model_id, calls("a"))
    assert found == [] and why.startswith(reason)


def test_names_are_safe_in_a_link_and_on_any_system():
    assert safe("a/b/c d&e<é>.mp4") == "c_d_e_" and safe("../..mp4") == "_" and len(safe("x" * 300 + ".mp4")) == 60
