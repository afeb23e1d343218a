"""Facts about dividing videos: on indexes made up by name, and on the full list of Celeb-DF v2."""
from __future__ import annotations

import json

import pandas as pd
import pytest

from data.split import SplitOptions, describe, main, split_corpus, split_hash
from data.splitting.audit import audit
from extract.layouts.base import row
from extract.layouts.celebdf import celeb
from extract.layouts.faceforensics import faceforensics
from pipeline.errors import SplitError
from pipeline.run_record import RunRecord
from pipeline.tables import INDEX, SPLIT, read_table, write_table

LIST = "List_of_testing_videos.txt"


def swaps(*groups, clips=2):
    """An index in which the people of each group swap faces with everybody of their group on every clip."""
    names = []
    for group in groups:
        for a in group:
            for clip in range(clips):
                names.append(f"Celeb-real/id{a}_{clip:04d}.mp4")
                names += [f"Celeb-synthesis/id{a}_id{b}_{clip:04d}.mp4" for b in group if b != a]
    return pd.DataFrame(celeb(names, {}).rows)


def singles(reals, fakes):
    return pd.DataFrame([row(f"real/{i}.mp4", 0, "folders") for i in range(reals)]
                        + [row(f"fake/{i}.mp4", 1, "folders", "fake") for i in range(fakes)])


def parts_of(split):
    return dict(zip(split.rows["video_id"], split.rows["part"]))


def counts(split, what="videos"):
    return tuple(split.audit["parts"][part][what] for part in ("train", "val", "test"))


def nothing_shared(split, people=True):
    keys = ("original_there", "sibling_there", "source_videos_shared", *["identities_shared"] * people)
    return all(pair[key] == 0 for pair in split.audit["shared"].values() for key in keys)


@pytest.fixture
def celeb_v2(shared):
    """The index of the whole Celeb-DF v2, from its names."""
    names = shared("lists", "celeb_df_v2_files.txt").read_text().split()
    return pd.DataFrame(celeb(names, {LIST: shared("corpus", "Celeb-DF-v2", LIST)}).rows)


class TestCelebDfV2:
    def test_by_default_val_is_one_component_test_another_and_nothing_is_dropped(self, celeb_v2):
        split = split_corpus(celeb_v2)
        part_of = parts_of(split)
        people = {part: set() for part in ("train", "val", "test")}
        for entry in celeb_v2.itertuples():
            if not entry.target_id.startswith("yt"):
                people[part_of[entry.video_id]] |= {entry.target_id} | ({entry.source_id} - {""})
        assert people["val"] == {f"id{i}" for i in range(39, 49)}
        assert people["test"] == {f"id{i}" for i in range(49, 59)}
        assert "id36" in people["train"] and len(people["train"]) == 39
        assert split.audit["dropped"] == [] and nothing_shared(split)
        assert counts(split, "fake") == (4188, 723, 728)
        assert counts(split, "real") == (389 + 10 + 180, 91 + 60, 100 + 60)
        assert any("test holds 12.9% of the fakes, 20% asked" in line for line in describe(split))

    def test_a_fifth_asked_for_cuts_off_five_people_for_four_clips(self, celeb_v2):
        split = split_corpus(celeb_v2, SplitOptions(test=0.2, allow_drops=True))
        assert len(split.audit["dropped"]) <= 4
        assert split.audit["parts"]["test"]["share_of_fakes"] >= 0.148
        assert counts(split, "fake")[1] == 723 and nothing_shared(split)
        assert all(name.startswith("Celeb-synthesis/id8_id7_") for name in split.audit["dropped"])

    def test_a_quarter_asked_for_is_both_small_components(self, celeb_v2):
        split = split_corpus(celeb_v2, SplitOptions(test=0.25, allow_drops=True))
        assert counts(split, "fake")[2] == 723 + 728 and nothing_shared(split)
        assert min(counts(split, "fake")) > 0

    def test_the_official_list_leaks_as_computed(self, celeb_v2):
        split = split_corpus(celeb_v2, SplitOptions(rule="official"))
        shared = split.audit["shared"]["test/train+val"]
        assert shared["fakes"] == 340 and shared["original_there"] == 234 and shared["sibling_there"] == 331
        assert (shared["identities"], shared["identities_shared"]) == (56, 56)
        assert split.audit["parts"]["test"]["videos"] == 518
        assert split.audit["shared"]["val/train"]["identities_shared"] == 0
        assert "234 of 340 test fakes have their original in training" in split.audit["warnings"][0]

    def test_a_random_split_leaks_nearly_everything_and_warns(self, celeb_v2):
        split = split_corpus(celeb_v2, SplitOptions(rule="random"))
        shared = split.audit["shared"]["test/train+val"]
        assert shared["sibling_there"] > 0.99 * shared["fakes"] and "random" in split.audit["warnings"][0]
        assert [round(n, 2) for n in counts(split, "share_of_videos")] == [0.6, 0.2, 0.2]

    def test_source_videos_stay_with_their_fakes(self, celeb_v2):
        split = split_corpus(celeb_v2, SplitOptions(rule="source"))
        pair = split.audit["shared"]["test/train+val"]
        assert pair["source_videos_shared"] == pair["sibling_there"] == 0 < pair["identities_shared"]
        assert 0.19 < split.audit["parts"]["test"]["share_of_fakes"] < 0.21


