"""Which crops make up a batch, and batches from a pack: every step of training and scoring gets its pictures here.

What a batch holds depends on (seed, epoch), so that a resumed run goes on in the same order, and several processes
can each take their share of every batch.
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Iterator, NamedTuple, Protocol, Sequence

import numpy as np
import torch

from data.loading.augment import degrade, draws
from data.loading.options import AugmentOptions
from data.loading.pack import Joined
from data.loading.self_blending import self_blend
from pipeline.errors import SplitError

BLENDS = 1      # tells the draws of self-blending from those of augmentation
RESIDENT = 0.5  # share of a GPU's free memory that a pack may take to live there


class Batch(NamedTuple):
    """pictures: uint8 (n, 3, size, size) RGB; labels, rows and keys int64 (n,), rows of the table that the batches are
    of, keys of `data.loading.augment.draws`.

    n_all: crops of this batch in all processes together.
    """

    pictures: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor
    keys: torch.Tensor
    n_all: int


class Order(Protocol):
    """What decides which rows form a batch: its batches of this epoch, int64 arrays of rows.

    paired: each real is followed by the fake of its pair.
    """

    paired: bool

    def __len__(self) -> int: ...

    def batches(self) -> list[np.ndarray]:
        """Return the batches of this epoch, arrays of rows."""


class InOrder:
    """All rows once, in their order."""

    paired = False

    def __init__(self, n: int, batch: int):
        self.n, self.batch = n, batch

    def __len__(self) -> int:
        return -(-self.n // self.batch)

    def batches(self) -> list[np.ndarray]:
        """Return the batches of this epoch, arrays of rows."""
        return [np.arange(start, min(start + self.batch, self.n)) for start in range(0, self.n, self.batch)]


class EpochOrder:
    """Rows of an epoch in batches of `batch` at most, all of nearly one size.

    labels: 0 or 1 per row. balance:
      loss, none  every row once
      sampling    as many rows in all, half of them real: the rarer class repeats, the more frequent one is thinned
      pairs       every real once with a fake made from it, drawn anew each epoch, both in one batch
    partners: for pairs, per row the rows of the fakes made from it (empty for fakes). blend: for pairs, the share of
    fakes that are the real blended with itself (data.loading.self_blending): row n + r is row r of the n rows as such a
    fake. Reals without a fake are then paired with that alone. blendable: for pairs, per row whether it can be blended
    (default: every real). weights: for pairs, per row how often it is drawn in relation to the others. n_pairs: for
    pairs, that many are drawn each epoch; 0 for each real once. Raises SplitError where a class is missing, or for
    pairs no real has a fake.
    """

    def __init__(self, labels: Sequence[int], batch: int, seed: int, balance: str = "loss",
                 partners: Sequence[Sequence[int]] = (), blend: float = 0.0, blendable: np.ndarray | None = None,
                 weights: np.ndarray | None = None, n_pairs: int = 0):
        self.labels, self.batch, self.seed, self.balance = np.asarray(labels), batch, seed, balance
        self.epoch = 0
        self.paired = balance == "pairs"
        self.partners, self.blend = partners, blend
        self.blendable = np.full(len(self.labels), bool(blend)) if blendable is None else blendable & bool(blend)
        has_fake = np.array([len(partners[row]) > 0 if len(partners) else False for row in range(len(self.labels))])
        self.reals = np.flatnonzero((self.labels == 0) & (self.blendable | has_fake))
        self.weights = None if weights is None else weights[self.reals] / weights[self.reals].sum()
        self.n_pairs = n_pairs or len(self.reals)
        if balance == "sampling" and len(np.unique(self.labels)) < 2:
            raise SplitError("balanced sampling needs reals and fakes in training")
        if self.paired and not len(self.reals):
            raise SplitError("pairs need fakes whose original is in training too, and none is: use another BALANCE=")

    def set_epoch(self, epoch: int) -> None:  # Lightning calls this before each epoch
        """Set the epoch that the next batches are of."""
        self.epoch = epoch

    def __len__(self) -> int:
        n = 2 * self.n_pairs if self.paired else len(self.labels)
        return -(-n // self.batch)

    def batches(self) -> list[np.ndarray]:
        """Return the batches of this epoch, arrays of rows."""
        draw = np.random.default_rng((self.seed, self.epoch))
        if self.paired:
            reals = self._drawn(draw)
            fakes = np.array([self._fake_of(int(real), draw) for real in reals])
            return [part.reshape(-1) for part in np.array_split(np.stack([reals, fakes], 1), len(self))]
        rows = draw.permutation(len(self.labels))
        if self.balance == "sampling":
            half = len(rows) // 2
            chosen = [_repeated(draw.permutation(np.flatnonzero(self.labels == label)), n)
                      for label, n in ((0, len(rows) - half), (1, half))]
            rows = draw.permutation(np.concatenate(chosen))
        return np.array_split(rows, len(self))

    def _drawn(self, draw: np.random.Generator) -> np.ndarray:
        """The reals of this epoch: each as often as its weight says, to the next whole number by chance."""
        if self.weights is None and self.n_pairs == len(self.reals):
            return draw.permutation(self.reals)
        weights = np.full(len(self.reals), 1 / len(self.reals)) if self.weights is None else self.weights
        wanted = weights * self.n_pairs
        times = np.floor(wanted).astype(int)
        left = self.n_pairs - times.sum()
        rest = wanted - times
        if left:
            times[draw.choice(len(times), left, replace=False, p=rest / rest.sum())] += 1
        return draw.permutation(np.repeat(self.reals, times))

    def _fake_of(self, real: int, draw: np.random.Generator) -> int:
        if self.blendable[real] and (not len(self.partners) or not len(self.partners[real])
                                     or draw.random() < self.blend):
            return len(self.labels) + real
        return int(draw.choice(self.partners[real]))


class Batches:
    """Batches of a pack's pictures, each read while the one before is worked on.

    pictures: uint8 (m, size, size, 3). numbers: for each row its place in `pictures`. labels: for each row.
    degradation: (AugmentOptions, seed) for training, None else. share: (i, n) for the i-th of n processes, from 0.
    device: where the batches are wanted; a pack that fits a GPU's memory is put there once. points: face points of each
    row for rows that are blended with themselves (see EpochOrder), as `self_blend` takes them. The real of such a pair
    may be changed, too. Pairs stay together when a batch is divided among processes.
    """

    batch_sampler = None  # Lightning asks every loader for it

    def __init__(self, pictures: np.ndarray | Joined, numbers: np.ndarray, labels: Sequence[int] | np.ndarray,
                 order: Order, degradation: tuple[AugmentOptions, int] | None = None,
                 share: tuple[int, int] = (0, 1), device: str = "cpu", points: np.ndarray | None = None):
        self.pictures, self.numbers, self.labels = pictures, numbers, np.asarray(labels, np.int64)
        self.points = points
        self.sampler = order  # the name under which Lightning looks for what has a set_epoch
        self.degradation, self.share, self.device = degradation, share, device
        self._resident = None
        if device.startswith("cuda") and points is None and not self._degrades():
            free, _ = torch.cuda.mem_get_info(device)
            if pictures.nbytes < RESIDENT * free:
                self._resident = torch.from_numpy(pictures[np.arange(len(pictures))]).to(device)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        parts = self.sampler.batches()
        epoch = getattr(self.sampler, "epoch", 0)
        with ThreadPoolExecutor(1) as ahead:
            following = None
            for number in range(len(parts)):
                current = following or ahead.submit(self._read, parts[number], epoch)
                following = ahead.submit(self._read, parts[number + 1], epoch) if number + 1 < len(parts) else None
                yield current.result()

    def _read(self, rows: np.ndarray, epoch: int) -> Batch:
        of_pair = 2 if self.sampler.paired else 1
        mine = np.array_split(rows.reshape(-1, of_pair), self.share[1])[self.share[0]].ravel()
        keys = np.repeat(mine[::of_pair], of_pair)
        blended, stored = mine >= len(self.labels), mine % len(self.labels)
        numbers = self.numbers[stored]
        if self._resident is not None:
            pictures = self._resident[torch.from_numpy(numbers).to(self.device)]
        else:
            read = self.pictures[np.sort(numbers)][np.argsort(np.argsort(numbers))]  # in the order of the disk
            for place in np.flatnonzero(blended):
                assert self.degradation is not None and self.points is not None
                real, fake = self_blend(
                    read[place], self.points[stored[place]],
                    np.random.default_rng((self.degradation[1], epoch, int(mine[place]), BLENDS)))
                if self.sampler.paired:
                    read[place - 1] = real  # first: it may be the picture in `read[place]` itself
                read[place] = fake
            if self.degradation and self._degrades():
                options, seed = self.degradation
                read = degrade(read, options, draws(keys.tolist(), seed, epoch))
            pictures = torch.from_numpy(np.ascontiguousarray(read))
            if self.device.startswith("cuda"):
                pictures = pictures.pin_memory()
        labels = np.where(blended, 1, self.labels[stored])
        return Batch(pictures.permute(0, 3, 1, 2), torch.from_numpy(labels), torch.from_numpy(mine),
                     torch.from_numpy(keys), len(rows))

    def _degrades(self) -> bool:
        return self.degradation is not None and self.degradation[0].degrades


def _repeated(rows: np.ndarray, n: int) -> np.ndarray:
    """The first n of rows, rows, rows, …"""
    return np.resize(rows, n)
