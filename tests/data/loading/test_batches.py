import numpy as np
import pytest
import torch

from data.loading.batches import Batches, EpochOrder, InOrder
from data.loading.options import AugmentOptions
from pipeline.errors import SplitError

LABELS = np.array([0] * 6 + [1] * 14)


def rows_of(order, epoch=0):
    order.set_epoch(epoch)
    return np.concatenate(order.batches()).tolist()


def test_every_row_comes_once_in_an_order_that_hangs_on_the_epoch_alone():
    order = EpochOrder(LABELS, 6, seed=3)
    first, second = rows_of(order, 0), rows_of(order, 1)
    assert sorted(first) == sorted(second) == list(range(20)) and first != second
    assert rows_of(order, 0) == first and rows_of(EpochOrder(LABELS, 6, seed=4), 0) != first


def test_batches_are_of_nearly_one_size_so_that_none_is_too_small_for_batch_norm():
    sizes = [len(batch) for batch in EpochOrder(np.zeros(33), 32, 0).batches()]
    assert sizes == [17, 16]
    assert [len(b) for b in InOrder(33, 32).batches()] == [32, 1]


def test_balanced_sampling_has_half_reals_and_repeats_each_about_as_often():
    rows = rows_of(EpochOrder(LABELS, 6, 0, "sampling"))
    reals = [row for row in rows if row < 6]
    assert len(rows) == 20 and len(reals) == 10
    assert {reals.count(row) for row in range(6)} == {1, 2}
    assert len(set(rows) - set(reals)) == 10  # fakes are thinned, not repeated


def test_a_pair_is_a_real_and_a_fake_made_from_it_in_one_batch():
    partners = [[6, 7], [8], [], [9, 10], [11], [12]] + [[]] * 14
    order = EpochOrder(LABELS, 4, 0, "pairs", partners)
    seen = set()
    for epoch in range(20):
        order.set_epoch(epoch)
        batches = order.batches()
        assert len(batches) == len(order) == 3
        for batch in batches:
            for real, fake in batch.reshape(-1, 2):
                assert fake in partners[real]
                seen.add(int(fake))
        assert sorted(row for batch in batches for row in batch if row < 6) == [0, 1, 3, 4, 5]
    assert seen == {6, 7, 8, 9, 10, 11, 12}


def test_orders_that_cannot_be_are_refused():
    with pytest.raises(SplitError, match="reals and fakes"):
        EpochOrder([1, 1], 2, 0, "sampling")
    with pytest.raises(SplitError, match="pairs need"):
        EpochOrder([0, 1], 2, 0, "pairs", [[], []])


def batches(order, **options):
    """Pictures whose every value is their place; row r of the table is picture 2 r."""
    pictures = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 4, 4, 3)).copy()
    return list(Batches(pictures, np.arange(20) * 2, LABELS, order, **options))


def test_batches_bring_the_pictures_and_labels_of_their_rows():
    order = EpochOrder(LABELS, 6, 0)
    for batch, rows in zip(batches(order), order.batches(), strict=True):
        assert batch.rows.tolist() == rows.tolist() and batch.n_all == len(rows)
        assert batch.pictures.shape == (len(rows), 3, 4, 4) and batch.pictures.dtype == torch.uint8
        assert batch.pictures[:, 0, 0, 0].tolist() == (2 * rows).tolist()
        assert batch.labels.tolist() == LABELS[rows].tolist()


def test_processes_divide_every_batch_among_them():
    order = EpochOrder(LABELS, 6, 0)
    shares = [batches(order, share=(number, 3)) for number in range(3)]
    for whole, *parts in zip(order.batches(), *shares, strict=True):
        assert sorted(row for part in parts for row in part.rows.tolist()) == sorted(whole.tolist())
        assert all(part.n_all == len(whole) for part in parts)


