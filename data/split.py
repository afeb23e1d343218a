"""`make split`: which videos train, choose (val) and judge (test), so that no person or source video is in two parts.

    python -m data.split --out OUT --rule auto --test 0.2

What is kept whole, by rule:

identity   people: a fake ties the person filmed to the person whose face it wears, and what hangs together so is a
           group. People without any fake are groups of their own.
source     a source video and all fakes made from it (people are not known or not told apart)
video      every video for itself; reals and fakes are dealt apart
official   the parts of the corpus' own list; validation is carved out of its training part by the best rule above
random     as video, where more is known: it leaks, and says so
auto       the first of identity, source, video that the corpus allows; of what lies in folders train and test, official

Copies (copies.csv beside the index and beside the crops) are in one part: where people, source videos or given parts
decide, train loses those that val or test has too, and val those that test has. Near-copies among reals are kept
together by the rule video, and counted by the others.

HOLD_OUT names methods of which only test has fakes; those in other parts are dropped, so that nobody is in two parts.

A corpus that grew: where the split is there already and was made with the same options, known videos stay in their
parts, and only what is new is dealt out; SPLIT=new deals everything anew.

data/splitting/groups.py says what hangs together, data/splitting/divide.py puts groups into parts,
data/splitting/extend.py deals out what is new, data/splitting/duplicates.py takes copies out of parts,
data/splitting/audit.py checks the result.
"""
from __future__ import annotations

import difflib
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

from data.splitting.audit import audit, copies_across, warnings
from data.splitting.divide import divide
from data.splitting.duplicates import Copied, Copies, read_copies, without_copies
from data.splitting.extend import Earlier, extend, read_earlier
from data.splitting.groups import Row, content_of, ends_of, in_order, looks_of, names_of, rows_of, source_video
from extract.corpus import given_parts, grouping
from extract.layouts.base import thing_of
from pipeline import stages
from pipeline.errors import SplitError, command
from pipeline.options import as_record, option
from pipeline.run_record import look, same
from pipeline.tables import INDEX, SPLIT, read_table, write_json, write_table

if TYPE_CHECKING:
    import pandas as pd

RULES = ("auto", "identity", "source", "video", "official", "random")
MAX_DROPPED = 0.1     # share of the videos above which `auto` keeps source videos whole instead of people
HASHED = 10_000       # rows of a split that are hashed at once
NEAR = 0.02           # a share of the fakes within this of what was asked needs no note


