"""Facts about which pictures are frames of one video, and what becomes of them."""
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.split import split_corpus
from extract.corpus import describe, find_corpus
from extract.decoding.frame_files import NOMINAL_FPS, frame_files
from extract.decoding.sampling import Clip, FrameOptions
from extract.layouts.frames import group_frames
from extract.store import stamp_of
from pipeline.errors import CorpusError, VideoError


def several(folder, names=range(5), form="{:04d}.png"):
    return [f"{folder}/{form.format(name)}" for name in names]


def plant(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_a_folder_of_numbered_pictures_below_its_class_is_a_video():
    found = group_frames([*several("real/v1"), *several("real/v2"), *several("fake/x", form="frame_{}.jpg")])
    assert {clip: len(frames) for clip, frames in found.clips.items()} == {"real/v1": 5, "real/v2": 5, "fake/x": 5}
    assert found.alone == [] and found.clips["fake/x"][-1] == "fake/x/frame_4.jpg"


def test_a_class_or_part_folder_holds_pictures_and_no_video():
    names = [*several("real"), *several("0_fake"), *several("train/REAL"), *several("deepfakes/fake")]
    assert group_frames(names).clips == {} and len(group_frames(names).alone) == 20


@pytest.mark.parametrize("names, clips", [
    (several("real", form="vid1_{:03d}.jpg") + several("real", form="vid2_{:03d}.jpg"),
     ["real/vid1_*.jpg", "real/vid2_*.jpg"]),
    (several("fake", form="000_003_{}.png") + several("fake", form="001_870_{}.png"),
     ["fake/000_003_*.png", "fake/001_870_*.png"]),
    (several("fake", form="id0_id1_0000_{}.png") + several("fake", form="id2_id3_0001_{}.png"),
     ["fake/id0_id1_0000_*.png", "fake/id2_id3_0001_*.png"])])
def test_names_in_one_folder_tell_videos_apart(names, clips):
    assert sorted(group_frames(names).clips) == clips


@pytest.mark.parametrize("names", [
    several("real", form="IMG_{:04d}.jpg") + several("real", form="DSC_{:04d}.jpg"),  # what cameras write
    several("fake", range(3), "id{}_id9_0003.jpg"),                                   # one picture of each clip
    several("real", range(3), "{:05d}.jpg"), several("real", range(3), "{} (2).jpg"),
    several("real", range(20170101, 20170104), "25_0_2_{}.jpg"),                      # dates are no frames
    several("fake/GAN", range(3), "id{}_0000 still.png")])                            # what differs is no frame
def test_numbers_that_are_no_frames_make_no_video(names):
    assert group_frames(names).clips == {} and len(group_frames(names).alone) == len(names)


def test_running_numbers_over_several_folders_are_no_videos():
    names = [name for n in range(3) for name in several(f"real/{n:05d}", range(100 * n, 100 * n + 100))]
    assert group_frames(names).clips == {}


def test_group_decides_where_names_do_not():
    names = several("real/alice") + several("real/bob")
    assert not group_frames(names).sure and len(group_frames(names).clips) == 2
    assert group_frames(names, "none").clips == {} and len(group_frames(names, "none").alone) == 10
    letters = ["real/v/a.png", "real/v/b.png", "real/c.png"]
    assert group_frames(letters).clips == {}
    assert group_frames(letters, "folder").clips == {"real/v": ["real/v/a.png", "real/v/b.png"]}
    by_name = group_frames(["real/a_1.png", "real/a_2.png", "real/b_1.png"], "name")
    assert by_name.clips.keys() == {"real/a_*.png", "real/b_*.png"}


def test_check_shows_how_uncertain_pictures_were_grouped_and_what_decides(tmp_path):
    names = [*several("real/alice"), *several("fake/bob"), "fake/cover.png"]
    said = describe(find_corpus(plant(tmp_path, *names)))
    [line] = [line for line in said if line.startswith("frames: 10 pictures are frames of 2 videos, grouped by folder")]
    assert "(e.g. fake/bob: 5 frames, 0000.png to 0004.png); this is a guess from their names: GROUP=none" in line
    assert "frames: 1 pictures are no frames of a video: each is a row of its own (e.g. fake/cover.png)" in said
    sure = describe(find_corpus(plant(tmp_path / "sure", *several("real/001"), *several("fake/001_002"))))
    assert not any("guess" in line for line in sure)


def test_a_folder_inside_the_folder_of_a_video_gets_a_name_of_its_own():
    found = group_frames([*several("real/v1"), *several("real/v1/sub"), *several("fake/v2")])
    assert sorted(found.clips) == ["fake/v2", "real/v1/*.png", "real/v1/sub"] and not found.alone


def test_celeb_df_and_dfdc_as_frames_keep_people_and_originals(tmp_path):
    plant(tmp_path / "celeb", *several("Celeb-real/frames/id0_0003"), *several("YouTube-real/frames/00170"),
          *several("Celeb-synthesis/frames/id0_id16_0003"))
    rows = {row["video_id"]: row for row in find_corpus(tmp_path / "celeb").rows}
    fake = rows["Celeb-synthesis/frames/id0_id16_0003"]
    assert (fake["target_id"], fake["source_id"], fake["original"]) == ("id0", "id16", "Celeb-real/frames/id0_0003")
    assert fake["modality"] == "video" and fake["method"] == "Celeb-synthesis"
    plant(tmp_path / "dfdc", *several("aaa"), *several("bbb"))
    (tmp_path / "dfdc/metadata.json").write_text(
        '{"aaa.mp4": {"label": "FAKE", "original": "bbb.mp4"}, "bbb.mp4": {"label": "REAL"}}')
    rows = {row["video_id"]: row for row in find_corpus(tmp_path / "dfdc").rows}
    assert rows["aaa"]["label"] == 1 and rows["aaa"]["original"] == "bbb" and rows["bbb"]["label"] == 0


def test_no_video_has_frames_in_two_parts_and_given_parts_stay(tmp_path):
    names = [name for part, size in (("train", 12), ("test", 3)) for kind in ("real", "fake") for n in range(size)
             for name in several(f"{part}/{kind}/v{n:02d}", range(4))]
    index = pd.DataFrame(find_corpus(plant(tmp_path, *names)).rows)
    table = split_corpus(index).rows
    assert len(table) == 30 and set(table["part"]) == {"train", "val", "test"}
    assert all((part == "test") == name.startswith("test/") for name, part in zip(table["video_id"], table["part"]))


def test_the_audit_says_unknown_where_nothing_is_known(tmp_path):
    from data.split import describe as audit_lines

    index = pd.DataFrame(find_corpus(plant(tmp_path, *several("real", range(20)), *several("fake", range(20)))).rows)
    split = split_corpus(index)
    assert all(value is None for pair in split.audit["shared"].values() for key, value in pair.items()
               if key.endswith(("_shared", "_there")))
    said = "\n".join(audit_lines(split))
    assert "source videos: unknown" in said and "identities: unknown" in said
    assert "0 of" not in "".join(line for line in audit_lines(split) if "share:" in line)
    assert "unknown here: which of the 40 pictures come from one video or one shooting" in said


def test_a_csv_lists_a_folder_of_frames_as_one_video_and_groups_only_what_is_sure(tmp_path):
    plant(tmp_path, *several("v/one"), *several("v/007"), *several("p/alice"))
    lines = ["path,label", "v/one,real", *(f"{name},fake" for name in several("v/007")),
             *(f"{name},1" for name in several("p/alice"))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    rows = {row["video_id"]: (row["label"], row["modality"]) for row in find_corpus(tmp_path / "t.csv").rows}
    assert rows["v/one"] == (0, "video") and rows["v/007"] == (1, "video") and "v/007/0000.png" not in rows
    assert rows["p/alice/0000.png"] == (1, "image") and len(rows) == 7


class TestReading:
    @staticmethod
    def draw(folder, numbers, form="{}.png"):
        folder.mkdir(parents=True)
        for number in numbers:
            Image.fromarray(np.full((8, 8, 3), number % 256, np.uint8)).save(folder / form.format(number))
        return folder

    def test_frames_come_in_the_order_of_their_numbers_with_times_at_a_nominal_rate(self, tmp_path):
        clip = Clip(self.draw(tmp_path / "v", [2, 10, 1, 100]), FrameOptions())
        frames = list(clip.frames())
        assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [1, 2, 10, 100]
        assert [frame.number for frame in frames] == [0, 1, 2, 3]
        assert [frame.time_s * NOMINAL_FPS for frame in frames] == pytest.approx([0, 1, 9, 99])
        assert clip.damage == "" and clip.n_asked == 4

    def test_of_many_at_least_32_are_looked_at_and_frames_says_how_many(self, tmp_path):
        folder = self.draw(tmp_path / "v", range(100))
        assert len(list(Clip(folder, FrameOptions()).frames())) == 32
        assert len(list(Clip(folder, FrameOptions(frames=5)).frames())) == 5
        assert len(list(Clip(folder, FrameOptions(every=0.04)).frames())) == 100

    def test_a_pattern_names_the_frames_of_one_video_of_several(self, tmp_path):
        folder = self.draw(tmp_path / "v", range(3), "a_{}.png")
        Image.new("RGB", (8, 8)).save(folder / "b_0.png")
        (folder / "a_x.png").write_text("no number")
        assert [path.name for path in frame_files(folder / "a_*.png")] == ["a_0.png", "a_1.png", "a_2.png"]
        assert len(list(Clip(folder / "a_*.png", FrameOptions()).frames())) == 3

    def test_a_damaged_frame_is_told_and_a_folder_without_pictures_is_an_error(self, tmp_path):
        folder = self.draw(tmp_path / "v", range(3))
        (folder / "1.png").write_text("words")
        clip = Clip(folder, FrameOptions())
        assert len(list(clip.frames())) == 2 and clip.damage == "1 of 3 sampled frames are damaged"
        (tmp_path / "empty").mkdir()
        with pytest.raises(VideoError, match="no video: a folder without pictures"):
            Clip(tmp_path / "empty", FrameOptions())

    def test_a_frame_that_was_replaced_changes_the_stamp(self, tmp_path):
        folder = self.draw(tmp_path / "v", range(3))
        before = stamp_of(folder)
        Image.new("RGB", (9, 9)).save(folder / "1.png")
        assert stamp_of(folder) != before


def test_frames_elsewhere_are_refused_in_one_line(monkeypatch):
    from pipeline.storage import Remote

    names = [*several("real/v1"), *several("fake/v2")]
    monkeypatch.setattr(Remote, "files", lambda self: dict.fromkeys(names, [1, ""]))
    with pytest.raises(CorpusError, match="frames of videos as pictures, which are read from local folders alone"):
        find_corpus(Remote("s3", "bucket"))
    assert len(find_corpus(Remote("s3", "bucket"), group="none").rows) == 10
