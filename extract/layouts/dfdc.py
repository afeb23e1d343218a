"""DFDC, from its metadata.json (a label, and the original of a fake, for each file beside it) and labels.csv; and its
preview, from its dataset.json (label, part and people for each file below it).

Names say nothing here, and nothing of DFDC says who is in a clip, though its actors recur. dfdc_people.csv, clip,person
for 16,293 reals of the training parts, does it as well as faces can be told apart: the crops of Kaggle's
"deepfake-faces" aligned by MTCNN's five points, MobileFaceNet (Chen et al. 2018; weights trained on CASIA-WebFace),
average linkage down to a cosine of .35, where alike people rather share a number than one person has two: 455 numbers;
1.4 % of the pairs above .6 have two. A fake shows its original's person; whose face it wears is not known.

A video without a label is left out; a label without a video is missing. The original of a fake keeps its name
where a subset lacks it.
"""
from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path
from typing import Any, Iterator

from extract.layouts.base import (
    Corpus,
    Side,
    clip_key,
    clip_stem,
    counted,
    left_out,
    read_csv,
    read_json,
    read_text,
    row,
    word,
)
from pipeline.errors import CorpusError

PEOPLE = Path(__file__).with_name("dfdc_people.csv")
EXPECTED = {"training parts": 50, "train_sample_videos": 400, "test real": 2500, "test fake": 2500}  # as on Kaggle
PREVIEW_HAS = {"real": 1131, "fake": 4119}  # by its README
PARTS = {"train": "train", "val": "val", "validation": "val", "test": "test"}  # as metadata.json may spell them


