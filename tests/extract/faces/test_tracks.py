import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from extract.faces.face import Face
from extract.faces.tracks import ABSENT, cheapest_pairs, face_colours, number_tracks


def row(frame, x, y=200.0, length=100.0):
    """A face of `length` px about (x, y)."""
    return Face(float(frame), frame, (x - length / 2, y - length / 2, x + length / 2, y + length / 2))


def tracks_of(rows, looks=None):
    numbered = number_tracks(rows, looks)
    assert [replace(face, track=0) for face in numbered] == rows
    return [face.track for face in numbered]


RED, BLUE = np.float32([0.9, 0.1, 0]), np.float32([0, 0.1, 0.9])


def test_two_people_who_sit_still_are_two_tracks_and_the_larger_is_0():
    rows = [r for t in range(5) for r in (row(t, 100, length=60), row(t, 500, length=120))]
    assert tracks_of(rows) == [1, 0] * 5


def test_a_small_face_seen_often_comes_before_a_large_one_seen_once():
    rows = [row(0, 100), row(0, 800, length=200), *(row(t, 100) for t in range(1, 6))]
    assert tracks_of(rows) == [0, 1, 0, 0, 0, 0, 0]


def test_a_face_that_jitters_by_half_its_length_stays_one_track():
    draw = random.Random(0)
    rows = [row(t, 300 + draw.uniform(-25, 25), 200 + draw.uniform(-25, 25), draw.uniform(90, 110)) for t in range(20)]
    assert tracks_of(rows) == [0] * 20


def test_people_who_swap_the_order_of_their_rows_keep_their_tracks():
    rows = [row(0, 100, length=110), row(0, 500), row(1, 500), row(1, 100, length=110)]
    assert tracks_of(rows) == [0, 1, 1, 0]


def test_people_who_change_places_are_told_by_their_colours_only():
    rows = [row(0, 100, length=110), row(0, 500), row(1, 500, length=110), row(1, 100)]
    assert tracks_of(rows, [RED, BLUE, RED, BLUE]) == [0, 1, 0, 1]
    assert tracks_of(rows) == [0, 1, 1, 0]


def test_two_who_cross_keep_their_tracks_by_their_colours():
    rows, truth = [], []
    for t in range(7):
        rows += [row(t, 100 + 80 * t, length=101), row(t, 580 - 80 * t)]
        truth += [0, 1]
    assert tracks_of(rows, [(RED, BLUE)[who] for who in truth]) == truth


def test_one_who_leaves_and_one_who_enters_elsewhere_are_two():
    rows = [row(t, 100) for t in range(4)] + [row(t, 600) for t in range(4, 7)]
    assert tracks_of(rows) == [0] * 4 + [1] * 3


def test_a_face_lost_for_two_frames_keeps_its_track():
    rows = [r for t in range(6) for r in (row(t, 100, length=110), row(t, 500)) if not (t in (2, 3) and r.box[0] > 300)]
    assert tracks_of(rows) == [0, 1, 0, 1, 0, 0, 0, 1, 0, 1]


def test_a_place_is_forgotten_after_some_frames_and_colours_are_not():
    away = ABSENT + 1  # frames with somebody else only
    rows = [row(0, 100), *(row(t, 600, length=110) for t in range(away + 2)), row(away + 1, 100)]
    rows.sort(key=lambda r: r.frame)
    assert tracks_of(rows)[-1] == 2
    assert tracks_of(rows, [RED if r.box[0] < 300 else BLUE for r in rows])[-1] == 1


def test_who_comes_after_a_cut_in_the_same_place_is_another_person_by_colours():
    assert tracks_of([row(t, 300) for t in range(6)], [RED] * 3 + [BLUE] * 3) == [0, 0, 0, 1, 1, 1]


