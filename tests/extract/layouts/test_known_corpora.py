"""Each known corpus, drawn from the grammar of its names: counts, labels, people, methods, and what does not fit.

A tree of names only; no file is opened but lists and metadata.
"""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from data.split import SplitOptions, split_corpus
from extract.corpus import describe, find_corpus, main, plan
from pipeline.errors import CorpusError
from pipeline.tables import INDEX, read_table
from tests.clips import write_clip
from tests.extract.test_corpus import by_id, plant


@dataclass(frozen=True)
class Tree:
    """A drawn corpus and its answer.

    names: of empty files. texts: name -> content of lists and metadata. rows: video_id -> (label, method, target_id,
    source_id, original, official). expected: kind -> clips that the whole corpus has. stray: a file that does not
    belong to it. wrong: changes that contradict its label: name -> name, or name -> content; said: the error.
    absent: a file that `make check` must report when it is missing, and the line that reports it.
    """

    title: str
    names: list[str]
    rows: dict[str, tuple]
    expected: dict[str, int]
    stray: str
    wrong: dict[str, Any]
    said: str
    absent: tuple[str, str]
    texts: dict[str, str] = field(default_factory=dict)


META = "source,target1,target2,method,category,type,race,gender,path,\n"
FAV = "RealVideo-RealAudio/African/men/id00076/00109.mp4"
FAV_SWAP = "FakeVideo-RealAudio/African/men/id00076/00109_id00478_f5.mp4"
FAV_LIPS = "FakeVideo-FakeAudio/African/men/id00076/00109_10_id00476_wavtolip.mp4"
FAV_VOICE = "RealVideo-FakeAudio/African/men/id00076/00109_fake.mp4"
FAV_META = META + (
    "id00076,-,-,real,A,RealVideo-RealAudio,African,men,00109.mp4,FakeAVCeleb/RealVideo-RealAudio/African/men/id00076\n"
    "id00076,id00478,-,faceswap,C,FakeVideo-RealAudio,African,men,00109_id00478_f5.mp4,"
    "FakeAVCeleb/FakeVideo-RealAudio/African/men/id00076\n"
    "id00076,id00476,-,wav2lip,D,FakeVideo-FakeAudio,African,men,00109_10_id00476_wavtolip.mp4,"
    "FakeAVCeleb/FakeVideo-FakeAudio/African/men/id00076\n"
    "id00076,-,-,rtvc,B,RealVideo-FakeAudio,African,men,00109_fake.mp4,"
    "FakeAVCeleb/RealVideo-FakeAudio/African/men/id00076\n")

LAV = [{"file": "test/000000.mp4", "n_fakes": 0, "modify_video": False, "modify_audio": False, "original": None,
        "split": "test"},
       {"file": "test/000001.mp4", "n_fakes": 1, "modify_video": True, "modify_audio": False, "split": "test",
        "original": "test/000000.mp4"},
       {"file": "dev/000002.mp4", "n_fakes": 2, "modify_video": True, "modify_audio": True, "split": "dev",
        "original": None},
       {"file": "train/000003.mp4", "n_fakes": 1, "modify_video": False, "modify_audio": True, "split": "train",
        "original": "test/000000.mp4"}]
LAV_WRONG = json.dumps([{**LAV[0], "n_fakes": 3}, *LAV[1:]])

FN = "Training/video/train_release/"
FN_LIST = ("1 train_release/2/a/x.mp4 0.0 1.0 1 1 2\n0 train_release/17/b/y.mp4 0 0 0\n"
           "2 train_release/8/c/z.mp4 0.1 0.5 0.6 0.9 1 2 8\n")

DFDC_LABELS = "filename,label\naa.mp4,1\nbb.mp4,0\ncc.mp4,1\n"

