"""One door for media: what is no picture or video of its own is refused, and nothing is asked of anybody else."""
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from extract.decoding.image import read_picture
from extract.decoding.media import Limits, Refused, limits, open_capture, open_container, regular_file, set_limits
from extract.decoding.sampling import Clip, FrameOptions
from pipeline.errors import VideoError
from tests.clips import barcode, write_clip

ROOT = Path(__file__).parents[3]
STAGES = ("pipeline", "extract", "data", "classify", "reports", "serve")
OPENS = re.compile(r"av\.open\((?!.*\"w\"\))|VideoCapture\(|Image\.open\(|cv2\.imread\(|imageio|read_image\(")
# They decode what we wrote.
CROPS = {"extract/contact_sheet.py", "data/loading/crops.py", "data/loading/augment.py", "serve/worker.py"}


class Listener:
    """A server on this machine that counts who comes."""

    def __enter__(self):
        self.socket, self.n_visits = socket.create_server(("127.0.0.1", 0)), 0
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._count, daemon=True).start()
        return self

    def _count(self):
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self.socket.accept()
                self.n_visits += 1
                visitor.close()

    def __exit__(self, *error):
        self.socket.close()


@pytest.fixture
def small_limits():
    before = limits()
    set_limits(Limits(max_picture_mpx=1, max_frame_mpx=.25))
    yield
    set_limits(before)


def test_nothing_else_opens_media():
    for stage in STAGES:
        for path in (ROOT / stage).rglob("*.py"):
            name, text = str(path.relative_to(ROOT)), path.read_text()
            if name != "extract/decoding/media.py":
                assert not OPENS.search(text), f"{name} opens media by itself: {OPENS.search(text)}"
            if name not in CROPS:
                assert "imdecode(" not in text, f"{name} decodes pictures by itself"


def hostile(folder: Path, port: int) -> dict[str, Path]:
    """Files that FFmpeg would play by opening something else."""
    write_clip(folder / "other.mp4", [n * .1 for n in range(20)])
    write_clip(folder / "pattern-01.mp4", [0.0])
    Image.fromarray(barcode(1)).save(folder / "still-01.png")
    url = f"http://127.0.0.1:{port}/x.ts"
    texts = {
        "concat.mp4": "ffconcat version 1.0\nfile other.mp4\n",
        "concat-url.mp4": f"ffconcat version 1.0\nfile {url}\n",
        "list.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
        "list-url.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
        "endless.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n",
        "dash.mp4": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
                    f'<AdaptationSet><Representation id="1"><BaseURL>{url}</BaseURL></Representation></AdaptationSet>'
                    "</Period></MPD>",
        "session.mp4": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
                       "a=rtpmap:96 H264/90000\n",
        "many.mp4": "ffconcat version 1.0\n" + "file other.mp4\n" * 200_000,
        "still-%02d.png.mp4": "x", "pattern-%02d.mp4": "x", "drawn.mp4": "testsrc", "text.mp4": "a text",
        "subtitle.mp4": "1\n00:00:01,000 --> 00:00:02,000\nhello\n"}
    for name, text in texts.items():
        (folder / name).write_text(text)
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "empty.mp4").touch()
    Image.fromarray(barcode(1)).save(folder / "picture.png")
    (folder / "picture.png").rename(folder / "picture.mp4")
    names = [*texts, "pipe.mp4", "folder.mp4", "empty.mp4", "picture.mp4", "none.mp4"]
    return {name: folder / name for name in names}


@pytest.mark.parametrize("reader", ["pyav", "opencv"])
def test_what_would_play_something_else_is_refused_and_nobody_is_asked(tmp_path, reader):
    from classify.judging.file_metadata import facts_of

    with Listener() as listener:
        for name, path in hostile(tmp_path, listener.port).items():
            with pytest.raises(VideoError):
                Clip(path, FrameOptions(min_frames=1, reader=reader))
            assert not {"container", "video"} & set(facts_of(path)), name
        assert listener.n_visits == 0
    assert Clip(tmp_path / "other.mp4", FrameOptions(min_frames=1, reader=reader)).n_asked == 1


