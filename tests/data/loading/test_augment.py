import numpy as np
import pytest
import torch

from data.loading.augment import augment, degrade, draws, h264
from data.loading.options import AugmentOptions

STILL = dict(rotate=0.0, shift=0.0, flip=False)


def pictures(n=64, side=33):
    """float (n, 3, side, side): black with one bright pixel 8 px right of and 4 px above the centre."""
    batch = torch.zeros(n, 3, side, side)
    batch[:, :, side // 2 - 4, side // 2 + 8] = 255
    return batch


def bright(batch):
    """(n, 2): x and y of each picture's centre of light, from its middle, in px."""
    light = batch[:, 0]
    side = light.shape[-1]
    grid = torch.arange(side) - side // 2
    total = light.sum((1, 2))
    return torch.stack([(light.sum(1) * grid).sum(1) / total, (light.sum(2) * grid).sum(1) / total], 1)


def drawn(options, seed=0, epoch=0):
    return augment(pictures(), options, draws(range(64), seed, epoch))


def test_no_augmentation_changes_nothing():
    batch = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    assert torch.allclose(augment(batch, AugmentOptions(**STILL), draws(range(4), 0, 0)), batch.float(), atol=1e-2)


def test_bf16_training_sees_the_same_pictures():
    batch, some = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8), draws(range(4), 0, 0)
    exact = augment(batch, AugmentOptions(), some)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augment(batch, AugmentOptions(), some), exact)


def test_flipping_mirrors_about_half_the_pictures_and_nothing_else():
    places = bright(drawn(AugmentOptions(**{**STILL, "flip": True}))).round()
    assert set(map(tuple, places.tolist())) == {(8.0, -4.0), (-8.0, -4.0)}
    assert 16 <= (places[:, 0] < 0).sum() <= 48


def test_rotation_keeps_the_distance_to_the_centre_and_stays_in_its_range():
    places = bright(drawn(AugmentOptions(**{**STILL, "rotate": 20.0})))
    assert torch.allclose(places.norm(dim=1), torch.tensor([8.0, -4.0]).norm(), atol=0.5)
    turned = torch.rad2deg(torch.atan2(places[:, 1], places[:, 0]) - torch.atan2(*torch.tensor([-4.0, 8.0])))
    assert turned.abs().max() < 23 and turned.max() > 10 and turned.min() < -10


def test_shifts_stay_in_their_range_along_both_axes():
    moved = bright(drawn(AugmentOptions(**{**STILL, "shift": 0.1}))) - torch.tensor([8.0, -4.0])
    assert (moved.abs() <= 3.4).all() and (moved.max(0).values > 2).all() and (moved.min(0).values < -2).all()


def test_zoom_changes_the_distance_to_the_centre_within_its_range():
    far = bright(drawn(AugmentOptions(**{**STILL, "zoom": 0.2}))).norm(dim=1) / torch.tensor([8.0, -4.0]).norm()
    assert far.min() > 0.75 and far.max() < 1.25 and far.min() < 0.87 and far.max() > 1.13


def test_a_crops_draw_hangs_on_seed_epoch_and_row_and_on_nothing_else():
    options = AugmentOptions(zoom=0.1, colour=0.2, cutout=0.3)
    batch = torch.rand(6, 3, 32, 32) * 255
    whole = augment(batch, options, draws(range(6), 1, 2))
    part = augment(batch[[4, 1]], options, draws([4, 1], 1, 2))
    assert torch.equal(part, whole[[4, 1]])
    for other in (draws(range(6), 1, 3), draws(range(6), 2, 2)):
        assert not torch.equal(augment(batch, options, other), whole)


def test_colours_change_about_their_middle_and_stay_in_range():
    batch = torch.full((64, 3, 8, 8), 100.0)
    mean = augment(batch, AugmentOptions(**STILL, colour=0.3), draws(range(64), 0, 0)).mean((1, 2, 3))
    assert mean.min() > 69.9 and mean.max() < 130.1 and mean.min() < 80 and mean.max() > 120
    white = augment(torch.full((64, 3, 8, 8), 255.0), AugmentOptions(**STILL, colour=0.3), draws(range(64), 0, 0))
    assert white.max() <= 255


def test_a_square_covers_half_of_the_pictures_up_to_its_side():
    white = torch.full((200, 3, 40, 40), 255.0)
    covered = (augment(white, AugmentOptions(**STILL, cutout=0.5), draws(range(200), 0, 0)) == 127.5).all(1)
    sides = covered.any(1).sum(1)
    assert 70 < (sides > 0).sum() < 130 and 15 <= sides.max() <= 20
    assert torch.equal(covered.sum((1, 2)), covered.any(1).sum(1) * covered.any(2).sum(1))  # they are rectangles