PP = "Celeb-synthesis/"
TREES = [
    Tree("FakeAVCeleb", [FAV, FAV_SWAP, FAV_LIPS, FAV_VOICE],
         {FAV: (0, "", "id00076", "", "", ""), FAV_SWAP: (1, "faceswap", "id00076", "id00478", FAV, ""),
          FAV_LIPS: (1, "wav2lip", "id00076", "id00476", FAV, ""), FAV_VOICE: (0, "", "id00076", "", "", "")},
         {"RealVideo-RealAudio": 500, "FakeVideo-FakeAudio": 10835, "FakeVideo-RealAudio": 9709,
          "RealVideo-FakeAudio": 500},
         "extra/x.mp4", {"meta_data.csv": FAV_META.replace("C,FakeVideo-RealAudio", "C,RealVideo-RealAudio")},
         "meta_data.csv, line 3: FakeVideo-RealAudio/African/men/id00076/00109_id00478_f5.mp4 is called RealVideo-Real",
         (FAV_LIPS, f"  {FAV_LIPS}"), {"meta_data.csv": FAV_META}),
    Tree("DF40", ["simswap/ff/000_003.mp4", "blendface/cdf/id1_id2_0007.mp4", "heygen/fake/a.mp4", "heygen/real/b.mp4"],
         {"simswap/ff/000_003.mp4": (1, "simswap", "FaceForensics++/000", "FaceForensics++/003", "FaceForensics++/000",
                                     ""),
          "blendface/cdf/id1_id2_0007.mp4": (1, "blendface", "Celeb-DF/id1", "Celeb-DF/id2", "Celeb-DF/id1_0007", ""),
          "heygen/fake/a.mp4": (1, "heygen", "", "", "", ""), "heygen/real/b.mp4": (0, "", "", "", "", "")},
         {"methods": 40}, "unknown_method/ff/001_002.mp4", {"heygen/real/b.mp4": "heygen/unsure/b.mp4"}, "",
         ("blendface/cdf/id1_id2_0007.mp4", "2 of 40 methods")),
    Tree("Celeb-DF++",
         ["Celeb-real/id1_0007.mp4", "YouTube-real/00001.mp4", PP + "FaceSwap/Celeb-DF/id1_id2_0007.mp4",
          PP + "FaceReenact/LIA/id1_id2_0007.mp4", PP + "TalkingFace/FLOAT/id1_0007_test_id08701_aaa.mp4"],
         {"Celeb-real/id1_0007.mp4": (0, "", "id1", "", "", "train"),
          "YouTube-real/00001.mp4": (0, "", "yt00001", "", "", "train"),
          PP + "FaceSwap/Celeb-DF/id1_id2_0007.mp4": (1, "FaceSwap/Celeb-DF", "id1", "id2", "Celeb-real/id1_0007.mp4",
                                                      "test"),
          PP + "FaceReenact/LIA/id1_id2_0007.mp4": (1, "FaceReenact/LIA", "id1", "id2", "Celeb-real/id1_0007.mp4",
                                                    "train"),
          PP + "TalkingFace/FLOAT/id1_0007_test_id08701_aaa.mp4": (1, "TalkingFace/FLOAT", "id1", "",
                                                                   "Celeb-real/id1_0007.mp4", "train")},
         {"Celeb-real": 590, "YouTube-real": 300, "methods": 22, "FaceSwap": 8, "FaceReenact": 7, "TalkingFace": 7},
         "other/x.mp4", {"List_of_testing_videos.txt": f"1 {PP}FaceSwap/Celeb-DF/id1_id2_0007.mp4\n"},
         "line 1: calls Celeb-synthesis/FaceSwap/Celeb-DF/id1_id2_0007.mp4 real",
         (PP + "FaceSwap/Celeb-DF/id1_id2_0007.mp4", f"  {PP}FaceSwap/Celeb-DF/id1_id2_0007.mp4"),
         {"List_of_testing_videos.txt": f"0 {PP}FaceSwap/Celeb-DF/id1_id2_0007.mp4\n"}),
    Tree("DFD (actors)", ["DFD_original sequences/01__walk.mp4", "DFD_original sequences/02__walk.mp4",
                          "DFD_manipulated_sequences/01_02__walk__ABCD1234.mp4"],
         {"DFD_original sequences/01__walk.mp4": (0, "", "FaceForensics++/actor01", "", "", ""),
          "DFD_original sequences/02__walk.mp4": (0, "", "FaceForensics++/actor02", "", "", ""),
          "DFD_manipulated_sequences/01_02__walk__ABCD1234.mp4": (
              1, "DeepFakeDetection", "FaceForensics++/actor01", "FaceForensics++/actor02",
              "DFD_original sequences/01__walk.mp4", "")},
         {"real": 363, "fake": 3068}, "holiday.mp4",
         {"DFD_original sequences/02__walk.mp4": "DFD_original sequences/02_03__walk__ABCD1234.mp4"},
         "DFD_original sequences/02_03__walk__ABCD1234.mp4 is named as a fake but lies in DFD_original sequences",
         ("DFD_original sequences/02__walk.mp4", "1 of 363 real")),
    Tree("DFDC", ["aa.mp4", "bb.mp4", "cc.mp4"],
         {"aa.mp4": (1, "DFDC", "", "", "", "test"), "bb.mp4": (0, "", "", "", "", "test"),
          "cc.mp4": (1, "DFDC", "", "", "", "test")},
         {"test real": 2500, "test fake": 2500}, "dd.mp4", {"labels.csv": DFDC_LABELS.replace("bb.mp4,0", "bb.mp4,2")},
         "labels.csv, line 3: the label is '2'", ("cc.mp4", "  cc.mp4"), {"labels.csv": DFDC_LABELS}),
    Tree("ForgeryNet", [FN + "2/a/x.mp4", FN + "17/b/y.mp4", FN + "8/c/z.mp4"],
         {FN + "2/a/x.mp4": (1, "method 2", "", "", "", "train"), FN + "17/b/y.mp4": (0, "", "", "", "", "train"),
          FN + "8/c/z.mp4": (1, "method 8", "", "", "", "train")},
         {"real videos": 99_630, "fake videos": 121_617}, FN + "3/d/w.mp4",
         {"Training/video_list.txt": FN_LIST.replace("y.mp4 0 0 0", "y.mp4 1 2 8")},
         "video_list.txt, line 2: calls Training/video/train_release/17/b/y.mp4 fake, but folder 17 holds reals",
         (FN + "8/c/z.mp4", "  train_release/8/c/z.mp4"), {"Training/video_list.txt": FN_LIST}),
    Tree("KoDF", ["original_videos/101_001.mp4", "original_videos/102_001.mp4", "synthesized_videos/101_102_3_004.mp4"],
         {"original_videos/101_001.mp4": (0, "", "101", "", "", ""),
          "original_videos/102_001.mp4": (0, "", "102", "", "", ""),
          "synthesized_videos/101_102_3_004.mp4": (1, "method 3", "101", "102", "", "")},
         {"real": 62_166, "fake": 175_776}, "unsorted/103_001.mp4",
         {"synthesized_videos/101_102_3_004.mp4": "synthesized_videos/101_102_3_004.mp4",
          "original_videos/102_001.mp4": "synthesized_videos/102_001.mp4"},
         "synthesized_videos/102_001.mp4 is named as a real but its folder says the opposite",
         ("original_videos/102_001.mp4", "1 of 62,166 real")),
    Tree("DeeperForensics-1.0", ["manipulated_videos/end_to_end/000_M101.mp4",
                                 "manipulated_videos/end_to_end_level_1/000_M101.mp4",
                                 "source_videos/M101/BlendShape/camera_down/0.mp4"],
         {"manipulated_videos/end_to_end/000_M101.mp4": (1, "end_to_end", "FaceForensics++/000", "M101",
                                                         "FaceForensics++/000", "test"),
          "manipulated_videos/end_to_end_level_1/000_M101.mp4": (1, "end_to_end_level_1", "FaceForensics++/000", "M101",
                                                                 "FaceForensics++/000", "test"),
          "source_videos/M101/BlendShape/camera_down/0.mp4": (0, "", "M101", "", "", "")},
         {"end_to_end": 1000, "end_to_end_level_1": 1000}, "source_videos/unnamed/0.mp4",
         {"source_videos/M101/BlendShape/camera_down/0.mp4": "source_videos/0.mp4"}, "",
         ("manipulated_videos/end_to_end_level_1/000_M101.mp4", "  001_w004"),
         {"lists/splits/test.txt": "000_M101.mp4\n001_W004.mp4\n"}),
    Tree("UADFV", ["real/0000.mp4", "real/0001.mp4", "fake/0000_fake.mp4", "fake/0001_fake.mp4"],
         {"real/0000.mp4": (0, "", "", "", "", ""), "real/0001.mp4": (0, "", "", "", "", ""),
          "fake/0000_fake.mp4": (1, "UADFV", "", "", "real/0000.mp4", ""),
          "fake/0001_fake.mp4": (1, "UADFV", "", "", "real/0001.mp4", "")},
         {"real": 49, "fake": 49}, "real/trailer.mp4", {"real/0001.mp4": "real/0001_fake.mp4"},
         "real/0001_fake.mp4 is named as a fake but lies in a folder of reals", ("real/0001.mp4", "  real/0001.mp4")),
    Tree("LAV-DF", [entry["file"] for entry in LAV],
         {"test/000000.mp4": (0, "", "", "", "", "test"),
          "test/000001.mp4": (1, "video", "", "", "test/000000.mp4", "test"),
          "dev/000002.mp4": (1, "video and audio", "", "", "", "val"),
          "train/000003.mp4": (0, "", "", "", "test/000000.mp4", "train")},
         {"unmodified": 36_431, "modified": 99_873}, "test/999999.mp4", {"metadata.json": LAV_WRONG},
         "entry 0: test/000000.mp4 has 3 fake segments, but modify_video is False and modify_audio False",
         ("dev/000002.mp4", "  dev/000002.mp4"), {"metadata.json": json.dumps(LAV)}),
    Tree("TalkingHeadBench",
         ["fake/Hallo/train/00017--M1--Hallo.mp4", "fake/LivePortrait/test/00018--M2--LivePortrait.mp4",
          "fake/additional_dataset/Hallo3/00019--M2--Hallo3.mp4", "real/train/M1.mp4", "real/test/071.mp4"],
         {"fake/Hallo/train/00017--M1--Hallo.mp4": (1, "Hallo", "FFHQ/00017", "CelebV-HQ/M1", "real/train/M1.mp4",
                                                    "train"),
          "fake/LivePortrait/test/00018--M2--LivePortrait.mp4": (1, "LivePortrait", "FFHQ/00018", "CelebV-HQ/M2",
                                                                 "CelebV-HQ/M2", "test"),
          "fake/additional_dataset/Hallo3/00019--M2--Hallo3.mp4": (1, "Hallo3", "FFHQ/00019", "CelebV-HQ/M2",
                                                                   "CelebV-HQ/M2", "test"),
          "real/train/M1.mp4": (0, "", "CelebV-HQ/M1", "", "", "train"),
          "real/test/071.mp4": (0, "", "FaceForensics++/071", "", "", "test")},
         {"fake": 2_994}, "fake/Hallo/train/notes.mp4",
         {"fake/Hallo/train/00017--M1--Hallo.mp4": "real/train/00017--M1--Hallo.mp4"},
         "real/train/00017--M1--Hallo.mp4 is named as a fake but lies in a folder of reals",
         ("fake/Hallo/train/00017--M1--Hallo.mp4", "2 of 2,994 fake")),
]


