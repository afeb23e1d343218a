"""Facts about recognising corpora, on trees of empty files: no video is ever opened."""
from __future__ import annotations

import json
import os
from collections import Counter

import pytest

from extract.corpus import find_corpus, grouping, main
from extract.layouts import dfdc, faceforensics, faceforensics_lists
from extract.layouts.celebdf import celeb
from pipeline.errors import CorpusError
from pipeline.tables import INDEX, read_table

LIST = "List_of_testing_videos.txt"


def plant(root, *names, **texts):
    """Empty files, and text files given as name=text."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def by_id(corpus):
    return {row["video_id"]: row for row in corpus.rows}


CELEB = ("Celeb-real/id0_0003.mp4", "YouTube-real/00170.mp4", "Celeb-synthesis/id0_id16_0003.mp4")


class TestCeleb:
    def test_rows_tell_people_and_the_original_of_a_fake(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, *CELEB))
        rows = by_id(corpus)
        assert all(list(row) == list(INDEX) for row in corpus.rows)
        fake = rows["Celeb-synthesis/id0_id16_0003.mp4"]
        assert (fake["label"], fake["target_id"], fake["source_id"]) == (1, "id0", "id16")
        assert (fake["original"], fake["method"]) == ("Celeb-real/id0_0003.mp4", "Celeb-synthesis")
        real = rows["Celeb-real/id0_0003.mp4"]
        assert (real["label"], real["target_id"], real["original"], real["method"]) == (0, "id0", "", "")
        assert rows["YouTube-real/00170.mp4"]["target_id"] == "yt00170"
        assert grouping(corpus.rows) == "identity"

    def test_videos_folders_and_other_case_are_the_same_corpus(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, "Celeb-real/videos/id0_0003.mp4", "Youtube-real/videos/00170.MP4",
                                   "Celeb-synthesis/videos/id0_id16_0003.mp4",
                                   **{LIST: "\ufeff1 YouTube-real/00170.mp4\r\n\r\n"
                                            "0 Celeb-synthesis/id0_id16_0003.mp4\r\n"}))
        rows = by_id(corpus)
        assert rows["Youtube-real/videos/00170.MP4"]["official"] == "test"
        assert rows["Celeb-real/videos/id0_0003.mp4"]["official"] == "train"
        assert rows["Celeb-synthesis/videos/id0_id16_0003.mp4"]["original"] == "Celeb-real/videos/id0_0003.mp4"
        assert corpus.listed == (2, 2)

    def test_an_original_that_a_subset_lacks_keeps_its_name(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, "Celeb-synthesis/id0_id16_0003.mp4", "Celeb-synthesis/id0_id17_0003.mp4"))
        assert {row["original"] for row in corpus.rows} == {"Celeb-real/id0_0003.mp4"}

    def test_a_folder_one_level_too_high_is_stepped_through(self, tmp_path):
        plant(tmp_path / "download" / "Celeb-DF-v2", *CELEB)
        corpus = find_corpus(tmp_path)
        assert corpus.root == tmp_path / "download" / "Celeb-DF-v2"
        assert "Celeb-real/id0_0003.mp4" in by_id(corpus)

    def test_lines_of_absent_clips_are_counted_not_errors(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, *CELEB, **{LIST: "1 YouTube-real/00170.mp4\n1 YouTube-real/00001.mp4\n"}))
        assert corpus.listed == (1, 2)
        assert corpus.missing == ["YouTube-real/00001.mp4"]

    def test_a_list_with_the_label_turned_round_is_an_error_that_names_the_clip(self, tmp_path):
        plant(tmp_path, *CELEB, **{LIST: "1 YouTube-real/00170.mp4\n1 Celeb-synthesis/id0_id16_0003.mp4\n"})
        with pytest.raises(CorpusError, match=r"line 2.*Celeb-synthesis/id0_id16_0003.mp4"):
            find_corpus(tmp_path)

    @pytest.mark.parametrize("line", ["YouTube-real/00170.mp4", "2 YouTube-real/00170.mp4", "1 Elsewhere/00170.mp4",
                                      "label path", "1 00170.mp4"])
    def test_a_malformed_line_is_named_by_file_and_number(self, tmp_path, line):
        plant(tmp_path, *CELEB, **{LIST: f"1 YouTube-real/00170.mp4\n\n{line}\n"})
        with pytest.raises(CorpusError, match=f"{LIST}, line 3"):
            find_corpus(tmp_path)

    def test_versions_are_told_apart_by_what_only_one_can_hold(self, tmp_path):
        assert find_corpus(plant(tmp_path / "a", "YouTube-real/00299.mp4")).title == "Celeb-DF v2"
        many = [f"Celeb-real/id{i}_0000.mp4" for i in range(14)]  # v1 has 13 people
        assert find_corpus(plant(tmp_path / "b", *many)).notes == []
        either = find_corpus(plant(tmp_path / "c", *CELEB))
        assert either.dataset == "Celeb-DF-v2" and "v1" in either.notes[0]
        assert find_corpus(plant(tmp_path / "Celeb-DF-v1", *CELEB)).dataset == "Celeb-DF-v1"

    def test_a_complete_v1_is_known_by_its_counts(self):
        names = ([f"Celeb-real/id{i % 13}_{i:04d}.mp4" for i in range(158)]
                 + [f"YouTube-real/{i:05d}.mp4" for i in range(250)]
                 + [f"Celeb-synthesis/id{i % 13}_id{(i + 1) % 13}_{i:04d}.mp4" for i in range(795)])
        corpus = celeb(names, {})
        assert corpus.title == "Celeb-DF v1" and corpus.found == corpus.expected

    def test_plus_plus_keeps_the_same_stem_of_several_methods_apart(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, "Celeb-real/id0_0003.mp4",
                                   "Celeb-synthesis/FaceSwap/GHOST/id0_id16_0003.mp4",
                                   "Celeb-synthesis/FaceReenact/LIA/id0_id16_0003.mp4",
                                   "Celeb-synthesis/TalkingFace/FLOAT/id0_0003.mp4",
                                   **{LIST: "0 Celeb-synthesis/FaceSwap/GHOST/id0_id16_0003.mp4\n"}))
        rows = by_id(corpus)
        assert corpus.title == "Celeb-DF++" and len(rows) == 4 and not corpus.doubled
        assert rows["Celeb-synthesis/FaceSwap/GHOST/id0_id16_0003.mp4"]["method"] == "FaceSwap/GHOST"
        assert {row["original"] for row in corpus.rows if row["label"]} == {"Celeb-real/id0_0003.mp4"}
        assert [row["official"] for row in corpus.rows].count("test") == 1
        assert corpus.found["methods"] == 3

    def test_copies_of_a_clip_count_once(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, *CELEB, "Celeb-real/videos/id0_0003.mp4", "Celeb-real/id0_0003.avi",
                                   "YouTube-real/videos/00170.MP4"))
        assert len(corpus.rows) == 3
        assert corpus.doubled == [
            ("Celeb-real/id0_0003.avi", "Celeb-real/id0_0003.mp4", "Celeb-real/videos/id0_0003.mp4"),
            ("YouTube-real/00170.mp4", "YouTube-real/videos/00170.MP4")]

    def test_the_full_list_is_complete(self, shared):
        names = shared("lists", "celeb_df_v2_files.txt").read_text().split()
        corpus = celeb(names, {LIST: shared("corpus", "Celeb-DF-v2", LIST)})
        assert corpus.found == corpus.expected == {"Celeb-real": 590, "YouTube-real": 300, "Celeb-synthesis": 5639}
        assert corpus.listed == (518, 518) and not corpus.missing
        here = set(names)
        assert all(row["original"] in here for row in corpus.rows if row["label"])
        assert sum(row["official"] == "test" for row in corpus.rows) == 518


class TestFaceForensics:
    FAKE = "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4"
    REAL = "original_sequences/youtube/c23/videos/000.mp4"

    def test_a_fake_knows_both_clips_and_the_original_of_its_compression(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, self.FAKE, self.REAL, self.FAKE.replace("c23", "raw")))
        rows = by_id(corpus)
        fake = rows[self.FAKE]
        assert (fake["target_id"], fake["source_id"], fake["original"]) == ("000", "003", self.REAL)
        assert fake["method"] == "Deepfakes"
        assert rows[self.FAKE.replace("c23", "raw")]["original"] == self.REAL.replace("c23", "raw")
        assert corpus.found == {"youtube c23": 1, "Deepfakes c23": 1, "Deepfakes raw": 1}

    def test_actors_never_collide_with_clip_numbers(self, tmp_path):
        real = "original_sequences/actors/c23/videos/01__exit_phone_room.mp4"
        fake = "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__exit_phone_room__YVGY8LOK.mp4"
        rows = by_id(find_corpus(plant(tmp_path, real, fake)))
        assert (rows[fake]["target_id"], rows[fake]["source_id"]) == ("actor01", "actor02")
        assert rows[fake]["original"] == real and rows[real]["target_id"] == "actor01"

    def test_masks_are_no_videos_of_people(self, tmp_path):
        mask = "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4"
        corpus = find_corpus(plant(tmp_path, self.FAKE, self.REAL, mask))
        assert mask not in by_id(corpus) and "1 video left out" in corpus.notes[0]

    def test_official_pairs_tell_the_part_of_reals_and_fakes(self, tmp_path):
        plant(tmp_path, self.FAKE, self.REAL, **{"splits/test.json": '[["003", "000"]]', "splits/train.json": "[]"})
        corpus = find_corpus(tmp_path)
        assert [row["official"] for row in corpus.rows] == ["test", "test"]
        assert corpus.listed == (2, 4)
        (tmp_path / "splits/val.json").write_text('[["000", "005"]]')
        with pytest.raises(CorpusError, match="val.json: clip 000 is in test too"):
            find_corpus(tmp_path)

    @pytest.mark.parametrize("reals", ["original", "real", "Originals"])
    def test_clips_sorted_by_method_alone_are_fakes_of_the_method_and_know_their_people(self, tmp_path, reals):
        methods = ["Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures"]
        corpus = find_corpus(plant(tmp_path, f"{reals}/071.mp4", *[f"{method}/071_054.mp4" for method in methods]))
        assert [(row["method"], row["label"], row["target_id"]) for row in corpus.rows if row["label"]] == [
            (method, 1, "071") for method in methods]
        assert {row["original"] for row in corpus.rows} == {"", f"{reals}/071.mp4"} and not corpus.notes

    def test_folders_of_its_methods_with_clips_of_other_names_are_fakes_without_people(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, "original/ann.mp4", "Face2Face/ann_bob.mp4", "neural-textures/x.mp4"))
        assert {row["video_id"]: (row["label"], row["method"], row["target_id"]) for row in corpus.rows} == {
            "original/ann.mp4": (0, "", ""), "Face2Face/ann_bob.mp4": (1, "Face2Face", ""),
            "neural-textures/x.mp4": (1, "neural-textures", "")}

    def test_the_authors_lists_are_known_where_they_do_not_lie_there(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, self.FAKE, self.REAL))
        assert {row["official"] for row in corpus.rows} == {"test"} and corpus.listed == (0, 0) and not corpus.missing

    def test_sequences_of_one_video_and_clips_of_one_person_are_one_person(self):
        people = faceforensics_lists.people()
        videos = Counter(cells["person"] for cells in people.values() if cells["same"] == "video")
        assert len(videos) == 22 and sum(videos.values()) == 45 and 1000 - 45 + 22 == 977
        assert [faceforensics_lists.person(clip) for clip in ("606", "343", "826", "000")] == [
            "605", "043", "179", "000"]

    def test_the_parts_tear_seven_videos_apart(self):
        parts = faceforensics_lists.known_parts()
        assert Counter(part for clip, part in parts.items() if "_" not in clip) == {"train": 720, "val": 140,
                                                                                    "test": 140}
        names = [f"original_sequences/youtube/c23/videos/{i:03d}.mp4" for i in range(1000)]
        note = next(note for note in faceforensics.faceforensics(names, {}).notes if "official parts" in note)
        assert note == ("24 people are in several clips; the official parts put 7 of them into two parts: 605/606, "
                        "639/640, 755/756, 837/838, 875/876, 954/955, 982/983")

    def test_the_shared_clips_are_recognised(self, shared):
        corpus = find_corpus(shared("checks", "ffpp-c40"))
        assert len(corpus.rows) == 20 and sum(row["label"] for row in corpus.rows) == 16
        corpus = find_corpus(shared("corpus", "FaceForensics++"))
        assert len(corpus.rows) == 28 and sum(row["label"] for row in corpus.rows) == 22


class TestDfdc:
    META = {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"},
            "b.mp4": {"label": "REAL", "split": "train"}, "gone.mp4": {"label": "REAL", "split": "train"}}

    @pytest.mark.parametrize("folder", ["dfdc_train_part_0", "train_sample_videos", "any name"])
    def test_labels_and_originals_come_from_the_metadata_beside_the_clips(self, tmp_path, folder):
        plant(tmp_path, f"{folder}/a.mp4", f"{folder}/b.mp4", **{f"{folder}/metadata.json": json.dumps(self.META)})
        corpus = find_corpus(tmp_path)
        rows = by_id(corpus)
        prefix = "" if corpus.root != tmp_path else f"{folder}/"
        assert rows[prefix + "a.mp4"]["original"] == prefix + "b.mp4"
        assert (rows[prefix + "a.mp4"]["label"], rows[prefix + "b.mp4"]["label"]) == (1, 0)
        assert corpus.missing == [prefix + "gone.mp4"]
        assert grouping(corpus.rows) == "source"

    def test_who_is_who_in_the_training_parts_is_known_and_a_fake_shows_its_originals_person(self, tmp_path):
        real, other = "aabqyygbaa.mp4", "ahycbdxsmi.mp4"
        meta = {real: {"label": "REAL"}, other: {"label": "REAL"}, "fake.mp4": {"label": "FAKE", "original": other},
                "odd.mp4": {"label": "REAL"}}
        plant(tmp_path, *meta, **{"metadata.json": json.dumps(meta)})
        corpus = find_corpus(tmp_path)
        people = {name: row["target_id"] for name, row in by_id(corpus).items()}
        assert people[real] == people[other] == people["fake.mp4"] != "" == people["odd.mp4"]
        assert grouping(corpus.rows) == "identity"
        assert "in 3 of 4 videos was found by comparing faces (1 group of" in corpus.notes[0]

    def test_the_table_of_people_has_every_clip_once(self):
        lines = dfdc.PEOPLE.read_text().splitlines()
        assert lines[0] == "clip,person" and len(lines) - 1 == len(dfdc.people()) == 16293
        assert len(set(dfdc.people().values())) == 455

    def test_a_part_folder_may_be_the_root(self, tmp_path):
        plant(tmp_path, "a.mp4", "b.mp4", "c.mp4", **{"metadata.json": json.dumps(self.META)})
        corpus = find_corpus(tmp_path)
        assert set(by_id(corpus)) == {"a.mp4", "b.mp4"}
        assert corpus.notes == ["1 video left out: without a label in metadata.json or labels.csv"]

    def test_labels_csv_says_1_for_fake(self, tmp_path):
        plant(tmp_path, "test/x.mp4", "test/y.mp4", **{"labels.csv": "filename,label\nx.mp4,1\ny.mp4,0\n"})
        rows = by_id(find_corpus(tmp_path))
        assert rows["test/x.mp4"]["label"] == 1 and rows["test/x.mp4"]["official"] == "test"

    def test_an_unknown_label_names_file_and_clip(self, tmp_path):
        plant(tmp_path, "a.mp4", **{"metadata.json": '{"a.mp4": {"label": "MAYBE"}}'})
        with pytest.raises(CorpusError, match="metadata.json: the label of a.mp4 is 'MAYBE'"):
            find_corpus(tmp_path)


class TestFolders:
    def test_the_nearest_folder_decides_at_any_depth(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, "deepfake set/train/Original/x/a.mp4", "deepfake set/train/FAKES/a.MKV",
                                   "deepfake set/b/real_videos/b.webm", "c/manipulated-2/d.ts", "c/pristine/e.3gp"))
        labels = {row["video_id"].split("/")[-1]: row["label"] for row in corpus.rows}
        assert labels == {"a.mp4": 0, "a.MKV": 1, "b.webm": 0, "d.ts": 1, "e.3gp": 0}

    def test_a_video_below_neither_is_left_out_and_said_so(self, tmp_path):
        corpus = find_corpus(plant(tmp_path, "real/a.mp4", "fake/b.mp4", "other/c.mp4", "real or fake/d.mp4"))
        assert len(corpus.rows) == 2 and "2 videos left out" in corpus.notes[0]

    def test_hidden_and_macos_files_and_empty_folders_are_skipped(self, tmp_path):
        plant(tmp_path, "real/a.mp4", "fake/b.mp4", "real/._a.mp4", "real/.c.mp4", ".hidden/real/d.mp4",
              "__MACOSX/real/a.mp4", "real/notes.docx")
        (tmp_path / "real/empty.mp4").mkdir()
        assert len(find_corpus(tmp_path).rows) == 2

    def test_links_are_followed_but_never_in_circles(self, tmp_path):
        plant(tmp_path, "elsewhere/x.mp4", "corpus/fake/b.mp4")
        (tmp_path / "corpus/real").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "corpus/fake/up").symlink_to(tmp_path / "corpus")
        (tmp_path / "corpus/fake/self.mp4").symlink_to("self.mp4")
        (tmp_path / "corpus/fake/dead.mp4").symlink_to("nowhere.mp4")
        (tmp_path / "corpus/fake/c.mp4").symlink_to(tmp_path / "elsewhere/x.mp4")
        corpus = find_corpus(tmp_path / "corpus")
        assert sorted(by_id(corpus)) == ["fake/b.mp4", "fake/c.mp4", "real/x.mp4"]
        assert "read already" in corpus.notes[0]

    def test_odd_names_survive_the_index(self, tmp_path):
        odd = ["real/a, b.mp4", "real/\"q\" 'p'.mp4", "real/ é ü 映画 .mp4", "fake/-x;#%{}.mp4", "fake/null.mp4"]
        assert main(["--corpus", str(plant(tmp_path / "c", *odd)), "--out", str(tmp_path)]) == 0
        assert sorted(read_table(tmp_path / "index.csv", INDEX)["video_id"]) == sorted(odd)

    def test_a_name_that_no_table_can_hold_is_left_out_and_said_so(self, tmp_path):
        plant(tmp_path, "real/a.mp4", "fake/b.mp4", "fake/two\nlines.mp4")
        open(os.path.join(os.fsencode(tmp_path), b"real", b"\xff.mp4"), "w").close()
        corpus = find_corpus(tmp_path)
        assert len(corpus.rows) == 2 and "2 videos left out: the name" in corpus.notes[0]


class TestTable:
    def read(self, tmp_path, text):
        (tmp_path / "t.csv").write_text(text)
        return find_corpus(tmp_path / "t.csv")

    def test_paths_are_relative_to_the_table(self, tmp_path):
        plant(tmp_path, "v/a.mp4", "b, c.mp4")
        corpus = self.read(tmp_path, '\ufeffPath,extra,Label\nv/a.mp4,x,real\n\n"b, c.mp4",y,1\n')
        assert {name: row["label"] for name, row in by_id(corpus).items()} == {"v/a.mp4": 0, "b, c.mp4": 1}
        assert corpus.root == tmp_path

    def test_a_table_may_name_originals_and_methods(self, tmp_path):
        plant(tmp_path, "v/a.mp4", "v/b.mp4", "c.mp4")
        rows = by_id(self.read(tmp_path, "path,label,original,method\nv/a.mp4,0,,\nv/b.mp4,1,./v/a.mp4,swap\n"
                                         "c.mp4,1,,\n"))
        found = [(row["original"], row["method"]) for row in rows.values()]
        assert found == [("", "fake"), ("", ""), ("v/a.mp4", "swap")]

    def test_a_table_may_name_people_and_a_fake_shows_whom_its_original_shows(self, tmp_path):
        plant(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
        corpus = self.read(tmp_path, "path,label,original,target_id,source_id\na.mp4,0,,ann,\nb.mp4,1,a.mp4,,bob\n"
                                     "c.mp4,1,a.mp4,cem,\nd.mp4,0,,,bob\n")
        people = {name: (row["target_id"], row["source_id"]) for name, row in by_id(corpus).items()}
        assert people == {"a.mp4": ("ann", ""), "b.mp4": ("ann", "bob"), "c.mp4": ("cem", ""), "d.mp4": ("", "")}
        assert grouping(corpus.rows) == "identity"
        assert "1 of 4 have no target_id: each is taken for a person of its own" in corpus.notes

    def test_absolute_paths_make_the_common_parent_the_root(self, tmp_path):
        plant(tmp_path, "x/v/a.mp4", "x/w/b.mp4", "t/keep")
        corpus = self.read(tmp_path / "t", f"path,label\n{tmp_path}/x/v/a.mp4,0\n../x/w/b.mp4,FAKE\n")
        assert corpus.root == tmp_path / "x" and set(by_id(corpus)) == {"v/a.mp4", "w/b.mp4"}

    @pytest.mark.parametrize("text, message", [
        ("a.mp4,0\n", "line 1: expected a CSV with the header path,label"),
        ("path,label\na.mp4,0\na.mp4,maybe\n", "line 3: the label is 'maybe'"),
        ("path,label\na.mp4,0\n./a.mp4,1\n", "line 3: ./a.mp4 is 1 here, but line 2"),
        ("path,label\na.mp4\n", "line 2: 1 values where the header has 2"),
        ("path,label\n,0\n", "line 2: the path is empty"),
        ("", "is empty"),
        ("path,label\nnone.mp4,0\n", "none exists"),
    ])
    def test_a_wrong_line_is_named_by_its_number(self, tmp_path, text, message):
        plant(tmp_path, "a.mp4")
        with pytest.raises(CorpusError, match=message):
            self.read(tmp_path, text)

    def test_a_path_that_is_too_long_is_a_missing_file(self, tmp_path):
        plant(tmp_path, "a.mp4")
        corpus = self.read(tmp_path, f"path,label,dataset\na.mp4,0,Webcams\n{'x' * 5000}.mp4,1,\n")
        assert len(corpus.missing) == 1 and corpus.rows[0]["dataset"] == "Webcams"

    def test_files_that_are_not_here_are_told(self, tmp_path):
        plant(tmp_path, "a.mp4")
        corpus = self.read(tmp_path, "path,label\na.mp4,0\nb.mp4,1\na.mp4,0\n")
        assert len(corpus.rows) == 1 and len(corpus.missing) == 1 and len(corpus.doubled) == 1


class TestErrors:
    def one_line(self, capsys, *argv):
        assert main([*(str(arg) for arg in argv), "--check"]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    def test_no_such_folder_no_video_and_no_layout_are_one_line_each(self, tmp_path, capsys):
        assert "does not exist" in self.one_line(capsys, tmp_path / "no")
        assert "seen: nothing" in self.one_line(capsys, tmp_path)
        plant(tmp_path, "notes.pdf", "stuff/b.doc")
        assert "1 .pdf, 1 .doc" in self.one_line(capsys, tmp_path)
        plant(tmp_path, "stuff/a.mp4")
        line = self.one_line(capsys, tmp_path)
        assert "1 in stuff/" in line and "FaceForensics++" in line and "CSV" in line

    def test_a_class_folder_and_a_folder_of_corpora_get_a_hint(self, tmp_path, capsys):
        plant(tmp_path / "Celeb-DF-v2", *CELEB)
        plant(tmp_path / "FF", TestFaceForensics.FAKE)
        assert f"CORPUS={tmp_path / 'Celeb-DF-v2'}" in self.one_line(capsys, tmp_path / "Celeb-DF-v2" / "Celeb-real")
        assert "holds Celeb-DF-v2 and FF" in self.one_line(capsys, tmp_path)

    def test_a_video_as_corpus_is_sent_to_the_right_command(self, tmp_path, capsys):
        assert "classify.video" in self.one_line(capsys, plant(tmp_path, "a.mp4") / "a.mp4")

    def test_an_unreadable_folder_is_named(self, tmp_path, monkeypatch, capsys):
        plant(tmp_path, "real/a.mp4", "fake/b.mp4")
        real_scandir = os.scandir

        def locked(path):
            if str(path).endswith("fake"):
                raise PermissionError(13, "Permission denied", str(path))
            return real_scandir(path)

        monkeypatch.setattr(os, "scandir", locked)
        assert f"{tmp_path / 'fake'} cannot be read" in self.one_line(capsys, tmp_path)


class TestCommand:
    def test_check_writes_nothing_and_says_what_it_would_do(self, tmp_path, capsys, monkeypatch):
        plant(tmp_path / "c", *CELEB)
        monkeypatch.chdir(tmp_path)
        assert main(["c", "--check"]) == 0
        said = capsys.readouterr().out
        assert "1 of 590 Celeb-real, 1 of 300 YouTube-real, 1 of 5,639 Celeb-synthesis" in said
        assert "would index 3 videos: 2 real, 1 fake" in said and "about 15 frames" in said
        assert "would split by identity" in said
        assert [p.name for p in tmp_path.iterdir()] == ["c"]

    def test_an_unchanged_corpus_is_not_indexed_again(self, tmp_path, capsys):
        main(["--corpus", str(plant(tmp_path / "c", *CELEB)), "--out", str(tmp_path / "out")])
        os.utime(tmp_path / "out" / "index.csv", (1, 1))
        capsys.readouterr()
        main(["--out", str(tmp_path / "out")])
        assert (tmp_path / "out" / "index.csv").stat().st_mtime == 1
        assert capsys.readouterr().out == "index: up to date\n"
