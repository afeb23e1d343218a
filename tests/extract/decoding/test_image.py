"""Facts about reading picture files, on files that the tests write themselves."""
import random

import cv2
import numpy as np
import pytest
from PIL import Image

from extract.decoding.image import Still, read_picture, whole_square
from extract.decoding.media import limits
from pipeline.errors import VideoError

ORANGE = (255, 160, 0)


@pytest.fixture
def blocks():
    """Smooth enough that every encoder keeps it: 60 x 40 px, red rises to the right, green downwards."""
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, 60)[None]
    picture[..., 1] = np.linspace(0, 255, 40)[:, None]
    picture[..., 2] = 128
    return picture


@pytest.mark.parametrize("suffix, off", [("png", 0), ("bmp", 0), ("tif", 0), ("jpg", 4), ("webp", 5)])
def test_each_format_gives_the_pixels_that_were_written(blocks, tmp_path, suffix, off):
    path = tmp_path / f"a b ü.{suffix}"
    Image.fromarray(blocks).save(path, **({"quality": 98} if off else {}))
    read = read_picture(path)
    assert read.dtype == np.uint8 and read.shape == (40, 60, 3)
    assert np.abs(read.astype(int) - blocks).mean() <= off


def test_a_picture_is_read_by_its_content_not_by_its_suffix(blocks, tmp_path):
    Image.fromarray(blocks).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(read_picture(tmp_path / "a.jpg"), blocks)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_exif_says_is_turned_comes_upright(blocks, tmp_path, orientation):
    stored = {1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
              5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p),
              7: lambda p: np.rot90(p, 2).transpose(1, 0, 2), 8: lambda p: np.rot90(p, -1)}[orientation](blocks)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "a.png"), blocks)


