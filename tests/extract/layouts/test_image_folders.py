"""Facts about corpora of pictures: what is indexed, which files are copies, how parts stay, what extraction leaves."""
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data import split
from data.split import SplitOptions, split_corpus
from data.splitting.duplicates import Copies
from extract import corpus, run
from extract.corpus import find_corpus, same_content
from extract.layouts.base import row
from extract.layouts.class_folders import class_folders
from pipeline.errors import CorpusError, SplitError
from pipeline.tables import FACES, INDEX, SPLIT, VIDEOS, read_table


def plant(root, *names):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"picture {number}".encode())


def told(names):
    return {entry["video_id"]: (entry["label"], entry["official"]) for entry in images(names).rows}


def images(names):
    return class_folders(dict.fromkeys(names, "image"))


def cifake(root: Path, n_train=10, n_test=4, px=32) -> Path:
    """Pictures whose colour tells the class: reals bluish, fakes reddish noise."""
    dice = np.random.default_rng(0)
    for part, n in (("train", n_train), ("test", n_test)):
        for kind in ("REAL", "FAKE"):
            folder = root / part / kind
            folder.mkdir(parents=True)
            for number in range(n):
                noise = dice.integers(0, 128, (px, px, 3), dtype=np.uint8)
                noise[..., 0 if kind == "FAKE" else 2] += 127
                Image.fromarray(noise).save(folder / f"{number:04d} (2).jpg", quality=95)
    return root


def extracted(root, out, *flags):
    """The stages index and extract through their commands."""
    assert corpus.main(["--out", str(out), "--corpus", str(root)]) == 0
    return run.main(["--out", str(out), "--workers", "0", "--device", "cpu", *flags])


@pytest.mark.parametrize("name, label, part", [
    ("real/a.jpg", 0, ""), ("x/y/fake/z/a.jpg", 1, ""), ("training_real/a.jpg", 0, "train"),
    ("training_fake/a.jpg", 1, "train"), ("Train/Fake/a.jpg", 1, "train"), ("Validation/Real/a.jpg", 0, "test"),
    ("real-vs-fake/valid/real/a.jpg", 0, "test"), ("test/FAKE/a.jpg", 1, "test"), ("real/train/a.jpg", 0, "train"),
    ("nature/a.jpg", 0, ""), ("ai/a.jpg", 1, ""), ("1_fake/a.jpg", 1, ""), ("RealArt/a.jpg", 0, ""),
    ("AiArtData/AiArtData/a.jpg", 1, "")])
def test_folders_tell_label_and_part(name, label, part):
    assert told([name])[name] == (label, part)  # alone, a validation part is the one that judges


def test_three_parts_keep_their_names_and_pictures_without_a_label_are_counted():
    names = [f"{part}/{kind}/a.png" for part in ("train", "valid", "test") for kind in ("real", "fake")]
    found = images(names + ["readme.png"])
    assert {entry["official"] for entry in found.rows} == {"train", "val", "test"} and len(found.rows) == 6
    assert found.notes == ["1 picture left out: below no folder called real or fake (1 in the corpus itself)"]


def test_one_stem_with_two_suffixes_is_two_pictures(tmp_path):
    plant(tmp_path, "real/1.jpg", "real/1.png", "fake/1.JPEG", "fake/a b ü.webp")
    assert [entry["video_id"] for entry in find_corpus(tmp_path).rows] == ["fake/1.JPEG", "fake/a b ü.webp",
                                                                           "real/1.jpg", "real/1.png"]


def test_cifake_is_known_by_its_names(tmp_path):
    plant(tmp_path, "train/REAL/0000.jpg", "train/FAKE/1000 (10).jpg", "test/REAL/1.jpg", "test/FAKE/2.jpg")
    found = find_corpus(tmp_path)
    assert (found.dataset, found.thing, found.rows[0]["dataset"]) == ("CIFAKE", "picture", "CIFAKE")
    assert found.found == {"train real": 1, "train fake": 1, "test real": 1, "test fake": 1}


def test_videos_win_over_pictures_and_the_note_says_so(tmp_path):
    plant(tmp_path, "real/a.mp4", "fake/b.mp4", "real/thumb.jpg")
    found = find_corpus(tmp_path)
    assert [entry["video_id"] for entry in found.rows] == ["fake/b.mp4", "real/a.mp4"]
    assert "1 picture beside the videos: not looked at (e.g. real/thumb.jpg)" in found.notes


