"""The corpus layouts we know: from the names of files to rows of the index, without opening a single video.

Each layout is a function `layout(names, side, folder) -> Corpus | None` (None: not laid out like this).
names: paths of the videos relative to the root, with /. side: relative path -> Path of the .txt, .json and .csv files
that lie there, of which a layout reads only those it knows. folder: name of the root, a weak hint.

It does not know whether a file can be decoded, nor whether two files have the same content.
"""
from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import CorpusError
from pipeline.tables import DEMO_MARK

Side = dict[str, Path]


@dataclass
class Corpus:
    """What a corpus holds. Rows have the columns of tables.INDEX; root / video_id is the file."""

    title: str                     # what it was recognised as, for people: "Celeb-DF v2"
    dataset: str                   # the same for tables: "Celeb-DF-v2"
    rows: list[dict[str, Any]]
    found: dict[str, int]          # clips indexed of each kind, in the order they are told
    expected: dict[str, int] = field(default_factory=dict)  # clips the whole corpus has of each kind, where known
    listed: tuple[int, int] = (0, 0)  # clips of the official list that are here, and lines of that list
    missing: list[str] = field(default_factory=list)  # named by a list, metadata or table, but not here
    doubled: list[tuple[str, ...]] = field(default_factory=list)  # copies of one clip; only the first is indexed
    notes: list[str] = field(default_factory=list)    # what a user should know: left out, undecidable, …
    clip_s: float = 10.0           # typical length of a clip in seconds, to estimate the work
    root: Path = Path()


def row(video_id: str, label: int, dataset: str, method: str = "", target_id: str = "", source_id: str = "",
        original: str = "", official: str = "") -> dict[str, Any]:
    """One row of the index."""
    return {"video_id": video_id, "label": label, "dataset": dataset, "method": method, "target_id": target_id,
            "source_id": source_id, "original": original, "official": official}


def without_copies(names: list[str], nested: bool = True) -> tuple[list[str], list[tuple[str, ...]]]:
    """The names without copies of one clip, and the copies.

    Copies differ only in case, in suffix (a.mp4, a.avi) or, where the layout has such folders, by a `videos/` more or
    less. The shortest name, then the first in order, is kept: a copy in another part of a split would be a leak.
    """
    copies: dict[str, list[str]] = defaultdict(list)
    for name in names:
        copies[clip_key(name, nested)].append(name)
    groups = [sorted(group, key=lambda name: (name.count("/"), name)) for group in copies.values()]
    return sorted(group[0] for group in groups), sorted(tuple(group) for group in groups if len(group) > 1)


def clip_key(name: str, nested: bool = True) -> str:
    """A name as lists and disks may differ about it: lower case, no suffix, no `videos/`."""
    *folders, last = name.replace("\\", "/").lower().split("/")
    stem = last[:last.rindex(".")] if "." in last[1:] else last
    return "/".join([f for f in folders if not nested or f != "videos"] + [stem])


# ----------------------------------------------------------------------------------------------- Celeb-DF v1, v2 and ++

CELEB_FOLDERS = {"celeb-real": ("Celeb-real", 0), "youtube-real": ("YouTube-real", 0),
                 "celeb-synthesis": ("Celeb-synthesis", 1)}
CELEB_KINDS = {
    # Clips per folder: the README files of yuezunli/celeb-deepfakeforensics; v2 counted in the full list of names.
    "Celeb-DF-v1": ("Celeb-DF v1", {"Celeb-real": 158, "YouTube-real": 250, "Celeb-synthesis": 795}),
    "Celeb-DF-v2": ("Celeb-DF v2", {"Celeb-real": 590, "YouTube-real": 300, "Celeb-synthesis": 5639}),
    "Celeb-DF++": ("Celeb-DF++", {"Celeb-real": 590, "YouTube-real": 300, "methods": 22}),
    "demo": ("demo corpus (drawn, in the layout of Celeb-DF)", {}),
}
CELEB_LIST = "list_of_testing_videos.txt"
V2_LIST_LINES = 518
V1_PEOPLE = 13
CELEB_REAL = re.compile(r"(id\d+)_\d+$", re.I)
CELEB_FAKE = re.compile(r"(id\d+)_(id\d+)_(\d+)$", re.I)
CELEB_FAKE_PP = re.compile(r"(id\d+)_(?:(id\d+)_)?(\d+)(?:_.*)?$", re.I)  # talking faces may have no second person