@pytest.mark.parametrize("options", [{"downscale": 0.3}, {"blur": 2.0}, {"jpeg": 10}])
def test_each_degradation_falls_on_about_half_of_the_pictures_and_takes_detail_away(options):
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    worse = degrade(noise, AugmentOptions(**options), draws(range(100), 0, 0))
    changed = (worse != noise).any((1, 2, 3))
    assert 30 < changed.sum() < 70 and worse.shape == noise.shape and worse.dtype == np.uint8

    def detail(pictures):
        return np.abs(np.diff(pictures.astype(float), axis=2)).mean()

    assert detail(worse[changed]) < 0.9 * detail(noise[changed])
    assert (degrade(noise, AugmentOptions(), draws(range(100), 0, 0)) == noise).all()


def test_jpeg_keeps_the_order_of_the_colours():
    red = np.zeros((20, 16, 16, 3), np.uint8)
    red[..., 0] = 200
    stored = degrade(red, AugmentOptions(jpeg=50), draws(range(20), 0, 0))
    assert (stored[..., 0] > 150).all() and (stored[..., 2] < 50).all()


def test_noise_falls_on_half_of_the_pictures_at_all_levels_up_to_its_own_and_hangs_on_the_draw():
    grey = np.full((200, 48, 48, 3), 128, np.uint8)
    options, some = AugmentOptions(noise=10), draws(range(200), 0, 0)
    noisy = degrade(grey, options, some).astype(float)
    levels = noisy.std((1, 2, 3))
    assert 75 < (levels > .3).sum() < 125 and levels.max() < 10.5 and 2 < np.median(levels[levels > .3]) < 8
    assert np.abs(noisy.mean((1, 2, 3)) - 128).max() < 3
    assert (degrade(grey, options, some) == noisy).all()
    there = noisy[levels > 5] - 128
    like_its_neighbour = (there[:, :, 1:] * there[:, :, :-1]).mean((1, 2, 3)) / (there ** 2).mean((1, 2, 3))
    assert like_its_neighbour.min() < .2 and like_its_neighbour.max() > .4  # grains of 1 px and larger ones


@pytest.mark.parametrize("wrong", [{"rotate": -1}, {"shift": 1}, {"zoom": 1}, {"jpeg": 0}, {"downscale": 0},
                                   {"noise": -1}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AugmentOptions(**wrong)


@pytest.mark.parametrize("shape", [(48, 64), (47, 63)])
def test_a_picture_coded_as_h264_keeps_its_shape_and_place_and_loses_more_the_coarser(shape):
    y, x = np.indices(shape)
    picture = np.stack([x * 3, y * 4, 255 - x * 3], 2).astype(np.uint8)
    picture[::2, ::2] //= 2
    loss = [np.abs(h264(picture, crf).astype(int) - picture).mean() for crf in (18, 30, 42)]
    assert h264(picture, 30).shape == picture.shape
    assert loss[0] < loss[1] < loss[2] < np.abs(picture[:, ::-1].astype(int) - picture).mean()
    grey = np.full((*shape, 3), 100, np.uint8)
    assert np.abs(h264(grey, 40).astype(int) - grey).max() <= 2


def test_half_of_the_crops_are_coded_each_at_a_rate_of_its_own():
    noise = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8), 40, 0)
    coded = degrade(noise, AugmentOptions(h264=40), draws(range(40), 0, 0))
    changed = [picture.tobytes() for picture, before in zip(coded, noise) if (picture != before).any()]
    assert 10 <= len(changed) <= 30 and len(set(changed)) > 5
    with pytest.raises(ValueError, match="h264 must be 0 or from 18"):
        AugmentOptions(h264=10)


def test_a_predicted_frame_is_coded_after_two_shifted_copies_and_stays_in_its_place():
    picture = np.random.default_rng(0).integers(60, 200, (24, 32, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    key = h264(picture, 30)
    after = [h264(picture, 30, jitter=np.array(jitter)) for jitter in ([0, 0, .9, .9], [.9, .1, .2, .8])]
    assert all(frame.shape == picture.shape and not np.array_equal(frame, key) for frame in after)
    still = h264(picture, 30, jitter=np.full(4, .5))
    loss = [np.abs(frame.astype(int) - picture).mean() for frame in (key, still, *after)]
    assert max(loss) < .3 * np.abs(np.roll(picture, 2, 1).astype(int) - picture).mean()
