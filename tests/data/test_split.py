"""Facts about dividing videos: on indexes made up by name, and on the full list of Celeb-DF v2."""
from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from data.split import SplitOptions, describe, given_split, main, split_corpus, split_hash
from data.splitting.audit import audit
from data.splitting.duplicates import Copies, read_copies
from data.splitting.extend import Earlier
from extract.layouts.base import row
from extract.layouts.celebdf import celeb
from extract.layouts.faceforensics import faceforensics
from pipeline.errors import SplitError
from pipeline.run_record import RunRecord
from pipeline.tables import COPIES, INDEX, SPLIT, read_table, write_table

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


@pytest.fixture(scope="module")
def whole_faceforensics():
    """The index of all of FaceForensics++ that has a list: 1,000 reals and five fakes of each."""
    from extract.layouts.faceforensics_lists import known_parts

    names = [f"original_sequences/youtube/c23/videos/{i:03d}.mp4" for i in range(1000)]
    names += [f"manipulated_sequences/{method}/c23/videos/{stem}.mp4" for stem in known_parts() if "_" in stem
              for method in ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")]
    return pd.DataFrame(faceforensics(names, {}).rows)


class TestFaceForensics:
    def test_the_official_parts_share_the_people_of_seven_videos(self, whole_faceforensics):
        split = split_corpus(whole_faceforensics, SplitOptions(rule="official"))
        reals = split.rows[split.rows["label"] == 0]
        assert reals["part"].value_counts().to_dict() == {"train": 720, "val": 140, "test": 140}
        shared = split.audit["shared"]
        assert shared["test/train+val"]["identities_shared"] == 2 and shared["val/train"]["identities_shared"] == 5
        assert any("2 of 139 people of the test part are there too" in line for line in split.audit["warnings"])
        assert shared["test/train+val"]["original_there"] == shared["test/train+val"]["source_videos_shared"] == 0

    def test_the_identity_rule_shares_nobody_and_drops_nothing(self, whole_faceforensics):
        split = split_corpus(whole_faceforensics, SplitOptions(rule="identity"))
        assert nothing_shared(split) and not split.audit["dropped"]
        part_of = parts_of(split)
        for pair in ("605 606", "755 756", "954 955", "043 343", "179 826"):
            a, b = (part_of[f"original_sequences/youtube/c23/videos/{clip}.mp4"] for clip in pair.split())
            assert a == b


class TestHoldOut:
    def test_a_method_is_in_test_alone_and_everything_else_stays(self, whole_faceforensics):
        before, after = (split_corpus(whole_faceforensics, SplitOptions(hold_out=held))
                         for held in (None, "neuraltextures,FaceSwap"))
        method = dict(zip(whole_faceforensics["video_id"], whole_faceforensics["method"]))
        old, new = parts_of(before), parts_of(after)
        for name, part in old.items():
            held = method[name] in ("NeuralTextures", "FaceSwap")
            assert new[name] == ("dropped" if held and part != "test" else part)
        assert {method[name] for name, part in new.items() if part == "test"} == set(method.values())
        assert nothing_shared(after) and any("for test alone (400 fakes); 1,600" in n for n in after.audit["notes"])
        assert len(after.audit["dropped"]) == 1600

    def test_a_method_is_named_by_a_folder_of_it_too(self):
        index = swaps(range(0, 4), range(4, 8), range(8, 12))
        index["method"] = ["" if not label else ("FaceSwap/GHOST", "FaceReenact/LIA")[i % 2]
                           for i, label in enumerate(index["label"])]
        split = split_corpus(index, SplitOptions(hold_out="ghost"))
        held = dict(zip(index["video_id"], index["method"]))
        assert {part for name, part in parts_of(split).items() if held[name] == "FaceSwap/GHOST"} == {"test", "dropped"}

    def test_an_unknown_method_is_named_with_the_nearest(self, whole_faceforensics):
        with pytest.raises(SplitError, match="by NeuralTexture .did you mean NeuralTextures"):
            split_corpus(whole_faceforensics, SplitOptions(hold_out="NeuralTexture"))

    def test_training_needs_a_method_that_is_not_held_out(self):
        with pytest.raises(SplitError, match="train has no fakes where Celeb-synthesis is held out"):
            split_corpus(swaps(range(0, 4), range(4, 8), range(8, 12)), SplitOptions(hold_out="Celeb-synthesis"))

    def test_a_corpus_that_grew_keeps_its_parts_and_what_is_held_out(self, whole_faceforensics):
        options = SplitOptions(hold_out="FaceSwap")
        known = whole_faceforensics[:-600]
        first = split_corpus(known, options)
        earlier = Earlier(parts_of(first), first.audit["rule"], first.audit["options"])
        grown = split_corpus(whole_faceforensics, options, earlier=earlier)
        assert grown.audit["dealt"]["how"] == "kept"
        assert {name: part for name, part in parts_of(grown).items() if name in earlier.parts} == earlier.parts
        method = dict(zip(whole_faceforensics["video_id"], whole_faceforensics["method"]))
        assert {part for name, part in parts_of(grown).items() if method[name] == "FaceSwap"} == {"test", "dropped"}
        again = split_corpus(whole_faceforensics, SplitOptions(), earlier=earlier)
        assert again.audit["dealt"]["reason"] == "hold_out was FaceSwap, now None"


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


def keep(split):
    """What a later split finds of this one."""
    return Earlier(parts_of(split), split.audit["rule"], split.audit["options"])


class TestGrowing:
    """Known videos stay where they were; what is new is dealt out."""

    def grown(self, index, more, options=SplitOptions(), copies=Copies()):
        before = split_corpus(index, options, copies)
        after = split_corpus(pd.concat([index, pd.DataFrame(more)], ignore_index=True), options, copies, keep(before))
        assert after.audit["dealt"]["how"] == "kept"
        known = parts_of(before)
        assert all(parts_of(after)[video] == part for video, part in known.items())
        return before, after

    def test_nothing_new_is_the_same_split(self, celeb_v2):
        before = split_corpus(celeb_v2)
        after = split_corpus(celeb_v2.sample(frac=1, random_state=0), earlier=keep(before))
        assert after.audit["split_hash"] == before.audit["split_hash"]
        assert "6,529 videos stay where they were, 0 new" in describe(after)[0]

    def test_without_an_earlier_split_nothing_changes(self, celeb_v2):
        assert split_corpus(celeb_v2).audit["split_hash"] == split_corpus(
            celeb_v2, asked_anew=True).audit["split_hash"]

    def test_two_clips_more_move_nobody_and_are_dealt_out(self):
        index = singles(12, 12)
        new = [row("real/new.mp4", 0, "folders"), row("fake/new.mp4", 1, "folders", "fake")]
        anew = parts_of(split_corpus(pd.concat([index, pd.DataFrame(new)], ignore_index=True)))
        before, after = self.grown(index, new)
        assert any(anew[video] != part for video, part in parts_of(before).items())  # so that keeping does something
        assert {parts_of(after)[entry["video_id"]] for entry in new} <= {"train", "val", "test"}
        assert "24 videos stay where they were, 2 new" in describe(after)[0]

    def test_many_new_clips_fill_the_parts_that_lack_most(self):
        _, after = self.grown(singles(20, 20), [row(f"fake/more {n}.mp4", 1, "folders", "fake") for n in range(80)])
        assert counts(after, "fake") == (60, 20, 20)

    def test_a_corpus_that_doubled_by_people_keeps_its_shares_and_shares_nobody(self, celeb_v2):
        half = celeb_v2[celeb_v2["target_id"].str.startswith("yt") | celeb_v2["video_id"].str.contains("_000[0-4]")]
        before = split_corpus(half)
        after = split_corpus(celeb_v2, earlier=keep(before))
        assert nothing_shared(after) and after.audit["dealt"]["n_new"] == len(celeb_v2) - len(half)
        assert all(parts_of(after)[video] == part for video, part in parts_of(before).items())

    def test_a_new_clip_of_known_people_goes_where_they_are(self):
        index = swaps((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
        new = celeb(["Celeb-real/id2_0009.mp4", "Celeb-synthesis/id2_id3_0009.mp4"], {}).rows
        before, after = self.grown(index, new)
        part = parts_of(before)["Celeb-real/id2_0000.mp4"]
        assert {parts_of(after)[entry["video_id"]] for entry in new} == {part} and nothing_shared(after)

    def test_new_people_tied_to_one_part_join_it(self):
        index = swaps((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
        kinds = "real/id20", "synthesis/id20_id21", "synthesis/id21_id2", "real/id21"
        new = celeb([f"Celeb-{kind}_0009.mp4" for kind in kinds], {}).rows
        before, after = self.grown(index, new)
        part = parts_of(before)["Celeb-real/id2_0000.mp4"]
        assert {parts_of(after)[entry["video_id"]] for entry in new} == {part} and not after.audit["left_out"]

    def test_a_new_clip_that_ties_two_parts_together_is_left_out_and_named(self):
        index = swaps((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
        known = parts_of(split_corpus(index))
        a, b = (next(n for n in range(10) if known[f"Celeb-real/id{n}_0000.mp4"] == part) for part in ("train", "test"))
        tie = celeb([f"Celeb-real/id{a}_0009.mp4", f"Celeb-synthesis/id{a}_id{b}_0009.mp4"], {}).rows
        _, after = self.grown(index, tie)
        name = f"Celeb-synthesis/id{a}_id{b}_0009.mp4"
        assert after.audit["left_out"] == after.audit["dropped"] == [name] and nothing_shared(after)
        assert any(f"1 new clip ties two parts together: left out ({name})" in line for line in describe(after))

    def test_source_videos_keep_their_new_fakes(self):
        index = pd.DataFrame([row(f"{i}.mp4", 0, "DFDC") for i in range(20)]
                             + [row(f"{i}_0.mp4", 1, "DFDC", "DFDC", original=f"{i}.mp4") for i in range(20)])
        new = [row(f"{i}_1.mp4", 1, "DFDC", "DFDC", original=f"{i}.mp4") for i in range(20)]
        before, after = self.grown(index, new)
        assert all(parts_of(after)[f"{i}_1.mp4"] == parts_of(before)[f"{i}.mp4"] for i in range(20))

    def test_given_parts_keep_the_validation_that_was_carved_out(self):
        def pictures(n):
            return pd.DataFrame([row(f"{part}/{kind}/{i:03d}.jpg", label, "images", official=part)
                                 for part in ("train", "test") for label, kind in enumerate(("real", "fake"))
                                 for i in range(n)])
        before = split_corpus(pictures(20))
        after = split_corpus(pictures(30), earlier=keep(before))
        assert all(parts_of(after)[name] == part for name, part in parts_of(before).items())
        assert after.audit["parts"]["val"]["videos"] > before.audit["parts"]["val"]["videos"]

    @pytest.mark.parametrize("options, why", [(SplitOptions(split_seed=1), "split_seed was 0, now 1"),
                                              (SplitOptions(val=0.1), "val was 0.2, now 0.1")])
    def test_other_options_deal_anew_and_say_so(self, options, why):
        before = split_corpus(singles(20, 20))
        after = split_corpus(singles(20, 20), options, earlier=keep(before))
        assert after.audit["split_hash"] == split_corpus(singles(20, 20), options).audit["split_hash"]
        assert f"all dealt anew: {why}" in describe(after)[0]

    def test_a_corpus_that_tells_more_than_before_is_dealt_anew(self):
        before = split_corpus(singles(20, 20))
        more = pd.concat([singles(20, 20), pd.DataFrame([row(f"fake/of {i}.mp4", 1, "folders", "fake",
                                                             original=f"real/{i}.mp4") for i in range(20)])])
        after = split_corpus(more, earlier=keep(before))
        assert after.audit["rule"] == "source" and "tells what a split by source keeps together" in describe(after)[0]

    def test_a_part_that_lost_a_class_is_an_error_that_says_what_to_do(self):
        before = split_corpus(singles(20, 20))
        left = [name for name, part in parts_of(before).items() if part != "test" or name.startswith("real")]
        index = singles(20, 20)
        with pytest.raises(SplitError, match="test has no fakes .*SPLIT=new"):
            split_corpus(index[index["video_id"].isin(left)], earlier=keep(before))

    def test_the_command_keeps_or_deals_anew(self, tmp_path, capsys):
        RunRecord(tmp_path).write()
        for n, flags, said in ((12, [], "all dealt anew: there was no split before"),
                               (13, [], "24 videos stay where they were, 2 new"),
                               (13, ["--split", "new"], "all dealt anew: asked for (SPLIT=new)"),
                               (14, [], "26 videos stay where they were, 2 new"),
                               (14, ["--split", "new"], "all dealt anew: asked for (SPLIT=new)")):
            write_table(tmp_path / "index.csv", singles(n, n), INDEX)
            assert main(["--out", str(tmp_path), *flags]) == 0
            assert said in capsys.readouterr().out
            assert json.loads((tmp_path / "split.json").read_text())["dealt"]["how"] == ("kept" if "stay" in said else
                                                                                         "anew")


class TestCopies:
    SAME = Copies({"real/5.mp4": "real/1.mp4", "fake/7.mp4": "fake/2.mp4"})

    def test_by_video_copies_and_near_copies_are_kept_together(self):
        copies = Copies(self.SAME.same, {**self.SAME.same, "real/9.mp4": "real/3.mp4"})
        for seed in range(8):
            split = split_corpus(singles(12, 12), SplitOptions(split_seed=seed), copies)
            part = parts_of(split)
            assert all(part[copy] == part[first] != "dropped" for copy, first in copies.near.items())
            assert set(split.audit["near_copies_across"].values()) == {0}

    def test_by_people_the_copy_in_the_weaker_part_is_dropped(self):
        index = swaps((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
        part = parts_of(split_corpus(index))
        reals = [f"Celeb-real/id{n}_0000.mp4" for n in range(10)]
        test, train = (next(name for name in reals if part[name] == wanted) for wanted in ("test", "train"))
        first, copy = sorted((test, train))
        split = split_corpus(index, SplitOptions(), Copies({copy: first}))
        assert split.audit["dropped"] == [train] and parts_of(split)[test] == "test"
        near = split_corpus(index, SplitOptions(), Copies({}, {copy: first}))
        assert near.audit["dropped"] == [] and near.audit["near_copies_across"]["test/train+val"] == 1
        assert any("1 files of one part have a near-copy in another" in line for line in near.audit["warnings"])

    def test_by_source_the_fakes_of_a_copied_real_stay_with_those_of_the_first(self):
        index = pd.DataFrame([row(f"{i:02d}.mp4", 0, "DFDC") for i in range(20)]
                             + [row(f"{i:02d}_0.mp4", 1, "DFDC", "DFDC", original=f"{i:02d}.mp4") for i in range(20)])
        for seed in range(5):
            part = parts_of(split_corpus(index, SplitOptions(split_seed=seed), Copies({"11.mp4": "03.mp4"})))
            assert part["11_0.mp4"] == part["03_0.mp4"] == part["11.mp4"] == part["03.mp4"] != "dropped"

    def test_copies_labelled_real_and_fake_are_dropped_everywhere(self):
        split = split_corpus(singles(12, 12), SplitOptions(), Copies({"real/5.mp4": "fake/1.mp4"}))
        assert split.audit["dropped"] == ["fake/1.mp4", "real/5.mp4"]

    def test_a_new_copy_of_a_known_clip_goes_where_that_is(self):
        before = split_corpus(singles(12, 12))
        new = [row(f"real/copy of {n}.mp4", 0, "folders") for n in range(12)]
        copies = Copies({f"real/copy of {n}.mp4": f"real/{n}.mp4" for n in range(12)})
        after = split_corpus(pd.concat([singles(12, 12), pd.DataFrame(new)]), SplitOptions(), copies, keep(before))
        part = parts_of(after)
        assert all(part[f"real/copy of {n}.mp4"] == part[f"real/{n}.mp4"] for n in range(12))

    def test_both_tables_are_read_and_copies_of_copies_are_one_group(self, tmp_path):
        (tmp_path / "faces").mkdir()
        write_table(tmp_path / "copies.csv", [{"video_id": "b", "same_as": "a", "how": "bytes"}], COPIES)
        write_table(tmp_path / "faces/copies.csv", [{"video_id": "c", "same_as": "b", "how": "samples"},
                                                    {"video_id": "d", "same_as": "c", "how": "near"}], COPIES)
        assert read_copies(tmp_path / "index.csv") == Copies({"b": "a", "c": "a"}, {"b": "a", "c": "a", "d": "a"})


def test_a_given_split_names_the_videos_it_has_no_part_for():
    index = singles(20, 20)
    table = split_corpus(index).rows[["video_id", "part"]].iloc[2:]
    split = given_split(index, table, SplitOptions(), Path("split.csv"))
    absent = sorted(set(index["video_id"]) - set(table["video_id"]))
    assert any(f"split.csv gives no part to 2 of 40 videos, so they are left out ({', '.join(absent)})" in said
               for said in split.audit["warnings"])
    whole = split_corpus(index).rows[["video_id", "part"]]
    assert not any("no part" in said for said in given_split(index, whole, SplitOptions(), Path("s")).audit["warnings"])
