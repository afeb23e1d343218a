"""The official parts of FaceForensics++, and who is in several of its clips.

faceforensics_splits.csv, a,b,part, holds the authors' lists of pairs (github.com/ondyari/FaceForensics,
dataset/splits). faceforensics_people.csv, clip,person,same,source, says which clips show one person: the 1,000
sequences come from 977 YouTube videos, of which 22 give 45 sequences, and the official parts tear 7 of those videos
apart; and some people are in several videos. A person goes by the number of the first of their clips.
"""
from __future__ import annotations

import functools
from collections import defaultdict
from pathlib import Path

from extract.layouts.base import Side, read_csv, read_json
from pipeline.errors import CorpusError

SPLITS = Path(__file__).with_name("faceforensics_splits.csv")
PEOPLE = Path(__file__).with_name("faceforensics_people.csv")


@functools.cache
def people() -> dict[str, dict[str, str]]:
    """Clip -> its line of faceforensics_people.csv, for those whose person is in several."""
    return {cells["clip"]: cells for _, cells in read_csv(PEOPLE, ("clip", "person", "same"))}


def person(clip: str) -> str:
    """Return the person of a clip of three digits: its number, or that of the first clip of the same person."""
    return people()[clip]["person"] if clip in people() else clip


@functools.cache
def known_parts() -> dict[str, str]:
    """Stem of a clip -> part, by the authors' lists."""
    pairs = [(cells["a"], cells["b"], cells["part"]) for _, cells in read_csv(SPLITS, ("a", "b", "part"))]
    return {stem: part for a, b, part in pairs for stem in _clips(a, b)}


def _clips(a: str, b: str) -> tuple[str, ...]:
    """The stems that a pair of an official list yields."""
    return a, b, f"{a}_{b}", f"{b}_{a}"


def torn(official: dict[str, str], seen: set[str]) -> list[str]:
    """Return a note on people of several clips here whom the official parts tear apart."""
    clips: dict[str, list[str]] = defaultdict(list)
    for clip, cells in people().items():
        if clip in seen:
            clips[cells["person"]].append(clip)
    apart = ["/".join(own) for own in clips.values() if len({official.get(clip, "") for clip in own} - {""}) > 1]
    several = sum(len(own) > 1 for own in clips.values())
    return [f"{several} people are in several clips; the official parts put {len(apart)} of them into two parts: "
            f"{', '.join(apart)}"] if apart else []


def official_parts(side: Side) -> dict[str, str]:
    """Stem of a clip -> part, from the official lists of pairs: (a, b) yields a, b, a_b and b_a."""
    official: dict[str, str] = {}
    for name in sorted(side):
        part = name.lower().removeprefix("splits/").removesuffix(".json")
        if name.lower() not in (f"splits/{part}.json", f"{part}.json") or part not in ("train", "val", "test"):
            continue
        pairs = read_json(side[name])
        if not isinstance(pairs, list) or not all(
                isinstance(p, list) and len(p) == 2 and all(isinstance(clip, str) for clip in p) for p in pairs):
            raise CorpusError(f"{side[name]} is no official split of FaceForensics++: expected a list of pairs such as "
                              '[["071", "054"]]')
        for a, b in pairs:
            for stem in _clips(a, b):
                if official.setdefault(stem, part) != part:
                    raise CorpusError(f"{side[name]}: clip {stem} is in {official[stem]} too: mend the splits")
    return official
