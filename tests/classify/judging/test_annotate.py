"""Clips with boxes drawn in: as long as they were, with their sound, boxes where the judge saw the faces."""
from fractions import Fraction

import av
import numpy as np
import pytest

from classify import video
from classify.judging.annotate import FAKE, REAL, boxes_at, drawn
from classify.judging.evidence import gather
from classify.judging.judge import Judge


@pytest.fixture(scope="module")
def with_sound(demo_corpus, tmp_path_factory):
    """A drawn clip with a tone of AAC beside it."""
    path = tmp_path_factory.mktemp("sound") / "a clip.mp4"
    with av.open(str(demo_corpus / "Celeb-real" / "id0_0000.mp4")) as source, av.open(str(path), "w") as made:
        picture = source.streams.video[0]
        copy = made.add_stream_from_template(picture)
        tone = made.add_stream("aac", rate=16000, layout="mono")
        for packet in source.demux(picture):
            if packet.size:
                packet.stream = copy
                made.mux(packet)
        for number in range(62):
            wave = np.sin(np.arange(1024) * .2)[None].astype(np.float32) * .3
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, 1024 * number, Fraction(1, 16000)
            made.mux(tone.encode(frame))
        made.mux(tone.encode(None))
    return path


def about(path):
    """(times of frames, audio packets) of a clip."""
    with av.open(str(path)) as file:
        times = [float(frame.pts * frame.time_base) for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        sound = [bytes(p) for p in file.demux(file.streams.audio) if p.size] if file.streams.audio else []
    return times, sound


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_and_sound_are_kept(demo_run, with_sound, tmp_path, capsys, suffix):
    out = tmp_path / f"out{suffix}"
    assert video.main([str(with_sound), "--model", f"{demo_run}/model/model.safetensors", "--device", "cpu",
                       "--annotate", str(out)]) == 0
    (before, tones), (after, copied) = about(with_sound), about(out)
    start = after[0]  # Matroska moves everything where the sound begins before 0, as AAC's does
    assert start < .1 and [t - start for t in after] == pytest.approx(before, abs=.002)
    assert copied == tones and len(copied) > 50
    assert [p.name for p in tmp_path.iterdir()] == [out.name]  # nothing half written stays
    with av.open(str(out)) as file:
        assert file.streams.video[0].codec_context.name == "h264"


def test_a_clip_without_sound_stays_without(demo_run, demo_corpus, tmp_path, capsys):
    clip = demo_corpus / "Celeb-real" / "id0_0000.mp4"
    out = tmp_path / "out.mp4"
    assert video.main([str(clip), "--model", f"{demo_run}/model/model.safetensors", "--device", "cpu",
                       "--annotate", str(out), "--report", str(tmp_path / "s.html")]) == 0
    assert about(out)[1] == [] and about(out)[0] == pytest.approx(about(clip)[0], abs=.002)
    assert (tmp_path / "s.html").is_file()


def test_boxes_are_the_judge_s_and_their_colour_tells_the_side_of_the_threshold(demo_run, demo_corpus):
    found = gather(Judge(demo_run / "model" / "model.safetensors", "cpu"),
                   demo_corpus / "Celeb-real" / "id0_0000.mp4", pictures=False)
    assert found.shown == [] and sum(len(faces) for faces in boxes_at(found)) == len(found.verdict.frames)
    black = np.zeros((193, 257, 3), np.uint8)
    threshold = found.verdict.threshold
    for score, colour in ((threshold, FAKE), (threshold - 1e-6, REAL)):
        picture = drawn(black, [((100., 100., 150., 160.), score)], found)
        assert picture.shape == (192, 256, 3) and tuple(picture[130, 100]) == colour
        assert (picture[110:150, 110:140] == 0).all()


@pytest.mark.parametrize("name, words", [("out.avi", ".mp4"), ("clip.mp4", "the clip itself")])
def test_a_name_that_cannot_be_is_refused_before_judging(demo_run, demo_corpus, tmp_path, capsys, name, words):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes((demo_corpus / "Celeb-real" / "id0_0000.mp4").read_bytes())
    before = clip.read_bytes()
    assert video.main([str(clip), "--model", f"{demo_run}/model/model.safetensors", "--annotate",
                       str(tmp_path / name)]) == 1
    assert words in capsys.readouterr().err and clip.read_bytes() == before
