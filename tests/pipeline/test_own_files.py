"""What the commands write for people is recognised in a corpus, whatever it is called; other files are not."""
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from classify import image, video
from extract.corpus import find_corpus
from extract.decoding.sampling import Clip, FrameOptions
from pipeline.own_files import MARK, is_own, marked_png


@pytest.fixture(scope="module")
def corpus(demo_corpus, tmp_path_factory):
    """Two clips, and beside them all that the commands write about the first."""
    root = tmp_path_factory.mktemp("own")
    for kind, folder in (("real", "Celeb-real"), ("fake", "Celeb-synthesis")):
        (root / kind).mkdir()
        shutil.copy(sorted((demo_corpus / folder).iterdir())[0], root / kind / "a.mp4")
    clip = str(root / "real/a.mp4")
    for target in ("annotated.mp4", "fake/seen.mov", "fake/seen.mkv"):
        assert video.main([clip, "--device", "cpu", "--annotate", str(root / target)]) == 0
    for target in ("real/slide.png", "real/sheet.html"):
        assert video.main([clip, "--device", "cpu", "--report", str(root / target)]) == 0
    assert video.main([clip, "--device", "cpu", "--csv", str(root / "real/labels.csv")]) == 0
    frame = next(iter(Clip(root / "real/a.mp4", FrameOptions()).frames())).rgb
    (root / "pictures/real").mkdir(parents=True)
    (root / "pictures/fake").mkdir()
    for kind in ("real", "fake"):
        Image.fromarray(frame).save(root / "pictures" / kind / "photo.png")
    assert image.main([str(root / "pictures/real/photo.png"), "--device", "cpu",
                       "--picture", str(root / "pictures/fake/looked.png")]) == 0
    return root


@pytest.mark.parametrize("name", ["annotated.mp4", "fake/seen.mov", "fake/seen.mkv", "real/slide.png",
                                  "real/labels.csv", "pictures/fake/looked.png"])
def test_what_a_command_writes_is_recognised_also_under_another_name(corpus, tmp_path, name):
    assert is_own(corpus / name)
    moved = shutil.copy(corpus / name, tmp_path / f"x{(corpus / name).suffix.upper()}")
    assert is_own(moved)


@pytest.mark.parametrize("name", ["real/a.mp4", "fake/a.mp4", "pictures/real/photo.png", "real/missing.png"])
def test_what_others_made_is_not(corpus, name):
    assert not is_own(corpus / name)


def test_nothing_of_it_is_indexed_and_it_is_counted(corpus):
    found = find_corpus(corpus)
    assert [row["video_id"] for row in found.rows] == ["fake/a.mp4", "real/a.mp4"]
    assert any(note.startswith("6 files written by this project for people left out (e.g. annotated.mp4)")
               for note in found.notes)
    pictures = find_corpus(corpus / "pictures")
    assert [row["video_id"] for row in pictures.rows] == ["fake/photo.png", "real/photo.png"]


def test_a_mark_leaves_the_pixels_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    png = marked_png(cv2.imencode(".png", pixels)[1].tobytes())
    assert MARK.encode() in png and (cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) == pixels).all()
