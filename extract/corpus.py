"""`make index`, `make check`: a corpus folder or a CSV of labels to the index, the first table of the pipeline.

    python -m extract.corpus --out OUT --corpus CORPUS      recognise the layout, write OUT/index.csv
    python -m extract.corpus CORPUS --check                 only say what is there and what would be done

No video is opened. The layouts are in celeb.py, faceforensics.py and dfdc.py; layouts.py has what they share, and
folders called real and fake; images.py has folders of pictures. A zip is unpacked beside the index.
"""
from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.layouts.archive import is_archive, listed, unpacked
from extract.layouts.base import IMAGE_SUFFIXES, Corpus, counted, folders, is_picture, left_out, read_csv, row, thing_of
from extract.layouts.celebdf import celeb
from extract.layouts.dfdc import dfdc
from extract.layouts.faceforensics import faceforensics
from extract.layouts.image_folders import across, copies, images
from pipeline import stages
from pipeline.errors import CorpusError, command
from pipeline.options import option
from pipeline.storage import Remote, place
from pipeline.tables import COPIES, INDEX, write_table

LAYOUTS = (celeb, faceforensics, dfdc)  # the first that knows the names wins; `folders` knows nearly any
VIDEO_SUFFIXES = frozenset(
    ".mp4 .mkv .avi .mov .webm .m4v .ts .mpg .mpeg .wmv .flv .3gp".split())  # compared in lower case
SIDE_SUFFIXES = frozenset((".txt", ".json", ".csv"))  # lists and metadata that a layout may read
EVERY_S = 3.0    # seconds between frames that --check reckons with, the default of FrameOptions
SHOWN = 5        # names of a kind that --check prints
LEVELS_DOWN = 4  # the folder given and lone folders below it in which a corpus is looked for
LABEL_NAMES = ("real", "fake")
LABEL_WORDS = {"0": 0, "1": 1, "real": 0, "fake": 1}
SPLITS = {"identity": "no person in two parts", "video": "neither people nor source videos are known",
          "source": "a source video and all fakes of it in one part; people are not known"}
# A known corpus further down than lone folders lead.
INNER = re.compile(r"(.+?)/(?:celeb-(?:real|synthesis)|original_sequences|manipulated_sequences)/", re.I)
KNOWN = ("Celeb-DF v1, v2 and ++ (Celeb-real, YouTube-real, Celeb-synthesis), FaceForensics++ (original_sequences, "
         "manipulated_sequences), DFDC (metadata.json or labels.csv), folders called real and fake (of videos or of "
         "pictures), a CSV path,label, a zip of any of them")


@dataclass(frozen=True)
class IndexOptions:
    """What is indexed."""

    corpus: str | None = option(None, "folder of videos or pictures, a zip of one, or a CSV path,label")


def find_corpus(path: Any, unpack_below: Path | None = None) -> Corpus:
    """Recognise a corpus by its names alone and index it: its videos, or its pictures where it holds no video.

    path: a folder, here or elsewhere (a storage.Remote), a CSV file with the columns path,label, or a zip. A folder one
    level too high is recognised too, and the Corpus says in `root` what its video_ids are relative to.
    unpack_below: folder that a zip is unpacked below; without one its names are only listed.
    Raises CorpusError when there is nothing of the kind, no layout fits, or the corpus contradicts its own lists.
    """
    path = place(path)
    if is_archive(path) and unpack_below:
        path = unpacked(path, unpack_below, VIDEO_SUFFIXES | IMAGE_SUFFIXES | SIDE_SUFFIXES)
    if not isinstance(path, Remote) and path.is_file() and not is_archive(path):
        return _from_table(path)
    names, side, notes, others = _seen(path, VIDEO_SUFFIXES)
    if names:
        corpus = _by_layout(path, names, side)
        if n_pictures := sum(others[suffix] for suffix in IMAGE_SUFFIXES):
            notes.append(f"{counted(n_pictures, 'picture')} beside the videos: not looked at")
    else:
        names, _, notes, others = _seen(path, IMAGE_SUFFIXES)
        if not names:
            seen = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in others.most_common(4)) or "nothing"
            raise CorpusError(f"{path} holds no video ({' '.join(sorted(VIDEO_SUFFIXES))}) and no picture "
                              f"({' '.join(sorted(IMAGE_SUFFIXES))}), seen: {seen}")
        corpus = images(names, path.resolve().name) or _unknown(path, names, side, "picture")
        corpus.root = path
    corpus.notes = notes + corpus.notes
    return corpus


