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
from typing import Any, Iterable

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
    return FF_COMPRESSION.sub(r"\1", row["original"] or row["video_id"])


def hanging_together(pairs: Iterable[Pair]) -> tuple[list[Group], list[Group]]:
    """The groups, sorted; and all sets that come to hang together on the way there, single ends and groups included."""
    ties = Counter((min(pair), max(pair)) for pair in pairs)
    inside: dict[str, Group] = {end: (end,) for pair in sorted(ties) for end in pair}
    sets = list(inside.values())
    for (a, b), _ in sorted(ties.items(), key=lambda tie: (-tie[1], tie[0])):
        if inside[a] != inside[b]:
            joined = tuple(sorted(inside[a] + inside[b]))
            sets.append(joined)
            inside.update(dict.fromkeys(joined, joined))
    return sorted(set(inside.values())), sets


def names_of(pairs: Iterable[Pair]) -> dict[str, str]:
    """End -> name of its group: id49+9 is id49 and nine more."""
    groups, _ = hanging_together(pairs)
    return {end: name for group in groups for name in [_name(group)] for end in group}


def _name(group: Group) -> str:
    first = min(group, key=lambda end: [(not t.isdecimal(), int(t) if t.isdecimal() else t)
                                        for t in re.findall(r"\d+|\D+", end)])
    return first if len(group) == 1 else f"{first}+{len(group) - 1}"