class TestSmallCorpora:
    @pytest.mark.parametrize("groups", [
        [(i, i + 1) for i in range(0, 12, 2)], [(0, 1, 2), (3, 4, 5), (6, 7), (8, 9), (10, 11)],
        [(0, 1), (2, 3), (4, 5)], [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)]])
    def test_closed_groups_are_divided_without_a_loss_and_every_part_has_both_classes(self, groups):
        split = split_corpus(swaps(*groups))
        assert split.audit["dropped"] == [] and nothing_shared(split)
        assert min(counts(split, "real") + counts(split, "fake")) > 0
        assert not split.audit["warnings"]
        assert 0.1 < split.audit["parts"]["test"]["share_of_videos"] < 0.34

    def test_six_pairs_come_as_near_as_pairs_can(self):
        assert counts(split_corpus(swaps(*[(i, i + 1) for i in range(0, 12, 2)])), "share_of_fakes") == (
            0.666667, 0.166667, 0.166667)

    def test_the_shared_pairs_of_celeb_df(self, shared):
        from extract.corpus import find_corpus
        split = split_corpus(pd.DataFrame(find_corpus(shared("corpus", "Celeb-DF-v2")).rows))
        assert counts(split, "real") == counts(split, "fake") == (4, 1, 1)
        assert nothing_shared(split) and not split.audit["dropped"]

    def test_a_single_knot_of_people_falls_back_to_source_videos_and_says_so(self):
        split = split_corpus(swaps(range(6), clips=3))  # everybody has swapped faces with everybody
        assert split.audit["rule"] == "source"
        assert "people cannot be kept apart" in split.audit["notes"][0] and "people" in split.audit["warnings"][0]
        assert split.audit["shared"]["test/train+val"]["source_videos_shared"] == 0

    def test_two_knots_with_one_thread_between_are_cut_there(self):
        thread = row("Celeb-synthesis/id0_id3_0009.mp4", 1, "Celeb-DF-v2", "x", "id0", "id3", "Celeb-real/id0_0009.mp4")
        index = pd.concat([swaps(range(3), range(3, 6), range(6, 9)), pd.DataFrame([thread])])
        split = split_corpus(index)
        assert split.audit["dropped"] == [thread["video_id"]] and nothing_shared(split)
        assert min(counts(split, "fake")) > 0

    def test_too_few_videos_are_an_error_that_counts_them(self):
        with pytest.raises(SplitError, match="1 real, 1 fake"):
            split_corpus(singles(1, 1))
        with pytest.raises(SplitError, match="train has no fakes"):
            split_corpus(singles(9, 0))

    def test_a_validation_part_of_one_class_is_a_warning(self):
        split = split_corpus(singles(2, 9))
        assert "val has no reals: AUC is n/a there" in split.audit["warnings"][0]


class TestRules:
    def test_videos_of_which_nothing_is_known_are_dealt_by_class(self):
        split = split_corpus(singles(50, 500))
        assert split.audit["rule"] == "video" and not split.audit["warnings"]
        assert counts(split, "real") == (30, 10, 10) and counts(split, "fake") == (300, 100, 100)

    def test_dfdc_keeps_a_source_video_with_its_fakes(self):
        index = pd.DataFrame([row(f"{i}.mp4", 0, "DFDC") for i in range(20)]
                             + [row(f"{i}_{k}.mp4", 1, "DFDC", "DFDC", original=f"{i}.mp4")
                                for i in range(20) for k in range(5)])
        split = split_corpus(index)
        assert split.audit["rule"] == "source" and nothing_shared(split, people=False)
        assert counts(split) == (72, 24, 24)

    def test_faceforensics_keeps_a_pair_in_all_methods_and_compressions(self):
        names = [f"original_sequences/youtube/{c}/videos/{i:03d}.mp4" for i in range(20) for c in ("c23", "c40")]
        names += [f"manipulated_sequences/{m}/{c}/videos/{i:03d}_{i ^ 1:03d}.mp4" for i in range(20)
                  for c in ("c23", "c40") for m in ("Deepfakes", "FaceSwap")]
        index = pd.DataFrame(faceforensics(names, {}).rows)
        split = split_corpus(index)
        assert split.audit["rule"] == "identity" and nothing_shared(split) and not split.audit["dropped"]
        assert split.rows.groupby("group")["part"].nunique().max() == 1
        assert split.rows["group"].nunique() == 10 and counts(split, "share_of_fakes") == (0.6, 0.2, 0.2)
        by_source = split_corpus(index, SplitOptions(rule="source"))  # c23 and c40 of a clip are one source video
        assert by_source.audit["shared"]["test/train+val"]["source_videos_shared"] == 0

    def test_official_parts_with_their_own_validation_are_taken_as_they_are(self):
        index = swaps((0, 1), (2, 3), (4, 5), (6, 7))
        people = {"id0": "train", "id1": "train", "id2": "val", "id3": "val", "id4": "test", "id5": "test"}
        index["official"] = index["target_id"].map(people).fillna("")
        split = split_corpus(index, SplitOptions(rule="official"))
        assert counts(split) == (8, 8, 8) and len(split.audit["dropped"]) == 8
        assert "in no part of the official list" in split.audit["notes"][0]

    @pytest.mark.parametrize("rule, message", [("identity", "does not tell who is in a fake"),
                                               ("source", "does not tell what a fake was made from"),
                                               ("official", "official lists")])
    def test_a_rule_that_the_corpus_cannot_keep_is_an_error(self, rule, message):
        with pytest.raises(SplitError, match=message):
            split_corpus(singles(50, 50), SplitOptions(rule=rule))

    @pytest.mark.parametrize("values", [{"test": 0.0}, {"test": 1.2}, {"val": 0.0}, {"test": 0.5, "val": 0.5},
                                        {"rule": "people"}, {"split_seed": -1}])
    def test_impossible_options_are_refused(self, values):
        with pytest.raises(ValueError):
            SplitOptions(**values)


