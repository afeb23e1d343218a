from dataclasses import asdict, replace

import numpy as np
import pytest

from extract import video
from extract.decoding.sampling import FrameOptions
from extract.faces.detector import Detection, Detector, FaceOptions, WholeFrame, overlap
from extract.faces.face import Face, as_row, from_row
from extract.video import CHECK, Known, extract_video, known_faces
from pipeline.tables import FACES
from tests.clips import write_clip

TIMES = [k / 10 for k in range(60)]  # 6 s; every .5 s is a frame
EVERY = FrameOptions(every=0.5)
N = 12                               # frames that are sampled then


class Squares:
    """Finds the white squares of a frame, the largest first, and counts the frames that it sees."""

    options = FaceOptions(crop_px=32)

    def __init__(self, batch=1):
        self.batch, self.seen = batch, 0

    def detect(self, frames):
        import cv2

        self.seen += len(frames)
        assert frames
        found = []
        for frame in frames:
            boxes = cv2.connectedComponentsWithStats((frame[..., 1] > 150).astype(np.uint8))[2][1:, :4].astype(float)
            found.append([Detection(np.float32([x, y, x + w, y + h]), np.full((5, 2), x, np.float32), 0.99)
                          for x, y, w, h in sorted(boxes, key=lambda b: -b[2] * b[3])])
        return found


def squares(*, right=0, from_frame=0, width=160, none_at=()):
    """Draws a 32 px square that moves a pixel per frame; from `from_frame` on it stands `right` px further right."""
    def draw(number):
        picture = np.full((96, width, 3), 30, np.uint8)
        x = 8 + number + (right if number >= from_frame else 0)
        if number not in none_at:
            picture[32:64, x:x + 32] = 220
        return picture
    return draw


@pytest.fixture
def clip(tmp_path):
    def made(name, times=TIMES, **drawing):
        return write_clip(tmp_path / f"{name}.mp4", times, draw=squares(**drawing))
    return made


def extracted(path, known=None, batch=1, options=EVERY):
    detector = Squares(batch)
    return extract_video(path, detector, options, known), detector.seen


def known_of(path, options=EVERY):
    found, _ = extracted(path, options=options)
    return known_faces(row_of(found))


def row_of(found):
    """What a store keeps of a video."""
    return {"video": asdict(found.video), "faces": [{**as_row(face), "crop": "x.png"} for face in found.faces]}


def fields(face):
    return replace(face, track=0, confidence=0.)


def test_a_face_and_its_row_are_the_same_face():
    face = Face(1.5, 3, (1., 2.25, 3., 4.5), tuple(float(n) for n in range(10)), .9876, 1, 2, 1)
    row = as_row(face)
    assert list(row) == [name for name in FACES if name not in ("video_id", "crop")]
    assert (row["x0"], row["y1"], row["x_left_eye"], row["y_mouth_right"]) == (1., 4.5, 0., 9.)
    assert from_row({**row, "video_id": "a.mp4", "crop": ""}) == face


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_a_copy_of_the_real_takes_its_faces_and_every_third_frame_is_detected(clip, batch):
    path = clip("real")
    real, seen = extracted(path)
    assert seen == N and real.n_reused == 0
    fake, seen = extracted(path, known_of(path), batch)
    assert seen == N // CHECK and fake.n_reused == N - N // CHECK and not fake.mismatch
    assert fake.faces == real.faces and fake.video == real.video
    assert all((fake.crops[number] == crop).all() for number, crop in real.crops.items())


def test_reused_faces_are_the_reals_and_checked_ones_the_fakes_own(clip):
    real = clip("real")
    known = known_of(real)
    fake, _ = extracted(clip("fake", right=3), known)  # 29 of 35 px overlap: .83
    assert fake.n_reused == N - N // CHECK
    for count, face in enumerate(fake.faces):
        [of_real] = known.faces[face.frame]
        assert (fields(face) == fields(of_real)) == (count % CHECK != 0)
        assert abs(face.box[0] - of_real.box[0] - (0 if count % CHECK else 3)) <= 1


def test_a_shifted_fake_is_detected_in_full(clip):
    known = known_of(clip("real"))
    fake = clip("fake", right=16)  # half a face: .33
    found, seen = extracted(fake, known)
    assert found.mismatch and found.n_reused == 0 and seen == N + 1
    plain, _ = extracted(fake)
    assert found.faces == plain.faces and found.video == plain.video


def test_a_fake_that_moves_away_later_is_detected_in_full(clip):
    known = known_of(clip("real"))
    fake = clip("fake", right=40, from_frame=30)  # sample 6 is the third that is checked
    found, seen = extracted(fake, known)
    assert found.mismatch and seen == 3 + N
    assert found.faces == extracted(fake)[0].faces


def test_a_fake_without_a_face_in_a_checked_frame_is_detected_in_full(clip):
    known = known_of(clip("real"))
    found, _ = extracted(clip("fake", none_at=(15,)), known)
    assert found.mismatch and found.video.n_faces == N - 1


def test_a_real_of_another_size_is_not_used_nor_tried(clip):
    known = known_of(clip("real", width=176))
    found, seen = extracted(clip("fake"), known)
    assert seen == N and found.n_reused == 0 and not found.mismatch


