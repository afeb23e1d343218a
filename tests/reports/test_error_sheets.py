"""Facts about the sheets that a report opens: those of the clips that are there, and why the others have none."""
import pytest

from classify.judging.judge import Judge
from reports.error_sheets import safe, write_sheets

CLIPS = ("Celeb-real/id0_0000.mp4", "Celeb-real/gone.mp4")


@pytest.fixture
def model(demo_run):
    return demo_run / "model" / "model.safetensors"


def calls(*names):
    return [{"video_id": name} for name in names]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def test_a_sheet_says_what_the_judge_says_and_a_clip_that_is_gone_says_so(tmp_path, demo_corpus, model):
    (tmp_path / "01-of_an_earlier_report.html").touch()
    sheets, why = write_sheets(tmp_path, demo_corpus, model, calls(*CLIPS))
    said = Judge(model, "cpu").judge(demo_corpus / CLIPS[0])
    assert why == "" and sheets[0] == {"video_id": CLIPS[0], "file": "sheets/01-id0_0000.html", "reason": said.reason,
                                       "verdict": said.verdict, "score": said.score}
    assert (sheets[1]["file"], sheets[1]["score"]) == ("", None) and sheets[1]["reason"]
    made = files(tmp_path)
    assert list(made) == ["01-id0_0000.html"] and f"{said.score:.3f}" in made["01-id0_0000.html"].decode()
    write_sheets(tmp_path, demo_corpus, model, calls(*CLIPS))
    assert files(tmp_path) == made
    assert write_sheets(tmp_path, demo_corpus, model, []) == ([], "") and files(tmp_path) == {}


def test_without_videos_or_model_there_is_a_reason(tmp_path, demo_corpus, model):
    for root in (None, tmp_path / "nowhere"):
        assert write_sheets(tmp_path, root, model, calls("a")) == ([], "the videos are no longer where they were "
                                                                   "extracted from, or not on this machine")
    found, why = write_sheets(tmp_path, demo_corpus, None, calls("a"))
    assert found == [] and why.startswith("the model that made these scores is no longer")


def test_names_are_safe_in_a_link_and_on_any_system():
    assert safe("a/b/c d&e<é>.mp4") == "c_d_e_" and safe("../..mp4") == "_" and len(safe("x" * 300 + ".mp4")) == 60
