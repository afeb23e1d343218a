"""`make split`: which videos train, choose (val) and judge (test), so that no person or source video is in two parts.

    python -m data.split --index out/index.csv --out out/split.csv --rule auto --test 0.2

What is kept whole, by rule:

identity   people: a fake ties the person filmed to the person whose face it wears, and what hangs together so is a
           group. People without any fake are groups of their own.
source     a source video and all fakes made from it (people are not known or not told apart)
video      every video for itself; reals and fakes are dealt apart
official   the parts of the corpus' own list; validation is carved out of its training part by the best rule above
random     as video, where more is known: it leaks, and says so
auto       the first of identity, source, video that the corpus allows

Whole groups are dealt, largest first, to the part that lacks most fakes. Where a test share is asked for or a part
would stay without reals or fakes, groups of people may be cut: see `_Search`. The audit is computed from the finished
table alone, by other code than divides, and knows only what names tell: the same person under two names is not seen.
"""
from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable

from extract.corpus import grouping
from pipeline.errors import SplitError, command
from pipeline.options import add_flags, as_record, from_flags, option
from pipeline.tables import INDEX, SPLIT, read_table, write_json, write_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

RULES = ("auto", "identity", "source", "video", "official", "random")
PARTS = ("train", "val", "test")
TEST_SHARE = 0.2      # where none is asked for
# What the search weighs, in fakes. On Celeb-DF v2 cutting off id7 and id10 to id13 drops 4 clips and brings the test
# part 107 nearer to a fifth, which pays; the next best cut drops 4 for 86, which does not.
WEIGHT = {"train": 0, "val": 1, "test": 2}  # of a fake too few or too many in a part
DROP_PRICE = 50       # so a dropped clip must bring test 25 or val 50 fakes nearer to their shares
REAL_WEIGHT = 0.01    # reals only choose between divisions that are alike in fakes
LACKING = {"train": 1e9, "test": 1e8, "val": 1e7}  # a part without reals or without fakes, worst first
MAX_DROPPED = 0.1     # share of the videos above which `auto` keeps source videos whole instead of people
LARGE = 0.02          # share of all fakes from which on a group is dealt by its size, before the others
# These bound the time of the search on any corpus.
FEW = 64              # groups up to which dealing is followed by a search
ALL_WAYS = 4          # groups up to which every way to place them is tried (3 to the power of 4 starts)
MAX_MOVES = 400       # sets of people, or groups, that the search moves, heaviest first
FF_COMPRESSION = re.compile(r"^((?:original|manipulated)_sequences/[^/]+/)(?:raw|c0|c23|c40)/", re.I)

Row = dict[str, Any]


@dataclass(frozen=True)
class SplitOptions:
    """How the videos are divided; shares are of the fakes, and of the reals that no fake ties to anyone."""

    rule: str = option("auto", "what is kept whole: people, source videos or videos; or the official list", RULES)
    test: float | None = option(None, "share for test in (0, 1); asking for one allows to cut groups of people and to "
                                      "drop the clips between (default: 0.2, as near as whole groups come)")
    val: float = option(0.2, "share for validation in (0, 1)")
    seed: int = option(0, "another seed deals equal groups to other parts")

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {self.rule}")
        for name in ("test", "val"):
            share = getattr(self, name)
            if share is not None and not 0 < share < 1:
                raise ValueError(f"{name} must be a share between 0 and 1, got {share:g}")
        if self.test_share + self.val >= 1:
            raise ValueError(f"test {self.test_share:g} and val {self.val:g} leave nothing to train on")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")

    @property
    def test_share(self) -> float:
        return TEST_SHARE if self.test is None else self.test


@dataclass
class Split:
    """rows: a table with the columns of tables.SPLIT, sorted by video_id. audit: what split.json holds."""

    rows: pd.DataFrame
    audit: dict[str, Any]


