"""Copies in several parts: what is dropped so that no part judges what another has learned."""
from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, NamedTuple

from data.splitting.divide import PARTS
from data.splitting.groups import Row, content_of, source_video
from extract.copies import joined
from pipeline.tables import COPIES, read_table


@dataclass(frozen=True)
class Copies:
    """What is known of copies: video_id -> the first video_id of those that show the same.

    same: to the byte or to the decoded sample. near: reals that look alike all along, and those of `same`.
    """

    same: dict[str, str] = field(default_factory=dict)
    near: dict[str, str] = field(default_factory=dict)

    def mark(self, rows: list[Row]) -> None:
        """Add `same_as`, `near` and `same_source` (the same of its source video) to rows of an index that have them."""
        for row in rows if self.same or self.near else ():
            if first := self.same.get(row["video_id"], ""):
                row["same_as"] = first
            if alike := self.near.get(row["video_id"], ""):
                row["near"] = alike
            if source := self.same.get(row["original"] or row["video_id"], ""):
                row["same_source"] = source_video({**row, "video_id": source, "original": ""})


def read_copies(index: Path) -> Copies:
    """Read the copies found while indexing (beside this index) and while extracting (below faces/ beside it)."""
    found: dict[str, dict[str, str]] = {"bytes": {}, "samples": {}, "near": {}}
    for path in (index.with_name("copies.csv"), index.parent / "faces" / "copies.csv"):
        for row in read_table(path, COPIES).itertuples() if path.is_file() else ():
            found[str(row.how)][str(row.video_id)] = str(row.same_as)
    return Copies(joined(found["bytes"], found["samples"]), joined(*found.values()))


class Copied(NamedTuple):
    """n: rows that are dropped for their copies."""

    n: int
    notes: list[str]


def without_copies(rows: list[Row], parts: list[str], key: Callable[[Row], str] = content_of) -> Copied:
    """Drop, in `parts`, what a stronger part (test, then val) has too, and what is labelled both real and fake.

    rows: of an index, marked by `Copies.mark`. parts: the part of each, changed in place. key: what copies have in
    common.
    """
    several = {first for row in rows if (first := key(row)) != row["video_id"]}
    sharing: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows) if several else ():
        if parts[i] != "dropped" and key(row) in several:
            sharing[key(row)].append(i)
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
