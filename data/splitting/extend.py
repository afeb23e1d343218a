"""A corpus that grew: what was divided before stays where it was, and what is new is dealt out.

A new clip goes where the people or the source video in it are. New people and videos who are tied to one part join it;
what is tied to nothing known is dealt to the part that lacks most. A new clip that would tie two parts together is left
out: moving a group would make training videos of test videos, of which a model may have been judged already.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.splitting.divide import PARTS, deal
from data.splitting.groups import Group, Pair, Row, ends_of, hanging_together, names_of
from pipeline.errors import TableError
from pipeline.tables import SPLIT, read_json, read_table


@dataclass(frozen=True)
class Earlier:
    """A split that was made before. parts: video_id -> train, val, test or dropped. rule: what was kept whole.
    options: the record of its SplitOptions."""

    parts: dict[str, str] = field(default_factory=dict)
    rule: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def differences(self, options: dict[str, Any]) -> list[str]:
        """Say in which options, of a record of SplitOptions, this split was made otherwise: "val was 0.2, now 0.1"."""
        return [f"{name} was {self.options[name]}, now {value}" for name, value in options.items()
                if name in self.options and self.options[name] != value]


def read_earlier(path: Path) -> Earlier | None:
    """Read the split at this path (split.csv) with its audit beside it.

    Returns:
        None where one of them is missing, or the audit is damaged: what it was made with is then not known.

    Raises:
        TableError: the table is damaged or of another version.
    """
    record = path.with_suffix(".json")
    if not path.is_file() or not record.is_file():
        return None
    table = read_table(path, SPLIT)
    try:
        audit = read_json(record)
    except TableError:
        return None
    return Earlier(dict(zip(table["video_id"], table["part"])), str(audit.get("rule", "")),
                   dict(audit.get("options") or {}))


def extend(rows: list[Row], rule: str, shares: dict[str, float], seed: int,
           earlier: dict[str, str]) -> tuple[list[str], list[str], list[str]]:
    """Divide rows of which some were divided before.

    Args:
        rows: of an index.
        rule: what is kept whole, as for `divide`.
        shares: part -> share of the fakes.
        seed: deals equal new groups to other parts.
        earlier: video_id -> part, "dropped" included, of those that were divided before.

    Returns:
        The part and the name of the group of each row, and the video_ids of new clips that tie two parts together
        ("dropped", as what was dropped before).
    """
    ends = [ends_of(row, rule) for row in rows]
    known = [earlier.get(row["video_id"], "") for row in rows]
    part_of = _placed(ends, known)
    new = [pair for pair, part in zip(ends, known) if not part]
    part_of.update(_tied(new, part_of))
    inside = [pair for pair, part in zip(ends, known) if part != "dropped" and part_of.get(pair[0]) == part_of.get(
        pair[1])]
    part_of = deal(rows, ends, hanging_together(inside), shares, seed, part_of)
    parts = [part or (part_of[a] if part_of.get(a) == part_of.get(b) else "dropped")
             for part, (a, b) in zip(known, ends)]
    left_out = [row["video_id"] for row, before, part in zip(rows, known, parts) if part == "dropped" and not before]
    names = names_of(pair for pair, part in zip(ends, parts) if part != "dropped")
    return parts, ["dropped" if part == "dropped" else names[a] for (a, _), part in zip(ends, parts)], left_out


def _placed(ends: list[Pair], known: list[str]) -> dict[str, str]:
    """End -> the part that its known clips are in: most of them, of equals the one that judges."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for pair, part in zip(ends, known):
        if part in PARTS:
            for end in set(pair):
                seen[end][part] += 1
    return {end: max(parts, key=lambda part: (parts[part], PARTS.index(part))) for end, parts in seen.items()}


def _tied(new: list[Pair], placed: dict[str, str]) -> dict[str, str]:
    """End -> part, of those new ends that new clips tie to placed ones: the part that most of these clips name."""
    free = [pair for pair in new if pair[0] not in placed and pair[1] not in placed]
    free += [(end, end) for pair in new for end in pair if end not in placed]
    group_of: dict[str, Group] = {end: group for group in hanging_together(free) for end in group}
    ties: dict[Group, Counter[str]] = defaultdict(Counter)
    for pair in new:
        for end, other in (pair, pair[::-1]):
            if end in group_of and other in placed:
                ties[group_of[end]][placed[other]] += 1
    return {end: max(parts, key=lambda part: (parts[part], PARTS.index(part)))
            for group, parts in ties.items() for end in group}
