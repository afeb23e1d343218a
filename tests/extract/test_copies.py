"""Copies of clips: found by bytes, by decoded samples and by looks, whatever their names, and nothing else is."""
from __future__ import annotations

import shutil

import av
import cv2
import numpy as np
import pytest

from extract import copies, corpus, run
from extract.copies import crop_hash, joined, near_copies, same_bytes, same_samples
from pipeline.tables import COPIES, read_table
from tests.clips import remux


def copied(table):
    """{video_id: (same_as, how)} of a table of copies."""
    return {row.video_id: (row.same_as, row.how) for row in read_table(table, COPIES).itertuples()}


def reencoded(clip, path, scale=1.0, crf=36):
    """The clip encoded anew at this share of its size: a near-copy."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        out = target.add_stream("libx264", rate=stream.average_rate)
        out.width, out.height = (round(px * scale) // 2 * 2 for px in (stream.width, stream.height))
        out.pix_fmt, out.options = "yuv420p", {"crf": str(crf), "preset": "veryfast"}
        out.time_base = out.codec_context.time_base = stream.time_base
        for frame in source.decode(stream):
            again = frame.reformat(out.width, out.height, "yuv420p")
            again.pts, again.time_base, again.pict_type = frame.pts, frame.time_base, 0
            target.mux(out.encode(again))
        target.mux(out.encode(None))
    return path


@pytest.fixture(scope="module")
def some(demo_corpus, tmp_path_factory):
    """Folders real and fake of drawn people with copies of some, exact, re-muxed and encoded anew."""
    root = tmp_path_factory.mktemp("copies")
    reals, fakes = (sorted((demo_corpus / kind).iterdir())[:4] for kind in ("Celeb-real", "Celeb-synthesis"))
    for kind, clips in (("real", reals), ("fake", fakes)):
        (root / kind).mkdir()
        for number, clip in enumerate(clips):
            shutil.copy(clip, root / kind / f"{number}.mp4")
    shutil.copy(root / "real/0.mp4", root / "real/x (1).mp4")
    remux(root / "real/1.mp4", root / "real/other name.mkv", title="another")
    remux(root / "fake/0.mp4", root / "fake/again.mov", comment="another")
    reencoded(root / "real/2.mp4", root / "real/small.mp4")
    reencoded(root / "fake/1.mp4", root / "fake/small.mp4")
    return root


@pytest.fixture(scope="module")
def extracted(some, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    assert corpus.main(["--out", str(out), "--corpus", str(some)]) == 0
    assert run.main(["--out", str(out), "--workers", "0", "--device", "cpu"]) == 0
    return out


class TestBytes:
    def test_files_are_copies_when_all_bytes_are_the_same(self, tmp_path):
        long = bytes(range(256)) * 40
        for name, content in {"b": long, "a": long, "tail": b"x" + long[1:], "size": long + b"x", "c": b"1", "d": b"1",
                              "e": b"2", "f": long}.items():
            (tmp_path / name).write_bytes(content)
        names = [path.name for path in tmp_path.iterdir()]
        assert same_bytes(tmp_path, names) == {"b": "a", "f": "a", "d": "c"}
        assert same_bytes(tmp_path, names, smallest=2) == {"b": "a", "f": "a"}

    def test_a_file_that_is_gone_is_nobodys_copy(self, tmp_path):
        (tmp_path / "a").write_bytes(b"a")
        assert same_bytes(tmp_path, ["a", "gone"]) == {}

    def test_a_file_whose_size_is_its_own_is_never_opened(self, tmp_path, monkeypatch):
        for number in range(1, 9):
            (tmp_path / str(number)).write_bytes(b"x" * number)
        monkeypatch.setattr(copies, "_tail", None)
        assert same_bytes(tmp_path, [str(number) for number in range(1, 9)]) == {}

    def test_indexing_and_check_say_which_videos_are_copies(self, some, extracted, capsys):
        assert copied(extracted / "copies.csv") == {"real/x (1).mp4": ("real/0.mp4", "bytes")}
        assert corpus.main([str(some), "--check"]) == 0
        assert "1 of 13 videos have the content of another, e.g. real/x (1).mp4 = real/0.mp4" in capsys.readouterr().out

    def test_place_holders_of_a_few_bytes_are_no_copies(self, tmp_path, capsys):
        for kind in ("real", "fake"):
            (tmp_path / kind).mkdir()
            for number in range(3):
                (tmp_path / kind / f"{number}.mp4").write_text("v\n")
        assert corpus.main([str(tmp_path), "--check"]) == 0
        assert "content of another" not in capsys.readouterr().out


class TestExtraction:
    def test_another_container_or_metadata_is_no_disguise_and_near_copies_are_found_among_reals(self, extracted):
        assert copied(extracted / "faces/copies.csv") == {
            "real/other name.mkv": ("real/1.mp4", "samples"), "fake/again.mov": ("fake/0.mp4", "samples"),
            "real/x (1).mp4": ("real/0.mp4", "samples"), "real/small.mp4": ("real/2.mp4", "near")}

    def test_the_end_of_extraction_says_so(self, extracted):
        said = "\n".join(run._summary(extracted / "faces", "video"))
        assert "copies (3): show the same frames as another" in said and "fake/again.mov = fake/0.mp4" in said
        assert "copies (1): are reals that look like another" in said and "real/small.mp4 = real/2.mp4" in said

    def test_a_split_by_video_keeps_them_together(self, extracted):
        from data import split
        from pipeline.tables import SPLIT

        for seed in range(6):
            assert split.main(["--out", str(extracted), "--split-seed", str(seed), "--rule", "video"]) == 0
            part = read_table(extracted / "split.csv", SPLIT).set_index("video_id")["part"]
            for copy, first in (("real/other name.mkv", "real/1.mp4"), ("fake/again.mov", "fake/0.mp4"),
                                ("real/x (1).mp4", "real/0.mp4"), ("real/small.mp4", "real/2.mp4")):
                assert part[copy] == part[first] != "dropped"

    @pytest.mark.slow
    def test_real_clips_that_are_not_copies_are_not_found(self, shared, tmp_path):
        """12 reals of FaceForensics++ and Celeb-DF: no two show the same."""
        clips = sorted([*shared("corpus", "Celeb-DF-v2", "Celeb-real").iterdir(),
                        *shared("corpus", "FaceForensics++", "original_sequences").rglob("*.mp4")])[:12]
        (tmp_path / "c/real").mkdir(parents=True)
        for number, clip in enumerate(clips):
            (tmp_path / "c/real" / f"{number:02d}.mp4").symlink_to(clip)
        reencoded(clips[0], tmp_path / "c/real/copy.mp4", scale=0.5)
        assert corpus.main(["--corpus", str(tmp_path / "c"), "--out", str(tmp_path / "out")]) == 0
        assert run.main(["--out", str(tmp_path / "out"), "--workers", "0", "--device", "cpu"]) == 0
        assert copied(tmp_path / "out/faces/copies.csv") == {"real/copy.mp4": ("real/00.mp4", "near")}


def looks(*bits, duration_s=4.0, digest=""):
    """The row of a video whose crops have these hashes."""
    return {"digest": digest, "hashes": [f"{value:016x}" for value in bits], "faces": [{}],
            "video": {"duration_s": duration_s}}


class TestLooks:
    def test_a_few_bits_apart_is_near_and_many_are_not(self):
        rows = {"a": looks(*[0] * 5), "b": looks(*[0b1111] * 5), "c": looks(*[(1 << 40) - 1] * 5)}
        assert near_copies(rows, dict.fromkeys(rows, 0)) == {"b": "a"}

    @pytest.mark.parametrize("other", [looks(*[0] * 5, duration_s=5.0), looks(0, 0), looks(*[(1 << 20) - 1] * 3, 0, 0)])
    def test_another_length_or_too_few_crops_alike_are_no_copy(self, other):
        rows = {"a": looks(*[0] * 5), "b": other}
        assert near_copies(rows, dict.fromkeys(rows, 0)) == {}

    def test_fakes_are_never_near_copies(self):
        rows = {"a": looks(*[0] * 5), "b": looks(*[0] * 5)}
        assert near_copies(rows, {"a": 0, "b": 1}) == near_copies(rows, {"a": 1, "b": 1}) == {}

    def test_exact_copies_are_not_told_twice(self):
        rows = {"a": looks(*[0] * 5, digest="x"), "b": looks(*[0] * 5, digest="x")}
        assert same_samples(rows) == {"b": "a"} and near_copies(rows, {"a": 0, "b": 0}) == {}

    def test_the_number_of_comparisons_grows_with_the_clips_even_where_all_look_alike(self, monkeypatch):
        asked = []
        monkeypatch.setattr(copies, "_look_alike", lambda a, b: asked.append(1) is not None)
        for n in (100, 200, 400):
            asked.clear()
            rows = {f"{i:03d}": looks(*[0] * 5) for i in range(n)}
            near_copies(rows, dict.fromkeys(rows, 0))
            assert len(asked) <= n * copies.WINDOW

    def test_a_crop_moved_by_two_pixels_and_darker_looks_alike_and_another_does_not(self):
        dice = np.random.default_rng(0)
        crop, other = (cv2.resize(dice.integers(0, 256, (6, 6, 3), dtype=np.uint8), (224, 224),
                                  interpolation=cv2.INTER_CUBIC) for _ in range(2))

        def bits(one):
            return (int(crop_hash(crop), 16) ^ int(crop_hash(one), 16)).bit_count()

        assert bits(np.roll(crop, 2, 1) // 2) <= copies.ALIKE_BITS < 20 < bits(other)

    def test_a_copy_of_a_copy_is_one_of_the_first(self):
        assert joined({"c": "b"}, {"b": "a"}, {"z": "y"}) == {"b": "a", "c": "a", "z": "y"}