class TestRepeatability:
    def test_the_order_of_the_rows_does_not_matter_and_the_seed_does(self):
        index = swaps(*[(i, i + 1) for i in range(0, 80, 2)])
        one, other = split_corpus(index), split_corpus(index.sample(frac=1, random_state=3))
        assert one.rows.equals(other.rows) and one.audit["split_hash"] == other.audit["split_hash"]
        assert split_corpus(index, SplitOptions(split_seed=1)).audit["split_hash"] != one.audit["split_hash"]

    def test_the_hash_is_of_the_content(self):
        table = split_corpus(swaps((0, 1), (2, 3), (4, 5))).rows
        assert split_hash(table.iloc[::-1]) == split_hash(table)
        changed = table.copy()
        changed.loc[0, "part"] = "dropped"
        assert split_hash(changed) != split_hash(table)


class TestAudit:
    INDEX = pd.DataFrame([row("r/a", 0, "x", target_id="p"), row("r/b", 0, "x", target_id="q"),
                          row("f/a1", 1, "x", "m", "p", "q", "r/a"), row("f/a2", 1, "x", "m", "p", "s", "r/a"),
                          row("f/b1", 1, "x", "m", "q", "p", "r/b")])

    def shared(self, **part_of):
        parts = dict(zip(self.INDEX["video_id"], part_of.values()))
        table = pd.DataFrame({"video_id": list(parts), "label": self.INDEX["label"], "part": list(parts.values()),
                              "group": ""})
        return audit(self.INDEX, table)

    def test_it_counts_originals_siblings_sources_and_people_by_hand(self):
        found = self.shared(a="train", b="test", a1="test", a2="train", b1="test")
        assert found["shared"]["test/train+val"] == {
            "fakes": 2, "original_there": 1, "sibling_there": 1, "source_videos": 2, "source_videos_shared": 1,
            "identities": 2, "identities_shared": 1}  # s has one clip only; q is in test alone
        assert found["parts"]["test"]["share_of_fakes"] == 0.666667

    def test_dropped_videos_are_in_no_part(self):
        found = self.shared(a="train", b="test", a1="dropped", a2="train", b1="test")
        assert found["dropped"] == ["f/a1"] and found["parts"]["train"]["videos"] == 2
        assert found["shared"]["test/train+val"]["source_videos_shared"] == 0


class TestCommand:
    def test_it_prints_the_audit_and_writes_table_and_record(self, tmp_path, capsys):
        RunRecord(tmp_path).write()
        write_table(tmp_path / "index.csv", swaps((0, 1), (2, 3), (4, 5), (6, 7), (8, 9)), INDEX)
        arguments = ["--out", str(tmp_path)]
        assert main(arguments) == 0
        said = capsys.readouterr()
        assert "split by identity, seed 0" in said.out and not said.err
        assert "0 of 2 identities; 0 of 4 test fakes have their original in train+val" in said.out
        table = read_table(tmp_path / "split.csv", SPLIT)
        record = json.loads((tmp_path / "split.json").read_text())
        assert record["split_hash"] == split_hash(table) and record["rule"] == "identity"
        assert main(arguments + ["--rule", "random"]) == 0
        assert "WARNING: split by random" in capsys.readouterr().err

    def test_an_impossible_share_is_one_line(self, tmp_path, capsys):
        assert main(["--out", str(tmp_path), "--test", "1.5"]) == 1
        assert capsys.readouterr().err == "error: test must be a share between 0 and 1, got 1.5\n"
