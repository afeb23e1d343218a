import cv2
import numpy as np
import pytest

from extract.faces.cropping import TEMPLATE, TEMPLATE_PX, crop_face, frame_to_crop, similarity
from extract.faces.detector import FaceOptions


def apply(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


def turned(points, degrees, scale, shift):
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T + shift


def test_a_similarity_is_found_again_and_never_mirrors():
    points = np.random.default_rng(0).normal(size=(5, 2))
    assert np.allclose(apply(similarity(points, turned(points, 25, 3, (7, -2))), points),
                       turned(points, 25, 3, (7, -2)))
    assert np.linalg.det(similarity(points, points * [-1, 1])[:, :2]) > 0


@pytest.mark.parametrize("degrees, scale", [(0, 1), (30, 2.5), (-80, .6)])
def test_the_points_of_an_aligned_crop_are_those_of_the_template(degrees, scale):
    """A white dot at each landmark of a turned and scaled face lies at the template's place in the crop."""
    options = FaceOptions(align=True, crop_px=224, margin=1.3)
    points = turned(TEMPLATE, degrees, scale, (220, 200))
    frame = np.zeros((600, 600, 3), np.uint8)
    for x, y in points:
        cv2.circle(frame, (round(x), round(y)), max(2, round(3 * scale)), (255, 255, 255), -1)
    crop = crop_face(frame, np.array([0, 0, 600, 600]), points, options)
    n, _, _, found = cv2.connectedComponentsWithStats((crop[..., 0] > 60).astype(np.uint8))
    wanted = (TEMPLATE / TEMPLATE_PX - .5) / 1.3 * 224 + 112
    assert n == 6
    for place in wanted:
        assert np.abs(found[1:] - place).max(1).min() < 2


def test_an_upright_crop_is_as_without_alignment_and_its_map_says_where_a_pixel_went():
    y, x = np.mgrid[:240, :250]
    frame = np.stack([x, y, np.zeros_like(x)], 2).astype(np.uint8)
    box, points = np.float32([70, 70, 170, 150]), np.full((5, 2), np.nan)
    options = FaceOptions(crop_px=130)
    crop = crop_face(frame, box, points, options)
    matrix = frame_to_crop(box, points, 250, 240, options)
    assert (apply(matrix, np.array([[100., 90.]])) == [[45, 45]]).all() and (crop[45, 45, :2] == (100, 90)).all()
    half = frame_to_crop(box, points, 250, 240, FaceOptions(crop_px=65))
    assert (apply(half, np.array([[55.5, 45.5]])) == [[0, 0]]).all()  # two pixels become one, its middle between them
