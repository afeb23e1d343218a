"""Who of a clip is judged, how good the faces are, and what a calibrated model says."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from classify.judging.face_quality import LEAST_PX, quality
from classify.judging.judge import Judge, decide
from classify.judging.people import people_of
from classify.models.shipped import SHIPPED
from extract.faces.face import Face
from extract.video import Extraction, Outcome

CARD = {"aggregation": "mean", "threshold": .6, "calibration": {"low": .4, "high": .6, "slope": 1, "offset": 0}}


def crop(value):
    return np.full((32, 32, 3), value, np.uint8)


def textured(number):
    """A crop of middle light with detail, and its person's number in the first pixel."""
    picture = np.random.default_rng(0).integers(60, 200, (32, 32, 3), dtype=np.uint8)
    picture[0, 0] = number
    return picture


def clip(*people):
    """An Extraction of five frames. people: (x in px, frames in which they are seen, side in px), the main one first.

    The crop of a face has its person's number for a first pixel.
    """
    found = Extraction(Outcome("ok", "", 5, 5, 5))
    for frame in range(5):
        here = [(track, *person) for track, person in enumerate(people) if frame in person[1]]
        for face, (track, x, _, side) in enumerate(here):
            found.faces.append(Face(frame * 3., frame, (x, 10, x + .8 * side, 10 + side), face=face, track=track))
            if face:
                found.others[frame, face] = textured(track)
            else:
                found.crops[frame] = textured(track)
    return found


def test_two_people_are_two_and_are_told_by_their_side():
    people = people_of(clip((400, range(5), 120), (40, range(1, 5), 90)), 3)
    assert [(p.track, p.where, len(p.faces)) for p in people] == [(0, "on the right", 5), (1, "on the left", 4)]
    assert all((c[0, 0] == p.track).all() for p in people for c in p.crops)


def test_four_people_are_counted_from_the_left():
    people = people_of(clip(*((x, range(5), 80) for x in (300, 100, 400, 200))), 3)
    assert [p.where for p in people] == [f"number {k} from the left" for k in (3, 1, 4, 2)]


@pytest.mark.parametrize("second", [(40, range(2), 90), (40, range(5), LEAST_PX - 1)])
def test_who_is_seldom_seen_or_tiny_is_nobody_and_main_faces_are_judged_whoever_they_are(second):
    [person] = people_of(clip((400, range(5), 120), second), 3)
    assert person.track is None and person.where == "" and len(person.crops) == 5


def test_a_person_split_into_two_short_tracks_is_judged_from_all_frames():
    [person] = people_of(clip((400, range(2), 120), (40, range(2, 5), 120)), 3)
    assert len(person.faces) == 5 and person.track is None


def test_a_clip_without_a_face_has_one_entry_without_a_crop():
    [person] = people_of(Extraction(Outcome("no_face", "no face in 5 frames")), 3)
    assert person.faces == [] and person.crops == []


class Numbered(torch.nn.Module):
    """Scores a crop by the number in its first pixel."""

    scores = (.1, .9, .5)

    def forward(self, pictures):
        return torch.logit(torch.tensor(self.scores)[pictures[:, 0, 0, 0].long() % 3])


@pytest.fixture
def judge():
    """The shipped Judge with another network, whose scores are known: those of the person in the first pixel."""
    made = Judge(SHIPPED, "cpu")
    made.card, made.net = {**made.card, **CARD, "size_px": 32, "centre": 1., "real_means": ""}, Numbered()
    return made


def test_the_worst_person_decides_and_all_are_told(judge):
    verdict, people = judge._verdict("clip.mp4", clip((400, range(5), 120), (40, range(1, 5), 90)), None)
    assert (verdict.verdict, verdict.score) == ("fake", pytest.approx(.9)) and [p.track for p in people] == [1, 0]
    assert "2 people, the one on the left decides" in verdict.reason
    assert [(p.where, p.verdict) for p in verdict.people] == [("on the left", "fake"), ("on the right", "real")]
    assert len(verdict.frames) == 4 and verdict.quality.face_px == 90


def test_a_person_who_cannot_be_judged_decides_only_where_there_is_nobody_else(judge):
    found = clip((400, range(5), 120), (40, range(1, 5), 90))
    judge.net.scores = (.1, .95, .5)
    found = replace(found, others={place: crop(250) for place in found.others})  # 250 is 1 modulo 3
    verdict, people = judge._verdict("clip.mp4", found, None)
    assert (verdict.verdict, [p.track for p in people]) == ("real", [0, 1])
    assert verdict.reason == ("2 people, the one on the right decides; the one on the left cannot be judged: the face "
                              "is overexposed; the face is blurred or strongly compressed: use the original file, not "
                              "a forwarded copy")
    found = replace(found, crops={frame: crop(250) for frame in found.crops})
    verdict, _ = judge._verdict("clip.mp4", found, None)
    assert verdict.verdict == "undecided" and "cannot be judged" not in verdict.reason


def test_one_person_is_no_list(judge):
    verdict, _ = judge._verdict("clip.mp4", clip((400, range(5), 120)), None)
    assert (verdict.verdict, verdict.people, verdict.n_faces) == ("real", None, 5)
    assert verdict.probability == pytest.approx(.1)


def test_a_score_in_the_band_is_undecided_with_what_can_be_done():
    verdict, score, reason = decide([.5] * 3, CARD, 3, complaints=["the face is too dark"])
    assert (verdict, score) == ("undecided", .5)
    assert reason == "score 0.500 is in the uncertain band (0.400 to 0.600); the face is too dark"
    assert decide([.6] * 3, CARD, 3)[0] == "fake" and decide([.39] * 3, CARD, 3) == ("real", pytest.approx(.39), "")


def test_a_calibrated_model_judges_no_face_that_is_too_small(judge):
    verdict, _ = judge._verdict("clip.mp4", clip((400, range(5), LEAST_PX - 2)), None)
    assert verdict.verdict == "undecided" and f"only {LEAST_PX - 2} px" in verdict.reason


@pytest.mark.parametrize("value, why", [(10, "too dark"), (250, "overexposed"), (120, "blurred")])
def test_a_calibrated_model_judges_no_face_unlike_any_that_its_band_has_seen(judge, value, why):
    judge.net.scores = (.9, .9, .9)
    found = clip((400, range(5), 120))
    found = replace(found, crops={frame: crop(value) for frame in found.crops})
    verdict, _ = judge._verdict("clip.mp4", found, None)
    assert (verdict.verdict, verdict.score) == ("undecided", pytest.approx(.9)) and why in verdict.reason
    assert verdict.probability is None
    judge.card = {**judge.card, "calibration": None}
    assert judge._verdict("clip.mp4", found, None)[0].verdict == "fake"  # without a band the threshold decides


def test_quality_of_drawn_faces():
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    box = (10, 10, 90, 110)
    assert quality([box], [noise]).face_px == 100
    assert quality([box] * 3, [crop(20)] * 3).light == 20 and quality([box], [crop(20)]).sharpness == 0
    assert quality([box], [crop(20)]).complaints() == [
        "the face is too dark", "the face is blurred or strongly compressed: use the original file, not a forwarded "
        "copy"]
    assert quality([box], [noise]).complaints() == []
    assert "overexposed" in quality([box], [crop(250)]).complaints()[0]
    assert "only 50 px" in quality([(0, 0, 40, 50)], [noise]).complaints()[0]
