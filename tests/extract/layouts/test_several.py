"""Facts about a list of corpora: names, people and originals across them, one split, one run."""
from __future__ import annotations

import pandas as pd
import pytest

from data.split import SplitOptions, split_corpus
from extract.corpus import describe, find_corpus, main
from extract.layouts.faceforensics_lists import known_parts
from pipeline.errors import CorpusError
from pipeline.tables import INDEX, VIDEOS, read_table
from tests.clips import write_clip
from tests.extract.test_corpus import by_id, plant


def listed(folder, **corpora):
    """A list of corpora that lies in `folder`. corpora: short name -> names of empty files in a folder of that name."""
    for name, names in corpora.items():
        plant(folder / f"corpus {name}", *names)
    path = folder / "list.txt"
    path.write_text("# ours\n\n" + "".join(f"corpus {name}   {name}\n" for name in corpora))
    return path


@pytest.fixture
def ff_and_df40(tmp_path):
    pairs = [stem for stem in known_parts() if "_" in stem][:120]
    clips = sorted({clip for stem in pairs for clip in stem.split("_")})
    return listed(tmp_path, ff=[f"original_sequences/youtube/{c}/videos/{clip}.mp4" for clip in clips
                                for c in ("c23", "c40")],
                  df40=[f"{method}/ff/{stem}.mp4" for stem in pairs for method in ("simswap", "fomm")])


def test_video_ids_begin_with_the_short_name_and_originals_are_found_in_the_other_corpus(ff_and_df40):
    corpus = find_corpus(ff_and_df40)
    rows = by_id(corpus)
    fake = rows["df40/simswap/ff/071_054.mp4" if "df40/simswap/ff/071_054.mp4" in rows else
                next(name for name in rows if name.startswith("df40/simswap"))]
    clip = fake["video_id"].rpartition("/")[2][:3]
    assert fake["original"] == f"ff/original_sequences/youtube/c23/videos/{clip}.mp4" in rows
    assert fake["target_id"] == rows[fake["original"]]["target_id"] == f"FaceForensics++/{clip}"
    assert [row["video_id"] for row in corpus.rows] == sorted(rows) and fake["dataset"] == "DF40"
    lines = describe(corpus)
    assert lines[0].startswith("2 corpora: 240 ff (FaceForensics++), 240 df40 (DF40)")
    assert any("people are in several of these corpora" in line for line in lines)


def test_a_split_keeps_df40_with_the_reals_it_was_made_from(ff_and_df40):
    split = split_corpus(pd.DataFrame(find_corpus(ff_and_df40).rows), SplitOptions())
    assert split.audit["rule"] == "identity" and not split.audit["dropped"]
    for pair in split.audit["shared"].values():
        assert pair["identities_shared"] == pair["source_videos_shared"] == pair["original_there"] == 0
    part_of = dict(zip(split.rows["video_id"], split.rows["part"]))
    for name, part in part_of.items():
        if name.startswith("df40/"):
            clip = name.rpartition("/")[2][:3]
            assert all(part_of[f"ff/original_sequences/youtube/{c}/videos/{clip}.mp4"] == part for c in ("c23", "c40"))


def test_two_versions_of_celeb_df_show_the_same_people_and_other_corpora_their_own(tmp_path):
    corpus = find_corpus(listed(
        tmp_path, v1=["Celeb-real/id0_0003.mp4", "Celeb-synthesis/id0_id16_0003.mp4"],
        v2=["Celeb-real/id0_0003.mp4", "YouTube-real/00299.mp4", "Celeb-synthesis/id0_id16_0003.mp4"],
        fav=["RealVideo-RealAudio/a/b/id0/1.mp4", "FakeVideo-RealAudio/a/b/id0/1_id16_x.mp4"]))
    rows = by_id(corpus)
    assert {rows[f"{v}/Celeb-synthesis/id0_id16_0003.mp4"]["source_id"] for v in ("v1", "v2")} == {"Celeb-DF/id16"}
    assert rows["v1/Celeb-synthesis/id0_id16_0003.mp4"]["original"] == "v1/Celeb-real/id0_0003.mp4"
    assert rows["fav/RealVideo-RealAudio/a/b/id0/1.mp4"]["target_id"] == "VoxCeleb2/id0"


def test_the_order_of_the_list_changes_nothing(ff_and_df40):
    rows = find_corpus(ff_and_df40).rows
    ff_and_df40.write_text("corpus df40 df40\ncorpus ff ff\n")
    assert find_corpus(ff_and_df40).rows == rows


@pytest.mark.parametrize("text, said", [
    ("corpus-a\n", "line 1: expected a folder and a short name"), ("corpus a a/b\n", "line 1: expected a folder"),
    ("corpus a a\ncorpus b a\n", "line 2: a is in the list twice"),
    ("corpus a a\n./corpus a b\n", "is in the list twice"), ("# nothing\n", "names no corpus"),
    ("gone a\n", "gone does not exist"), ("list.txt a\n", "another list")])
def test_a_malformed_list_is_an_error_that_names_the_line(tmp_path, text, said):
    plant(tmp_path, "corpus a/real/1.mp4", "corpus a/fake/1.mp4")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(CorpusError) as error:
        find_corpus(tmp_path / "list.txt")
    assert said in str(error.value)


def test_a_table_of_labels_may_still_be_called_txt(tmp_path):
    plant(tmp_path, "a.mp4", "b.mp4", **{"labels.txt": "path,label\na.mp4,0\nb.mp4,1\n"})
    assert find_corpus(tmp_path / "labels.txt").dataset == "table"


def test_a_run_reads_the_clips_through_links_and_sees_when_a_corpus_grows(tmp_path, capsys):
    from extract import run

    path = listed(tmp_path, a=[], b=[])
    for name in ("a", "b"):
        for number, kind in enumerate(("real", "fake")):
            clip = tmp_path / f"corpus {name}" / kind / "1.mp4"
            clip.parent.mkdir(parents=True)
            write_clip(clip, [i / 10 + number / 100 for i in range(5)])
    out = tmp_path / "out"
    assert main(["--out", str(out), "--corpus", str(path)]) == 0
    index = read_table(out / "index.csv", INDEX)
    assert list(index["video_id"]) == ["a/fake/1.mp4", "a/real/1.mp4", "b/fake/1.mp4", "b/real/1.mp4"]
    assert "b/real/1.mp4" in (out / "copies.csv").read_text()  # the same bytes in both corpora
    assert run.main(["--out", str(out), "--workers", "0", "--device", "cpu"]) == 1  # bar codes have no face
    assert list(read_table(out / "faces" / "videos.csv", VIDEOS)["n_read"]) == [5] * 4
    assert main(["--out", str(out)]) == 0 and "up to date" in capsys.readouterr().out
    write_clip(tmp_path / "corpus b" / "real" / "2.mp4", [i / 10 for i in range(7)])
    assert main(["--out", str(out)]) == 0
    assert len(read_table(out / "index.csv", INDEX)) == 5


def test_a_folder_that_is_in_the_way_of_the_links_is_kept(tmp_path):
    path = listed(tmp_path, a=["real/1.mp4", "fake/1.mp4"])
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "mine.txt").write_text("mine")
    with pytest.raises(CorpusError, match="mine.txt is in the way"):
        find_corpus(path, links=tmp_path / "corpora")
    assert (tmp_path / "corpora" / "mine.txt").read_text() == "mine"
