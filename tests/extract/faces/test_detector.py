import numpy as np
import pytest

from extract.faces.detector import Detector, FaceOptions, crop_square, overlap, pick_device
from pipeline.errors import OptionsError


def ramp(height, width):
    """uint8 RGB whose red is the column and green the row (modulo 256)."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, np.zeros_like(x)], 2).astype(np.uint8)


def test_a_crop_is_the_square_of_margin_times_the_longer_side_about_the_box():
    # Box 100 x 80 about (120, 110): side 130, so columns 55 to 185 and rows 45 to 175; stored at that size, unscaled.
    crop = crop_square(ramp(240, 250), np.float32([70, 70, 170, 150]), FaceOptions(crop_px=130))
    assert crop.shape == (130, 130, 3)
    assert (crop[0, 0, :2] == (55, 45)).all() and (crop[-1, -1, :2] == (184, 174)).all()


def test_a_crop_at_the_border_is_shifted_and_not_squeezed():
    crop = crop_square(ramp(240, 250), np.float32([-10, 200, 90, 260]), FaceOptions(crop_px=130))
    assert (crop[0, :, 0] == np.arange(130)).all() and (crop[:, 0, 1] == np.arange(110, 240)).all()


def test_a_crop_larger_than_the_frame_repeats_its_edge():
    crop = crop_square(ramp(60, 200), np.float32([50, 0, 150, 60]), FaceOptions(crop_px=130))
    assert (crop[:, 0, 1] == np.clip(np.arange(130) - 35, 0, 59)).all()
    assert (crop[50, :, 0] == np.arange(35, 165)).all()


def test_the_main_face_is_the_largest_and_its_eyes_lie_in_the_box(shared):
    import cv2

    picture = cv2.cvtColor(cv2.imread(str(shared("faces", "consented", "london", "005_03.jpg"))), cv2.COLOR_BGR2RGB)
    small = cv2.resize(picture, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    both = np.zeros((picture.shape[0], picture.shape[1] + small.shape[1], 3), np.uint8)
    both[:small.shape[0], :small.shape[1]] = small
    both[:, small.shape[1]:] = picture
    [faces] = Detector(FaceOptions(), "cpu").detect([both])
    assert len(faces) == 2
    main = faces[0]
    assert main.box[0] > small.shape[1] - 50 and main.confidence > 0.95
    points = np.loadtxt(shared("faces", "consented", "london", "005_03.pts"))[:2] + [small.shape[1], 0]  # the pupils
    assert np.abs(main.landmarks[:2] - points).max() < 0.1 * (main.box[2] - main.box[0])


def test_boxes_on_a_bounded_copy_are_in_pixels_of_the_full_frame(shared):
    import cv2

    picture = cv2.cvtColor(cv2.imread(str(shared("faces", "consented", "london", "005_03.jpg"))), cv2.COLOR_BGR2RGB)
    large = cv2.resize(picture, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    [[at_once]] = Detector(FaceOptions(detect_side=0, min_face=60), "cpu").detect([large])
    [[bounded]] = Detector(FaceOptions(detect_side=320), "cpu").detect([large])
    assert overlap(at_once.box, bounded.box) > 0.7


def test_overlap_is_intersection_over_union():
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1 and overlap((0, 0, 10, 10), (20, 20, 30, 30)) == 0


def test_a_large_doubtful_face_does_not_take_the_place_of_a_sure_one(monkeypatch):
    from extract.faces.mtcnn import Found

    detector = Detector(FaceOptions(), "cpu")
    boxes = np.float32([[0, 0, 90, 90], [0, 0, 40, 40], [50, 50, 99, 99], [0, 0, 99, 99]])
    found = Found(boxes, np.zeros((4, 5, 2), np.float32), np.float32([0.92, 0.99, 0.96, 0.5]))
    monkeypatch.setattr(detector, "_cascade", lambda frames: [found for _ in frames])
    [faces] = detector.detect([np.zeros((100, 100, 3), np.uint8)])
    assert [face.box[2] for face in faces] == [99, 40, 90]  # the one below min_confidence is not recorded


def test_a_face_too_small_for_the_bounded_copy_is_found_at_the_second_look(shared):
    import cv2

    picture = cv2.cvtColor(cv2.imread(str(shared("faces", "consented", "london", "005_03.jpg"))), cv2.COLOR_BGR2RGB)
    wide = np.full((1080, 1920, 3), 128, np.uint8)
    small = cv2.resize(picture, (100, 133), interpolation=cv2.INTER_AREA)  # a face of about 50 px
    wide[500:633, 900:1000] = small
    detector = Detector(FaceOptions(detect_side=480), "cpu")
    assert detector._look([wide], 480) == [[]]
    [empty, [face]] = detector.detect([np.full_like(wide, 128), wide])
    assert empty == [] and 900 < face.box[0] < face.box[2] < 1000 and 500 < face.box[1] < face.box[3] < 633


def test_a_batch_finds_what_single_frames_find_and_empty_frames_nothing(shared):
    import cv2

    picture = cv2.cvtColor(cv2.imread(str(shared("faces", "consented", "london", "005_03.jpg"))), cv2.COLOR_BGR2RGB)
    detector = Detector(FaceOptions(), "cpu")
    grey = np.full_like(picture, 128)
    alone, nothing = detector.detect([picture])[0], detector.detect([grey])[0]
    together = detector.detect([picture, grey, picture])
    assert nothing == [] and [len(faces) for faces in together] == [len(alone), 0, len(alone)]
    assert np.abs(together[2][0].box - alone[0].box).max() < 0.5


def test_a_frame_smaller_than_the_smallest_face_has_none():
    assert Detector(FaceOptions(), "cpu").detect([np.zeros((8, 640, 3), np.uint8)]) == [[]]


def test_a_device_that_is_not_there_is_a_clear_error():
    with pytest.raises(OptionsError, match="not available here"):
        pick_device("tpu")


@pytest.mark.parametrize("wrong", [{"detect_side": 10}, {"min_face": 5}, {"min_confidence": 2}, {"margin": .5},
                                   {"crop_px": 4}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FaceOptions(**wrong)
