"""What a split shares between its parts, counted from the finished table and the names in the index alone.

This is the check of the dividing, so it uses none of its groups and none of its code but the name of a source video:
a fake leaks when its original or another fake of that original is in the other part, a person when some clip of theirs
is. It knows only what names tell: the same person or video under two names is not seen, and where the corpus names no
people, or not what fakes were made from, the counts are None: unknown, and not 0.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from data.splitting.divide import PARTS
from data.splitting.groups import Row, rows_of, source_video

if TYPE_CHECKING:
    import pandas as pd


def audit(index: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """What any split of these videos shares between its parts, from the tables alone.

    Returns {parts: {part: {videos, real, fake, groups, share_of_reals, share_of_fakes, share_of_videos}},
    shared: {"test/train+val": {...}, "val/train": {...}}, unknown: [line], dropped: [video_id]}.
    For a pair X/Y: fakes of X, those whose
    original is in Y, those with a sibling (another fake of that original) in Y; source videos of X and those with clips
    in Y too; identities of X that have more than one clip in the corpus, and those also in Y; None where the corpus
    does not tell. `unknown` says in words what it does not tell.
    """
    part_of = dict(zip(table["video_id"].tolist(), table["part"].tolist()))
    rows = rows_of(index[["video_id", "label", "target_id", "source_id", "original"]])  # a sixth doubles their memory
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
    unknown = _unknown(rows, int((index["modality"] == "image").sum()))
    for pair in shared.values():
        pair.update(dict.fromkeys(unknown.keys() & pair.keys()))
    return {"parts": parts, "shared": shared, "unknown": sorted(set(unknown.values())),
            "dropped": sorted(v for v, part in part_of.items() if part == "dropped")}


def _unknown(rows: list[Row], pictures: int) -> dict[str, str]:
    """Count that the corpus cannot tell -> why, and what it tells of some rows alone -> of how many not. pictures: how
    many rows are single ones."""
    unknown: dict[str, str] = {}
    thing = "pictures" if pictures == len(rows) else "videos"
    nameless = sum(not row["target_id"] for row in rows)
    if nameless == len(rows):
        unknown.update(dict.fromkeys(("identities", "identities_shared"), f"who is in these {thing}"))
    elif nameless:
        unknown["some people"] = f"who is in {nameless:,} of {len(rows):,} {thing}"
    fakes = [row for row in rows if row["label"]]
    orphans = sum(not row["original"] for row in fakes)
    sources = ("source_videos_shared", "original_there", "sibling_there")
    if orphans and orphans == len(fakes):
        unknown.update(dict.fromkeys(sources, f"what the {len(fakes):,} fakes were made from"))
    elif orphans:
        unknown["some sources"] = f"what {orphans:,} of {len(fakes):,} fakes were made from"
    if pictures:
        unknown["source_videos_shared"] = f"which of the {pictures:,} pictures come from one video or one shooting"
    return unknown


def copies_across(table: pd.DataFrame, same_as: dict[str, str]) -> dict[str, int]:
    """For a pair of parts X/Y: how many of X have a copy in Y. same_as: video_id -> the first video_id like it."""
    content = {part: [same_as.get(v, v) for v in group["video_id"]] for part, group in table.groupby("part")}
    mine = {part: content.get(part, []) for part in PARTS}
    pairs = {"test/train+val": (mine["test"], {*mine["train"], *mine["val"]}),
             "val/train": (mine["val"], {*mine["train"]})}
    return {pair: sum(c in others for c in own) for pair, (own, others) in pairs.items()}


def _shared(mine: list[Row], others: list[Row], clips: Counter) -> dict[str, int | None]:
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


def warnings(rule: str, found: dict[str, Any]) -> list[str]:
    """What makes a split untrustworthy or useless; found: as `audit` returns it."""
    lines = []
    shared = found["shared"]["test/train+val"]
    leaks = [f"{shared[key]:,} of {shared[whole]:,} {what}" for key, whole, what in (
        ("original_there", "fakes", "test fakes have their original in training or validation"),
        ("sibling_there", "fakes", "have a sibling there"),
        ("identities_shared", "identities", "people of the test part are there too")) if shared[key]]
    if leaks or rule == "random":
        why = ", ".join(leaks) or "nothing keeps clips of one person or source video together"
        lines.append(f"split by {rule}: {why}; so scores on this test part are too good")
    for part, effect in (("val", ", and nothing can be chosen on validation"), ("test", "")):
        lines += [f"{part} has no {name}s: AUC is n/a there{effect}" for name in ("real", "fake")
                  if not found["parts"][part][name]]
    for kind, what in (("copies_across", "a copy"), ("near_copies_across", "a near-copy")):
        if copies := sum(found.get(kind, {}).values()):
            lines.append(f"{copies:,} files of one part have {what} in another: scores are too good")
    return lines