def split_corpus(index: pd.DataFrame, options: SplitOptions = SplitOptions()) -> Split:
    """Divide the videos of an index (tables.INDEX). The same videos and seed give the same split in any row order.

    Raises SplitError when the corpus does not know what the rule keeps whole, or train or test would lack a class.
    """
    import pandas as pd

    rows: list[Row] = index.sort_values("video_id").to_dict("records")
    if not rows:
        raise SplitError("the index is empty: there is nothing to divide")
    rule = options.rule
    notes: list[str] = []
    if rule == "official":
        parts, groups = _official(rows, options, notes)
    else:
        rule, parts, groups = _by_rule(rows, options, notes)
    table = pd.DataFrame({"video_id": [row["video_id"] for row in rows], "label": [row["label"] for row in rows],
                          "part": parts, "group": groups})
    found = audit(index, table)
    return Split(table, {"rule": rule, "options": as_record(options), **found,
                         "notes": notes + _notes(options, rows, parts, rule),
                         "warnings": _warnings(rule, found["shared"]["test/train+val"], rows, parts),
                         "split_hash": split_hash(table)})


def split_hash(table: pd.DataFrame) -> str:
    """sha256 over the rows of a split, whatever their order and however the file writes them."""
    rows = sorted([str(row.video_id), int(row.label), str(row.part), str(row.group)] for row in table.itertuples())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


# ------------------------------------------------------------------------------------------------------------ the rules

def _by_rule(rows: list[Row], options: SplitOptions, notes: list[str]) -> tuple[str, list[str], list[str]]:
    best = grouping(rows)
    rule = best if options.rule == "auto" else options.rule
    if rule == "identity" and best != "identity":
        raise SplitError(f"this corpus does not tell who is in a fake: --rule {best} or auto")
    if rule == "source" and best == "video":
        raise SplitError("this corpus does not tell what a fake was made from: --rule video or auto")
    shares = {"train": 1 - options.val - options.test_share, "val": options.val, "test": options.test_share}
    parts, groups = _divide(rows, rule, shares, options.seed, cut=options.test is not None, notes=notes)
    failed = _lacking(rows, parts, ("train", "test"))
    if (failed or parts.count("dropped") > MAX_DROPPED * len(rows)) and rule == "identity" and options.rule == "auto":
        instead = "source" if any(row["original"] for row in rows) else "video"
        why = failed[0] if failed else f"it would drop {parts.count('dropped'):,} of {len(rows):,} videos"
        notes[:] = [f"people cannot be kept apart here ({why}), so the split is by {instead}"]
        rule = instead
        parts, groups = _divide(rows, rule, shares, options.seed, cut=False, notes=notes)
    if lacking := _lacking(rows, parts, ("train", "test")):
        raise SplitError(f"{' and '.join(lacking)} when divided by {rule}: the corpus has too few "
                         f"{'people' if rule == 'identity' else 'videos'} of each class ({_counts(rows)}); add videos, "
                         "or try --rule source, video or random")
    return rule, parts, groups


def _official(rows: list[Row], options: SplitOptions, notes: list[str]) -> tuple[list[str], list[str]]:
    """The corpus' own parts; validation carved out of its training part where the list has none."""
    parts = [row["official"] or "dropped" for row in rows]
    if missing := [part for part in ("train", "test") if part not in parts]:
        raise SplitError(f"the official lists of the corpus put none of its videos into {' and '.join(missing)}: "
                         "--rule auto")
    if n := parts.count("dropped"):
        notes.append(f"{n:,} videos are in no part of the official list: dropped")
    groups = ["dropped" if part == "dropped" else source_video(row) for row, part in zip(rows, parts)]
    if "val" not in parts:
        inside = [i for i, part in enumerate(parts) if part == "train"]
        own = [rows[i] for i in inside]
        share = min(0.5, options.val * len(rows) / len(own))
        found, names = _divide(own, grouping(own), {"train": 1 - share, "val": share}, options.seed, False, notes)
        for i, part, name in zip(inside, found, names):
            parts[i], groups[i] = part, name
    if lacking := _lacking(rows, parts, ("train", "test")):
        raise SplitError(f"{' and '.join(lacking)} in the official parts of this corpus ({_counts(rows)}): --rule auto")
    return parts, groups


# ------------------------------------------------------------------------------------------------ dividing whole groups