def test_pictures_in_no_known_folders_are_an_error(tmp_path):
    plant(tmp_path, "cats/a.jpg", "dogs/b.jpg")
    with pytest.raises(CorpusError, match="2 pictures: 1 in cats/, 1 in dogs/"):
        find_corpus(tmp_path)


def test_a_table_of_pictures_is_a_corpus_of_pictures(tmp_path):
    plant(tmp_path, "x/a.jpg", "x/b.png")
    (tmp_path / "list.csv").write_text("path,label\nx/a.jpg,real\nx/b.png,fake\n")
    assert find_corpus(tmp_path / "list.csv").thing == "picture"
    with pytest.raises(CorpusError, match="classify.image"):
        find_corpus(tmp_path / "x" / "a.jpg")


class TestCopies:
    def test_copies_across_parts_and_labels_are_told_with_an_example(self, tmp_path):
        plant(tmp_path, *(f"{part}/{kind}/{n}.jpg" for part in ("train", "test") for kind in ("real", "fake")
                          for n in range(3)))
        shutil.copy(tmp_path / "test/real/0.jpg", tmp_path / "train/real/1.jpg")
        shutil.copy(tmp_path / "train/fake/0.jpg", tmp_path / "train/real/2.jpg")
        found = find_corpus(tmp_path)
        assert len(same_content(found)) == 2
        notes = "\n".join(found.notes)
        assert "2 of 12 pictures have the content of another" in notes
        assert "1 are copies of one in another part, e.g. train/real/1.jpg = test/real/0.jpg" in notes
        assert "1 are copies of one with the other label, e.g. train/real/2.jpg = train/fake/0.jpg" in notes


class TestSplit:
    @staticmethod
    def index(**sizes):
        return pd.DataFrame([row(f"{part}/{kind}/{n:03d}.jpg", label, "images", official=part, modality="image")
                             for part, size in sizes.items() for label, kind in enumerate(("real", "fake"))
                             for n in range(size)])

    @staticmethod
    def parts(found):
        return dict(zip(found.rows["video_id"], found.rows["part"]))

    def test_given_parts_are_kept_as_they_are(self):
        found = split_corpus(self.index(train=6, val=2, test=3))
        assert found.audit["rule"] == "official"
        assert all(part == name.split("/")[0] for name, part in self.parts(found).items())

    def test_a_missing_validation_is_carved_out_of_train_and_is_the_same_every_time(self):
        index = self.index(train=40, test=10)
        found = split_corpus(index)
        again = split_corpus(index.sample(frac=1, random_state=1))
        assert self.parts(found) == self.parts(again)
        assert {n for n, part in self.parts(found).items() if part == "test"} == {
            n for n in index["video_id"] if n.startswith("test/")}
        n_val = found.audit["parts"]["val"]
        assert n_val["real"] == n_val["fake"] == 10
        assert self.parts(split_corpus(index, SplitOptions(split_seed=1))) != self.parts(found)

    def test_copies_leave_the_weaker_part_and_copies_with_two_labels_leave_all(self):
        same_as = {"train/real/001.jpg": "test/real/001.jpg", "val/real/000.jpg": "test/real/002.jpg",
                   "train/real/002.jpg": "train/fake/005.jpg", "train/fake/001.jpg": "train/fake/000.jpg"}
        found = split_corpus(self.index(train=8, val=3, test=4), SplitOptions(), Copies(same_as))
        parts = self.parts(found)
        assert found.audit["dropped"] == ["train/fake/005.jpg", "train/real/001.jpg", "train/real/002.jpg",
                                          "val/real/000.jpg"]
        assert parts["test/real/001.jpg"] == parts["test/real/002.jpg"] == "test"
        assert parts["train/fake/000.jpg"] == parts["train/fake/001.jpg"] == "train"
        assert found.audit["copies_across"] == {"test/train+val": 0, "val/train": 0}
        assert any("1 of train and 1 of val are copies" in note for note in found.audit["notes"])
        assert any("2 have a copy with the other label" in note for note in found.audit["notes"])

    def test_a_split_of_our_own_never_divides_copies(self):
        names = [row(f"{kind}/{n:03d}.jpg", label, "images", modality="image")
                 for label, kind in enumerate(("real", "fake")) for n in range(60)]
        same_as = {f"{kind}/{n:03d}.jpg": f"{kind}/{n % 30:03d}.jpg" for kind in ("real", "fake")
                   for n in range(30, 60)}
        for seed in range(3):
            found = split_corpus(pd.DataFrame(names), SplitOptions(split_seed=seed), Copies(same_as))
            parts = self.parts(found)
            assert found.audit["rule"] == "video" and set(parts.values()) == {"train", "val", "test"}
            assert all(parts[name] == parts[first] for name, first in same_as.items())

    def test_the_official_list_of_videos_is_not_taken_by_itself(self):
        index = self.index(train=20, test=10)
        index["video_id"], index["dataset"] = index["video_id"].str.replace(".jpg", ".mp4"), "Celeb-DF-v2"
        assert split_corpus(index).audit["rule"] == "video"

    def test_a_test_part_with_one_class_is_an_error(self):
        index = self.index(train=6, test=3)
        with pytest.raises(SplitError, match="test has no fakes"):
            split_corpus(index[~index["video_id"].str.startswith("test/fake")])


