import av
import numpy as np
import pytest

from extract.decoding import sampling
from extract.decoding.sampling import ROUNDING_S, Clip, FrameOptions, frames_at, time_marks
from pipeline.errors import VideoError
from tests.clips import barcode, read_barcode, remux, write_clip, write_sound

CONSTANT = [n / 25 for n in range(250)]  # 10 s, 25 frames a second
# Half the time at 10 frames a second, half at 40, with a pause of 2 s between: 0 to 12 s.
VARIABLE = [n / 10 for n in range(50)] + [7 + n / 40 for n in range(201)]


def sampled(path, **options):
    clip = Clip(path, FrameOptions(**{"min_frames": 1, **options}))
    return clip, list(clip.frames())


def test_marks_are_every_three_seconds_from_the_first_frame():
    assert time_marks(9.96, FrameOptions(min_frames=1)) == [0, 3, 6, 9]
    assert time_marks(12.0, FrameOptions()) == [0, 3, 6, 9, 12]


def test_a_damaged_timestamp_is_an_error_and_not_a_list_that_fills_the_memory():
    with pytest.raises(VideoError, match="9223372036854776 s"):
        time_marks(2 ** 63 / 1000, FrameOptions())


def test_n_frames_are_the_middles_of_n_equal_parts():
    assert time_marks(10.0, FrameOptions(frames=5)) == [1, 3, 5, 7, 9]


def test_a_short_clip_gives_at_least_the_frames_asked_for():
    assert time_marks(5.0, FrameOptions()) == pytest.approx([0, 1, 2, 3, 4], abs=1.1 * ROUNDING_S)
    assert time_marks(20.0, FrameOptions()) == [0, 3, 6, 9, 12, 15, 18]


def test_the_first_frame_at_or_after_a_mark_is_taken_once():
    assert frames_at([0, 1, 2.9999999, 3.1, 6.5], [0, 3, 6, 9]) == [0, 2, 4]
    assert frames_at([0.0], [0, 0.1]) == [0]


@pytest.mark.parametrize("reader", ["pyav", "opencv"])
@pytest.mark.parametrize("times, wanted", [(CONSTANT, [0, 75, 150, 225]), (VARIABLE, [0, 30, 50, 130, 250])])
@pytest.mark.parametrize("name, codec, gop, b_frames", [
    ("a.mp4", "libx264", 12, 2), ("a.mp4", "libx264", 250, 3), ("a.mkv", "libx264", 30, 0), ("a.mov", "libx264", 1, 0),
    ("a.mp4", "mpeg4", 12, 2), ("a.ts", "libx264", 25, 2)])
def test_both_readers_give_the_frame_that_is_displayed_at_each_mark(tmp_path, reader, times, wanted, name, codec, gop,
                                                                    b_frames):
    path = write_clip(tmp_path / name, times, codec, gop, b_frames)
    clip, frames = sampled(path, reader=reader)
    assert [read_barcode(f.rgb) for f in frames] == wanted
    if reader == "pyav":  # OpenCV leaves out one frame of the variable MPEG-4 clip, and so counts differently
        assert [f.number for f in frames] == wanted
    assert [f.time_s for f in frames] == pytest.approx([times[n] for n in wanted], abs=1e-3)
    assert clip.n_asked == len(wanted) and clip.damage == ""


@pytest.mark.parametrize("reader", ["pyav", "opencv"])
def test_an_open_group_of_pictures_and_444_give_the_same_frames(tmp_path, reader):
    path = write_clip(tmp_path / "open.mp4", CONSTANT, gop=20, b_frames=3, pixel_format="yuv444p",
                      options={"x264-params": "open-gop=1:keyint=20:min-keyint=20:scenecut=0:bframes=3"})
    _, frames = sampled(path, reader=reader, every=0.7)
    assert [read_barcode(f.rgb) for f in frames] == frames_at(CONSTANT, [k * 0.7 for k in range(15)])


@pytest.mark.parametrize("name, codec, pixel_format", [
    ("a.mp4", "libx265", "yuv420p"), ("a.webm", "libvpx-vp9", "yuv420p"), ("a.mp4", "libsvtav1", "yuv420p"),
    ("a.mkv", "libx264", "yuv420p10le"), ("a.mov", "mpeg4", "yuv420p"), ("a.mkv", "ffv1", "yuv444p")])
@pytest.mark.parametrize("reader", ["pyav", "opencv"])
def test_other_codecs_and_depths_give_the_same_frames(tmp_path, reader, name, codec, pixel_format):
    import av

    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot encode {codec}")
    quiet = {"libx265": {"x265-params": "log-level=none"}, "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
             "libsvtav1": {"preset": "12"}}
    path = write_clip(tmp_path / name, CONSTANT, codec, gop=30, b_frames=0, options=quiet.get(codec, {}),
                      pixel_format=pixel_format)
    _, frames = sampled(path, reader=reader)
    assert [read_barcode(f.rgb) for f in frames] == [0, 75, 150, 225]


