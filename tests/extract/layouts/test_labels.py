"""Facts about what folder names tell: which level decides, how names are split into words, methods and parts."""
import pytest

from extract.corpus import describe, find_corpus, main, plan
from extract.layouts.labels import class_of, told_by, words_of
from pipeline.errors import CorpusError


def plant(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def labels(root, *names):
    """Name -> label as an index has it."""
    return {row["video_id"]: row["label"] for row in find_corpus(plant(root, *names)).rows}


@pytest.mark.parametrize("name, words", [
    ("0_real", ["real"]), ("training_fake", ["training", "fake"]), ("Deep-Live-Cam", ["deep", "live", "cam"]),
    ("LivePortrait", ["liveportrait"]), ("Ai Weiwei", ["ai", "weiwei"]), ("RealVisXL", ["realvisxl"]), ("12", [])])
def test_names_are_split_at_what_is_no_letter_and_never_inside_a_word(name, words):
    assert words_of(name) == words


@pytest.mark.parametrize("name, label", [
    ("REAL", 0), ("1_fake", 1), ("real_vs_fake", None), ("surreal", None), ("LivePortrait", None), ("ai_upscaled", 1),
    ("Fake (Deep-Live-Cam)", 1), ("Real-ESRGAN", 0),
    ("Face2Face", 1), ("Neural Textures", 1), ("my faceshifter", None)])
def test_a_name_tells_a_class_by_a_whole_word(name, label):
    assert class_of(name) is label or class_of(name) == label


@pytest.mark.parametrize("inner", ["LivePortrait", "Deep-Live-Cam", "RealVisXL", "original", "Real-ESRGAN", "real"])
def test_what_lies_below_fake_is_fake_whatever_it_is_called(tmp_path, inner):
    assert labels(tmp_path, "real/a.mp4", f"fake/{inner}/b.mp4") == {"real/a.mp4": 0, f"fake/{inner}/b.mp4": 1}


@pytest.mark.parametrize("inner", ["ai_upscaled", "Ai Weiwei", "synthetic light", "deepfake news"])
def test_what_lies_below_real_is_real_whatever_it_is_called(tmp_path, inner):
    assert labels(tmp_path, f"real/{inner}/a.mp4", "fake/b.mp4") == {f"real/{inner}/a.mp4": 0, "fake/b.mp4": 1}


def test_a_method_below_real_is_named_as_a_contradiction(tmp_path):
    corpus = find_corpus(plant(tmp_path, "real/Face2Face/a.mp4", "fake/b.mp4"))
    assert any("'Face2Face'" in note for note in corpus.notes)


@pytest.mark.parametrize("names, real", [
    (["deepfakes/real/a.mp4", "deepfakes/fake/b.mp4"], "deepfakes/real/a.mp4"),
    (["deepfakes/train/real/a.mp4", "deepfakes/train/fake/b.mp4", "deepfakes/test/real/c.mp4"],
     "deepfakes/test/real/c.mp4"),                                      # one class alone: decided like its cousins
    (["a/real/x.mp4", "b/fake/y.mp4"], "a/real/x.mp4"),                 # side by side nowhere, at one level
    (["real/a.mp4", "real/ai_upscaled/b.mp4", "misc/c.mp4"], "real/ai_upscaled/b.mp4")])  # no fake at all: outermost
def test_the_outermost_level_with_both_classes_decides(tmp_path, names, real):
    found = labels(tmp_path, *names)
    assert found[real] == 0 and all(label == 1 for name, label in found.items() if "/fake/" in name)


def test_a_deeper_folder_that_says_the_opposite_is_listed_with_what_was_decided_and_why(tmp_path):
    names = [f"fake/original/{n}.mp4" for n in range(3)] + ["fake/x/d.mp4", "real/a.mp4", "real/Ai Weiwei/b.mp4"]
    said = describe(find_corpus(plant(tmp_path, *names)))
    assert ("note: fake/original/ (3) counts as fake, because fake/ is the outermost folder that tells the class; the "
            "word 'original' in its own name was not used") in said
    assert any(line.startswith("note: real/Ai Weiwei/ (1) counts as real") for line in said)
    assert sum("counts as" in line for line in said) == 2


def test_check_says_which_folders_decide_and_which_methods_there_are(tmp_path, capsys):
    assert main([str(plant(tmp_path, "real/a.mp4", "fake/wav2lip/b.mp4", "fake/LivePortrait/c.mp4")), "--check"]) == 0
    said = capsys.readouterr().out
    assert "labelled real: 1 video below real/ (1)" in said
    assert "labelled fake: 2 videos below fake/ (2); methods: LivePortrait 1, wav2lip 1" in said
    assert "nothing is missing or doubled" in said and "would index 3 videos: 1 real, 2 fake" in said


def test_folders_that_differ_in_their_numbers_are_no_methods_nor_are_parts_and_containers():
    told = told_by(["fake/id0", "fake/id1", "real/id0"])
    assert told["fake/id0"].method == "fake"
    told = told_by(["fake/train/videos", "fake/GAN 2/frames", "real", "train_fake/3", "train_real/3"])
    assert told["fake/train/videos"].method == "fake" and told["fake/GAN 2/frames"].method == "GAN 2"
    assert told["train_fake/3"].method == "fake" and told["train_fake/3"].part == "train"


def test_what_cannot_be_labelled_is_named_and_counted(tmp_path):
    names = [f"{kind}/{n}.mp4" for kind in ("real", "fake") for n in range(4)] + ["new/a.mp4", "new/b.mp4", "c.mp4"]
    assert "3 videos left out: below no folder called real or fake (2 in new/, 1 in the corpus itself)" in find_corpus(
        plant(tmp_path, *names)).notes


def test_it_is_an_error_when_it_is_most_of_the_corpus(tmp_path):
    names = [f"{kind}-FakeAudio/African/men/id{n}/0.mp4" for kind in ("FakeTake", "RealTake") for n in range(4)]
    with pytest.raises(CorpusError, match="8 of 10 videos cannot be labelled .4 in FakeTake-FakeAudio/, 4 in Real"):
        find_corpus(plant(tmp_path / "a", *names, "real/a.mp4", "fake/b.mp4"))
    with pytest.raises(CorpusError, match="2 of 4 videos cannot be labelled .2 in altered/., only 2 can"):
        find_corpus(plant(tmp_path / "c", "original/a.mp4", "original/b.mp4", "altered/c.mp4", "altered/d.mp4"))
    with pytest.raises(CorpusError, match="FakeTake-FakeAudio/ has none: words end at what is no letter"):
        find_corpus(plant(tmp_path / "b", *names))


def test_videos_in_folders_train_and_test_keep_these_parts(tmp_path):
    import pandas as pd

    from data.split import split_corpus

    names = [f"{part}/{kind}/{n}.mp4" for part, size in (("train", 8), ("test", 3)) for kind in ("real", "fake")
             for n in range(size)]
    corpus = find_corpus(plant(tmp_path, *names))
    assert "would keep the parts given by the folders (train, test)" in plan(corpus)
    table = split_corpus(pd.DataFrame(corpus.rows)).rows
    assert all((part == "test") == name.startswith("test/") for name, part in zip(table["video_id"], table["part"]))