class TestWhole:
    def test_each_picture_is_a_row_and_the_crops_are_the_files_themselves(self, tmp_path):
        root, out = cifake(tmp_path / "c"), tmp_path / "out"
        (root / "train/REAL/0000 (2).jpg").write_bytes(b"words")
        whole = (root / "train/REAL/0001 (2).jpg").read_bytes()
        (root / "train/REAL/0001 (2).jpg").write_bytes(whole[:len(whole) // 2])
        Image.new("L", (1, 7), 9).save(root / "train/FAKE/0000 (2).jpg")
        assert extracted(root, out) == 0
        videos = read_table(out / "faces" / "videos.csv", VIDEOS).set_index("video_id")
        assert videos["status"].value_counts().to_dict() == {"ok": 26, "unreadable": 2}
        assert "not a picture" in videos.loc["train/REAL/0000 (2).jpg", "reason"]
        small = videos.loc["train/FAKE/0000 (2).jpg"]
        assert small[["label", "n_asked", "n_read", "n_faces", "width_px", "height_px"]].tolist() == [1, 1, 1, 1, 1, 7]
        faces = read_table(out / "faces" / "faces.csv", FACES)
        assert len(faces) == 26 and (faces["crop"] == faces["video_id"]).all() and faces["x_nose"].isna().all()
        box = faces.set_index("crop").loc["test/REAL/0000 (2).jpg", ["x0", "y0", "x1", "y1"]]
        assert box.tolist() == [0, 0, 32, 32]
        options = json.loads((out / "faces" / "options.json").read_text())
        assert (options["crop"], options["crop_folder"]) == ("whole", str(root.resolve()))
        assert not list((out / "faces").rglob("*.jpg")) and (out / "faces" / "sheet.png").is_file()

    def test_split_keeps_the_parts_of_what_was_indexed(self, tmp_path):
        root, out = cifake(tmp_path / "c"), tmp_path / "out"
        shutil.copy(root / "test/REAL/0000 (2).jpg", root / "train/REAL/0003 (2).jpg")
        assert extracted(root, out) == 0
        assert split.main(["--out", str(out)]) == 0
        parts = read_table(out / "split.csv", SPLIT).set_index("video_id")["part"]
        assert parts["train/REAL/0003 (2).jpg"] == "dropped" and (parts == "test").sum() == 8
        assert (parts == "val").sum() > 0

    def test_a_second_run_opens_only_what_is_new_or_changed(self, tmp_path, monkeypatch):
        from extract import whole_images

        root, out = cifake(tmp_path / "c"), tmp_path / "out"
        extracted(root, out)
        before = (out / "faces" / "videos.csv").read_bytes()
        looked = []
        look = whole_images._look
        monkeypatch.setattr(whole_images, "_look", lambda bundle: looked.extend(bundle[1]) or look(bundle))
        extracted(root, out)
        assert looked == [] and (out / "faces" / "videos.csv").read_bytes() == before
        Image.new("RGB", (9, 9)).save(root / "train/REAL/0000 (2).jpg")
        (root / "train/FAKE/0001 (2).jpg").unlink()
        extracted(root, out)
        assert looked == ["train/REAL/0000 (2).jpg"]
        assert len(read_table(out / "faces" / "videos.csv", VIDEOS)) == 27

    def test_a_killed_run_goes_on_and_a_line_cut_off_is_done_again(self, tmp_path, monkeypatch):
        from extract import whole_images

        monkeypatch.setattr(whole_images, "BUNDLE", 4)
        root, out = cifake(tmp_path / "c"), tmp_path / "out"
        looked, look = [], whole_images._look

        def kill_at_the_third(bundle):
            looked.append(bundle[1])
            if len(looked) == 3:
                raise KeyboardInterrupt
            return look(bundle)

        monkeypatch.setattr(whole_images, "_look", kill_at_the_third)
        assert extracted(root, out) == 130
        journal = out / "faces" / ".pictures-all.jsonl"
        journal.write_bytes(journal.read_bytes()[:-5])
        assert extracted(root, out) == 0
        assert sum(map(len, looked[3:])) == 28 - 4 and len(read_table(out / "faces/videos.csv", VIDEOS)) == 28

    def test_shards_together_make_the_same_tables(self, tmp_path):
        root = cifake(tmp_path / "c")
        extracted(root, tmp_path / "one")
        for shard in ("1/2", "2/2"):
            assert extracted(root, tmp_path / "two", "--shard", shard) == 0
        extracted(root, tmp_path / "two")
        for table in ("videos.csv", "faces.csv"):
            assert (tmp_path / "one/faces" / table).read_bytes() == (tmp_path / "two/faces" / table).read_bytes()

    def test_whole_frames_of_videos_are_crops_like_faces(self, demo_corpus, tmp_path):
        assert extracted(demo_corpus, tmp_path, "--crop", "whole", "--every", "2") == 0
        faces = read_table(tmp_path / "faces/faces.csv", FACES)
        boxes = faces[["x0", "y0", "x1", "y1"]].drop_duplicates()
        assert len(faces) == 60 and boxes.values.tolist() == [[0, 0, 256, 192]]
        options = json.loads((tmp_path / "faces/options.json").read_text())
        assert options["crop"] == "whole" and "crop_folder" not in options
        crop = np.array(Image.open(tmp_path / "faces" / faces["crop"][0]))
        assert crop.shape == (224, 224, 3) and np.array_equal(crop[:28], crop[28:56][::-1])


def test_a_picture_may_be_judged_by_its_face(shared, tmp_path):
    photos = sorted(shared("faces").rglob("*.jpg"))[:2] or sorted(shared("faces").rglob("*.png"))[:2]
    for photo, kind in zip(photos, ("real", "fake")):
        (tmp_path / "c" / kind).mkdir(parents=True)
        shutil.copy(photo, tmp_path / "c" / kind)
    Image.new("RGB", (64, 64), "white").save(tmp_path / "c" / "real" / "wall.png")
    assert extracted(tmp_path / "c", tmp_path / "out", "--crop", "face") == 0
    videos = read_table(tmp_path / "out/faces/videos.csv", VIDEOS).set_index("video_id")
    assert videos.loc["real/wall.png", "status"] == "no_face" and (videos["status"] == "ok").sum() == 2
    faces = read_table(tmp_path / "out/faces/faces.csv", FACES)
    assert (faces["frame"] == 0).all() and (tmp_path / "out/faces" / faces["crop"][0]).is_file()
    assert json.loads((tmp_path / "out/faces/options.json").read_text())["crop"] == "face"


def test_a_zip_of_pictures_goes_through_the_same_stages(tmp_path, capsys):
    root = cifake(tmp_path / "c", 4, 2)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as file:
        for path in sorted(root.rglob("*.jpg")):
            file.write(path, path.relative_to(root))
    assert corpus.main([str(tmp_path / "archive.zip"), "--check"]) == 0
    assert "CIFAKE" in capsys.readouterr().out and sorted(p.name for p in tmp_path.iterdir()) == ["archive.zip", "c"]
    assert extracted(tmp_path / "archive.zip", tmp_path / "out") == 0
    assert len(read_table(tmp_path / "out/index.csv", INDEX)) == 12
    options = json.loads((tmp_path / "out/faces/options.json").read_text())
    assert options["crop_folder"] == "corpus/archive"  # relative to OUT where it is inside