def _seen(path: Any, suffixes: frozenset[str]) -> tuple[list[str], dict[str, Path], list[str], Counter]:
    """(names with these suffixes, side, notes, other suffixes) of a folder, wherever it is, or of a zip."""
    if isinstance(path, Remote):
        return _walk_remote(path, suffixes)
    if is_archive(path):
        return listed(path, suffixes)
    if path.is_dir():
        return walk(path, suffixes)
    raise CorpusError(f"{path} does not exist: CORPUS= must name a folder of videos or pictures, a zip, or a CSV "
                      "path,label")


def _by_layout(path: Path, names: list[str], side: dict[str, Path]) -> Corpus:
    """The first layout that knows the names, here or below lone folders."""
    root, below, beside = path, names, side
    for _ in range(LEVELS_DOWN):
        for layout in LAYOUTS:
            if corpus := layout(below, beside, root.resolve().name):
                corpus.root = root
                return corpus
        tops = {name.partition("/")[0] if "/" in name else "" for name in below}
        lone = tops.pop()
        if tops or not lone:
            break
        root = root / lone
        below = [name[len(lone) + 1:] for name in below]
        beside = {name[len(lone) + 1:]: file for name, file in beside.items() if name.startswith(lone + "/")}
    if inner := sorted({match[1] for name in names if (match := INNER.match(name))}):
        raise CorpusError(f"{path} holds {' and '.join(inner)}: name one corpus at a time, CORPUS={path / inner[0]}")
    if corpus := folders(names, side, path.resolve().name):
        corpus.root = path
        return corpus
    return _unknown(path, names, side)


def _unknown(path: Path, names: list[str], side: dict[str, Path], thing: str = "video") -> Corpus:
    """Raises CorpusError that tells what is there."""
    places = Counter(name.partition("/")[0] + "/" if "/" in name else "its top" for name in names)
    seen = ", ".join(f"{n:,} in {shown(place)}" for place, n in places.most_common(4))
    hint = "; or name the CSV itself" if any(name.endswith(".csv") for name in side) else ""
    if path.resolve().name.lower() in ("celeb-real", "celeb-synthesis", "youtube-real", "original_sequences",
                                       "manipulated_sequences"):
        hint = f"; did you mean CORPUS={path.resolve().parent}?"
    raise CorpusError(f"{path} is laid out in no known way ({counted(len(names), thing)}: {seen}){hint}; "
                      f"known are {KNOWN}")


def walk(root: Path, suffixes: frozenset[str] = VIDEO_SUFFIXES
         ) -> tuple[list[str], dict[str, Path], list[str], Counter]:
    """All files with these suffixes below a folder and the lists beside them: (names, side, notes, other suffixes).

    Links are followed, but a folder is read once, so a link that leads in a circle ends there. Hidden files and
    folders, ._ files of macOS and __MACOSX are skipped. Raises CorpusError at a folder that cannot be read.
    """
    names: list[str] = []
    side: dict[str, Path] = {}
    others: Counter[str] = Counter()
    odd: list[str] = []
    repeated: list[str] = []
    visited: set[tuple[int, int]] = set()
    todo: list[str] = [""]
    links: list[str] = []
    while todo or links:
        # Links last: a folder that lies here goes by its own name, not by that of a link to it.
        place = todo.pop() if todo else links.pop()
        folder = root / place
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited:
                repeated.append(place)
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            raise CorpusError(f"{folder} cannot be read: {error.strerror}; mend its permissions or take it away"
                              ) from None
        for entry in entries:
            name = f"{place}/{entry.name}" if place else entry.name
            suffix = os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            kind = _kind(entry)
            if kind == "folder":
                (links if entry.is_symlink() else todo).append(name)
            elif suffix in suffixes and kind == "file":
                (names if _fits_a_table(name) else odd).append(name)
            else:
                others[suffix] += 1
                if suffix in SIDE_SUFFIXES and kind == "file":
                    side[name] = Path(entry.path)
    notes = []
    if odd:
        notes.append(f"{counted(len(odd), _thing(suffixes))} left out: the name is no UTF-8 or has a line break (e.g. "
                     f"{shown(min(odd))}); rename to use")
    if repeated:
        notes.append(f"{shown(min(repeated))} leads to a folder that was read already, so it is not followed")
    return sorted(names), side, notes, others


def _walk_remote(root: Remote, suffixes: frozenset[str]) -> tuple[list[str], dict[str, Path], list[str], Counter]:
    """As `walk`, for a folder that is elsewhere, with one listing. Raises CorpusError where nothing is there."""
    files = [name for name in root.files()
             if not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))]
    if not files:
        raise CorpusError(f"{root} is not there or is empty: CORPUS= must name a folder of videos (a CSV of labels "
                          "must be a local file)")
    videos = [name for name in files if os.path.splitext(name)[1].lower() in suffixes]
    names = [name for name in videos if _fits_a_table(name)]
    others = Counter(os.path.splitext(name)[1].lower() for name in files)
    side: dict[str, Any] = {name: root / name for name in files
                            if os.path.splitext(name)[1].lower() in SIDE_SUFFIXES}
    return names, side, left_out(len(videos) - len(names), "the name has a line break", _thing(suffixes)), others


