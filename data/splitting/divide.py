"""Whole groups into parts that come near their shares, and groups cut where that must be.

First groups are dealt, the largest first, each to the part that it leaves least full. Then a search moves one group at
a time to another part while that lowers the cost, which counts the fakes that a part has too many or too few; with few
groups it starts from every way to place them. Where a share was asked for, or a part would stay without reals or
fakes, the search may move sets within a group of people too; the clips that then tie two parts together are dropped.
"""
from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from data.splitting.groups import Group, Pair, Row, ends_of, hanging_together, heaviest_sets, names_of

if TYPE_CHECKING:
    import numpy as np

PARTS = ("train", "val", "test")
# The cost, in fakes. On Celeb-DF v2 cutting off id7 and id10 to id13 drops 4 clips and brings the test part 107 nearer
# to a fifth, which pays; the next best cut drops 4 for 86, which does not.
WEIGHT = {"train": 0, "val": 1, "test": 2}  # of a fake too few or too many in a part
DROP_PRICE = 50       # so a dropped clip must bring test 25 or val 50 fakes nearer to their shares
REAL_WEIGHT = 0.01    # reals only choose between divisions that are alike in fakes
LACKING = {"train": 1e9, "test": 1e8, "val": 1e7}  # a part without reals or without fakes, worst first
# These bound the time of the search on any corpus.
ALL_WAYS = 4          # groups up to which every way to place them is tried (3 to the power of 4 starts)
MAX_MOVES = 200       # sets that the search moves, those with most fakes


def divide(rows: list[Row], rule: str, shares: dict[str, float], seed: int = 0,
           cut: bool = False) -> tuple[list[str], list[str]]:
    """The part and the name of the group of each row, both "dropped" for a clip that ties two parts together.

    rows: of an index. shares: part -> share of the fakes; a part without a share gets nothing. cut: whether groups of
    people may be cut for a nearer share, and not only for a part without reals or fakes.
    """
    ends = [ends_of(row, rule) for row in rows]
    groups = hanging_together(ends)
    fakes = Counter(end for row, pair in zip(rows, ends) if row["label"] for end in set(pair))
    dealt, wholes = deal(rows, ends, groups, shares, seed), _movable(groups, fakes)
    search = _Search(rows, ends, shares)
    ways: list[dict[str, str]] = [{}]  # each a start, as what it changes in `dealt`
    if len(wholes) <= ALL_WAYS:
        for places in itertools.product(reversed(search.parts), repeat=len(wholes)):
            ways.append({end: part for part, group in zip(places, wholes) for end in group})
    part_of = search.best(dealt, ways, wholes)
    if rule == "identity" and (cut or search.lacks(part_of)):
        found = {end: part for end, part in part_of.items() if part != dealt[end]}
        part_of = search.best(dealt, [found, *ways], heaviest_sets(ends, fakes, MAX_MOVES))
    parts = [part_of[a] if part_of[a] == part_of[b] else "dropped" for a, b in ends]
    del groups, fakes, dealt, wholes, ways, search, part_of  # of a million videos, each a tenth of a gigabyte
    names = names_of(pair for pair, part in zip(ends, parts) if part != "dropped")
    return parts, ["dropped" if part == "dropped" else names[a] for (a, _), part in zip(ends, parts)]


def _movable(groups: list[Group], fakes: Counter[str]) -> list[Group]:
    """Those with most fakes; a group without any stays where it was dealt."""
    weighed = ((-weight, group) for group in groups if (weight := sum(fakes[end] for end in group)))
    return [group for _, group in heapq.nsmallest(MAX_MOVES, weighed)]


def deal(rows: list[Row], ends: list[Pair], groups: list[Group], shares: dict[str, float], seed: int,
         placed: dict[str, str] | None = None) -> dict[str, str]:
    """Deal groups to parts: end -> part. Groups with fakes are dealt by fakes; groups of reals alone, by reals, single
    videos apart.

    The largest go first, since later they fit nowhere, equal ones in the seed's order; the last, to parts without any.
    placed: end -> part, of all ends of a group or of none: such groups are where they are, and count.
    """
    import numpy as np

    number = {end: i for i, group in enumerate(groups) for end in group}
    reals, fakes = [0] * len(groups), [0] * len(groups)
    for row, (end, _) in zip(rows, ends):
        if (i := number.get(end)) is not None:
            (fakes if row["label"] else reals)[i] += 1
    strata: dict[str, list[tuple[int, Group]]] = {"fakes": [], "reals": [], "single reals": []}
    before: dict[str, Counter[str]] = {stratum: Counter() for stratum in strata}
    part_of = dict(placed or {})
    for i in np.random.default_rng(seed).permutation(len(groups)).tolist():
        stratum = "fakes" if fakes[i] else "reals" if reals[i] > 1 else "single reals"
        if groups[i][0] in part_of:
            before[stratum][part_of[groups[i][0]]] += fakes[i] or reals[i]
        else:
            strata[stratum].append((fakes[i] or reals[i], groups[i]))
    for name, todo in strata.items():
        filled = {part: before[name][part] for part in ("test", "val", "train") if part in shares}  # first of equals
        todo.sort(key=lambda item: -item[0])
        empty = [part for part in filled if not filled[part]]
        full: dict[str, float] = {}  # how full each part would be with a group of the size before
        size = 0
        for left, (n, group) in zip(range(len(todo), 0, -1), todo):
            if n != size:
                full, size = {part: round((held + n) / shares[part], 6) for part, held in filled.items()}, n
            part = min(empty if left <= len(empty) else filled, key=full.__getitem__)
            filled[part] += n
            full[part] = round((filled[part] + n) / shares[part], 6)
            if part in empty:
                empty.remove(part)
            for end in group:
                part_of[end] = part
    return part_of