def dfdc(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Return the rows of DFDC: folders with a metadata.json (any name, the root itself too), or a labels.csv of the
    test set; or of its preview, where a dataset.json lies there.

    Raises CorpusError when a metadata.json, labels.csv or dataset.json is malformed.
    """
    previews = {file: read_json(side[file]) for file in _called("dataset.json", side)}
    if previews := {file: content for file, content in previews.items() if _is_preview(content)}:
        return _preview(names, side, previews)
    metadata = {file: content for file in _called("metadata.json", side) if _is_dfdc(content := read_json(side[file]))}
    tables = [file for file in _called("labels.csv", side) if re.match(r'"?filename"?\s*,', read_text(side[file]))]
    if not metadata and not tables:
        return None
    here = {clip_key(name, nested=False): name for name in names}  # frames of a.mp4 lie in a folder a
    rows, missing = dict[str, dict[str, Any]](), list[str]()  # rows: by video_id
    for file, content in metadata.items():
        _read_metadata(content, side[file], _beside(file), here, rows, missing)
    trained = len(rows)
    for file in tables:
        _read_labels(side[file], _beside(file), here, rows, missing)
    if not rows:
        return None
    test = Counter(f"test {word(entry['label'])}" for entry in list(rows.values())[trained:])
    places = Counter((name.rpartition("/")[0] or folder).rpartition("/")[2] for name in list(rows)[:trained])
    parts = [place for place in places if re.fullmatch(r"dfdc_train_part_\d+", place)]
    found = {"training parts": len(parts), "videos of training parts": sum(places[part] for part in parts),
             **{place: n for place, n in sorted(places.items()) if place not in parts},
             "test real": test["test real"], "test fake": test["test fake"]}
    known = [row["target_id"] for row in rows.values() if row["target_id"]]
    notes = left_out(len(names) - len(rows), "without a label in metadata.json or labels.csv")
    if known:
        notes.append(f"who is who in {len(known):,} of {len(rows):,} videos was found by comparing faces "
                     f"({counted(len(set(known)), 'group')} of alike ones); of the rest each original is taken for a "
                     "person of its own")
    return Corpus("DFDC", "DFDC", list(rows.values()), {kind: n for kind, n in found.items() if n}, EXPECTED,
                  missing=missing, notes=notes)


@functools.cache
def people() -> dict[str, str]:
    """The person that a real of the training parts shows, by the name of the file without suffix."""
    return {cells["clip"]: cells["person"] for _, cells in read_csv(PEOPLE, ("clip", "person"))}


def _called(wanted: str, side: Side) -> list[str]:
    return [name for name in sorted(side) if name.rpartition("/")[2].lower() == wanted]


def _beside(file: str) -> str:
    """What comes before the names of files that lie beside this one: "" or "its/folder/"."""
    return file[:file.rfind("/") + 1]


def _is_dfdc(content: Any) -> bool:
    """Whether this metadata.json is one of DFDC: other corpora have files of that name too."""
    return isinstance(content, dict) and any(isinstance(entry, dict) and "label" in entry
                                             for entry in content.values())


def _labelled(content: dict, path: Path, place: str, here: dict[str, str], missing: list[str]
              ) -> Iterator[tuple[str, str, bool, dict]]:
    """Yield (file as written, its name here, whether it is fake, its entry) of a metadata.json or dataset.json; what is
    not here goes to `missing`. Raises CorpusError at a label that is neither real nor fake."""
    for file, entry in sorted(content.items()):
        label = str(entry.get("label", "")) if isinstance(entry, dict) else ""
        if label.lower() not in ("real", "fake"):
            raise CorpusError(f"{path}: the label of {file} is {label or 'missing'!r}, expected real or fake")
        if name := here.get(clip_key(place + file, nested=False), ""):
            yield file, name, label.lower() == "fake", entry
        else:
            missing.append(place + file)


def _read_metadata(content: dict, path: Path, place: str, here: dict[str, str], rows: dict[str, dict],
                   missing: list[str]) -> None:
    for file, name, fake, entry in _labelled(content, path, place, here, missing):
        if original := place + entry["original"] if fake and entry.get("original") else "":
            original = here.get(clip_key(original, nested=False), original)
        rows[name] = row(name, int(fake), "DFDC", "DFDC" if fake else "",
                         people().get(clip_stem(original or file), ""), original=original,
                         official=PARTS.get(str(entry.get("split")).lower(), ""))


def _is_preview(content: Any) -> bool:
    """Whether this dataset.json is that of the preview: other corpora have files of that name too."""
    return isinstance(content, dict) and any(isinstance(entry, dict) and {"label", "set"} <= entry.keys()
                                             for entry in content.values())


def _preview(names: list[str], side: Side, previews: dict[str, dict]) -> Corpus | None:
    """Rows of the preview. A fake is named <donor>_<filmed>_<clip>_<number>, its original <filmed>_<clip>_<number>."""
    here = {clip_key(name, nested=False): name for name in names}
    rows, missing = dict[str, dict[str, Any]](), list[str]()
    for file, content in previews.items():
        place = _beside(file)
        for path, name, fake, entry in _labelled(content, side[file], place, here, missing):
            original = ""
            filmed, donor = (str(entry.get(key) or "") for key in ("target_id", "swapped_id"))
            if fake and filmed:
                last = name.rpartition("/")[2].removeprefix(donor + "_")
                original = f"{place}original_videos/{filmed}/{last}"
                original = here.get(clip_key(original, nested=False), original)
            method = path.split("/")[0] if fake else ""
            rows[name] = row(name, int(fake), "DFDC-preview", method, filmed, donor if fake else "", original,
                             PARTS.get(str(entry.get("set")).lower(), ""))
    if not rows:
        return None
    found = Counter("fake" if entry["label"] else "real" for entry in rows.values())
    return Corpus("DFDC preview", "DFDC-preview", list(rows.values()), {kind: found[kind] for kind in PREVIEW_HAS},
                  PREVIEW_HAS, missing=missing,
                  notes=left_out(len(names) - len(rows), "not in dataset.json"))


def _read_labels(path: Path, place: str, here: dict[str, str], rows: dict[str, dict], missing: list[str]) -> None:
    """labels.csv of the test set: 1 is fake; its clips lie beside it, in videos/ or in test/."""
    for number, cells in read_csv(path, ("filename", "label")):
        label = cells["label"].strip()
        if label not in ("0", "1"):
            raise CorpusError(f"{path}, line {number}: the label is {cells['label']!r}, expected 0 (real) or 1 (fake)")
        places = [place + inner + cells["filename"] for inner in ("", "videos/", "test/", "test/videos/")]
        name = next((here[key] for key in (clip_key(name, nested=False) for name in places) if key in here), "")
        if not name:
            missing.append(place + cells["filename"])
        elif name not in rows:
            rows[name] = row(name, int(label), "DFDC", "DFDC" if label == "1" else "", official="test")