def test_a_name_is_a_file_and_never_an_address_or_an_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = write_clip(tmp_path / "a.mp4", [n * .1 for n in range(5)]).read_bytes()
    with Listener() as listener:
        address = f"http:127.0.0.1:{listener.port}?x.mp4"
        Path(address).write_bytes(clip)
        folder = Path(f"http:/127.0.0.1:{listener.port}")
        folder.mkdir(parents=True)
        (folder / "x.mp4").write_bytes(clip)
        Path("pipe:0.mp4").write_bytes(clip)
        Path("subfile,,start,0,end,0,,:a.mp4").write_bytes(clip)
        names = [address, f"{folder}/x.mp4", "pipe:0.mp4", "subfile,,start,0,end,0,,:a.mp4", "data:video/mp4;x.mp4"]
        for name in names[:4]:
            for reader in ("pyav", "opencv"):
                assert Clip(name, FrameOptions(min_frames=1, reader=reader)).n_asked == 1
        command = [sys.executable, "-c", "import sys; from classify.judging.file_metadata import facts_of\n"
                   "for name in sys.argv[1:]: print(facts_of(name).get('container', 'none,').split(',')[0])", *names]
        said = subprocess.run(command, input=b"", capture_output=True, check=True, timeout=60,
                              env={**os.environ, "PYTHONPATH": str(ROOT)}).stdout.decode()
        assert said.split() == ["mov"] * 4 + ["none"] and listener.n_visits == 0


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink(tmp_path / "pipe", tmp_path / "link")
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path, "/dev/zero", "/dev/stdin", tmp_path / "none", "a\0b"):
        with pytest.raises(Refused):
            regular_file(path)
        with pytest.raises(VideoError):
            read_picture(path)


def clip_of(path: Path, codec: str, pixel_format: str, width: int, height: int) -> Path:
    """Three grey frames."""
    return write_clip(path, [0.0, .4, .8], codec, pixel_format=pixel_format, b_frames=0,
                      draw=lambda number: np.full((height, width, 3), 96, np.uint8))


@pytest.mark.parametrize("name, codec, pixel_format", [
    ("a.mov", "png", "rgb24"), ("a.avi", "mjpeg", "yuvj420p"), ("a.mp4", "libx264", "yuv420p"),
    ("a.ts", "libx264", "yuv420p"), ("a.mkv", "libvpx-vp9", "yuv420p"), ("a.mpg", "mpeg2video", "yuv420p")])
def test_frames_beyond_the_limit_are_refused_before_they_are_decoded(tmp_path, small_limits, name, codec, pixel_format):
    large = clip_of(tmp_path / name, codec, pixel_format, 640, 480)
    small = clip_of(tmp_path / f"small-{name}", codec, pixel_format, 320, 240)
    for reader in ("pyav", "opencv"):
        with pytest.raises(Refused, match="max-frame-mpx"):
            Clip(large, FrameOptions(min_frames=1, reader=reader))
        frames = Clip(small, FrameOptions(min_frames=1, reader=reader)).frames()
        assert [frame.rgb.shape for frame in frames] == [(240, 320, 3)]


def test_a_header_that_claims_less_than_arrives_is_believed_by_nobody(tmp_path, small_limits):
    data = bytearray(clip_of(tmp_path / "a.mov", "png", "rgb24", 640, 480).read_bytes())
    at = data.index(b"png ", data.index(b"stsd")) + 28
    assert data[at:at + 4] == bytes([2, 128, 1, 224])  # 640 x 480
    data[at:at + 4] = bytes([0, 64, 0, 64])
    (tmp_path / "lie.mov").write_bytes(data)
    for reader in ("pyav", "opencv"):
        with pytest.raises(Refused, match="max-frame-mpx"):
            Clip(tmp_path / "lie.mov", FrameOptions(min_frames=1, reader=reader))