@pytest.fixture(params=TREES, ids=lambda tree: tree.title)
def tree(request):
    return request.param


def test_counts_labels_people_methods_and_originals(tree, tmp_path):
    corpus = find_corpus(plant(tmp_path, *tree.names, **tree.texts))
    assert corpus.title == tree.title
    fields = ("label", "method", "target_id", "source_id", "original", "official")
    assert {name: tuple(row[key] for key in fields) for name, row in by_id(corpus).items()} == tree.rows
    assert all(list(row) == list(INDEX) for row in corpus.rows) and all(
        row["modality"] == "video" for row in corpus.rows)
    assert {kind: n for kind, n in corpus.expected.items() if kind in corpus.found} == tree.expected
    assert not corpus.doubled and not any("left out" in note for note in corpus.notes)


def test_a_folder_one_level_too_high_is_stepped_through(tree, tmp_path):
    deep = tmp_path / "download" / "corpus"
    here, above = find_corpus(plant(deep, *tree.names, **tree.texts)), find_corpus(tmp_path)
    keys = ("label", "method", "target_id", "source_id", "official")
    answers = [{str(corpus.root / row["video_id"]): [row[key] for key in keys] for row in corpus.rows}
               for corpus in (here, above)]
    assert answers[0] == answers[1] and above.title == tree.title


