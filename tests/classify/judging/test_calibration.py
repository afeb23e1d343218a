"""Probability and band from scores whose answer is known."""
import math

import numpy as np
import pytest

from classify.judging.calibration import Calibration, Copy, false_alarms_by_origin, fit, logit, quantile, reliability


def test_at_most_the_share_of_new_reals_is_called_fake_or_left_undecided():
    """Split conformal: over draws of 59 reals and one more from the same distribution, whatever that is."""
    draw, fakes, undecided = np.random.default_rng(0), 0, 0
    for _ in range(2000):
        *known, new = draw.beta(2, 5, 60)
        band = fit([*known, .9], [0] * 59 + [1], (), (), .05, .2)
        fakes += new >= band.high
        undecided += band.low <= new < band.high
    assert .03 < fakes / 2000 <= .055            # 1/20 is what 59 allow: ceil(60 * .95) = 57, the third from above
    assert .17 < (fakes + undecided) / 2000 <= .215


def test_the_band_is_made_of_the_reals_of_its_rank():
    reals = [k / 100 for k in range(1, 40)]  # 39: ceil(40 * .95) = 38th and ceil(40 * .8) = 32nd
    band = fit([*reals, .7], [0] * 39 + [1], (), (), .05, .2)
    assert (band.low, band.high) == (pytest.approx(.32), pytest.approx(.38))
    assert band.low > .32 and band.high > .38  # the score itself was a real's: it is not yet fake


def test_with_few_reals_the_highest_stands_for_the_quantile():
    band = fit([.2, .4, .9], [0, 0, 1])
    assert band.low == band.high == math.nextafter(.4, 1)


def test_scores_that_are_calibrated_keep_their_probability_and_others_are_moved():
    draw = np.random.default_rng(1)
    p = draw.uniform(.02, .98, 4000)
    labels = (draw.random(4000) < p).astype(int)
    right = fit(p, labels)
    assert right.slope == pytest.approx(1, abs=.08) and right.offset == pytest.approx(0, abs=.12)
    sure = [1 / (1 + math.exp(-3 * logit(float(value)) - 1)) for value in p]  # three times too sure, and shifted
    moved = fit(sure, labels)
    assert moved.slope == pytest.approx(1 / 3, abs=.03) and moved.probability(.5) == pytest.approx(
        1 / (1 + math.exp(1 / 3)), abs=.04)
    assert reliability([moved.probability(s) for s in sure], labels)["ece"] < .03
    assert reliability(sure, labels)["ece"] > .12


def test_classes_that_are_told_apart_do_not_give_a_step():
    curve = fit([.1, .2, .8, .9], [0, 0, 1, 1])
    assert .5 < curve.probability(.8) < .99 and .01 < curve.probability(.2) < .5


def test_altered_copies_of_reals_raise_the_bar_for_fake_and_no_other():
    reals, fakes = [k / 100 for k in range(1, 60)], [.9]
    labels, origins = [0] * 59 + [1], [str(number) for number in range(60)]
    plain = fit(reals + fakes, labels, origins)
    borne = fit(reals + fakes, labels, origins, [Copy(.7, str(number)) for number in range(59)])
    assert plain.high == pytest.approx(.58) and borne.high == pytest.approx(.7)  # ceil(60 * .96) = 58th
    assert fit(reals + fakes, labels, origins, [Copy(.01, str(n)) for n in range(59)]) == plain  # nor lower
    assert (borne.low, borne.slope, borne.offset) == (plain.low, plain.slope, plain.offset)


def test_ece_by_hand():
    """Two bins: four scored .9 of which all are fake, four scored .1 of which all are real: .1 off everywhere."""
    assert reliability([.9] * 4 + [.1] * 4, [1] * 4 + [0] * 4)["ece"] == pytest.approx(.1)
    assert reliability([.5] * 4, [1, 0, 1, 0])["ece"] == pytest.approx(0)


def test_reliability_counts_clips_but_weighs_classes_alike():
    """One fake and four reals, all scored .65: in a world with as many of each, half of what is scored so is fake."""
    found = reliability([.65] * 5, [1, 0, 0, 0, 0])
    assert found["bins"][6] == {"low": .6, "high": .7, "n": 5, "mean_score": pytest.approx(.65),
                                "share_fake": pytest.approx(.5)}
    assert found["ece"] == pytest.approx(.15) and found["n"] == 5 and found["bins"][0]["mean_score"] is None


def test_a_card_without_calibration_has_none():
    assert Calibration.of({"calibration": None}) is None and Calibration.of({}) is None
    band = Calibration(.2, .4, 1.0, 0.0)
    assert Calibration.of({"calibration": band.as_record()}) == band


def test_every_origin_weighs_the_same_however_many_clips_it_has():
    """19 origins with one clip of .1 to .19 and one with a thousand of .9."""
    few = [Copy(.1 + number / 200, f"few {number}") for number in range(19)]
    assert quantile(few, .05) == math.nextafter(few[-1].score, 1)  # (19 + 1) * .95 = 19th
    many = [Copy(.9, "many")] * 1000
    assert quantile([*few, *many], .10) == math.nextafter(few[-1].score, 1)  # 21 * .9 = 18.9 of 20 origins
    assert quantile([*few, *many], .05) == math.nextafter(.9, 1)             # 21 * .95 = 19.95


def test_an_origin_is_judged_by_the_band_of_the_others():
    scores = [.1 + number / 1000 for number in range(40)] + [.5, .9]
    labels, origins = [0] * 41 + [1], [str(number) for number in range(40)] + ["odd", "fakes"]
    found = false_alarms_by_origin(scores, labels, origins)
    assert len(found) == 41 and found["odd"] == (1, 0, 1) and found["0"] == (0, 0, 1)
    assert fit(scores, labels, origins).high == pytest.approx(.5)  # with it the bar is at it
    raised = false_alarms_by_origin(scores, labels, origins, [Copy(.6, origin) for origin in origins[:40]])
    assert raised["odd"] == (0, 1, 1)
