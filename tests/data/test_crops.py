import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from data.crops import AugmentOptions, Crops, EpochShuffle, augment, read_crop, to_input
from pipeline.errors import TableError

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


def test_no_augmentation_changes_nothing():
    batch = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    assert torch.allclose(augment(batch, AugmentOptions(**STILL), [0]), batch.float(), atol=1e-2)


def test_flipping_mirrors_about_half_the_pictures_and_nothing_else():
    places = bright(augment(pictures(), AugmentOptions(**{**STILL, "flip": True}), [0])).round()
    assert set(map(tuple, places.tolist())) == {(8.0, -4.0), (-8.0, -4.0)}
    assert 16 <= (places[:, 0] < 0).sum() <= 48


def test_rotation_keeps_the_distance_to_the_centre_and_stays_in_its_range():
    places = bright(augment(pictures(), AugmentOptions(**{**STILL, "rotate": 20.0}), [0]))
    assert torch.allclose(places.norm(dim=1), torch.tensor([8.0, -4.0]).norm(), atol=0.5)
    turned = torch.rad2deg(torch.atan2(places[:, 1], places[:, 0]) - torch.atan2(*torch.tensor([-4.0, 8.0])))
    assert turned.abs().max() < 23 and turned.max() > 10 and turned.min() < -10


def test_shifts_stay_in_their_range_along_both_axes():
    moved = bright(augment(pictures(), AugmentOptions(**{**STILL, "shift": 0.1}), [0])) - torch.tensor([8.0, -4.0])
    assert (moved.abs() <= 3.4).all() and (moved.max(0).values > 2).all() and (moved.min(0).values < -2).all()


def test_the_same_seed_gives_the_same_draw_and_another_epoch_another():
    options = AugmentOptions()
    first, again, other = (augment(pictures(), options, seed) for seed in ((1, 0, 5), (1, 0, 5), (1, 1, 5)))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_centre_fraction_keeps_the_middle_of_the_crop():
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 200, 3))
    assert (to_input(ramp, 100, 0.5)[:, 0, 0] == np.arange(50, 150)).all()
    assert to_input(ramp, 128).shape == (128, 128, 3)


def test_items_are_rgb_channels_first_with_label_and_row(tmp_path):
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 200
    cv2.imwrite(str(tmp_path / "a.png"), red[..., ::-1])
    item, label, row = Crops(pd.DataFrame({"crop": ["a.png"], "label": [1]}), tmp_path, 20, 1.0)[0]
    assert item.shape == (3, 20, 20) and item.dtype == torch.uint8 and (label, row) == (1, 0)
    assert (item[0] == 200).all() and (item[1:] == 0).all()


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_crop_that_cannot_be_read_is_an_error_and_never_a_black_picture(tmp_path, content):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(TableError, match="make extract"):
        read_crop(tmp_path / "a.png")


def test_each_epoch_has_every_row_once_in_its_own_order_whenever_it_is_asked():
    order = EpochShuffle(50, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        order.set_epoch(epoch)
        orders.append(list(order))
    assert orders[0] == orders[2] != orders[1] and sorted(orders[1]) == list(range(50))