def test_sixteen_bits_keep_the_upper_eight(tmp_path):
    deep = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    for name in ("grey.png", "grey.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        assert np.array_equal(read_picture(tmp_path / name), np.repeat((deep >> 8)[..., None], 3, 2)), name
    cv2.imwrite(str(tmp_path / "colour.png"), np.full((4, 4, 3), (0, 0x80FF, 0xFFFF), np.uint16))
    assert read_picture(tmp_path / "colour.png")[0, 0].tolist() == [255, 128, 0]


def test_what_is_transparent_is_seen_on_white(tmp_path):
    half = np.full((2, 2, 4), (0, 0, 0, 255), np.uint8)
    half[0, 0] = (0, 0, 0, 0)
    Image.fromarray(half).save(tmp_path / "rgba.png")
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([9, 9, 9, *ORANGE])
    palette.putpixel((0, 0), 0)
    palette.save(tmp_path / "palette.png", transparency=0)
    assert read_picture(tmp_path / "rgba.png")[:, :, 0].tolist() == [[255, 0], [0, 0]]
    assert read_picture(tmp_path / "palette.png").tolist() == [[[255] * 3, [*ORANGE]], [[*ORANGE], [*ORANGE]]]


def test_grey_and_cmyk_become_rgb(tmp_path):
    Image.new("L", (3, 3), 77).save(tmp_path / "grey.jpg")
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    assert read_picture(tmp_path / "grey.jpg")[1, 1].tolist() == [77] * 3
    assert np.abs(read_picture(tmp_path / "cmyk.jpg")[8, 8].astype(int) - (255, 0, 0)).max() < 8


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_the_first_picture_counts(tmp_path, kind):
    first, second = Image.new("RGB", (16, 16), ORANGE), Image.new("RGB", (16, 16), "blue")
    first.save(tmp_path / "a.jpg", format=kind, save_all=True, append_images=[second], lossless=True)
    assert np.abs(read_picture(tmp_path / "a.jpg")[8, 8].astype(int) - ORANGE).max() < 4


def test_what_is_no_picture_says_so(blocks, tmp_path):
    Image.fromarray(blocks).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "folder.jpg").mkdir()
    for name, content, why in (("empty.jpg", b"", "empty"), ("words.png", b"words " * 99, "not a picture"),
                               ("cut.jpg", whole[:len(whole) // 2], "damaged"), ("head.jpg", whole[:20], "picture"),
                               ("phone.jpg", b"\0\0\0\x18ftypheic" + b"\0" * 99, "HEIC"),
                               ("print.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match=why) as caught:
            read_picture(tmp_path / name)
        assert caught.value.status == "unreadable"
    for name, why in (("missing.jpg", "no such file"), ("folder.jpg", "not a file")):
        with pytest.raises(VideoError, match=why):
            read_picture(tmp_path / name)


@pytest.mark.parametrize("kind, options", [("PNG", {}), ("JPEG", {}), ("WEBP", {}), ("WEBP", {"lossless": True}),
                                           ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
                                           ("GIF", {})])
def test_a_picture_that_lost_its_end_is_damaged_in_every_format_and_every_time_it_is_read(tmp_path, kind, options):
    noisy = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # reading EXIF decodes a PNG, and swallows what that raises
    Image.fromarray(noisy).save(tmp_path / "whole.x", format=kind, exif=exif, **options)
    whole = (tmp_path / "whole.x").read_bytes()
    for share in (3, 6, 9):
        (tmp_path / "cut.x").write_bytes(whole[:len(whole) * share // 10])
        for read in (read_picture, Still):
            with pytest.raises(VideoError):
                read(tmp_path / "cut.x")


@pytest.mark.parametrize("kind, options", [("PNG", {}), ("GIF", {}), ("TIFF", {"compression": "tiff_deflate"}),
                                           ("TIFF", {"compression": "tiff_lzw"})])
def test_a_hole_is_damage_where_the_format_can_tell(tmp_path, kind, options):
    """BMP, JPEG and WebP have no checksum: there a hole may decode to other pixels, and nobody can know."""
    noisy = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noisy).save(tmp_path / "hole.x", format=kind, **options)
    data = bytearray((tmp_path / "hole.x").read_bytes())
    data[len(data) // 3:len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    (tmp_path / "hole.x").write_bytes(data)
    with pytest.raises(VideoError, match="damaged"):
        read_picture(tmp_path / "hole.x")


def test_a_png_with_a_hole_is_an_error_for_the_command_and_a_row_without_a_crop_in_a_corpus(shared, tmp_path, capsys):
    import shutil

    from classify import image
    from extract import corpus, run
    from pipeline.tables import FACES, VIDEOS, read_table

    hole = shared("cases", "hole.png")
    assert image.main([str(hole)]) == 1
    said = capsys.readouterr()
    assert "hole.png" in said.err and "damaged" in said.err and "REAL" not in said.out + said.err
    for kind in ("real", "fake"):
        (tmp_path / "c" / kind).mkdir(parents=True)
        Image.new("RGB", (40, 40), "green").save(tmp_path / "c" / kind / "sound.png")
    shutil.copy(hole, tmp_path / "c" / "real")
    assert corpus.main(["--corpus", str(tmp_path / "c"), "--out", str(tmp_path / "out")]) == 0
    assert run.main(["--out", str(tmp_path / "out"), "--workers", "0"]) == 0
    videos = read_table(tmp_path / "out/faces/videos.csv", VIDEOS).set_index("video_id")
    assert videos.loc["real/hole.png", "status"] == "unreadable" and (videos["status"] == "ok").sum() == 2
    assert "real/hole.png" not in set(read_table(tmp_path / "out/faces/faces.csv", FACES)["video_id"])


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    side = int(limits().picture_px ** .5) + 1
    header = b"BM" + (54).to_bytes(4, "little") + b"\0" * 4 + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    size = side.to_bytes(4, "little") * 2
    (tmp_path / "bomb.bmp").write_bytes(header + size + b"\x01\0\x18\0" + b"\0" * 24)
    with pytest.raises(VideoError, match="megapixels"):
        read_picture(tmp_path / "bomb.bmp")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_damaged_files_raise_nothing_but_a_video_error(blocks, tmp_path, kind):
    path, randomly = tmp_path / "a.jpg", random.Random(0)
    Image.fromarray(blocks).save(path, format=kind)
    whole, refused = path.read_bytes(), 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(randomly.randint(1, 20)):
            damaged[randomly.randrange(min(len(damaged), 300))] = randomly.randrange(256)
        path.write_bytes(damaged)
        try:
            assert read_picture(path).shape[2] == 3
        except VideoError:
            refused += 1
    assert refused


class TestTheSquare:
    @pytest.mark.parametrize("px", [16, 32, 33, 224])
    @pytest.mark.parametrize("size", [(1, 1), (32, 32), (40, 60), (61, 7), (1, 3000)])
    def test_any_picture_becomes_a_square_of_any_size(self, size, px):
        assert whole_square(np.full((*size, 3), 99, np.uint8), px).tolist() == np.full((px, px, 3), 99).tolist()

    def test_a_square_picture_of_that_size_is_itself(self):
        picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        assert np.array_equal(whole_square(picture, 32), picture)

    def test_nothing_is_squeezed_and_the_rest_is_the_mirror_image(self, blocks):
        square = whole_square(blocks, 60)
        assert np.array_equal(square[10:50], blocks)
        assert np.array_equal(square[:10], blocks[:10][::-1]) and np.array_equal(square[50:], blocks[-10:][::-1])

    def test_shrinking_averages(self):
        stripes = np.zeros((64, 64, 3), np.uint8)
        stripes[:, ::2] = 200
        assert (whole_square(stripes, 16) == 100).all()