def _thing(suffixes: frozenset[str]) -> str:
    return "picture" if suffixes == IMAGE_SUFFIXES else "video"


def _kind(entry: os.DirEntry) -> str:
    """ "file", "folder" or "" (a link into nowhere or onto itself, a socket)."""
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else ""
    except OSError:
        return ""


def _fits_a_table(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\n" not in name and "\r" not in name


def _from_table(path: Path) -> Corpus:
    """A CSV path,label; label 0, 1, real or fake; paths relative to the CSV's folder, or absolute.

    It may have the columns original, the path of the real that a fake was made from; method; target_id, the person
    filmed; source_id, the one whose face a fake wears. A fake without a target_id has that of its original.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise CorpusError(f"{path} is a video: CORPUS= must name a folder of videos or a CSV path,label "
                          f"(`python -m classify.video {path}` judges one video)")
    if is_picture(path):
        raise CorpusError(f"{path} is a picture: CORPUS= must name a folder of pictures or a CSV path,label "
                          f"(`python -m classify.image {path}` judges one picture)")
    folder = os.path.abspath(path.parent)
    lines: dict[Path, tuple[int, int]] = {}
    more: dict[Path, tuple[str, str]] = {}  # method, and path of the original
    people: dict[Path, tuple[str, str]] = {}  # filmed, and giving the face
    doubled: list[tuple[str, ...]] = []
    odd = []
    for number, cells in read_csv(path, ("path", "label"), ("original", "method", "target_id", "source_id")):
        word = cells["label"].strip().lower()
        if word not in LABEL_WORDS:
            raise CorpusError(f"{path}, line {number}: the label is {cells['label']!r}, expected 0, 1, real or fake")
        if not cells["path"]:
            raise CorpusError(f"{path}, line {number}: the path is empty")
        file = Path(os.path.normpath(os.path.join(folder, cells["path"])))
        label = LABEL_WORDS[word]
        if file in lines:
            if lines[file][1] != label:
                raise CorpusError(f"{path}, line {number}: {cells['path']} is {word} here, but line {lines[file][0]} "
                                  "says the opposite")
            doubled.append((cells["path"], cells["path"]))
        elif not _fits_a_table(str(file)):
            odd.append(cells["path"])
        else:
            lines[file] = number, label
            people[file] = cells["target_id"], cells["source_id"] if label else ""
            if label:
                original = cells["original"] and os.path.normpath(os.path.join(folder, cells["original"]))
                more[file] = cells["method"] or "fake", original
    here = {file: label for file, (_, label) in lines.items() if file.is_file()}
    missing = [str(file) for file in lines if file not in here]
    if not here:
        raise CorpusError(f"{path} names {counted(len(missing), 'file')}, of which none exists (e.g. {missing[0]})"
                          if missing else f"{path} names no file that can be used")
    root = Path(folder)
    if not all(file.is_relative_to(root) for file in here):
        root = Path(os.path.commonpath([file.parent for file in here]))
    rows = []
    for file, label in sorted(here.items()):
        method, original = more.get(file, ("", ""))
        target, source = people[file]
        rows.append(row(file.relative_to(root).as_posix(), label, "table", method,
                        target or people.get(Path(original), ("", ""))[0], source,
                        original=Path(os.path.relpath(original, root)).as_posix() if original else ""))
    found = Counter(LABEL_NAMES[entry["label"]] for entry in rows)
    notes = [f"{len(odd)} left out: the name is no UTF-8 or has a line break"] if odd else []
    named = sum(bool(entry["target_id"]) for entry in rows)
    if 0 < named < len(rows):
        notes.append(f"{len(rows) - named:,} of {len(rows):,} have no target_id: each is taken for a person of its own")
    if missing:
        notes.append(f"{counted(len(missing), 'file')} of the table not here (e.g. {missing[0]}): left out")
    return Corpus("table path,label", "table", rows, {name: found[name] for name in LABEL_NAMES}, missing=missing,
                  doubled=doubled, notes=notes, root=root,
                  thing=thing_of(entry["video_id"] for entry in rows))


def same_content(corpus: Corpus) -> list[dict[str, str]]:
    """Rows of tables.COPIES for a corpus of pictures that are here; [] for any other. Reads the ends of the files."""
    if corpus.thing != "picture" or isinstance(corpus.root, Remote) or not corpus.root.is_dir():
        return []
    same_as = copies(corpus.root, [entry["video_id"] for entry in corpus.rows])
    corpus.notes += across(same_as, corpus.rows)
    return [{"video_id": name, "same_as": first} for name, first in same_as.items()]


def grouping(rows: list[dict]) -> str:
    """What a split of these rows can keep whole: "identity", "source" (videos that fakes were made from) or "video"."""
    if any(entry["label"] and entry["target_id"] for entry in rows):
        return "identity"
    return "source" if any(entry["original"] for entry in rows) else "video"


def describe(corpus: Corpus) -> list[str]:
    """What was recognised, in lines for people."""
    counts = []
    for kind, n in corpus.found.items():
        whole = corpus.expected.get(kind)
        counts.append(f"{n:,} of {whole:,} {kind}" if whole else f"{n:,} {kind}")
    line = f"{corpus.title}: {', '.join(counts)}"
    if corpus.listed[1]:
        line += f"; official test list: {corpus.listed[0]:,} of {corpus.listed[1]:,} clips here"
    lines = [line] + [f"note: {note}" for note in corpus.notes]
    if corpus.doubled:
        kept, *copies = corpus.doubled[0]
        lines.append(f"note: {counted(len(corpus.doubled), 'clip')} there more than once, counted once, e.g. "
                     f"{shown(kept)} for {', '.join(map(shown, copies))}")
    return lines


def plan(corpus: Corpus) -> list[str]:
    """What is missing or doubled by name, and what the next stages would do."""
    lines = []
    for word, names in (("missing", corpus.missing), ("doubled", [" = ".join(group) for group in corpus.doubled])):
        lines.append(f"{word}: {len(names):,}" + "".join(f"\n  {shown(name)}" for name in names[:SHOWN])
                     + (f"\n  … and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""))
    fakes = sum(entry["label"] for entry in corpus.rows)
    reals = len(corpus.rows) - fakes
    lines.append(f"would index {counted(len(corpus.rows), corpus.thing)}: {reals:,} real, {fakes:,} fake"
                 + ("" if reals and fakes else " (training needs both)"))
    if corpus.thing == "picture":
        given = {"train", "test"} <= {entry["official"] for entry in corpus.rows}
        return lines + ["would look at each picture as a whole (CROP=face: at the main face)",
                        "would keep the parts given" if given else "would split by picture, copies together"]
    frames = len(corpus.rows) * math.ceil(corpus.clip_s / EVERY_S)
    lines.append(f"would extract about {frames:,} frames (one every {EVERY_S:g} s of clips of about "
                 f"{corpus.clip_s:g} s)")
    lines.append(f"would split by {grouping(corpus.rows)}: {SPLITS[grouping(corpus.rows)]}")
    return lines


def beside(index: Any) -> Path | None:
    """Where a zip is unpacked: beside the index made from it."""
    return None if isinstance(index, Remote) else index.parent / "corpus"


def shown(name: str) -> str:
    """A file name fit for a terminal: what is not printable or no UTF-8 is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def _index(work: stages.Work) -> None:
    """Write OUT/index.csv, and OUT/copies.csv where files have the same content."""
    if not work.values["corpus"]:
        raise CorpusError("corpus path unknown; pass CORPUS=folder (a folder of videos or pictures, a zip, or a CSV "
                          "path,label)")
    out = work.out / "index.csv"
    corpus = find_corpus(work.values["corpus"], beside(out))
    same = same_content(corpus)
    print("\n".join(describe(corpus)))
    if same or (work.out / "copies.csv").is_file():
        write_table(work.out / "copies.csv", same, COPIES)
    write_table(out, corpus.rows, INDEX)
    root = corpus.root
    inside = isinstance(root, Path) and isinstance(work.out, Path) and root.resolve().is_relative_to(work.out.resolve())
    work.finish(len(corpus.rows), root={"inside": root.resolve().relative_to(work.out.resolve()).as_posix()} if inside
                else {"path": str(root if isinstance(root, Remote) else root.resolve())})
    print(f"{out}: {counted(len(corpus.rows), corpus.thing)}")


@command
def main(argv: list[str] | None = None) -> int | None:
    words = sys.argv[1:] if argv is None else argv
    if "--check" not in words:
        return stages.run("index", argv, "Recognise a corpus by its names and write OUT/index.csv. With CORPUS --check "
                                         "only say what is there.", _index)
    parser = argparse.ArgumentParser(prog="python -m extract.corpus", description="Say what a corpus holds.")
    parser.add_argument("corpus", type=place, help="folder of videos or pictures, a zip of one, or a CSV path,label")
    parser.add_argument("--check", action="store_true", help="only say what is there; nothing is written")
    corpus = find_corpus(parser.parse_args(argv).corpus)
    same_content(corpus)
    print("\n".join([*describe(corpus), *plan(corpus)]))
    return None


if __name__ == "__main__":
    sys.exit(main())