def _divide(rows: list[Row], rule: str, shares: dict[str, float], seed: int, cut: bool,
            notes: list[str]) -> tuple[list[str], list[str]]:
    """The part and the name of the group of each row. cut: whether groups of people may be cut for a nearer share."""
    ends = [_ends(row, rule) for row in rows]
    group_of = _components(ends)
    dealt = _deal(rows, [group_of[a] for a, _ in ends], shares, seed)
    part_of = {end: dealt[group] for end, group in group_of.items()}
    search = _Search(rows, ends, part_of, group_of, shares)
    starts = search.starts(part_of)
    whole = list(search.groups.values())[:MAX_MOVES]
    if len(whole) <= FEW or search.lacks(part_of):
        part_of = search.best(starts, whole)
    if rule == "identity" and (cut or search.lacks(part_of)):
        other = search.best(starts, _loose_sets(rows, ends, search))
        lacked, lacks = search.lacks(part_of), search.lacks(other)
        if not lacks or ({"train", "test"} & lacked) > lacks:  # never cut for a validation part of one class
            part_of = other
    parts = [part_of[a] if part_of[a] == part_of[b] else "dropped" for a, b in ends]
    kept = [pair for pair, part in zip(ends, parts) if part != "dropped"]
    names = {end: _name(members) for members in _members(_components(kept)).values() for end in members}
    if n := parts.count("dropped"):
        notes.append(f"{n:,} clips tie people of two parts together: dropped")
    return parts, ["dropped" if part == "dropped" else names[a] for (a, _), part in zip(ends, parts)]


def _ends(row: Row, rule: str) -> tuple[str, str]:
    """What a video ties together: two people, or the same thing twice."""
    if rule == "identity":
        first = row["target_id"] or source_video(row)
        return first, row["source_id"] or first
    only = source_video(row) if rule == "source" else row["video_id"]
    return only, only


def source_video(row: Row) -> str:
    """The video that a row was made from, itself for a real; one name for all compressions of FaceForensics++."""
    return FF_COMPRESSION.sub(r"\1", row["original"] or row["video_id"])


def _components(ends: Iterable[tuple[str, str]]) -> dict[str, str]:
    """End -> one end that stands for all that hang together with it."""
    head: dict[str, str] = {}

    def find(end: str) -> str:
        while head[end] != end:
            head[end] = head[head[end]]
            end = head[end]
        return end

    for a, b in ends:
        x, y = find(head.setdefault(a, a)), find(head.setdefault(b, b))
        if x != y:
            head[max(x, y)] = min(x, y)
    return {end: find(end) for end in head}


