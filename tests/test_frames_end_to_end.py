"""Facts about a corpus whose videos are folders of frames, through all stages."""
import cv2
import pytest

from classify import score, train
from data import split
from extract import corpus, run
from pipeline.tables import FACES, INDEX, SPLIT, VIDEO_SCORES, VIDEOS, read_table
from reports import page


@pytest.fixture(scope="module")
def framed(demo_corpus, tmp_path_factory):
    """The demo corpus with each clip as a folder of frames below real/ and fake/."""
    root = tmp_path_factory.mktemp("framed")
    for clip in sorted(demo_corpus.rglob("*.mp4")):
        folder = root / ("fake" if "synthesis" in clip.parent.name else "real") / f"clip_{clip.stem}"
        folder.mkdir(parents=True)
        video = cv2.VideoCapture(str(clip))
        for number in range(0, 16, 3):
            video.set(cv2.CAP_PROP_POS_FRAMES, number)
            cv2.imwrite(str(folder / f"{number:05d}.jpg"), video.read()[1])
    return root


@pytest.mark.slow
def test_a_video_of_frames_is_one_video_in_every_table(framed, tmp_path, capsys):
    out = str(tmp_path / "out")
    small = ["--backbone", "tf_efficientnet_lite0", "--size", "64", "--epochs", "1", "--device", "cpu"]
    for module, flags in ((corpus, ["--corpus", str(framed)]), (run, ["--workers", "0", "--device", "cpu"]),
                          (split, []), (train, small), (score, ["--device", "cpu"]), (page, [])):
        assert module.main(["--out", out, *flags]) == 0, module.__name__
    index = read_table(f"{out}/index.csv", INDEX)
    assert len(index) == 12 and set(index["modality"]) == {"video"}
    videos = read_table(f"{out}/faces/videos.csv", VIDEOS)
    assert (videos["n_read"] == 6).all() and (videos["n_faces"] >= 3).all()
    faces = read_table(f"{out}/faces/faces.csv", FACES)
    assert faces["time_s"].max() == pytest.approx(15 / 25)
    parts = read_table(f"{out}/split.csv", SPLIT)
    assert len(parts) == 12 and set(parts["part"]) == {"train", "val", "test"}
    rows = read_table(f"{out}/scores/videos.csv", VIDEO_SCORES)
    assert set(rows["video_id"]) == set(parts["video_id"][parts["part"] != "train"])
    assert set(rows["verdict"]) <= {"real", "fake"}
    assert "unknown" in capsys.readouterr().out