def test_training_pictures_are_degraded_anew_each_epoch_and_alike_for_every_division():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    order, how = EpochOrder(LABELS, 20, 0), (AugmentOptions(jpeg=20), 5)

    def read(epoch, share=(0, 1)):
        order.set_epoch(epoch)
        [batch] = Batches(pictures, np.arange(20), LABELS, order, how, share)
        return {int(row): picture for row, picture in zip(batch.rows, batch.pictures)}

    first, again, other = read(0), read(0), read(1)
    assert all(torch.equal(first[row], again[row]) for row in first)
    assert any(not torch.equal(first[row], other[row]) for row in first)
    assert all(torch.equal(first[row], picture) for row, picture in read(0, (1, 2)).items())


def test_a_real_can_be_paired_with_itself_blended_and_is_a_fake_then():
    partners = [[6, 7], [8], [], [9, 10], [11], [12]] + [[]] * 14
    order = EpochOrder(LABELS, 4, 0, "pairs", partners, blend=.5)
    rows = np.concatenate(order.batches()).reshape(-1, 2)
    assert sorted(rows[:, 0]) == [0, 1, 2, 3, 4, 5]
    assert all(fake == 20 + real or fake in partners[real] for real, fake in rows)
    assert dict(rows)[2] == 22  # it has no other fake
    assert all(fake == 20 + real for real, fake in np.concatenate(
        EpochOrder(LABELS, 4, 0, "pairs", partners, blend=1).batches()).reshape(-1, 2))

    faces = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    points = np.random.default_rng(1).uniform(.2, .8, (20, 468, 2)).astype(np.float32)
    read = [Batches(faces, np.arange(20), LABELS, order, (AugmentOptions(), 5), share, points=points)
            for share in ((0, 1), (0, 2), (1, 2))]
    whole, *halves = [{int(row): (picture, int(label)) for batch in batches
                       for row, picture, label in zip(batch.rows, batch.pictures, batch.labels)} for batches in read]
    blended = set(rows[rows[:, 1] >= 20, 0])
    for row, (picture, label) in whole.items():
        assert label == int(row >= 20 or LABELS[row])
        assert torch.equal(picture, {**halves[0], **halves[1]}[row][0])
        as_stored = torch.equal(picture, torch.from_numpy(faces[row % 20]).permute(2, 0, 1))
        assert as_stored == (row < 20) or row in blended  # the real of a blend may be changed, too
    assert blended and all(not torch.equal(whole[real][0], whole[real + 20][0]) for real in blended)


def test_both_of_a_pair_are_degraded_and_moved_alike():
    faces = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8), 20, 0)
    order = EpochOrder(LABELS, 12, 0, "pairs", [[6], [7], [8], [9], [10], [11]] + [[]] * 14)
    how = AugmentOptions(jpeg=20, blur=3, downscale=.3)
    for batch in Batches(faces, np.arange(20), LABELS, order, (how, 5)):
        assert batch.labels.tolist() == [0, 1] * 6 and torch.equal(batch.keys[::2], batch.keys[1::2])
        assert torch.equal(batch.pictures[::2], batch.pictures[1::2])  # the same face, so the same picture
        assert len({picture.numpy().tobytes() for picture in batch.pictures}) > 3


def test_reals_without_face_points_are_not_blended():
    blendable = np.array([True, True, False, False, True, True] + [False] * 14)
    order = EpochOrder(LABELS, 4, 0, "pairs", [[6], [], [7], [], [], []] + [[]] * 14, 1.0, blendable)
    pairs = dict(np.concatenate(order.batches()).reshape(-1, 2))
    assert pairs == {0: 20, 1: 21, 2: 7, 4: 24, 5: 25}  # row 3 has no fake at all


def test_an_epoch_can_have_so_many_pairs_that_datasets_count_by_their_weight():
    weights = np.array([1, 1, 1, 1, 4, 8] + [1] * 14, float)
    order = EpochOrder(LABELS, 4, 0, "pairs", (), 1.0, None, weights, 160)
    assert len(order) == 80
    first, second = rows_of(order, 0), rows_of(order, 1)
    times = [first.count(row) for row in range(6)]
    assert times == [10, 10, 10, 10, 40, 80] and first != second
    assert len(set(rows_of(EpochOrder(LABELS, 4, 0, "pairs", (), 1.0, n_pairs=3)))) == 6  # three of six, each once