class _Search:
    """The cost of a division of these rows, and how to lower it."""

    def __init__(self, rows: list[Row], ends: list[Pair], shares: dict[str, float]):
        import numpy as np

        self.parts = [part for part in PARTS if part in shares]
        self.number: dict[str, int] = {}
        for pair in ends:
            for end in pair:
                self.number.setdefault(end, len(self.number))
        self.first, self.second = (np.fromiter((self.number[pair[side]] for pair in ends), np.int64, len(ends))
                                   for side in (0, 1))  # [n_clips] ends
        self.label = np.fromiter((row["label"] for row in rows), np.int64, len(rows))  # [n_clips]
        total = np.bincount(self.label, minlength=2)
        self.asked = np.outer([shares[part] for part in self.parts], total)  # [n_parts, 2]: reals, fakes

    def best(self, dealt: dict[str, str], ways: list[dict[str, str]], sets: list[Group]) -> dict[str, str]:
        """Return the cheapest end of improving each start by moving whole sets, one at a time, while that lowers the
        cost. ways: each a start, as what it changes in `dealt`."""
        import numpy as np

        node_of, starts, moves = self._nodes(dealt, ways, sets)
        node = np.fromiter((node_of[end] for end in self.number), np.int64, len(self.number))
        ties, count = np.unique((node[self.first] * len(starts[0]) + node[self.second]) * 2 + self.label,
                                return_counts=True)
        self.ties = np.stack([ties // 2 // len(starts[0]), ties // 2 % len(starts[0]), ties % 2], 1)  # nodes, label
        self.count = count.astype(float)  # [n_ties] clips
        found = [self._improve(np.array(start), moves) for start in starts]
        _, part = min(found, key=lambda end: round(end[0], 6))  # the first of equals
        return {end: self.parts[part[node_of[end]]] for end in self.number}

    def _nodes(self, dealt: dict[str, str], ways: list[dict[str, str]], sets: list[Group]
               ) -> tuple[dict[str, int], list[list[int]], list[np.ndarray]]:
        """Ends that no start and no set tells apart are one node, so that a million ends are a few hundred nodes.

        Returns the node of each end, the part of each node in each start, and the nodes of each set.
        """
        import numpy as np

        in_sets: dict[str, list[int]] = defaultdict(list)
        for i, members in enumerate(sets):
            for end in members:
                in_sets[end].append(i)
        changed = set[str]().union(*ways)
        numbers: dict[Any, int] = {}
        node_of = {}
        for end in self.number:
            part: Any = dealt[end]
            if end in changed or end in in_sets:
                part = (*(way.get(end, part) for way in ways), *in_sets.get(end, ()))
            node_of[end] = numbers.setdefault(part, len(numbers))
        starts = [[self.parts.index(part if isinstance(part, str) else part[i]) for part in numbers]
                  for i in range(len(ways))]
        return node_of, starts, [np.array(sorted({node_of[end] for end in members})) for members in sets]

    def lacks(self, part_of: dict[str, str]) -> bool:
        """Whether a part has no reals or no fakes."""
        import numpy as np

        part = np.fromiter((self.parts.index(part_of[end]) for end in self.number), np.int64, len(self.number))
        inside = part[self.first] == part[self.second]
        held = np.bincount(part[self.first][inside] * 2 + self.label[inside], minlength=2 * len(self.parts))
        return bool((held == 0).any())

    def _improve(self, part: np.ndarray, moves: list[np.ndarray]) -> tuple[float, np.ndarray]:
        best = self._cost(self._clips(part))
        while True:
            found = None
            for members in moves:
                before = part[members].copy()
                for target in reversed(range(len(self.parts))):  # test first among equals
                    part[members] = target
                    if (cost := self._cost(self._clips(part))) < best - 1e-6:
                        best, found = cost, (members, target)
                part[members] = before
            if found is None:
                return best, part
            part[found[0]] = found[1]

    def _clips(self, part: np.ndarray) -> np.ndarray:
        """[n_parts, 2] reals and fakes of each part; part: [n_nodes] its number."""
        import numpy as np

        a, b = part[self.ties[:, 0]], part[self.ties[:, 1]]
        index = np.where(a == b, a * 2 + self.ties[:, 2], 2 * len(self.parts))  # the last one: dropped
        return np.bincount(index, self.count, 2 * len(self.parts) + 1)[:-1].reshape(-1, 2)

    def _cost(self, clips: np.ndarray) -> float:
        off = abs(clips - self.asked)
        weight = [WEIGHT[part] for part in self.parts]
        dropped = self.count.sum() - clips.sum()
        lacking = sum(LACKING[part] for part, n in zip(self.parts, clips) if (n == 0).any())
        return float(weight @ off[:, 1] + REAL_WEIGHT * (weight @ off[:, 0]) + DROP_PRICE * dropped + lacking)