def test_every_reader_is_given_the_same_bytes(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", [n * .1 for n in range(5)])
    with open_container(clip) as container, av.open(str(clip)) as plain:
        assert ([bytes(p) for p in container.demux(video=0)] == [bytes(p) for p in plain.demux(video=0)])
    capture = open_capture(clip)
    assert capture.isOpened() and capture.grab()
    capture.release()


# Memory


def test_a_large_jpeg_is_decoded_at_a_fraction_and_others_are_refused(tmp_path, small_limits):
    from classify.judging.file_metadata import picture_facts

    ramp = np.broadcast_to(np.linspace(0, 255, 2000).astype(np.uint8)[None, :, None], (1500, 2000, 3))
    picture = Image.fromarray(np.ascontiguousarray(ramp))  # three megapixels, and one is allowed
    picture.save(tmp_path / "a.jpg", quality=95)
    half = read_picture(tmp_path / "a.jpg")
    assert half.shape == (750, 1000, 3) and np.abs(half[300, :, 0].astype(int) - ramp[600, ::2, 0]).max() <= 3
    assert picture_facts(tmp_path / "a.jpg")["size_px"] == "2000 x 1500"
    picture.save(tmp_path / "progressive.jpg", quality=95, progressive=True)
    for name in ("a.png", "a.bmp", "a.gif", "a.webp", "a.tif"):
        picture.save(tmp_path / name)
    for name in ("progressive.jpg", "a.png", "a.bmp", "a.gif", "a.webp", "a.tif"):
        with pytest.raises(Refused, match="2000 x 1500 px.*max-picture-mpx"):
            read_picture(tmp_path / name)
    for name, size, share in (("d.webp", (700, 600), .4), ("d.avif", (800, 650), .5)):  # too large at that share alone
        picture.resize(size).save(tmp_path / name)
        with pytest.raises(Refused, match=f"{size[0]} x {size[1]} px, more than {share} megapixels"):
            read_picture(tmp_path / name)
    picture.resize((1000, 750)).save(tmp_path / "b.jpg", progressive=True)  # more than half of the limit
    assert read_picture(tmp_path / "b.jpg").shape == (375, 500, 3)
    picture.resize((3000, 2000)).save(tmp_path / "c.jpg")
    with pytest.raises(Refused, match="3000 x 2000"):
        read_picture(tmp_path / "c.jpg")


@pytest.mark.parametrize("name", ["bomb.gif", "bomb.jpg", "bomb.mp4"])
def test_a_gif_of_some_bytes_that_claims_two_hundred_megapixels_is_refused(tmp_path, name):
    frame = b",\0\0\0\0" + (20_000).to_bytes(2, "little") + (10_000).to_bytes(2, "little") + b"\0\x02\x02L\x01\0;"
    (tmp_path / name).write_bytes(b"GIF89a" + (20_000).to_bytes(2, "little") + (10_000).to_bytes(2, "little")
                                  + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + frame)
    with pytest.raises(Refused):
        read_picture(tmp_path / name) if name != "bomb.mp4" else Clip(tmp_path / name, FrameOptions())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_in_many_bands_is_the_same_picture(tmp_path, monkeypatch, orientation):
    from PIL import ImageOps

    from extract.decoding import image

    pixels = np.random.default_rng(0).integers(0, 256, (37, 23, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    whole = read_picture(tmp_path / "a.png")
    monkeypatch.setattr(image, "BAND_PX", 50)
    assert np.array_equal(read_picture(tmp_path / "a.png"), whole)
    with Image.open(tmp_path / "a.png") as stored:
        upright = ImageOps.exif_transpose(stored)
        white = Image.new("RGBA", upright.size, "white")
        assert np.array_equal(whole, np.asarray(Image.alpha_composite(white, upright).convert("RGB")))


def test_what_pillow_logs_of_damaged_files_does_not_appear(tmp_path):
    Image.fromarray(barcode(1)).save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    n_samples = data.index((277).to_bytes(2, "little"))  # the entry SamplesPerPixel: type, count, value
    (tmp_path / "a.tif").write_bytes(data[:n_samples + 8] + (99).to_bytes(2, "little") + data[n_samples + 10:])
    code = ("import sys\nfrom extract.decoding.image import read_picture\nfrom pipeline.errors import VideoError\n"
            "try:\n    read_picture(sys.argv[1])\nexcept VideoError:\n    print('refused')\n")
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.tif")], capture_output=True, text=True,
                          timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (said.stdout, said.stderr) == ("refused\n", "")
