"""Facts about the aggregation rules, and choices whose best answer is known."""
from __future__ import annotations

import numpy as np
import pytest

from classify.judging.aggregate import (
    AGGREGATIONS,
    DEFAULT_RULE,
    EPS,
    aggregate,
    auc,
    choose_aggregation,
    choose_threshold,
)
from pipeline.errors import OptionsError

RULES = list(AGGREGATIONS)
CLIPS = [np.random.default_rng(seed).beta(.6, .6, size) for seed, size in enumerate((1, 2, 3, 5, 8, 13))]


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_frames_does_not_matter_to_the_last_bit(rule):
    for clip in CLIPS:
        assert aggregate(clip, rule) == aggregate(clip[::-1], rule) == aggregate(np.roll(clip, 1), rule)


@pytest.mark.parametrize("rule", RULES)
def test_a_clip_is_not_faker_for_being_longer(rule):
    for clip in CLIPS:
        for copies in (2, 3, 10):
            assert aggregate(np.tile(clip, copies), rule) == pytest.approx(aggregate(clip, rule), abs=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_scores_of_zero_and_one_stay_inside_zero_and_one(rule):
    assert aggregate([0, 0, 0], rule) == pytest.approx(0, abs=2 * EPS)
    assert aggregate([1, 1, 1], rule) == pytest.approx(1, abs=2 * EPS)
    for clip in [*CLIPS, [0, 1], [0, 0, 1], [1, 1, 0]]:
        assert 0 <= aggregate(clip, rule) <= 1


@pytest.mark.parametrize("rule", RULES)
def test_equal_frames_give_their_own_score(rule):
    for score in (.001, .2, .5, .97):
        assert aggregate([score] * 5, rule) == pytest.approx(score)
        assert aggregate([score], rule) == pytest.approx(score)


@pytest.mark.parametrize("rule", RULES)
def test_a_faker_frame_never_makes_a_clip_less_fake(rule):
    for clip in CLIPS:
        for i in range(len(clip)):
            raised = clip.copy()
            raised[i] += (1 - raised[i]) / 2
            assert aggregate(raised, rule) >= aggregate(clip, rule) - 1e-12


def test_the_rules_give_what_a_pencil_gives():
    clip = [.1, .2, .3, .4, .9]
    assert aggregate(clip, "mean") == pytest.approx(.38)
    assert aggregate(clip, "median") == pytest.approx(.3)
    assert aggregate(clip, "trimmed") == pytest.approx((.2 + .3 + .4) / 3)      # a fifth off at each end
    assert aggregate(clip, "top_k") == pytest.approx((.9 + .5 * .4) / 1.5)      # 30 % of five frames = 1.5 frames
    assert aggregate([.8, .5], "mean_logit") == pytest.approx(2 / 3)            # odds 4 and 1, their geometric mean 2
    assert aggregate([.75, 0], "noisy_or") == pytest.approx(.5)                 # root of .25 * 1


def test_mean_logit_of_symmetric_frames_is_one_half():
    assert aggregate([0, 1], "mean_logit") == pytest.approx(.5)
    assert aggregate([.1, .9], "mean_logit") == pytest.approx(.5)


@pytest.mark.parametrize("rule", RULES)
def test_no_frames_is_an_error_and_never_a_score(rule):
    with pytest.raises(ValueError, match="undecided"):
        aggregate([], rule)


@pytest.mark.parametrize("scores", [[.2, float("nan")], [float("nan")], [-.1, .5], [.5, 1.1]])
def test_what_is_no_probability_is_refused(scores):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        aggregate(scores)


def test_an_unknown_rule_is_answered_with_the_known_ones():
    with pytest.raises(OptionsError, match="mean_logit, mean, median, top_k, trimmed, noisy_or"):
        aggregate([.5], "best")


def test_auc_of_four_videos_by_hand():
    # Pairs (fake, real): .4>.1, .4>.35, .8>.1, .8>.35 would be 4 of 4; with the real at .6 one pair is lost.
    assert auc([.1, .6, .4, .8], [0, 0, 1, 1]) == 3 / 4
    assert auc([.1, .4, .4, .8], [0, 0, 1, 1]) == 3.5 / 4      # a tie is half a pair
    assert auc([.1, .2], [1, 1]) is None


def test_auc_is_the_one_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(3)
    scores, labels = generator.integers(0, 20, 300) / 20, generator.integers(0, 2, 300)
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_the_rule_that_separates_validation_is_chosen():
    # Fakes flicker: one frame in four is fake, and the reals are a little higher elsewhere. Only the highest tell.
    fakes = [np.array([.05, .05, .05, .90 + i / 100]) for i in range(5)]
    reals = [np.array([.40, .40, .40, .40 + i / 100]) for i in range(5)]
    chosen = choose_aggregation(fakes + reals, [1] * 5 + [0] * 5)
    assert chosen.rule == "top_k" and chosen.aucs["top_k"] == 1 and chosen.aucs["median"] == 0
    assert chosen.n_videos == 10 and "5 real and 5 fake" in chosen.reason


def test_among_equal_rules_the_first_is_taken():
    clips = [np.array([s, s]) for s in (.1, .2, .1, .2, .3, .8, .9, .7, .8, .9)]
    chosen = choose_aggregation(clips, [0] * 5 + [1] * 5)
    assert chosen.rule == "mean_logit" and "first of 6" in chosen.reason


@pytest.mark.parametrize("n_real, n_fake", [(0, 0), (0, 9), (9, 0), (4, 9)])
def test_with_too_few_videos_the_default_rule_stays_and_says_why(n_real, n_fake):
    clips = [np.array([.5])] * (n_real + n_fake)
    chosen = choose_aggregation(clips, [0] * n_real + [1] * n_fake)
    assert chosen.rule == DEFAULT_RULE and not chosen.aucs
    assert f"{n_real} real and {n_fake} fake" in chosen.reason


def test_the_threshold_lies_in_the_middle_of_the_best_gap():
    chosen = choose_threshold([.1, .2, .6, .9], [0, 0, 1, 1])
    assert chosen.value == pytest.approx(.4) and chosen.balanced_accuracy == 1


def test_the_threshold_weighs_both_classes_alike_however_many_fakes_there_are():
    # One real at .3 among ten fakes: 9 fakes above it, one below. Accuracy would gain nothing by minding the real.
    chosen = choose_threshold([.3, .2, *[.8] * 9], [0, 1, *[1] * 9])
    assert chosen.value == pytest.approx(.55) and chosen.balanced_accuracy == pytest.approx((1 + .9) / 2)


def test_among_equal_gaps_the_widest_and_then_the_one_nearest_the_middle_is_taken():
    # real .1, fake .2, real .6, fake .7: gaps after the first and the third are equally good (3/4) and equally wide.
    assert choose_threshold([.1, .2, .6, .7], [0, 1, 0, 1]).value == pytest.approx(.65)
    assert choose_threshold([.1, .3, .6, .7], [0, 1, 0, 1]).value == pytest.approx(.2)


@pytest.mark.parametrize("scores, labels, why", [
    ([], [], "0 real and 0 fake"), ([.2, .3], [1, 1], "0 real and 2 fake"), ([.2], [0], "1 real and 0 fake"),
    ([.4, .4], [0, 1], "beats guessing"), ([.9, .1], [0, 1], "beats guessing")])
def test_where_nothing_can_be_chosen_the_threshold_is_one_half_and_says_why(scores, labels, why):
    chosen = choose_threshold(scores, labels)
    assert chosen.value == .5 and why in chosen.reason