@pytest.mark.parametrize("reader", ["pyav", "opencv"])
@pytest.mark.parametrize("width, height", [(7680, 16), (194, 98), (176, 144)])
def test_odd_picture_sizes_are_kept(tmp_path, reader, width, height):
    path = write_clip(tmp_path / "a.mp4", CONSTANT[:100], draw=lambda n: barcode(n, width, height))
    _, frames = sampled(path, reader=reader)
    assert [read_barcode(f.rgb) for f in frames] == [0, 75] and frames[0].rgb.shape == (height, width, 3)


def test_a_hole_in_the_middle_loses_only_what_lies_in_it_and_says_so(tmp_path):
    path = write_clip(tmp_path / "a.mp4", CONSTANT, gop=10, b_frames=0, container_options={"movflags": "faststart"},
                      draw=lambda n: np.where(barcode(n) == 96, np.random.default_rng(n).integers(
                          0, 200, (96, 192, 3), dtype=np.uint8), barcode(n)))
    data = bytearray(path.read_bytes())
    data[len(data) * 45 // 100:len(data) * 70 // 100] = bytes(len(data) * 70 // 100 - len(data) * 45 // 100)
    path.write_bytes(data)
    clip, frames = sampled(path)
    assert [f.number for f in frames] == [0, 75, 225] == [read_barcode(f.rgb) for f in frames]
    assert clip.n_asked == 4 and "1 of 4" in clip.damage


@pytest.mark.parametrize("reader", ["pyav", "opencv"])
def test_a_start_offset_does_not_move_the_marks(tmp_path, reader):
    path = write_clip(tmp_path / "late.mkv", [5 + t for t in CONSTANT])
    _, frames = sampled(path, reader=reader)
    assert [read_barcode(f.rgb) for f in frames] == [0, 75, 150, 225]
    assert [f.time_s for f in frames] == pytest.approx([0, 3, 6, 9], abs=2e-3)


def test_a_planned_read_is_bit_identical_to_decoding_everything(shared):
    from extract.decoding.readers import PyAV

    for path in sorted(shared("corpus").rglob("*.mp4"))[::8]:
        clip = Clip(path, FrameOptions())
        in_order = dict(PyAV(path).read_in_order(set(clip.wanted)))
        planned = list(clip.frames())
        assert [f.number for f in planned] == sorted(in_order), path
        assert all((f.rgb == in_order[f.number]).all() for f in planned), path


def test_opencv_gives_the_same_frames_on_real_clips(shared):
    for path in sorted(shared("corpus").rglob("*.mp4"))[::9]:
        _, ours = sampled(path)
        _, theirs = sampled(path, reader="opencv")
        assert [f.number for f in ours] == [f.number for f in theirs]
        # The same decoder, but each library converts to RGB with its own build of swscale.
        assert all(np.abs(a.rgb.astype(int) - b.rgb).mean() < 2 for a, b in zip(ours, theirs)), path


def test_a_turned_phone_video_is_shown_upright(tmp_path):
    plain = write_clip(tmp_path / "plain.mp4", CONSTANT[:30])
    turned = tmp_path / "turned.mp4"
    # The display matrix in the track header, 16.16 fixed point: a b u c d v x y w; this one says 90 degrees.
    data = bytearray(plain.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    matrix = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    data[at:at + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in matrix)
    turned.write_bytes(data)
    _, [upright] = sampled(turned)
    _, [by_opencv] = sampled(turned, reader="opencv")
    _, [stored] = sampled(plain)
    assert upright.rgb.shape == (192, 96, 3)
    assert (upright.rgb == np.rot90(stored.rgb, -1)).all()
    assert np.abs(upright.rgb.astype(int) - by_opencv.rgb).mean() < 2


@pytest.mark.parametrize("reader", ["pyav", "opencv"])
def test_a_clip_that_lost_its_end_gives_what_is_there_and_says_so(tmp_path, reader):
    whole = write_clip(tmp_path / "whole.mp4", CONSTANT, container_options={"movflags": "faststart"},
                       draw=lambda n: np.random.default_rng(n).integers(0, 255, (96, 192, 3), dtype=np.uint8))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:whole.stat().st_size // 2])
    clip, frames = sampled(cut, reader=reader)
    assert 1 <= len(frames) < clip.n_asked == 4
    assert clip.damage


@pytest.mark.parametrize("reader", ["pyav", "opencv"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.avi"])
@pytest.mark.parametrize("rate", [1, 1.25, 1.5])
def test_a_clip_of_about_one_frame_a_second_is_sound(tmp_path, reader, name, rate):
    step = round(1000 / rate / 40) / 25  # the container's time base
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_clip(tmp_path / name, [n * step for n in range(8)], codec, b_frames=0)
    clip, frames = sampled(path, reader=reader)
    assert clip.damage == "" and len(frames) == clip.n_asked


@pytest.mark.parametrize("reader", ["pyav", "opencv"])
def test_a_last_frame_that_is_held_is_no_damage_and_asks_for_no_more_frames(tmp_path, reader):
    times = [n / 25 for n in range(100)]  # 4 s; a frame after a pause of 3 s is cut away, its pause stays
    whole = write_clip(tmp_path / "whole.mp4", [*times, times[-1] + 3.04], b_frames=0)
    with av.open(str(whole)) as source, av.open(str(tmp_path / "held.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for packet in packets[:-1]:
            packet.stream = stream
            target.mux(packet)
    clip, frames = sampled(tmp_path / "held.mp4", reader=reader)
    assert clip.damage == "" and [f.number for f in frames] == [0, 75] and clip.n_asked == 2


def test_the_slow_clip_of_the_shared_cases_is_sound(shared):
    for reader in ("pyav", "opencv"):
        clip, frames = sampled(shared("cases", "slow_1fps.mp4"), reader=reader)
        assert clip.damage == "" and clip.n_asked == len(frames) == 3 and clip.duration_s == 7


def test_a_short_clip_gives_the_same_frames_from_another_container(tmp_path):
    times = [n / 30 for n in range(156)]  # 5.17 s: a fifth of it falls on a frame, which .mkv rounds down to the ms
    path = write_clip(tmp_path / "a.mp4", times, "mpeg4", b_frames=0)
    remux(path, tmp_path / "a.mkv")
    (_, ours), (_, theirs) = (sampled(tmp_path / name, min_frames=5) for name in ("a.mp4", "a.mkv"))
    assert [f.number for f in ours] == [f.number for f in theirs] and len(ours) == 5
    assert all((a.rgb == b.rgb).all() for a, b in zip(ours, theirs))


@pytest.mark.parametrize("reader", ["pyav", "opencv"])
@pytest.mark.parametrize("content, reason", [
    (b"", "empty"), (b"just some words\n" * 200, "not a video"), (None, "no such file")])
def test_what_is_no_video_is_one_clear_error(tmp_path, reader, content, reason):
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=reason):
        sampled(path, reader=reader)


def test_a_clip_whose_index_was_cut_off_is_unreadable(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", CONSTANT)  # the index (moov) stands at the end
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:whole.stat().st_size // 2])
    with pytest.raises(VideoError, match="truncated"):
        sampled(cut)


def test_sound_alone_is_no_video(tmp_path):
    with pytest.raises(VideoError, match="no video stream"):
        sampled(write_sound(tmp_path / "sound.mp4"))


def test_one_frame_is_a_clip(tmp_path):
    clip, frames = sampled(write_clip(tmp_path / "one.mp4", [0.0]), min_frames=5)
    assert len(frames) == clip.n_asked == 1 and clip.duration_s == 0


def test_a_name_that_is_no_utf8_can_be_read(tmp_path):
    import os

    plain = write_clip(tmp_path / "plain.mp4", CONSTANT[:10])
    odd = os.fsencode(tmp_path) + b"/\xff odd, name.mp4"
    os.rename(plain, odd)
    _, frames = sampled(os.fsdecode(odd))
    assert len(frames) == 1


@pytest.mark.parametrize("wrong", [{"every": 0}, {"frames": 0}, {"min_frames": 0}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FrameOptions(**wrong)


def test_of_two_hours_key_frames_are_looked_at_evenly(tmp_path):
    clip = write_clip(tmp_path / "long.mp4", [n * 7.2 for n in range(1000)], gop=4)  # a key frame every 28.8 s
    opened = Clip(clip, FrameOptions(min_frames=5, most_frames=120))
    found = list(opened.frames())
    assert [read_barcode(frame.rgb) for frame in found] == [frame.number for frame in found]
    assert all(frame.number % 4 == 0 for frame in found) and 100 <= len(found) == opened.n_asked <= 120
    assert found[0].time_s == 0 and found[-1].time_s > 7000 and opened.damage == ""
    assert len(Clip(clip, FrameOptions()).wanted) == 1000  # extraction looks at every one that it is asked for


def test_of_a_clip_that_costs_too_much_the_beginning_is_looked_at_and_said(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "long.mp4", [n * .1 for n in range(300)], gop=300, options={"sc_threshold": "0"})
    raw = write_clip(tmp_path / "long.mpg", [n * .2 for n in range(300)], "mpeg2video")
    monkeypatch.setattr(sampling, "MOST_DECODED_PX", 100 * 192 * 96)
    for path, options in ((clip, {}), (raw, {}), (clip, {"reader": "opencv"})):
        opened = Clip(path, FrameOptions(every=1, min_frames=5, most_frames=120, **options))
        found = list(opened.frames())
        assert 5 <= len(found) and max(frame.number for frame in found) <= 101, path
        assert "too long to be decoded whole: only its first" in opened.damage
    assert Clip(clip, FrameOptions(every=1)).damage == ""


def test_with_most_frames_marks_are_spread_evenly():
    long = FrameOptions(every=3, min_frames=5, most_frames=100)
    assert time_marks(7200, long) == [72.0 * k for k in range(100)]
    assert time_marks(297, long) == [3.0 * k for k in range(100)]
    assert time_marks(1e12, long)[-1] == 99e10
    assert len(time_marks(100, FrameOptions(frames=1000, most_frames=100))) == 100
    with pytest.raises(ValueError, match="most_frames"):
        FrameOptions(min_frames=5, most_frames=4)
