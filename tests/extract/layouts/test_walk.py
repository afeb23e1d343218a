"""Facts about what is found below a folder: kinds of files, hidden ones, links, and what this project wrote itself."""
import pytest
from PIL import Image

from classify.judging.inputs import files_below
from extract.corpus import find_corpus, main
from extract.decoding.kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES, modality_of, modality_to_index
from extract.layouts.walk import walk
from pipeline.errors import CorpusError


def plant(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    return root


def animated(path, n=3, px=32):
    """A GIF or WebP of n pictures, each of another grey; still with n=1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = [Image.new("RGB", (px, px), (60 * k, 60 * k, 60 * k)) for k in range(n)]
    first.save(path, save_all=True, append_images=rest, duration=200)
    return path


@pytest.mark.parametrize("suffix", [".MTS", ".m2ts", ".ogv", ".3g2", ".MP4", ".qt"])
def test_a_known_suffix_of_a_video_decides(tmp_path, suffix):
    plant(tmp_path, f"real/a{suffix}", "fake/b.mp4")
    assert {row["modality"] for row in find_corpus(tmp_path).rows} == {"video"} and len(find_corpus(tmp_path).rows) == 2
    assert suffix.lower() in VIDEO_SUFFIXES


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".HEIC", ".avif", ".heif"])
def test_a_known_suffix_of_a_picture_decides(tmp_path, suffix):
    plant(tmp_path, f"real/a{suffix}", "fake/b.jpg")
    assert [row["modality"] for row in find_corpus(tmp_path).rows] == ["image", "image"]
    assert suffix.lower() in IMAGE_SUFFIXES


def test_without_a_known_suffix_the_content_decides(tmp_path, demo_corpus):
    clip = next(demo_corpus.rglob("*.mp4")).read_bytes()
    for name in ("real/clip", "fake/clip.download"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(clip)
    Image.new("RGB", (8, 8)).save(tmp_path / "real" / "photo.bin", "PNG")
    plant(tmp_path, "real/notes", "real/paper.pdf")
    corpus = find_corpus(tmp_path)
    assert sorted(row["video_id"] for row in corpus.rows) == ["fake/clip.download", "real/clip"]
    assert "1 picture beside the videos: not looked at (e.g. real/photo.bin)" in corpus.notes
    assert "left out, neither video nor picture: 1 .pdf, 1 without a suffix" in corpus.notes


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_is_a_video_and_a_still_one_a_picture(tmp_path, suffix):
    moving, still = animated(tmp_path / f"real/a{suffix}"), animated(tmp_path / f"fake/b{suffix}", 1)
    assert (modality_of(moving), modality_to_index(moving)) == ("video", "video")
    assert (modality_of(still), modality_to_index(still)) == ("image", "image")
    rows = {row["video_id"]: row["modality"] for row in find_corpus(tmp_path).rows}
    assert rows == {f"real/a{suffix}": "video", f"fake/b{suffix}": "image"}
    assert files_below([str(tmp_path)], "video") == [str(moving)]
    assert files_below([str(tmp_path)], "image") == [str(still)]


def test_what_is_opened_goes_by_its_content(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.mp4").write_bytes((tmp_path / "a.png").read_bytes())
    assert modality_to_index(tmp_path / "a.mp4") == "video" and modality_of(tmp_path / "a.mp4") == "image"
    (tmp_path / "b.jpg").write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    assert modality_of(tmp_path / "b.jpg") == "video"


def test_hidden_files_and_thumbnails_are_never_data_for_any_command(tmp_path):
    plant(tmp_path, "real/a.mp4", ".cache/b.mp4", "real/.c.mp4", "real/thumbs/d.mp4", "@eaDir/e.mp4", "real/p.jpg",
          ".thumbnails/q.jpg", "Thumbnails/r.jpg", "__MACOSX/s.jpg")
    assert files_below([str(tmp_path)], "video") == [str(tmp_path / "real/a.mp4")]
    assert files_below([str(tmp_path)], "image") == [str(tmp_path / "real/p.jpg")]
    assert walk(tmp_path).media == {"real/a.mp4": "video", "real/p.jpg": "image"}


def test_links_are_followed_by_every_command_and_end_in_no_circle(tmp_path):
    plant(tmp_path, "store/r/a.mp4", "store/f/b.mp4", "corpus/keep.txt")
    for kind, target in (("real", "r"), ("fake", "f")):
        (tmp_path / "corpus" / kind).symlink_to(tmp_path / "store" / target)
    (tmp_path / "store/r/up").symlink_to(tmp_path / "corpus")
    names = ["fake/b.mp4", "real/a.mp4"]
    assert [row["video_id"] for row in find_corpus(tmp_path / "corpus").rows] == names
    assert files_below([str(tmp_path / "corpus")], "video") == [str(tmp_path / "corpus" / name) for name in names]


@pytest.mark.parametrize("folder", ["masks", "landmarks", "flow", "Optical_Flow"])
def test_masks_landmarks_and_flow_are_no_class_and_counted(tmp_path, folder):
    plant(tmp_path, "real/frames/001/0.png", "real/frames/001/1.png", "fake/frames/001_002/0.png",
          "fake/frames/001_002/1.png", f"fake/{folder}/001_002/0.png", f"fake/{folder}/001_002/1.png")
    corpus = find_corpus(tmp_path)
    assert len(corpus.rows) == 2
    assert any(note.startswith("2 pictures left out: below a folder of masks") for note in corpus.notes)


class TestOwn:
    def test_a_run_inside_the_corpus_is_never_corpus(self, tmp_path):
        for kind in ("real", "fake"):
            for n in range(3):
                (tmp_path / kind).mkdir(exist_ok=True)
                Image.new("RGB", (64, 64), (n, 0, 0)).save(tmp_path / kind / f"{n}.png")
        from extract import run

        out = tmp_path / "out" / "here"
        for _ in range(2):
            assert main(["--out", str(out), "--corpus", str(tmp_path)]) == 0
            assert run.main(["--out", str(out), "--crop", "whole", "--workers", "0", "--device", "cpu"]) == 0
            Image.new("RGB", (8, 8)).save(out / "augment.png")
            corpus = find_corpus(tmp_path)
            assert len(corpus.rows) == 6
            assert "out/here was written by this project: not part of the corpus" in corpus.notes

    def test_nor_is_a_run_that_shares_its_folder_with_the_corpus(self, tmp_path):
        plant(tmp_path, "real/a.mp4", "fake/b.mp4")
        assert main(["--out", str(tmp_path), "--corpus", str(tmp_path)]) == 0
        plant(tmp_path, "faces/real/a.mp4/000000.png", "report/figures/roc.png", "faces/fake/c.mp4")
        assert [row["video_id"] for row in find_corpus(tmp_path).rows] == ["fake/b.mp4", "real/a.mp4"]


def test_an_empty_folder_names_what_it_holds_instead(tmp_path):
    plant(tmp_path, "a.pdf", "b.npy")
    with pytest.raises(CorpusError, match="seen: left out, neither video nor picture: (1 .npy, 1 .pdf|1 .pdf, 1 .npy)"):
        find_corpus(tmp_path)