@dataclass(frozen=True)
class SplitOptions:
    """How the videos are divided; shares are of the fakes, and of the reals that no fake ties to anyone."""

    rule: str = option("auto", "what is kept whole: people, source videos or videos; or the official list", RULES)
    test: float = option(0.2, "share for test in (0, 1), as near as whole groups come")
    val: float = option(0.2, "share for validation in (0, 1)")
    allow_drops: bool = option(False, "cut groups of people, and drop what lies between the pieces, where that brings "
                                      "a part nearer to its share")
    hold_out: str | None = option(None, "methods of fakes, with commas between, for test alone: their fakes in other "
                                        "parts are dropped")
    split_seed: int = option(0, "another seed deals equal groups to other parts")
    split: str | None = option(None, "a split made elsewhere: a CSV with the columns video_id,part; or new, to deal "
                                     "all videos anew (else known ones stay in their parts, and a split.csv edited by "
                                     "hand is kept)")

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {', '.join(RULES)}, got {self.rule}")
        for name in ("test", "val"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise ValueError(f"{name} must be a share between 0 and 1, got {share:g}")
        if self.test + self.val >= 1:
            raise ValueError(f"test {self.test:g} and val {self.val:g} leave nothing to train on")
        if self.split_seed < 0:
            raise ValueError(f"split_seed must be 0 or more, got {self.split_seed}")


@dataclass
class Split:
    """rows: a table with the columns of tables.SPLIT, sorted by video_id. audit: what split.json holds."""

    rows: pd.DataFrame
    audit: dict[str, Any]


def split_corpus(index: pd.DataFrame, options: SplitOptions = SplitOptions(), copies: Copies = Copies(),
                 earlier: Earlier | None = None, asked_anew: bool = False) -> Split:
    """Divide the videos of an index. The same videos and seed give the same split in any row order.

    Args:
        index: table with the columns of tables.INDEX.
        options: how to divide.
        copies: which videos show the same.
        earlier: a split of these videos or some of them: they stay where they are, if it was made with these options.
        asked_anew: whether somebody asked for that, which the audit says.

    Raises:
        SplitError: the corpus does not know what the rule keeps whole, or train or test would lack a class.
    """
    import pandas as pd

    rows: list[Row] = rows_of(in_order(index))
    if not rows:
        raise SplitError("the index is empty: there is nothing to divide")
    copies.mark(rows)
    by_list = options.rule == "official" or options.rule == "auto" and given_parts(rows)
    anew = "asked for (SPLIT=new)" if asked_anew else _why_anew(rows, options, earlier, by_list)
    known = earlier.parts if earlier and not anew else {}
    left_out, notes = list[str](), list[str]()
    if by_list:
        rule = "official"
        parts, groups, copied = _official(rows, options, known)
    elif earlier and known:
        rule = earlier.rule
        parts, groups, left_out = extend(rows, rule, _part_shares(options), options.split_seed, known)
        copied = without_copies(rows, parts, looks_of if rule == "video" else content_of)
        if why := _lacking(rows, parts):
            raise SplitError(f"{why} where known {_thing(rows)}s stay in their parts ({_counts(rows)}): deal all anew "
                             "(SPLIT=new)")
    else:
        rule, notes, (parts, groups) = _by_rule(rows, options)
        copied = without_copies(rows, parts)
    held = _hold_out(rows, parts, options.hold_out)
    groups = ["dropped" if part == "dropped" else group for part, group in zip(parts, groups)]
    table = pd.DataFrame({"video_id": [row["video_id"] for row in rows], "label": [row["label"] for row in rows],
                          "part": parts, "group": groups})
    notes += copied.notes + _dropped(rows, parts, rule, copied.n, known, left_out, held)
    thing, dealt = _thing(rows), _dealt(rows, known, anew)
    del rows, parts, groups  # of a million videos the audit's own are enough
    found = _audit(index, table, copies)
    notes += _shares(options, rule, found)
    if options.hold_out:
        notes.append(f"{options.hold_out}: for test alone ({held.in_test:,} fakes); {len(held.elsewhere):,} in "
                     "training and validation are dropped")
    return Split(table, {"rule": rule, "options": as_record(options), "thing": thing, "dealt": dealt, **found,
                         "left_out": left_out, "notes": notes,
                         "warnings": warnings(rule, found), "split_hash": split_hash(table)})


def _audit(index: pd.DataFrame, table: pd.DataFrame, copies: Copies) -> dict[str, Any]:
    """What `audit` counts, and what has a copy in another part, where copies are known."""
    across = {name: copies_across(table, same_as) for name, same_as in (
        ("copies_across", copies.same), ("near_copies_across", copies.near)) if same_as}
    return {**audit(index, table), **across}


def split_hash(table: pd.DataFrame) -> str:
    """sha256 over the rows of a split, whatever their order and however the file writes them."""
    rows = sorted(zip(table["video_id"].astype(str).tolist(), table["label"].astype(int).tolist(),
                      table["part"].astype(str).tolist(), table["group"].astype(str).tolist()))
    digest = hashlib.sha256(b"[")
    for start in range(0, len(rows), HASHED):  # the JSON of all rows, piece by piece
        text = json.dumps(rows[start:start + HASHED])
        digest.update((", " if start else "").encode() + text[1:-1].encode())
    digest.update(b"]")
    return digest.hexdigest()


def _why_anew(rows: list[Row], options: SplitOptions, earlier: Earlier | None, by_list: bool) -> str:
    """Why the parts of an earlier split cannot be kept; "" where they can."""
    if earlier is None:
        return "there was no split before"
    known = [row for row in rows if row["video_id"] in earlier.parts]
    if earlier.rule not in RULES:
        return "the parts before were given by hand"
    if changed := earlier.differences({k: v for k, v in as_record(options).items() if k != "split"}):
        return ", ".join(changed)
    if not known:
        return f"it has none of the {_thing(rows)}s of the earlier split"
    if by_list != (earlier.rule == "official"):
        return "official parts are there now" if by_list else "official parts are gone"
    if not by_list and options.rule == "auto" and grouping(known) != (now := grouping(rows)):
        return f"the corpus now tells what a split by {now} keeps together"
    return ""


def _dealt(rows: list[Row], known: dict[str, str], anew: str) -> dict[str, Any]:
    """For the audit: how the videos came into their parts. how: "kept" or "anew" with a reason; n_known, n_new."""
    n_known = sum(row["video_id"] in known for row in rows)
    return {"how": "anew" if anew else "kept", "reason": anew, "n_known": n_known, "n_new": len(rows) - n_known}


def _part_shares(options: SplitOptions) -> dict[str, float]:
    return {"train": 1 - options.val - options.test, "val": options.val, "test": options.test}


def _by_rule(rows: list[Row], options: SplitOptions) -> tuple[str, list[str], tuple[list[str], list[str]]]:
    """The rule, notes on it, and part and group of each row."""
    best = grouping(rows)
    rule = best if options.rule == "auto" else options.rule
    if rule == "identity" and best != "identity":
        raise SplitError(f"this corpus does not tell who is in a fake: --rule {best} or auto")
    if rule == "source" and best == "video":
        raise SplitError("this corpus does not tell what a fake was made from: --rule video or auto")
    shares = _part_shares(options)
    divided = divide(rows, rule, shares, options.split_seed, cut=options.allow_drops)
    notes = []
    if rule == "identity" and options.rule == "auto":
        n = divided[0].count("dropped")
        why = _lacking(rows, divided[0]) or (
            f"it would drop {n:,} of {len(rows):,} videos" if n > MAX_DROPPED * len(rows) else "")
        if why:
            rule = "source" if any(row["original"] for row in rows) else "video"
            notes.append(f"people cannot be kept apart here ({why}), so the split is by {rule}")
            divided = divide(rows, rule, shares, options.split_seed)
    if why := _lacking(rows, divided[0]):
        raise SplitError(f"{why} when divided by {rule}: the corpus has too few "
                         f"{'people' if rule == 'identity' else _thing(rows) + 's'} of each class ({_counts(rows)}); "
                         "add more, or try --rule source, video or random")
    return rule, notes, divided


def _thing(rows: list[Row]) -> str:
    return thing_of(row["modality"] for row in rows)


def _official(rows: list[Row], options: SplitOptions, known: dict[str, str]) -> tuple[list[str], list[str], Copied]:
    """The corpus' own parts; validation carved out of its training part where the list has none.

    known: video_id -> part in an earlier split, which what is carved out keeps to.
    """
    parts = [row["official"] or "dropped" for row in rows]
    if missing := [part for part in ("train", "test") if part not in parts]:
        raise SplitError(f"the official lists of the corpus put none of its {_thing(rows)}s into "
                         f"{' and '.join(missing)}: --rule auto")
    copied = without_copies(rows, parts)
    groups = ["dropped" if part == "dropped" else content_of(row) if row.get("same_as") else source_video(row)
              for row, part in zip(rows, parts)]
    if "val" not in parts:
        inside = [i for i, part in enumerate(parts) if part == "train"]
        own = [rows[i] for i in inside]
        share = min(0.5, options.val * len(rows) / len(own))
        shares = {"train": 1 - share, "val": share}
        before = {row["video_id"]: part for row in own if (part := known.get(row["video_id"])) in shares}
        carved = (extend(own, grouping(own), shares, options.split_seed, before)[:2] if before else
                  divide(own, grouping(own), shares, options.split_seed))
        for i, part, name in zip(inside, *carved):
            parts[i], groups[i] = part, name
    if why := _lacking(rows, parts):
        raise SplitError(f"{why} in the official parts of this corpus ({_counts(rows)}): --rule auto")
    return parts, groups, copied


class Held(NamedTuple):
    """Fakes of methods that are held out. in_test: how many. elsewhere: video_ids of those just dropped."""

    in_test: int = 0
    elsewhere: frozenset[str] = frozenset()


def _hold_out(rows: list[Row], parts: list[str], hold_out: str | None) -> Held:
    """Drop, in `parts`, fakes of these methods that are in train or val.

    A method is named whole or by one folder of it (GHOST, FaceSwap, FaceSwap/GHOST), in any case.

    Raises:
        SplitError: no fake is of such a method, none of them is in test, or training has no other fakes.
    """
    if not hold_out:
        return Held()
    own = {row["method"] for row in rows if row["label"]}
    held: set[str] = set()
    for name in filter(None, (name.strip() for name in hold_out.split(","))):
        found = {method for method in own if name.lower() in (method.lower(), *method.lower().split("/"))}
        if not found:
            near = difflib.get_close_matches(name, own, 1, 0.5)
            raise SplitError(f"no fake here is made by {name}{f' (did you mean {near[0]}?)' if near else ''}: the "
                             f"methods are {', '.join(sorted(own)[:40])}")
        held |= found
    mine = [i for i, row in enumerate(rows) if row["label"] and row["method"] in held]
    elsewhere = [i for i in mine if parts[i] in ("train", "val")]
    in_test = sum(parts[i] == "test" for i in mine)
    for i in elsewhere:
        parts[i] = "dropped"
    if not in_test:
        raise SplitError(f"test has no fake by {hold_out}, which is held out: a larger TEST=, or another RULE=")
    if why := _lacking(rows, parts):
        raise SplitError(f"{why} where {hold_out} is held out ({_counts(rows)})")
    return Held(in_test, frozenset(rows[i]["video_id"] for i in elsewhere))


def _lacking(rows: list[Row], parts: list[str]) -> str:
    """"test has no fakes", where train or test lack a class; without validation a split is still one."""
    seen = {(part, row["label"]) for row, part in zip(rows, parts)}
    return " and ".join(f"{part} has no {name}" for part in ("train", "test")
                        for label, name in enumerate(("reals", "fakes")) if (part, label) not in seen)


def _counts(rows: list[Row]) -> str:
    fakes = sum(row["label"] for row in rows)
    return f"{len(rows) - fakes:,} real, {fakes:,} fake"


def _dropped(rows: list[Row], parts: list[str], rule: str, n_copies: int, known: dict[str, str],
             left_out: list[str], held: Held) -> list[str]:
    """Which videos are in no part, and why. n_copies: dropped just now as copies. left_out: new, and tie two parts.
    held: dropped just now, since their method is for test alone."""
    unlisted = sum(rule == "official" and not row["official"] for row in rows)
    before = sum(known.get(row["video_id"]) == "dropped" for row in rows) if rule != "official" else 0
    tying = parts.count("dropped") - unlisted - n_copies - before - len(left_out) - len(held.elsewhere)
    lines = [f"{n:,} {what}: dropped" for n, what in (
        (unlisted, f"{_thing(rows)}{'s are' if unlisted > 1 else ' is'} in no part of the official list"),
        (before, f"{_thing(rows)}{'s were' if before > 1 else ' was'} dropped by the earlier split"),
        (tying, f"clip{'s tie' if tying > 1 else ' ties'} people of two parts together")) if n]
    if left_out:
        lines.append(f"{len(left_out):,} new clip{'s tie' if len(left_out) > 1 else ' ties'} two parts together: left "
                     f"out ({', '.join(left_out[:8])}{', …' if len(left_out) > 8 else ''}); SPLIT=new deals all anew")
    return lines


def _shares(options: SplitOptions, rule: str, found: dict[str, Any]) -> list[str]:
    """What the shares became, where whole groups kept them from what was asked."""
    notes = []
    for part, asked in (("test", options.test), ("val", options.val)):
        share = found["parts"][part]["share_of_fakes"] or 0
        if rule != "official" and not options.hold_out and abs(share - asked) > NEAR:
            why = "whole groups come no nearer"
            if rule == "identity" and not options.allow_drops and not found["dropped"]:
                why += ", but ALLOW_DROPS=1 may cut groups and drop clips"
            elif rule == "identity":
                why += ", nor do cuts that are worth the clips they drop"
            notes.append(f"{part} holds {share:.1%} of the fakes, {asked:.0%} asked: {why}")
    return notes


def describe(split: Split) -> list[str]:
    """The audit in lines for people; warnings are apart, in audit["warnings"]."""
    found = split.audit
    dealt, things = found["dealt"], found["thing"] + "s"
    how = (f"{dealt['n_known']:,} {things} stay where they were, {dealt['n_new']:,} new" if dealt["how"] == "kept" else
           f"all dealt anew: {dealt['reason']}")
    lines = [f"split by {found['rule']}, seed {found['options']['split_seed']}; {how}",
             f"{'part':8}{things:>8}{'real':>8}{'fake':>8}{'groups':>8}"
             "   real : fake   of reals   of fakes"]
    for part, n in found["parts"].items():
        ratio = f"1 : {n['fake'] / n['real']:.3g}" if n["real"] else "n/a"
        shares = "".join(f"{'n/a' if n[k] is None else format(n[k], '.1%'):>11}"
                         for k in ("share_of_reals", "share_of_fakes"))
        lines.append(f"{part:8}{n['videos']:8,}{n['real']:8,}{n['fake']:8,}{n['groups']:8,}{ratio:>14}{shares}")
    for pair, n in found["shared"].items():
        x, y = pair.split("/")
        told = [_of(n, "source_videos_shared", "source_videos", "source videos"),
                _of(n, "identities_shared", "identities", "identities"),
                _of(n, "original_there", "fakes", f"{x} fakes have their original in {y}"),
                _of(n, "sibling_there", "fakes", f"{x} fakes have a sibling in {y}")]
        lines.append(f"{x} and {y} share: {', '.join(told[:2])}; {', '.join(told[2:])}")
    lines += [f"unknown here: {what}" for what in found["unknown"]]
    for kind, what in (("copies_across", "copies"), ("near_copies_across", "copies and near-copies")):
        if kind in found:
            lines.append(f"{what}: " + ", ".join(f"{n:,} of {pair.split('/')[0]} in {pair.split('/')[1]}"
                                                 for pair, n in found[kind].items()))
    if found["dropped"]:
        named = ", ".join(found["dropped"][:8]) + (", …" if len(found["dropped"]) > 8 else "")
        lines.append(f"dropped: {len(found['dropped']):,} ({named})")
    return lines + [f"note: {note}" for note in found["notes"]]


def _of(n: dict[str, Any], part: str, whole: str, what: str) -> str:
    """ "3 of 20 source videos", or "source videos: unknown" where the corpus does not tell."""
    return f"{what}: unknown" if n[part] is None else f"{n[part]:,} of {n[whole]:,} {what}"


def given_split(index: pd.DataFrame, table: pd.DataFrame, options: SplitOptions | None, where: Path,
                copies: Copies = Copies(), needed: Sequence[str] = ("train", "test")) -> Split:
    """Make a Split of parts that a person gave.

    Args:
        index: of the run.
        table: columns video_id and part; videos that it leaves out are dropped.
        options: what the audit says of how the split was made; None where that is not known.
        where: the file, for messages.
        copies: which videos show the same.
        needed: parts that must hold reals and fakes.

    Raises:
        SplitError: it names a video that is not in the index, or names one twice, or a part lacks a class.
    """
    import pandas as pd

    known = set(index["video_id"])
    if unknown := [name for name in table["video_id"] if name not in known]:
        raise SplitError(f"{where} names {unknown[0]}, which is not in the index")
    if (twice := table["video_id"][table["video_id"].duplicated()]).size:
        raise SplitError(f"{where} names {twice.iloc[0]} more than once")
    part_of = dict(zip(table["video_id"], table["part"]))
    rows: list[Row] = rows_of(in_order(index))
    copies.mark(rows)
    parts = [part_of.get(row["video_id"], "dropped") for row in rows]
    for part in needed:
        if len({row["label"] for row, own in zip(rows, parts) if own == part}) < 2:
            raise SplitError(f"{where} has no real or no fake in {part}: both are needed")
    made = pd.DataFrame({"video_id": [row["video_id"] for row in rows], "label": [row["label"] for row in rows],
                         "part": parts, "group": _group_names(rows, parts)})
    found = _audit(index, made, copies)
    absent = [row["video_id"] for row in rows if row["video_id"] not in part_of]
    missing = [f"{where} gives no part to {len(absent):,} of {len(rows):,} {_thing(rows)}s, so they are left out "
               f"({', '.join(absent[:8])}{', …' if len(absent) > 8 else ''}): give each a part there, or SPLIT=new "
               "deals all anew"] if absent else []
    return Split(made, {"rule": "given", "options": as_record(options) if options else {}, "thing": _thing(rows),
                        "dealt": _dealt(rows, {}, f"given by {where.name}"), **found,
                        "notes": [f"the parts are those of {where.name}"],
                        "warnings": [*missing, *warnings("given", found)],
                        "split_hash": split_hash(made)})


def everything_is_test(index: pd.DataFrame) -> Split:
    """Make a Split in which every video is test, for a model that was trained elsewhere."""
    import pandas as pd

    rows: list[Row] = rows_of(in_order(index))
    parts = ["test"] * len(rows)
    made = pd.DataFrame({"video_id": [row["video_id"] for row in rows], "label": [row["label"] for row in rows],
                         "part": parts, "group": _group_names(rows, parts)})
    return Split(made, {"rule": "none", "options": {}, "thing": _thing(rows),
                        "dealt": _dealt(rows, {}, "there is one part"), **audit(index, made), "warnings": [],
                        "notes": ["every video is test: the model was trained elsewhere"],
                        "split_hash": split_hash(made)})


def _group_names(rows: list[Row], parts: list[str]) -> list[str]:
    """What an interval resamples: people where the corpus knows them, else source videos, else videos."""
    ends = [ends_of(row, grouping(rows)) for row in rows]
    names = names_of(pair for pair, part in zip(ends, parts) if part != "dropped")
    return ["dropped" if part == "dropped" else names[a] for (a, _), part in zip(ends, parts)]


def _split(work: stages.Work) -> None:
    """Write OUT/split.json and OUT/split.csv; a split.csv that a person edited is checked, audited and kept."""
    options, index = work.options(SplitOptions), read_table(work.out / "index.csv", INDEX)
    copies, path = read_copies(work.out / "index.csv"), work.out / "split.csv"
    done = work.record.done("split")
    edited = done is not None and path.is_file() and options.split != "new" and (
        done.get("edited") or not same(look(path), done["outputs"].get("split.csv")))
    if options.split not in (None, "new"):
        given = Path(options.split)
        split = given_split(index, read_table(given, {"video_id": "str", "part": "str"}, exact=False), options, given,
                            copies)
    elif edited:
        if done and done["options"] != work.remembered_values():
            raise SplitError(f"{path} was edited by hand, so it is not divided again: SPLIT=new overwrites it")
        split = given_split(index, read_table(path, SPLIT), options, path, copies)
        print(f"split: {path} was edited by hand, it is kept")
    else:
        if new := options.split == "new":
            work.forget("split")  # asked for once: when the corpus grows the next time, known videos stay
        split = split_corpus(index, options, copies, None if new else read_earlier(path), asked_anew=new)
    for warning in split.audit["warnings"]:
        print(f"WARNING: {warning}", file=sys.stderr)
    print("\n".join(describe(split)))
    # The table last: it is what later stages wait for.
    write_json(path.with_suffix(".json"), split.audit)
    write_table(path, split.rows, SPLIT)
    work.finish(len(split.rows), edited=edited)


@command
def main(argv: list[str] | None = None) -> int | None:
    """Run the command; return its exit status."""
    return stages.run("split", argv, "Divide the videos of OUT/index.csv into train, val and test.", _split)


if __name__ == "__main__":
    sys.exit(main())
