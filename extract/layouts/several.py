"""Several corpora as one: each video_id begins with the short name of its corpus, and people are the same across them.

Names of people are made unique by the corpus that they are from: person 000 of FaceForensics++ is FaceForensics++/000
in all corpora that were made from it, and id0 is Celeb-DF/id0 in v1, v2 and ++. So a split keeps DF40's fakes with the
reals that they were made from, and the two versions of Celeb-DF together.
"""
from __future__ import annotations

from collections import defaultdict
from typing import Any

from extract.layouts.base import CELEB_DF, Corpus, clip_stem

# Dataset -> the corpus whose people it has, where that is another name; of any other known corpus its own.
PEOPLE_OF = {"Celeb-DF-v1": CELEB_DF, "Celeb-DF-v2": CELEB_DF, "Celeb-DF++": CELEB_DF, "FakeAVCeleb": "VoxCeleb2"}
# They write the name of that corpus before people and clips of others themselves.
MADE_FROM_OTHERS = frozenset(("DF40", "DFD", "DeeperForensics", "TalkingHeadBench"))
# Their names of people mean nothing elsewhere.
OF_ANYBODY = frozenset(("folders", "images", "table", "demo", "CIFAKE"))


def joined(corpora: dict[str, Corpus]) -> Corpus:
    """Return one corpus of all. corpora: short name -> corpus; their rows are changed in place.

    The root of the result is not set.
    """
    reals: dict[str, str] = {}  # FaceForensics++/000 -> the first real of that name
    worlds: dict[str, set[str]] = defaultdict(set)  # person -> short names of corpora that show them
    own = {name: {entry["video_id"] for entry in corpus.rows} for name, corpus in corpora.items()}
    for name, corpus in corpora.items():
        for entry in corpus.rows:
            if not entry["label"] and corpus.dataset not in OF_ANYBODY:
                clip = f"{_world(entry, corpus, name)}/{clip_stem(entry['video_id'])}"
                reals.setdefault(clip, f"{name}/{entry['video_id']}")
    for name, corpus in corpora.items():
        for entry in corpus.rows:
            entry["original"] = _original(entry["original"], name, corpus, own[name], reals)
            entry["video_id"] = f"{name}/{entry['video_id']}"
            for key in ("target_id", "source_id"):
                if entry[key]:
                    entry[key] = _person(entry, key, name, corpus)
                    worlds[entry[key]].add(name)
    shared = sum(len(names) > 1 for names in worlds.values())
    rows = [entry for corpus in corpora.values() for entry in corpus.rows]
    notes = [f"{name}: {note}" for name, corpus in corpora.items() for note in corpus.notes]
    if shared:
        notes.insert(0, f"{shared:,} people are in several of these corpora: a split by people keeps them together")
    return Corpus(
        f"{len(corpora)} corpora", "corpora", sorted(rows, key=lambda entry: entry["video_id"]),
        {f"{name} ({corpus.title})": len(corpus.rows) for name, corpus in corpora.items()},
        listed=(sum(corpus.listed[0] for corpus in corpora.values()), sum(c.listed[1] for c in corpora.values())),
        missing=[f"{name}/{file}" for name, corpus in corpora.items() for file in corpus.missing],
        doubled=[tuple(f"{name}/{file}" for file in group) for name, corpus in corpora.items()
                 for group in corpus.doubled],
        notes=notes,
        clip_s=sum(corpus.clip_s * len(corpus.rows) for corpus in corpora.values()) / len(rows),
        labels=[f"{name}: {line}" for name, corpus in corpora.items() for line in corpus.labels],
        grouping=[f"{name}: {line}" for name, corpus in corpora.items() for line in corpus.grouping])


def _world(entry: dict[str, Any], corpus: Corpus, name: str) -> str:
    return name if corpus.dataset in OF_ANYBODY else PEOPLE_OF.get(entry["dataset"], entry["dataset"])


def _person(entry: dict[str, Any], key: str, name: str, corpus: Corpus) -> str:
    if corpus.dataset in MADE_FROM_OTHERS and "/" in entry[key]:
        return entry[key]
    return f"{_world(entry, corpus, name)}/{entry[key]}"


def _original(original: str, name: str, corpus: Corpus, own: set[str], reals: dict[str, str]) -> str:
    """The video_id of an original in the joined corpus; a clip of a corpus that is not here keeps its name."""
    if not original or original in own or corpus.dataset not in MADE_FROM_OTHERS:
        return original and f"{name}/{original}"
    return reals.get(original, original)
