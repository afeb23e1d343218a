"""Facts about animated GIF and WebP files: clips of their frames for every command; still ones are pictures."""
import base64

import numpy as np
import pytest
from PIL import Image

from classify import image, video
from extract.decoding.image import read_picture
from extract.decoding.opening import as_indexed, open_media
from extract.decoding.sampling import Clip, FrameOptions
from pipeline.errors import VideoError

# 64 x 64 px of one colour, drawn here.
HEIC = ("AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "ACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAABwAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
        "AAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
        "AAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xy"
        "bmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAACRt"
        "ZGF0AAAAGCgBrxOA5qhw0//9XFH/4W54fcmQtJ5v3w==")
MODEL = "model/model.safetensors"


def animation(path, durations_ms):
    """One frame a duration; frame k is 40 k grey."""
    first, *rest = [Image.fromarray(np.full((48, 64, 3), 40 * k, np.uint8)) for k in range(len(durations_ms))]
    first.save(path, save_all=True, append_images=rest, duration=durations_ms, lossless=True)
    return path


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_each_frame_has_its_time_and_its_pixels(tmp_path, suffix):
    clip = open_media(animation(tmp_path / f"a{suffix}", [500, 1000, 2000]), FrameOptions(every=0.1))
    assert isinstance(clip, Clip)
    assert [(frame.time_s, int(frame.rgb[0, 0, 0])) for frame in clip.frames()] == [(0, 0), (.5, 40), (1.5, 80)]
    assert clip.duration_s == 1.5 and clip.damage == ""


def test_a_cut_animation_gives_what_is_left_or_says_why_not(tmp_path):
    path = animation(tmp_path / "a.gif", [500] * 6)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(VideoError):
        list(open_media(path, FrameOptions()).frames())


def test_an_index_that_calls_a_file_what_it_is_not_is_an_error_of_that_file(tmp_path, demo_corpus):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(VideoError, match="it is a picture by its content and a video by its name"):
        as_indexed(tmp_path / "a.png", "video")
    with pytest.raises(VideoError, match="it is a video by its content and a picture by its name"):
        as_indexed(next(demo_corpus.rglob("*.mp4")), "image")


def test_both_commands_judge_an_animation_as_a_clip_and_a_still_one_as_a_picture(demo_run, demo_corpus, tmp_path,
                                                                                 capsys):
    clip = Clip(next(demo_corpus.glob("Celeb-real/*.mp4")), FrameOptions(every=0.5))
    first, *rest = [Image.fromarray(frame.rgb) for frame in clip.frames()]
    first.save(tmp_path / "moving.gif", save_all=True, append_images=rest, duration=500)
    first.save(tmp_path / "still.gif")
    model = ["--model", str(demo_run / MODEL), "--device", "cpu", "--json"]
    for command in (image, video):
        assert command.main([str(tmp_path / "moving.gif"), *model]) == 0
        assert '"n_asked": 5' in capsys.readouterr().out
        assert command.main([str(tmp_path / "still.gif"), *model]) == 0
        assert '"n_asked": 1' in capsys.readouterr().out


def test_heic_is_read_where_its_package_is_and_named_where_not(tmp_path, monkeypatch):
    path = tmp_path / "phone.HEIC"
    path.write_bytes(base64.b64decode(HEIC))
    pytest.importorskip("pi_heif")
    assert np.abs(read_picture(path)[32, 32].astype(int) - (200, 40, 60)).max() < 12
    from extract.decoding import image, media

    for module in (image, media):
        monkeypatch.setattr(module, "heif_formats", lambda: ())
    with pytest.raises(VideoError, match="need the package pi-heif"):
        read_picture(path)


def test_avif_is_read(tmp_path):
    Image.new("RGB", (32, 32), (10, 200, 60)).save(tmp_path / "a.avif", quality=90)
    assert np.abs(read_picture(tmp_path / "a.avif")[9, 9].astype(int) - (10, 200, 60)).max() < 12