def _members(group_of: dict[str, str]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = defaultdict(list)
    for end, group in group_of.items():
        members[group].append(end)
    return members


def _name(members: list[str]) -> str:
    """id49+9: the first of ten people."""
    first = min(members, key=lambda end: [(not t.isdecimal(), int(t) if t.isdecimal() else t)
                                          for t in re.findall(r"\d+|\D+", end)])
    return first if len(members) == 1 else f"{first}+{len(members) - 1}"


def _deal(rows: list[Row], group_of_row: list[str], shares: dict[str, float], seed: int) -> dict[str, str]:
    """Group -> part. Groups with fakes are dealt by fakes; groups of reals alone, by reals, single videos apart.

    Large groups go first, largest of all the first, since later they fit nowhere; the others in the seed's order. Each
    goes to the part that lacks most, the last ones to parts that have none yet.
    """
    import numpy as np

    size: dict[str, Counter] = defaultdict(Counter)
    for row, group in zip(rows, group_of_row):
        size[group][row["label"]] += 1
    groups = sorted(size)
    groups = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    dealt: dict[str, str] = {}
    for label, stratum in ((1, [g for g in groups if size[g][1]]),
                           (0, [g for g in groups if not size[g][1] and size[g][0] > 1]),
                           (0, [g for g in groups if not size[g][1] and size[g][0] == 1])):
        total = sum(size[g][label] for g in stratum)
        lack = {part: shares[part] * total for part in ("test", "val", "train") if part in shares}
        empty = list(lack) if len(stratum) >= len(lack) else []
        stratum.sort(key=lambda g: -size[g][label] if size[g][label] > LARGE * total else 0)
        for left, group in zip(range(len(stratum), 0, -1), stratum):
            among = empty if left <= len(empty) else lack
            part = max(among, key=lambda p: round(lack[p], 6))  # the first of equals
            lack[part] -= size[group][label]
            dealt[group] = part
            empty = [p for p in empty if p != part]
    return dealt


# --------------------------------------------------------------------------------------------- cutting groups of people

def _loose_sets(rows: list[Row], ends: list[tuple[str, str]], search: _Search) -> list[list[str]]:
    """Sets of people worth moving together: those that hang together ever more closely, heaviest first.

    Ties are added from the strongest (most clips between two people) to the weakest, and every set that comes to hang
    together on the way is one. So a set hangs on to the rest of its group by weaker ties than it holds together.
    """
    ties = Counter((min(a, b), max(a, b)) for a, b in ends if a != b)
    inside = {end: [end] for end in search.people}
    sets = [[end] for end in search.people]
    for (a, b), _ in sorted(ties.items(), key=lambda tie: (-tie[1], tie[0])):
        if inside[a] is not inside[b]:
            joined = sorted(inside[a] + inside[b])
            sets.append(joined)
            for end in joined:
                inside[end] = joined
    clips = Counter(end for row, pair in zip(rows, ends) if row["label"] for end in pair)
    return sorted(sets, key=lambda members: (-sum(clips[end] for end in members), members))[:MAX_MOVES]


class _Search:
    """Looks for the part of everybody whom a fake ties to anything; those without fakes stay where they were dealt."""

    def __init__(self, rows: list[Row], ends: list[tuple[str, str]], part_of: dict[str, str],
                 group_of: dict[str, str], shares: dict[str, float]):
        import numpy as np

        fakes = Counter(group_of[a] for row, (a, _) in zip(rows, ends) if row["label"])
        members = _members(group_of)
        self.groups = {g: members[g] for g in sorted(fakes, key=lambda g: (-fakes[g], g))}
        self.people = sorted(end for group in self.groups.values() for end in group)
        self.parts = [part for part in PARTS if part in shares]
        self.number = {end: i for i, end in enumerate(self.people)}
        ties: Counter[tuple[int, int, int]] = Counter()
        self.settled = np.zeros((len(self.parts), 2))        # clips of the others: reals, fakes
        for row, (a, b) in zip(rows, ends):
            if a in self.number:
                ties[self.number[a], self.number[b], row["label"]] += 1
            else:
                self.settled[self.parts.index(part_of[a]), row["label"]] += 1
        self.ties = np.array(list(ties), int).reshape(-1, 3)  # [n_ties, 3]: person, person, label
        self.count = np.array(list(ties.values()), float)    # [n_ties] clips
        total = np.bincount(self.ties[:, 2], self.count, 2)
        self.asked = np.outer([shares[part] for part in self.parts], total)  # [n_parts, 2]: reals, fakes
        self.everyone = part_of

    def starts(self, part_of: dict[str, str]) -> list[dict[str, str]]:
        """Where to begin: as dealt, and with few groups every way to place them."""
        ways = [part_of]
        if len(self.groups) <= ALL_WAYS:
            for places in itertools.product(reversed(self.parts), repeat=len(self.groups)):
                ways.append({end: place for place, group in zip(places, self.groups.values()) for end in group})
        return ways

    def best(self, starts: list[dict[str, str]], sets: list[list[str]]) -> dict[str, str]:
        """The cheapest end of improving each start by moving whole sets, one at a time, while that lowers the cost."""
        import numpy as np

        moves = [np.array([self.number[end] for end in members]) for members in sets]
        ends = [self._improve(np.array([self.parts.index(start[end]) for end in self.people], int), moves)
                for start in starts]
        _, part = min(ends, key=lambda end: round(end[0], 6))  # the first of equals
        return {**self.everyone, **{end: self.parts[i] for end, i in zip(self.people, part)}}

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
        """[n_parts, 2] reals and fakes of each part; part: [n_people] number of the part of each person."""
        import numpy as np

        a, b = part[self.ties[:, 0]], part[self.ties[:, 1]]
        index = np.where(a == b, a * 2 + self.ties[:, 2], 2 * len(self.parts))  # the last one: dropped
        return np.bincount(index, self.count, 2 * len(self.parts) + 1)[:-1].reshape(-1, 2)

    def _cost(self, clips: np.ndarray) -> float:
        off = abs(clips - self.asked)
        weight = [WEIGHT[part] for part in self.parts]
        dropped = self.count.sum() - clips.sum()
        lacking = sum(LACKING[part] * (n == 0).sum() for part, n in zip(self.parts, clips + self.settled))
        return float(weight @ off[:, 1] + REAL_WEIGHT * (weight @ off[:, 0]) + DROP_PRICE * dropped + lacking)

    def lacks(self, part_of: dict[str, str]) -> set[str]:
        """Parts without reals or without fakes."""
        import numpy as np

        clips = self._clips(np.array([self.parts.index(part_of[end]) for end in self.people], int)) + self.settled
        return {part for part, n in zip(self.parts, clips) if (n == 0).any()}


# ---------------------------------------------------------------------------------------------------------------- audit

def audit(index: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """What any split of these videos shares between its parts, from the tables alone.

    Returns {parts: {part: {videos, real, fake, groups, share_of_reals, share_of_fakes, share_of_videos}},
    shared: {"test/train+val": {...}, "val/train": {...}}, dropped: [video_id]}. For a pair X/Y: fakes of X, those whose
    original is in Y, those with a sibling (another fake of that original) in Y; source videos of X and those with clips
    in Y too; identities of X that have more than one clip in the corpus, and those also in Y.
    """
    part_of = dict(zip(table["video_id"], table["part"]))
    rows: list[Row] = index.to_dict("records")
    kept = table[table["part"] != "dropped"]
    parts = {}
    for part in PARTS:
        own = table[table["part"] == part]
        real, fake = int((own["label"] == 0).sum()), int((own["label"] == 1).sum())
        parts[part] = {"videos": len(own), "real": real, "fake": fake, "groups": int(own["group"].nunique()),
                       "share_of_videos": _share(len(own), len(kept)),
                       "share_of_reals": _share(real, int((kept["label"] == 0).sum())),
                       "share_of_fakes": _share(fake, int((kept["label"] == 1).sum()))}
    in_part: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        in_part[part_of[row["video_id"]]].append(row)
    clips = Counter(person for row in rows for person in {row["target_id"], row["source_id"]} - {""})
    shared = {"test/train+val": _shared(in_part["test"], in_part["train"] + in_part["val"], clips),
              "val/train": _shared(in_part["val"], in_part["train"], clips)}
    return {"parts": parts, "shared": shared, "dropped": sorted(v for v, part in part_of.items() if part == "dropped")}


def _shared(mine: list[Row], others: list[Row], clips: Counter) -> dict[str, int]:
    """What the clips of one part have in common with those of another; clips: how many each person has in all."""
    def people(rows: list[Row]) -> set[str]:
        return {p for row in rows for p in (row["target_id"], row["source_id"]) if clips[p] > 1}

    fakes = [source_video(row) for row in mine if row["label"] and row["original"]]
    reals_there: set[str] = {source_video(row) for row in others if not row["label"]}
    fakes_there: set[str] = {source_video(row) for row in others if row["label"] and row["original"]}
    sources = {source_video(row) for row in mine}
    return {"fakes": sum(row["label"] for row in mine),
            "original_there": sum(source in reals_there for source in fakes),
            "sibling_there": sum(source in fakes_there for source in fakes),
            "source_videos": len(sources), "source_videos_shared": len(sources & (reals_there | fakes_there)),
            "identities": len(people(mine)), "identities_shared": len(people(mine) & people(others))}


def _share(n: int, total: int) -> float | None:
    return round(n / total, 6) if total else None


def _lacking(rows: list[Row], parts: list[str], wanted: Iterable[str]) -> list[str]:
    """"test has no fakes" for every part of `wanted` that lacks a class."""
    seen = {(part, row["label"]) for row, part in zip(rows, parts)}
    return [f"{part} has no {name}" for part in wanted for label, name in enumerate(("reals", "fakes"))
            if (part, label) not in seen]


def _counts(rows: list[Row]) -> str:
    fakes = sum(row["label"] for row in rows)
    return f"{len(rows) - fakes:,} real, {fakes:,} fake"


def _notes(options: SplitOptions, rows: list[Row], parts: list[str], rule: str) -> list[str]:
    """What the shares became, where whole groups kept them from what was asked."""
    notes = []
    fakes = sum(row["label"] for row, part in zip(rows, parts) if part != "dropped")
    for part, asked in (("test", options.test_share), ("val", options.val)):
        share = sum(row["label"] for row, at in zip(rows, parts) if at == part) / max(1, fakes)
        if rule != "official" and abs(share - asked) > 0.02:
            why = "whole groups come no nearer"
            if rule == "identity":
                why += (f", but --test {options.test_share:g} may cut groups and drop clips" if options.test is None
                        else ", nor do cuts that are worth the clips they drop")
            notes.append(f"{part} holds {share:.1%} of the fakes, {asked:.0%} asked: {why}")
    return notes


def _warnings(rule: str, shared: dict[str, int], rows: list[Row], parts: list[str]) -> list[str]:
    warnings = []
    leaks = [f"{shared[key]:,} of {shared[whole]:,} {what}" for key, whole, what in (
        ("original_there", "fakes", "test fakes have their original in training or validation"),
        ("sibling_there", "fakes", "have a sibling there"),
        ("identities_shared", "identities", "people of the test part are there too")) if shared[key]]
    if leaks or rule == "random":
        why = ", ".join(leaks) or "nothing keeps clips of one person or source video together"
        warnings.append(f"split by {rule}: {why}; so scores on this test part are too good")
    for lacking in _lacking(rows, parts, ("val", "test")):
        warnings.append(f"{lacking}: AUC is n/a there"
                        + (", and nothing can be chosen on validation" if lacking.startswith("val") else ""))
    return warnings


def describe(split: Split) -> list[str]:
    """The audit in lines for people; warnings are apart, in audit["warnings"]."""
    found = split.audit
    lines = [f"split by {found['rule']}, seed {found['options']['seed']}",
             f"{'part':8}{'videos':>8}{'real':>8}{'fake':>8}{'groups':>8}   real : fake   of reals   of fakes"]
    for part, n in found["parts"].items():
        ratio = f"1 : {n['fake'] / n['real']:.1f}" if n["real"] else "n/a"
        shares = "".join(f"{'n/a' if n[k] is None else format(n[k], '.1%'):>11}"
                         for k in ("share_of_reals", "share_of_fakes"))
        lines.append(f"{part:8}{n['videos']:8,}{n['real']:8,}{n['fake']:8,}{n['groups']:8,}{ratio:>14}{shares}")
    for pair, n in found["shared"].items():
        x, y = pair.split("/")
        lines.append(f"{x} and {y} share: {n['source_videos_shared']:,} of {n['source_videos']:,} source videos, "
                     f"{n['identities_shared']:,} of {n['identities']:,} identities; {n['original_there']:,} of "
                     f"{n['fakes']:,} {x} fakes have their original in {y}, {n['sibling_there']:,} a sibling")
    if found["dropped"]:
        named = ", ".join(found["dropped"][:8]) + (", …" if len(found["dropped"]) > 8 else "")
        lines.append(f"dropped: {len(found['dropped']):,} ({named})")
    return lines + [f"note: {note}" for note in found["notes"]]


@command
def main(argv: list[str] | None = None) -> int | None:
    parser = argparse.ArgumentParser(prog="python -m data.split", description="Divide the videos of an index.")
    parser.add_argument("--index", type=Path, default=Path("out/index.csv"), help="table of videos (out/index.csv)")
    parser.add_argument("--out", type=Path, default=Path("out/split.csv"),
                        help="split to write; its audit goes beside it as .json (out/split.csv)")
    add_flags(parser, SplitOptions)
    arguments = parser.parse_args(argv)
    options = from_flags(SplitOptions, arguments)
    split = split_corpus(read_table(arguments.index, INDEX), options)
    for warning in split.audit["warnings"]:
        print(f"WARNING: {warning}", file=sys.stderr)
    print("\n".join(describe(split)))
    # The table last: it is what later stages wait for.
    write_json(arguments.out.with_suffix(".json"), split.audit)
    write_table(arguments.out, split.rows, SPLIT)
    return None


if __name__ == "__main__":
    sys.exit(main())
