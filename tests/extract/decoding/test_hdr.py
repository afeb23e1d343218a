"""HDR frames: light whose values the standards print, and clips of known patches that both readers must show alike."""
from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from classify.judging.file_metadata import video_facts
from extract.decoding.hdr import PEAK, WHITE, eetf, hlg_scene, pq_light, pq_signal, tone_mapped
from extract.decoding.sampling import Clip, FrameOptions

# SDR colours that HDR twins are made from: skin, grey, dark, and four that are not neutral.
PATCHES = np.array([(224, 172, 140), (128, 128, 128), (30, 30, 30), (180, 60, 50), (60, 150, 70), (50, 70, 170),
                    (110, 80, 60), (0, 0, 0)], np.uint8)
SIDE = 48  # px of a patch: the codec's chroma is blurred at edges, the middle is what is compared
TO_BT2020 = np.array([[0.627404, 0.329283, 0.043313], [0.069097, 0.919540, 0.011362], [0.016391, 0.088013, 0.895595]])
TAGS = {"PQ": 16, "HLG": 18}


def light_of(patches):
    """cd/m2 of BT.2020 red, green, blue that an SDR colour of sRGB is, white at 203."""
    value = patches / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return 203 * linear @ TO_BT2020.T


def hlg_signal(light):
    """The signal that an HLG screen of 1,000 cd/m2 shows as this light: inverse OOTF, then OETF."""
    luminance = np.maximum(light @ [0.2627, 0.6780, 0.0593], 1e-9)[..., None] / 1000
    scene = light / 1000 * luminance ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def write_hdr(path, transfer, full=False, tagged=True, codec="libx265", seconds=1):
    """A clip of patches side by side, 10 bits; not tagged, it has the same samples."""
    light = light_of(PATCHES.astype(float))
    signal = np.clip(pq_signal(light) if transfer == "PQ" else hlg_signal(light), 0, 1)
    r, g, b = signal.T
    y = 0.2627 * r + 0.6780 * g + 0.0593 * b
    cb, cr = (b - y) / 1.8814, (r - y) / 1.4746
    y, cb, cr = (1023 * y, 1023 * cb + 512, 1023 * cr + 512) if full else (876 * y + 64, 896 * cb + 512, 896 * cr + 512)
    planes = [np.repeat(np.repeat(plane.round()[None], side, 0), side, 1).astype(np.uint16)
              for plane, side in ((y, SIDE), (cb, SIDE // 2), (cr, SIDE // 2))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = SIDE * len(PATCHES), SIDE, "yuv420p10le"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        context = stream.codec_context
        context.options = {"x265-params": "log-level=none:lossless=1"} if codec == "libx265" else {}
        context.color_range = 2 if full else 1
        if tagged:
            context.color_trc, context.color_primaries, context.colorspace = TAGS[transfer], 9, 9
        for number in range(10 * seconds):
            frame = av.VideoFrame(stream.width, SIDE, "yuv420p10le")
            for plane, values in zip(frame.planes, planes):
                rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                rows[:, :plane.width] = values
                plane.update(rows.tobytes())
            frame.color_range = 2 if full else 1
            frame.pts, frame.time_base = number * 100, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shown(path, reader):
    """int (n_patches, 3): the middle of each patch in the first frame."""
    first = next(Clip(path, FrameOptions(reader=reader)).frames()).rgb
    return np.array([first[SIDE // 2, SIDE * n + SIDE // 2] for n in range(len(PATCHES))]).astype(int)


def test_light_has_the_values_that_the_standards_print():
    assert pq_light(np.array([0.508, 0.7518, 0.58, 1.0])) == pytest.approx([100, 1000, 203, 10_000], rel=0.01)
    assert pq_signal(np.array([0.005, 203.0, 1000.0])) == pytest.approx([0.0151, 0.581, 0.7518], abs=1e-3)
    # BT.2100: 1/2 is a twelfth of the scene's light. BT.2408: 75 % HLG is 203 cd/m2 on a screen of 1,000, 38 % is 26.
    assert hlg_scene(np.array([0, 0.5, 1])) == pytest.approx([0, 1 / 12, 1], abs=1e-6)
    assert 1000 * hlg_scene(np.array([0.75, 0.38])) ** 1.2 == pytest.approx([203, 26], rel=0.02)


def test_the_curve_of_bt2390_leaves_dark_light_and_ends_at_white():
    light = np.linspace(0.01, PEAK, 2000)
    mapped = eetf(light)
    assert (np.diff(mapped) > 0).all() and mapped[-1] == pytest.approx(WHITE, rel=1e-3)
    assert mapped[light < 88] == pytest.approx(light[light < 88], rel=1e-6)


@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
def test_grey_stays_grey_and_brighter_stays_brighter(transfer):
    ramp = np.repeat(np.arange(0, 65536, 64, dtype=np.uint16)[:, None], 3, 1)
    sdr = tone_mapped(ramp, transfer).astype(int)
    assert np.ptp(sdr, axis=1).max() <= 1
    assert (np.diff(sdr[:, 1]) >= 0).all() and sdr[0, 1] == 0 and sdr[-1, 1] == 255


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
def test_both_readers_show_the_patches_that_an_hdr_clip_was_made_from(tmp_path, transfer, full):
    path = write_hdr(tmp_path / "hdr.mp4", transfer, full)
    by_pyav, by_opencv = shown(path, "pyav"), shown(path, "opencv")
    assert np.abs(by_pyav - by_opencv).max() <= 4
    assert np.abs(by_pyav - PATCHES).max() <= 4
    assert transfer in video_facts(path)["video"]["hdr"]


@pytest.mark.parametrize("reader", ["pyav", "opencv"])
def test_what_is_not_tagged_stays_as_it_is(tmp_path, reader):
    path = write_hdr(tmp_path / "untagged.mkv", "HLG", tagged=False, codec="ffv1")
    with av.open(str(path)) as container:
        plain = next(container.decode(video=0)).to_ndarray(format="rgb24")
    first = next(Clip(path, FrameOptions(reader=reader)).frames()).rgb
    assert np.abs(first.astype(int) - plain).max() <= (0 if reader == "pyav" else 4)
    assert "hdr" not in video_facts(path)["video"]


def test_the_hdr_twin_of_a_clip_shows_what_the_sdr_one_shows(shared):
    for reader in ("pyav", "opencv"):
        hdr, sdr = ([frame.rgb.astype(float) for frame in Clip(shared("cases", f"{kind}_drawn_face.mp4"), FrameOptions(
            reader=reader)).frames()] for kind in ("hlg", "sdr"))
        assert len(hdr) == len(sdr) == 5
        for one, other in zip(hdr, sdr):
            face = np.s_[70:220, 120:260]  # of 288 x 384: within the drawn face
            assert np.abs(one - other).mean() <= 4 and abs(one[face].mean() - other[face].mean()) <= 4