def test_frames_in_which_the_real_has_no_face_are_detected(clip):
    known = known_of(clip("real", none_at=(0, 15, 20)))
    path = clip("fake")
    found, seen = extracted(path, known)
    assert found.video.n_faces == N
    assert found.n_reused == 6 and seen == 3 + 3  # 9 have known faces, of which 3 are checked
    assert (found.faces[0].frame, found.faces[0].face) == (0, 0)


def test_a_longer_fake_is_detected_where_the_real_has_ended(clip):
    known = known_of(clip("real", times=TIMES[:30]))  # 6 samples
    found, seen = extracted(clip("fake"), known)
    assert found.video.n_faces == N and found.n_reused == 4 and seen == N - 4


def test_frames_of_one_number_at_other_times_are_detected(clip):
    known = known_of(clip("real", times=[2 * t for t in TIMES]), FrameOptions(every=1))
    assert set(known.faces) == set(range(0, 60, 5))
    found, seen = extracted(clip("fake"), known)
    assert found.n_reused == 0 and seen == N  # frame 0 alone shows the same moment, and it is checked


def test_a_real_without_a_face_or_that_could_not_be_read_is_of_no_use_and_no_harm(clip):
    path = clip("fake")
    for known in (known_of(clip("real", none_at=range(60))),
                  known_faces({"video": {"width_px": 0, "height_px": 0}, "faces": []})):
        assert known.faces == {}
        found, seen = extracted(path, known)
        assert seen == N and found.n_reused == 0 and found.faces == extracted(path)[0].faces


def test_known_faces_of_a_real_keep_all_faces_of_a_frame_in_order_and_are_not_changed(clip):
    faces = [Face(.3, 3, (1., 2., 3., 4.), (0.,) * 10, .99, n) for n in (1, 0)]
    known = known_faces({"video": {"width_px": 160, "height_px": 96}, "faces": list(map(as_row, faces))})
    assert known == Known(160, 96, {3: faces[::-1]})
    path = clip("real")
    known = known_of(path)
    before = repr(known)
    extracted(path, known)
    assert repr(known) == before


def test_two_squares_are_two_tracks_and_only_the_main_one_is_cropped(tmp_path):
    def draw(number):
        picture = squares()(number)
        picture[40:56, 130:146] = 220
        return picture

    found, _ = extracted(write_clip(tmp_path / "two.mp4", TIMES, draw=draw))
    assert [(face.face, face.track) for face in found.faces] == [(0, 0), (1, 1)] * N
    assert len(found.crops) == N


def test_drawn_fakes_take_the_faces_of_their_reals(demo_corpus):
    detector = Detector(FaceOptions(), "cpu")
    options = FrameOptions(every=1)
    n_reused = n_read = 0
    for fake in sorted((demo_corpus / "Celeb-synthesis").glob("*.mp4"))[:3]:
        target, _, number = fake.stem.split("_")
        real = extract_video(demo_corpus / "Celeb-real" / f"{target}_{number}.mp4", detector, options)
        found = extract_video(fake, detector, options, known_faces(row_of(real)))
        alone = extract_video(fake, detector, options)
        assert found.crops.keys() == alone.crops.keys()
        ours, theirs = ({f.frame: f for f in faces if f.face == 0} for faces in (found.faces, alone.faces))
        assert all(overlap(ours[n].box, theirs[n].box) > 0.6 for n in ours)
        n_reused, n_read = n_reused + found.n_reused, n_read + found.video.n_read
    assert n_reused >= n_read / 3


def test_of_a_crowd_so_many_faces_are_cropped_as_fit_into_memory(tmp_path, monkeypatch):
    class Crowd:
        options, batch = FaceOptions(crop_px=16), 4

        def detect(self, frames):
            points = np.zeros((5, 2), np.float32)
            asked.append(len(frames))
            return [[Detection(np.array([n, 0, n + 40, 40], np.float32), points, .99) for n in range(100)]
                    for _ in frames]

    asked: list[int] = []
    path = write_clip(tmp_path / "crowd.mp4", [n * .5 for n in range(8)])
    monkeypatch.setattr(video, "OTHERS_BYTES", 8 * 3 * 16 * 16 * 5)  # five others in each of eight frames
    monkeypatch.setattr(video, "BATCH_BYTES", 2 * 192 * 96 * 3)
    found = extract_video(path, Crowd(), FrameOptions(every=.5), everyone=True)
    assert asked == [2, 2, 2, 2] and len(found.crops) == 8
    assert sorted(found.others) == [(frame, face) for frame in range(8) for face in range(1, 6)]
    assert len(found.faces) == 8 * video.MOST_FACES
    assert not extract_video(path, Crowd(), FrameOptions(every=.5)).others


def test_no_decoded_frame_stays_in_memory(demo_corpus):
    """PyAV's frames are parts of cycles: kept until Python looks for those, they are 20 MB of every 720p clip."""
    import gc

    clip = sorted((demo_corpus / "Celeb-real").iterdir())[0]
    gc.collect()  # frames that other tests left behind are none of this clip's
    before = [thing for thing in gc.get_objects() if type(thing).__name__ == "VideoFrame"]
    extract_video(clip, WholeFrame(FaceOptions()), FrameOptions(every=1))
    after = [thing for thing in gc.get_objects() if type(thing).__name__ == "VideoFrame"]
    assert not [frame for frame in after if not any(frame is known for known in before)]