def celeb(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Celeb-DF v1, v2 or ++, any subset, with or without `videos/`, folders in any case.

    Raises CorpusError when the official list is malformed or contradicts a folder.
    """
    inside = [name for name in names if _celeb_class(name)]
    if not inside:
        return None
    kept, doubled = without_copies(inside)
    spelled = _celeb_list(side)
    listed = {key: label for key, (_, label) in spelled.items()}
    dataset, doubt = _celeb_kind(kept, listed, side, folder)
    title, expected = CELEB_KINDS[dataset]
    reals = {PurePosixPath(name).stem.lower(): name for name in kept if _celeb_class(name) == ("Celeb-real", 0)}
    folder_suffix = _celeb_shape(kept, reals)
    rows, strange = [], []
    for name in kept:
        entry = _celeb_row(name, dataset, reals, folder_suffix)
        if not entry["target_id"]:
            strange.append(name)
        if listed:
            truth = listed.get(_celeb_key(name))
            if truth not in (None, entry["label"]):
                raise CorpusError(f"{name} lies in a folder of {_word(entry['label'])}s, but the official list calls "
                                  f"it {_word(truth)} (in the list 1 is real): move the file or mend the list")
            entry["official"] = "train" if truth is None else "test"
        rows.append(entry)
    found = Counter(_celeb_class(name)[0] for name in kept)  # type: ignore[index]
    counts = {kind: found[kind] for kind, _ in CELEB_FOLDERS.values()}
    if dataset == "Celeb-DF++":
        counts["methods"] = len({entry["method"] for entry in rows if entry["label"]})
    here = {_celeb_key(name) for name in kept}
    notes = doubt + _left_out(len(names) - len(inside), "outside the three folders of Celeb-DF")
    if strange:
        notes.append(f"{len(strange)} names tell no person (e.g. {strange[0]}): each counts as a person of its own")
    return Corpus(title, dataset, rows, counts, expected, (sum(key in here for key in listed), len(listed)),
                  [name for key, (name, _) in spelled.items() if key not in here], doubled, notes,
                  clip_s=6.0 if dataset == "demo" else 13.0)


def _celeb_class(name: str) -> tuple[str, int] | None:
    head, _, rest = name.partition("/")
    return CELEB_FOLDERS.get(re.sub("[_ ]", "-", head.lower())) if rest else None


def _celeb_key(name: str) -> str:
    return clip_key(_celeb_class(name)[0] + "/" + name.partition("/")[2])  # type: ignore[index]


def _celeb_row(name: str, dataset: str, reals: dict[str, str],
               folder_suffix: tuple[str, str]) -> dict[str, Any]:
    kind, label = _celeb_class(name)  # type: ignore[misc]
    stem = PurePosixPath(name).stem
    if kind == "YouTube-real":  # every clip shows another person
        return row(name, label, dataset, target_id=f"yt{stem}")
    if kind == "Celeb-real":
        match = CELEB_REAL.match(stem)
        return row(name, label, dataset, target_id=match[1].lower() if match else "")
    methods = [part for part in name.split("/")[1:-1] if part.lower() != "videos"]
    method = "/".join(methods) or "Celeb-synthesis"
    match = (CELEB_FAKE_PP if methods else CELEB_FAKE).match(stem)
    if not match:
        return row(name, label, dataset, method)
    target, source, number = match[1].lower(), (match[2] or "").lower(), match[3]
    folder, suffix = folder_suffix
    original = reals.get(f"{target}_{number}") or f"{folder}/{target}_{number}{suffix}"
    return row(name, label, dataset, method, target, source, original)


def _celeb_shape(kept: list[str], reals: dict[str, str]) -> tuple[str, str]:
    """Folder and suffix that a clip of Celeb-real would have here, for those that a subset lacks."""
    if like := next(iter(reals.values()), ""):
        return like.rpartition("/")[0], PurePosixPath(like).suffix
    nested = any("/videos/" in name.lower() for name in kept)
    return "Celeb-real/videos" if nested else "Celeb-real", PurePosixPath(kept[0]).suffix


def _celeb_list(side: Side) -> dict[str, tuple[str, int]]:
    """The official list of test clips: clip_key -> (name, our label). Its own 1 means real; it has no header."""
    path = next((side[name] for name in sorted(side) if name.lower() == CELEB_LIST), None)
    listed: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(read_text(path).splitlines() if path else [], 1):
        if not line.strip():
            continue
        match = re.match(r"\s*([01])[\s,]+(\S.*?)\s*$", line)
        name = match[2].replace("\\", "/").removeprefix("./") if match else ""
        kind = _celeb_class(name)
        if not match or not kind:
            raise CorpusError(f"{path}, line {number}: expected `1 YouTube-real/00170.mp4` (1 real, 0 fake), got "
                              f"{line.strip()[:80]!r}")
        label = 1 - int(match[1])
        if label != kind[1]:
            raise CorpusError(f"{path}, line {number}: calls {match[2]} {_word(label)} (in this list 1 is real), but "
                              f"{kind[0]} holds {_word(kind[1])}s: mend the line")
        listed[_celeb_key(name)] = name, label
    return listed


def _celeb_kind(kept: list[str], listed: dict[str, int], side: Side, folder: str) -> tuple[str, list[str]]:
    """Which Celeb-DF this is, and a note where a subset could be of either."""
    if DEMO_MARK in side:
        return "demo", []
    fakes = [name for name in kept if _celeb_class(name) == ("Celeb-synthesis", 1)]
    if any(part.lower() in ("faceswap", "facereenact", "talkingface") for f in fakes for part in f.split("/")[1:-1]):
        return "Celeb-DF++", []
    found = Counter(_celeb_class(name)[0] for name in kept)  # type: ignore[index]
    v1 = CELEB_KINDS["Celeb-DF-v1"][1]
    people = {person.lower() for name in kept for person in re.findall(r"id\d+", PurePosixPath(name).stem, re.I)}
    youtube = [int(PurePosixPath(name).stem) for name in kept
               if _celeb_class(name) == ("YouTube-real", 0) and PurePosixPath(name).stem.isdecimal()]
    if (len(listed) == V2_LIST_LINES or len(people) > V1_PEOPLE or max(youtube, default=0) >= v1["YouTube-real"]
            or any(found[kind] > v1[kind] for kind in v1)):
        return "Celeb-DF-v2", []
    if dict(found) == v1 or re.search(r"v1\b", folder, re.I):
        return "Celeb-DF-v1", []
    return "Celeb-DF-v2", ["the names fit Celeb-DF v2 and v1 alike, so it is taken for a subset of v2"]


# ------------------------------------------------------------------------------------------------------ FaceForensics++

FF_COMPRESSIONS = ("raw", "c0", "c23", "c40")
FF_EXPECTED = {"youtube": 1000, "actors": 363, "Deepfakes": 1000, "Face2Face": 1000, "FaceSwap": 1000,
               "NeuralTextures": 1000, "FaceShifter": 1000, "DeepFakeDetection": 3068}  # per compression; its README
FF_METHODS = {method.lower(): method for method in FF_EXPECTED}
FF_NAME = re.compile(r"(\d+)(?:_(\d+))?(__.+)?$")


def faceforensics(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """FaceForensics++ with any methods, compressions and actors; masks and models are no videos of people.

    Raises CorpusError when an official split (train.json, val.json, test.json) is malformed.
    """
    tops = ("original_sequences", "manipulated_sequences")
    inside = [name for name in names if name.lower().startswith(tops) and name.count("/") >= 2
              and "masks" not in name.lower().split("/")]
    if not inside:
        return None
    kept, doubled = without_copies(inside)
    official, n_listed = _ff_splits(side)
    spelled = {clip_key(name): name for name in kept}
    rows, counts, strange, seen = [], Counter[str](), [], set()
    for name in kept:
        entry = _ff_row(name, spelled)
        if not entry["target_id"]:
            strange.append(name)
        if entry["target_id"].isdecimal():
            stem = PurePosixPath(name).stem
            entry["official"] = official.get(stem, "")
            seen.add(stem)
        compression = next((part for part in name.lower().split("/") if part in FF_COMPRESSIONS), "")
        counts[f"{entry['method'] or name.split('/')[1].lower()} {compression}".strip()] += 1
        rows.append(entry)
    order = list(FF_EXPECTED)
    found = dict(sorted(counts.items(), key=lambda item: (order.index(item[0].split()[0])
                                                          if item[0].split()[0] in order else len(order), item[0])))
    notes = _left_out(len(names) - len(inside), "outside original_sequences and manipulated_sequences, or masks")
    if strange:
        notes.append(f"{len(strange)} names tell no person (e.g. {strange[0]}): each counts as a person of its own")
    return Corpus("FaceForensics++", "FaceForensics++", rows, found,
                  {kind: FF_EXPECTED[kind.split()[0]] for kind in found if kind.split()[0] in FF_EXPECTED},
                  (sum(stem in seen for stem in official), n_listed),
                  [stem for stem in official if stem not in seen], doubled, notes, clip_s=17.0)


def _ff_row(name: str, spelled: dict[str, str]) -> dict[str, Any]:
    parts = name.split("/")
    real = parts[0].lower().startswith("original")
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    match = FF_NAME.match(stem)
    method = "" if real else FF_METHODS.get(parts[1].lower(), parts[1])
    if not match or bool(match[2]) == real:
        return row(name, int(not real), "FaceForensics++", method)
    target, source, scene = match[1], match[2] or "", match[3] or ""
    prefix = "actor" if scene else ""
    original = ""
    if not real:
        # The real of an actor's fake has the scene but not the eight characters at the end.
        clip = target + (scene.rpartition("__")[0] if scene.count("__") > 1 else scene)
        middle = "/".join(parts[2:-1])
        original = f"original_sequences/{'actors' if scene else 'youtube'}/{middle}/{clip}{suffix}".replace("//", "/")
        original = spelled.get(clip_key(original), original)
    return row(name, int(not real), "FaceForensics++", method, prefix + target, source and prefix + source, original)


def _ff_splits(side: Side) -> tuple[dict[str, str], int]:
    """Stem of a clip -> part, from the official lists of pairs: (a, b) yields a, b, a_b and b_a. And how many."""
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
            for stem in (a, b, f"{a}_{b}", f"{b}_{a}"):
                if official.setdefault(stem, part) != part:
                    raise CorpusError(f"{side[name]}: clip {stem} is in {official[stem]} too: mend the splits")
    return official, len(official)


# ----------------------------------------------------------------------------------------------------------------- DFDC

DFDC_EXPECTED = {"training parts": 50, "train_sample_videos": 400}  # as on Kaggle


def dfdc(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """DFDC: folders with a metadata.json (any name, the root itself too), or a labels.csv of the test set.

    Raises CorpusError when a metadata.json or labels.csv is malformed.
    """
    metadata = {name.rpartition("/")[0]: path for name, path in sorted(side.items())
                if name.rpartition("/")[2].lower() == "metadata.json"}
    tables = {name.rpartition("/")[0]: path for name, path in sorted(side.items())
              if name.rpartition("/")[2].lower() == "labels.csv"}
    contents = {place: content for place, path in metadata.items() if _is_dfdc(content := read_json(path))}
    tables = {place: path for place, path in tables.items() if re.match(r'"?filename"?\s*,', read_text(path))}
    if not contents and not tables:
        return None
    by_folder: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        by_folder[name.rpartition("/")[0]][name.rpartition("/")[2]] = name
    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    for place, content in contents.items():
        _dfdc_metadata(content, metadata[place], place, by_folder, rows, missing)
    for place, path in tables.items():
        _dfdc_labels(path, place, by_folder, rows, missing)
    if not rows:
        return None
    labelled = {entry["video_id"] for entry in rows}
    places = Counter((entry["video_id"].rpartition("/")[0] or folder).rpartition("/")[2] for entry in rows)
    parts = [place for place in places if re.fullmatch(r"dfdc_train_part_\d+", place)]
    found = {"training parts": len(parts), "videos of training parts": sum(places[part] for part in parts),
             **{place: n for place, n in sorted(places.items()) if place not in parts}}
    notes = _left_out(len(names) - len(labelled), "without a label in metadata.json or labels.csv")
    return Corpus("DFDC", "DFDC", rows, {kind: n for kind, n in found.items() if n}, DFDC_EXPECTED, (0, 0), missing,
                  [], notes)


def _is_dfdc(content: Any) -> bool:
    """Whether this metadata.json is one of DFDC: other corpora have files of that name too."""
    return isinstance(content, dict) and any(isinstance(entry, dict) and "label" in entry
                                             for entry in content.values())


def _dfdc_metadata(content: dict, path: Path, place: str, by_folder: dict[str, dict[str, str]], rows: list,
                   missing: list) -> None:
    prefix = place + "/" if place else ""
    for file, entry in sorted(content.items()):
        word = str(entry.get("label", "")).upper() if isinstance(entry, dict) else ""
        if word not in ("REAL", "FAKE"):
            raise CorpusError(f"{path}: the label of {file} is {word or 'missing'!r}, expected REAL or FAKE")
        if file not in by_folder[place]:
            missing.append(prefix + file)
        elif word == "REAL":
            rows.append(row(prefix + file, 0, "DFDC", official=_dfdc_part(entry)))
        else:
            original = entry.get("original")
            rows.append(row(prefix + file, 1, "DFDC", "DFDC", original=prefix + original if original else "",
                            official=_dfdc_part(entry)))


def _dfdc_part(entry: dict) -> str:
    part = str(entry.get("split") or "").lower()
    return {"validation": "val"}.get(part, part) if part in ("train", "val", "validation", "test") else ""


def _dfdc_labels(path: Path, place: str, by_folder: dict[str, dict[str, str]], rows: list, missing: list) -> None:
    """labels.csv of the test set: 1 is fake; its clips lie beside it, in videos/ or in test/."""
    done = {entry["video_id"] for entry in rows}
    for number, cells in read_csv(path, ("filename", "label")):
        if cells["label"].strip() not in ("0", "1"):
            raise CorpusError(f"{path}, line {number}: the label is {cells['label']!r}, expected 0 (real) or 1 (fake)")
        places = [place] + [f"{place}/{sub}".strip("/") for sub in ("videos", "test", "test/videos")]
        name = next((found for p in places if (found := by_folder.get(p, {}).get(cells["filename"]))), None)
        if name is None:
            missing.append(f"{place}/{cells['filename']}".strip("/"))
        elif name not in done:
            done.add(name)
            fake = cells["label"].strip() == "1"
            rows.append(row(name, int(fake), "DFDC", "DFDC" if fake else "", official="test"))


# ------------------------------------------------------------------------------------------------ real and fake folders

REAL_WORDS = frozenset("real reals original originals genuine pristine authentic live bonafide unmanipulated".split())
FAKE_WORDS = frozenset("fake fakes manipulated manipulation synthesis synthesized synthetic deepfake deepfakes forged "
                       "forgery forgeries swapped faceswap generated tampered spoof".split())


def folders(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Folders called real, fake or a synonym, at any depth; the nearest one decides."""
    kept, doubled = without_copies(names, nested=False)
    rows, without = [], []
    for name in kept:
        label, method = _folder_label(name)
        if label is None:
            without.append(name)
        else:
            rows.append(row(name, label, "folders", method))
    if not rows:
        return None
    notes = _left_out(len(without), f"below no folder called real or fake (e.g. {without[0]})" if without else "")
    found = Counter("fake" if entry["label"] else "real" for entry in rows)
    return Corpus("folders real and fake", "folders", rows, {kind: found[kind] for kind in ("real", "fake")},
                  doubled=doubled, notes=notes)


def _folder_label(name: str) -> tuple[int | None, str]:
    for part in reversed(name.split("/")[:-1]):
        words = set(re.split(r"[^a-z]+", part.lower()))
        real, fake = bool(words & REAL_WORDS), bool(words & FAKE_WORDS)
        if real != fake:  # a folder "real_vs_fake" says nothing; one further up may
            return int(fake), part if fake else ""
    return None, ""


# --------------------------------------------------------------------------------------------------------- small things

def read_text(path: Path) -> str:
    """A text file of unknown origin: byte order mark, line ends and stray bytes are tolerated.

    Raises CorpusError when it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from None


def read_json(path: Path) -> Any:
    """A JSON file. Raises CorpusError when it is none."""
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise CorpusError(f"{path} is no JSON: {error}") from None


def read_csv(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file as (line number, {column: value}), blank lines left out; further columns are ignored.

    Raises CorpusError when the header lacks a column or a row is too short.
    """
    import csv
    import io

    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    wanted = f"expected a CSV with the header {','.join(columns)}"
    rows: list[tuple[int, dict[str, str]]] = []
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip().lower() for cell in cells]
                if not set(columns) <= set(header):
                    raise CorpusError(f"{path}, line {reader.line_num}: {wanted}, got {','.join(cells)[:80]!r}")
                continue
            if len(cells) < len(header):
                raise CorpusError(f"{path}, line {reader.line_num}: {len(cells)} values where the header has "
                                  f"{len(header)}")
            found = dict(zip(header, cells))
            rows.append((reader.line_num, {column: found[column] for column in columns}))
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: {wanted} ({error})") from None
    if header is None:
        raise CorpusError(f"{path} is empty: {wanted}")
    return rows


def _left_out(n: int, why: str) -> list[str]:
    return [f"{n} video{'s' if n > 1 else ''} left out: {why}"] if n else []


def _word(label: int | None) -> str:
    return "fake" if label else "real"


LAYOUTS = (celeb, faceforensics, dfdc)  # the first that knows the names wins; `folders` knows nearly any
