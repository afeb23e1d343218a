"""Self-blended faces: what is changed, what is not."""
import cv2
import numpy as np

from data.demo.face_model import load_model, sample_identity, to_own_shape
from data.loading.self_blending import MEAN_POINTS, landmarks, self_blend


def blends(picture, points, n=40):
    return [self_blend(picture, points, np.random.default_rng(number)) for number in range(n)]


def test_a_blend_hangs_on_its_draw_alone_and_leaves_the_picture_be():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    before = picture.copy()
    first, again = blends(picture, MEAN_POINTS, 5), blends(picture, MEAN_POINTS, 5)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(first[0], first[1]) and np.array_equal(picture, before)
    assert all(found.shape == picture.shape and found.dtype == np.uint8 for found in first)


def test_faces_are_changed_inside_and_their_surroundings_are_left_be():
    draw = np.random.default_rng(1)
    picture = draw.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    inside = outside = 0
    for blend in blends(picture, MEAN_POINTS * .5 + .25):  # a small face in the middle
        changed = (blend != picture).any(2)
        inside += changed[44:60, 40:56].mean() > .9
        outside += not changed[-6:, :6].any() and not changed[:6, -6:].any()
    assert inside >= 36 and outside == 40  # of 40; some masks are a mouth


def test_without_landmarks_the_mean_face_stands_in():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    nothing = np.full((5, 2), np.nan, np.float32)
    assert all(np.array_equal(a, b) for a, b in zip(blends(picture, nothing, 5), blends(picture, MEAN_POINTS, 5)))


def test_landmarks_are_found_on_reals_and_fakes_have_none():
    heads = []
    model = load_model()
    for number in range(4):
        head = to_own_shape(model, sample_identity(model, np.random.default_rng(number)).texture, model.mean_shape)
        heads.append(cv2.resize(head[40:230, 33:223, 2::-1], (160, 160), interpolation=cv2.INTER_AREA))
    found = landmarks(np.stack(heads), np.array([3, 2, 1, 0]), np.array([0, 0, 1, 0]))
    assert np.isnan(found[2]).all() and np.isfinite(found[[0, 1, 3]]).all()
    eyes, nose, mouth = found[0][:2], found[0][2], found[0][3:]
    assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min() and eyes[0, 0] < nose[0] < eyes[1, 0]
    alone = landmarks(np.stack(heads), np.array([3]), np.array([0]))[0]
    assert np.allclose(found[0], alone, atol=1e-4)  # numbers name places, in whatever order
