"""The small inputs of the shared material give the answers of its README."""
import shutil

import pytest

from extract.corpus import find_corpus, main


@pytest.fixture
def case(shared):
    return lambda name: find_corpus(shared("cases", name))


def counts(corpus):
    fakes = sum(row["label"] for row in corpus.rows)
    return len(corpus.rows) - fakes, fakes


def test_label_words(case):
    assert counts(case("label_words")) == (3, 5)


def test_frames_of_faceforensics_are_grouped_by_video_and_masks_are_no_class(case):
    corpus = case("ffpp_frames")
    assert corpus.title == "FaceForensics++" and counts(corpus) == (4, 4)
    rows = {row["video_id"].rpartition("/")[2]: row for row in corpus.rows}
    assert rows["001_870"]["original"] == "original_sequences/youtube/c23/frames/001"
    assert (rows["001_870"]["target_id"], rows["001_870"]["source_id"]) == ("001", "870")
    assert not any("masks" in row["video_id"] for row in corpus.rows)


def test_wilddeepfake_is_grouped_by_sequence_and_keeps_its_parts(case):
    corpus = case("wilddf")
    assert corpus.dataset == "WildDeepfake" and counts(corpus) == (4, 4)
    assert {(row["video_id"].split("/")[0], row["label"], row["official"]) for row in corpus.rows} == {
        (f"{kind}_{part}", label, part) for part in ("train", "test") for label, kind in enumerate(("real", "fake"))}


def test_the_preview_of_dfdc_goes_by_its_dataset_json(case):
    corpus = case("dfdcp")
    rows = {row["video_id"]: row for row in corpus.rows}
    fake = rows["method_B/643507/643507_A/1224068_643507_A_002.mp4"]
    assert counts(corpus) == (1, 2) and corpus.dataset == "DFDC-preview"
    assert (fake["target_id"], fake["source_id"]) == ("643507", "1224068")
    assert (fake["method"], fake["official"]) == ("method_B", "test")
    first = rows["method_A/643507/643507_A/1224068_643507_A_001.mp4"]
    assert first["original"] == "original_videos/643507/643507_A_001.mp4" in rows


def test_each_suffix_is_taken_or_named(case):
    corpus = case("suffixes")
    assert [row["video_id"] for row in corpus.rows] == ["fake/d.mp4", "fake/e.ogv", "fake/g.3g2", "real/a.mp4",
                                                        "real/b.MTS", "real/c.m2ts"]
    assert "1 picture beside the videos: not looked at (e.g. fake/f.gif)" in corpus.notes


def test_out_inside_the_corpus_changes_nothing(shared, tmp_path):
    from extract import run

    root = shutil.copytree(shared("cases", "out_inside_corpus"), tmp_path / "c")
    for _ in range(2):
        assert main(["--out", str(root / "out"), "--corpus", str(root)]) == 0
        assert run.main(["--out", str(root / "out"), "--workers", "0", "--device", "cpu"]) == 0
        assert len(find_corpus(root).rows) == 12


def test_a_jfif_is_a_picture_judged_like_a_jpg(shared, tmp_path, capsys):
    from classify import image, video

    photo = shared("cases", "photo.jfif")
    shutil.copy(photo, tmp_path / "photo.jpg")
    said = []
    for command, path in ((image, photo), (image, tmp_path / "photo.jpg"), (video, photo)):
        assert command.main([str(path), "--json", "--device", "cpu"]) == 0
        said.append(capsys.readouterr().out.split('"verdict"')[1].split('"frames"')[0])
    assert said[0] == said[1] == said[2]
