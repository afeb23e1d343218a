"""Files with the same bytes in several parts: what is dropped so that no part judges what another has learned."""
from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

from data.splitting.divide import PARTS
from data.splitting.groups import Row, content_of


class Copied(NamedTuple):
    """n: rows that are dropped for their copies."""

    n: int
    notes: list[str]


def without_copies(rows: list[Row], parts: list[str]) -> Copied:
    """Drop, in `parts`, what a stronger part (test, then val) has too, and what is labelled both real and fake.

    rows: of an index, with `same_as`. parts: the part of each, changed in place.
    """
    sharing: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if parts[i] != "dropped":
            sharing[content_of(row)].append(i)
    both: list[int] = []
    weaker: list[tuple[int, int]] = []
    for members in sharing.values():
        if len({rows[i]["label"] for i in members}) > 1:
            both += members
            continue
        strongest = max(members, key=lambda i: PARTS.index(parts[i]))
        weaker += [(i, strongest) for i in members if parts[i] != parts[strongest]]
    notes = []
    if weaker:
        where = Counter(parts[i] for i, _ in weaker)
        copy, kept = (rows[i]["video_id"] for i in weaker[0])
        notes.append(f"{' and '.join(f'{n:,} of {part}' for part, n in where.items())} are copies of files in a part "
                     f"that judges (e.g. {copy} = {kept}): dropped")
    if both:
        notes.append(f"{len(both):,} have a copy with the other label (e.g. "
                     f"{' = '.join(rows[i]['video_id'] for i in both[:2])}): dropped")
    for i in [*both, *(i for i, _ in weaker)]:
        parts[i] = "dropped"
    return Copied(len(both) + len(weaker), notes)