def test_a_stray_file_is_left_out_and_counted(tree, tmp_path):
    corpus = find_corpus(plant(tmp_path, *tree.names, tree.stray, **tree.texts))
    assert corpus.title == tree.title and set(by_id(corpus)) == set(tree.rows)
    assert any(note.startswith("1 video left out: ") for note in corpus.notes)


def test_a_wrong_label_is_an_error_that_names_it_or_is_left_out(tree, tmp_path):
    names = [new if (new := tree.wrong.get(name)) else name for name in tree.names]
    plant(tmp_path, *names, **{**tree.texts, **{k: v for k, v in tree.wrong.items() if k not in tree.names}})
    if tree.said:
        with pytest.raises(CorpusError) as error:
            find_corpus(tmp_path)
        assert tree.said in str(error.value)
    else:  # a place that tells no label: none is guessed
        corpus = find_corpus(tmp_path)
        assert not set(names) - set(tree.names) & set(by_id(corpus))
        assert any(note.startswith("1 video left out: ") for note in corpus.notes)


def test_a_missing_part_is_told(tree, tmp_path):
    absent, line = tree.absent
    corpus = find_corpus(plant(tmp_path, *(name for name in tree.names if name != absent), **tree.texts))
    assert any(line in said for said in describe(corpus) + plan(corpus)), describe(corpus) + plan(corpus)