def test_no_two_faces_of_a_frame_share_a_track():
    draw = random.Random(1)
    rows = [row(t, draw.uniform(0, 300), length=draw.uniform(50, 200)) for t in range(30) for _ in range(4)]
    numbers = tracks_of(rows)
    assert all(len(set(numbers[k:k + 4])) == 4 for k in range(0, 120, 4))
    assert set(numbers) == set(range(max(numbers) + 1))


def test_no_rows_are_no_tracks():
    assert tracks_of([]) == []


@pytest.mark.parametrize("box", [(-50, -50, 30, 30), (90, 90, 200, 200), (300, 300, 400, 400), (20, 20, 21, 21)])
def test_colours_of_a_box_over_the_border_are_shares(box):
    colours = face_colours(np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8), box)
    assert colours.shape == (3456,) and colours.dtype == np.float32
    assert colours.sum() == pytest.approx(1) and colours.min() >= 0


def test_colours_are_of_the_middle_of_the_box():
    frame = np.zeros((100, 100, 3), np.uint8)
    frame[20:80, 20:80] = (200, 50, 50)
    assert face_colours(frame, (10, 10, 90, 90)).max() == 1  # .65 of 80 px: 24 to 76, all red
    # The same about (70, 50) reaches over the right border: red and black are then about half each.
    assert np.allclose(np.sort(face_colours(frame, (0, 0, 140, 100)))[-2:], 0.5, atol=0.06)


@pytest.fixture(scope="module")
def people():
    """Boxes and colours of the main face, every 3 s, of five people: filled by the first test."""
    return {}


CLIPS = ["natural/driving__d6.mp4", "natural/driving__d9.mp4", "natural/source_video__andrew_clip_1.mp4",
         "Celeb-DF-v2/Celeb-real/id13_0011.mp4", "Celeb-DF-v2/Celeb-real/id33_0003.mp4"]


@pytest.mark.parametrize("kind", ["beside", "changing places", "one leaves", "one after the other"])
def test_real_people_of_two_clips_side_by_side_are_two_pure_tracks(kind, people, shared):
    from extract.decoding.sampling import Clip, FrameOptions
    from extract.faces.detector import Detector, FaceOptions

    if not people:
        paths = [shared("corpus", clip) for clip in CLIPS]
        detector = Detector(FaceOptions(), "cpu")
        for path in paths:
            frames = [frame.rgb for frame in Clip(path, FrameOptions()).frames()][:6]
            boxes = [faces[0].box for frame in frames for faces in detector.detect([frame])]
            people[path] = [(box, face_colours(frame, box)) for frame, box in zip(frames, boxes)]
            assert len(boxes) >= 5
    for a, b in itertools.combinations(people.values(), 2):
        rows, looks, truth = [], [], []
        steps = min(len(a), len(b))
        for t in range(steps):
            late = t >= steps // 2
            shown = {"beside": (0, 1), "changing places": (0, 1), "one leaves": (0, 1)[:1 if late else 2],
                     "one after the other": (1,) if late else (0,)}[kind]
            for who in shown:
                box, look = (a, b)[who][t]
                right = kind != "one after the other" and who != (late and kind == "changing places")
                x0, y0, x1, y1 = box + np.float32([1000, 0, 1000, 0]) * right
                rows.append(Face(float(t), t, (x0, y0, x1, y1)))
                looks.append(look)
                truth.append(who)
        numbers = tracks_of(rows, looks)
        assert len(set(zip(numbers, truth))) == len(set(numbers)) == 2


def test_pairs_are_the_cheapest_that_scipy_finds():
    from scipy.optimize import linear_sum_assignment

    draw = np.random.default_rng(0)
    for _ in range(500):
        costs = draw.random(draw.integers(1, 7, 2))
        costs[draw.random(costs.shape) < .3] = 1e6
        rows, columns = zip(*cheapest_pairs(costs))
        assert len(rows) == min(costs.shape) == len(set(rows)) == len(set(columns))
        assert costs[rows, columns].sum() == pytest.approx(costs[linear_sum_assignment(costs)].sum())
