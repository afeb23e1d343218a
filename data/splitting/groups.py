"""What hangs together: the groups of people, source videos or videos that a split keeps whole.

A clip is a pair of ends: two people for a fake by identity (the one filmed and the one whose face it wears), the same
source video or the same video twice by the other rules. Pairs are ties, and what ties connect is a group. Groups grow
from the strongest tie to the weakest, so all sets on the way are tied together more closely than to the rest:
where a group must be cut after all, those are the pieces to cut off. Names are all that is known here: the same person
under two names is two people.
"""
from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Iterable

if TYPE_CHECKING:
    import pandas as pd

FF_COMPRESSION = re.compile(r"((?:^|/)(?:original|manipulated)_sequences/[^/]+/)(?:raw|c0|c23|c40)/", re.I)

Row = dict[str, Any]       # of tables.INDEX
Pair = tuple[str, str]     # the ends of a clip
Group = tuple[str, ...]    # ends that hang together, sorted


def ends_of(row: Row, rule: str) -> Pair:
    """What a video ties together: two people, or the same thing twice."""
    if rule == "identity":
        first = row["target_id"] or row.get("same_source") or source_video(row)
        return first, row["source_id"] or first
    only = row.get("same_source") or source_video(row) if rule == "source" else looks_of(row)
    return only, only


def content_of(row: Row) -> str:
    """The first of the files with this content, where copies are known: itself or an earlier one."""
    return row.get("same_as") or row["video_id"]


def looks_of(row: Row) -> str:
    """The first of the videos that look like this one, where near-copies are known; else as `content_of`."""
    return row.get("near") or content_of(row)


def source_video(row: Row) -> str:
    """The video that a row was made from, itself for a real; one name for all compressions of FaceForensics++."""
    return _without_compression(row["original"] or row["video_id"])


def _without_compression(name: str) -> str:
    # Looking for a part of the name first: the expression is slow, and most names of most corpora lack it.
    return FF_COMPRESSION.sub(r"\1", name) if "_sequences/" in name.lower() else name


def in_order(index: pd.DataFrame) -> pd.DataFrame:
    """Return an index sorted by video_id; as it is read it is so already."""
    names = index["video_id"].tolist()
    ascending = all(a <= b for a, b in zip(names, names[1:]))
    return index if ascending else index.sort_values("video_id")


def rows_of(index: pd.DataFrame) -> list[Row]:
    """Return the rows of an index as dicts, in its order. Words that repeat are one object, for a million rows."""
    words: dict[Any, Any] = {}
    columns = {name: index[name].tolist() for name in index.columns}
    for name, values in columns.items():
        if name not in ("video_id", "original"):
            columns[name] = [words.setdefault(value, value) for value in values]
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def hanging_together(pairs: Iterable[Pair]) -> list[Group]:
    """Return the groups that pairs tie together, sorted."""
    above: dict[str, str] = {}  # end -> another of its group, towards the one that stands for all
    for a, b in pairs:
        above.setdefault(a, a)
        if a != b:
            above.setdefault(b, b)
            if (first := _top(above, a)) != (second := _top(above, b)):
                above[second] = first
    others: dict[str, list[str]] = {}
    for end in above:
        if (first := _top(above, end)) != end:
            others.setdefault(first, []).append(end)
    return sorted(tuple(sorted([end, *others[end]])) if end in others else (end,)
                  for end, other in above.items() if end == other)


def _top(above: dict[str, str], end: str) -> str:
    while (other := above[end]) != end:
        above[end] = end = above[other]
    return end


def heaviest_sets(pairs: Iterable[Pair], weight: Counter[str], most: int) -> list[Group]:
    """Return sets that come to hang together on the way to the groups, single ends and groups included.

    Args:
        pairs: the ties.
        weight: of an end; a set weighs as much as its ends together, and one of no weight is left out.
        most: how many sets, the heaviest first, equal ones in order.
    """
    ties = Counter((min(pair), max(pair)) for pair in pairs)
    ends = sorted({end for pair in ties for end in pair})
    number = {end: i for i, end in enumerate(ends)}
    nodes: list[tuple[int, ...]] = [()] * len(ends)  # the two that a set was joined from, () for a single end
    heavy = [weight[end] for end in ends]
    top = list(range(len(ends)))  # node -> the node of the set that it went into
    for (a, b), _ in sorted(ties.items(), key=lambda tie: (-tie[1], tie[0])):
        first, second = _last(top, number[a]), _last(top, number[b])
        if first != second:
            top[first] = top[second] = len(nodes)
            top.append(len(nodes))
            nodes.append((first, second))
            heavy.append(heavy[first] + heavy[second])
    chosen = sorted((i for i, n in enumerate(heavy) if n), key=lambda i: -heavy[i])
    least = heavy[chosen[most - 1]] if len(chosen) > most else 0
    sets = [(-heavy[i], tuple(sorted(ends[leaf] for leaf in _leaves(nodes, i)))) for i in chosen if heavy[i] >= least]
    return [members for _, members in sorted(sets)[:most]]


def _last(top: list[int], node: int) -> int:
    while (other := top[node]) != node:
        top[node] = node = top[other]
    return node


def _leaves(nodes: list[tuple[int, ...]], node: int) -> list[int]:
    found, todo = [], [node]
    while todo:
        if parts := nodes[place := todo.pop()]:
            todo += parts
        else:
            found.append(place)
    return found


def names_of(pairs: Iterable[Pair]) -> dict[str, str]:
    """End -> name of its group: id49+9 is id49 and nine more."""
    return {end: name for group in hanging_together(pairs) for name in [_name(group)] for end in group}


def _name(group: Group) -> str:
    if len(group) == 1:
        return group[0]
    first = min(group, key=lambda end: [(not t.isdecimal(), int(t) if t.isdecimal() else t)
                                        for t in re.findall(r"\d+|\D+", end)])
    return f"{first}+{len(group) - 1}"