def test_pictures_of_df40_and_forgerynet_are_rows_too(tmp_path):
    df40 = find_corpus(plant(tmp_path / "DF40", "DiT/cdf/id1_0007.png", "DiT/cdf/id2_0001.png",
                             *(f"simswap/ff/frames/000_003/{n:03d}.png" for n in range(3))))
    assert {row["video_id"]: (row["modality"], row["target_id"]) for row in df40.rows} == {
        "DiT/cdf/id1_0007.png": ("image", "Celeb-DF/id1"), "DiT/cdf/id2_0001.png": ("image", "Celeb-DF/id2"),
        "simswap/ff/frames/000_003": ("video", "FaceForensics++/000")}
    net = find_corpus(plant(tmp_path / "f", "train_release/11/a/x.jpg", "train_release/19/b/y.jpg", **{
        "image_list.txt": "train_release/11/a/x.jpg 1 1 11\ntrain_release/19/b/y.jpg 0 0 0\n"}))
    assert [(row["modality"], row["label"], row["method"]) for row in net.rows] == [
        ("image", 1, "method 11"), ("image", 0, "")]


def test_a_generator_named_otherwise_than_its_folder_is_told(tmp_path):
    corpus = find_corpus(plant(tmp_path, "fake/Hallo/train/1--2--EmoPortrait.mp4", "real/train/M1.mp4"))
    assert any("name another generator than their folder" in note for note in corpus.notes)


def test_alike_names_of_another_corpus_are_no_kodf(tmp_path):
    names = [f"{kind}/{i}_{i + 1}_{i % 5 + 1}_7.mp4" for kind in ("real", "fake") for i in range(9)]
    assert find_corpus(plant(tmp_path, *names)).dataset == "folders"


@pytest.mark.parametrize("title, rule", [("FakeAVCeleb", "identity"), ("UADFV", "source")])
def test_drawn_clips_go_from_the_folder_to_a_split(tmp_path, title, rule, capsys):
    root = tmp_path / "corpus"
    if title == "UADFV":
        names = [name for i in range(10) for name in (f"real/{i:04d}.mp4", f"fake/{i:04d}_fake.mp4")]
    else:
        names = [name for i in range(10) for name in (
            f"RealVideo-RealAudio/African/men/id{i:05d}/0000{i}.mp4",
            f"FakeVideo-RealAudio/African/men/id{i:05d}/0000{i}_id{i ^ 1:05d}_x.mp4")]
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_clip(root / name, [i / 10 + number / 1000 for i in range(5)])
    assert main(["--out", str(tmp_path / "out"), "--corpus", str(root)]) == 0
    assert f"{title}: 10 of " in capsys.readouterr().out
    index = read_table(tmp_path / "out" / "index.csv", INDEX)
    assert sorted(index["video_id"]) == sorted(names) and index["label"].sum() == 10
    made = split_corpus(index, SplitOptions())
    assert made.audit["rule"] == rule
    assert made.audit["shared"]["test/train+val"]["source_videos_shared"] == 0
    part_of = dict(zip(made.rows["video_id"], made.rows["part"]))
    assert {"train", "val", "test"} <= set(part_of.values())
    assert all(part_of[row.original] == part_of[row.video_id] for row in index.itertuples() if row.label)
