"""`make index`, `make check`: a corpus folder or a CSV of labels to the index, the first table of the pipeline.

    python -m extract.corpus --out OUT --corpus CORPUS      recognise the layout, write OUT/index.csv
    python -m extract.corpus CORPUS --check                 only say what is there and what would be done

No video is decoded. What lies in a folder is found by layouts/walk.py, which pictures are frames of one video by
layouts/frames.py; a module of layouts/ for each known corpus, and class_folders.py for any other, know what the names
mean, layouts/table.py reads a CSV of labels. A zip or tar is unpacked beside the index.
"""
from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.copies import SMALLEST, notes, same_bytes
from extract.decoding.frame_files import LEAST_FRAMES
from extract.decoding.kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES, modality_by_name, suffix_of
from extract.decoding.sampling import MIN_FRAMES
from extract.layouts.archive import is_archive, left_packed, listed, unpacked
from extract.layouts.base import Corpus, counted, left_out, shown
from extract.layouts.celebdf import celeb
from extract.layouts.class_folders import DATASETS, class_folders
from extract.layouts.deeperforensics import deeperforensics
from extract.layouts.deepfakebench import deepfakebench
from extract.layouts.df40 import df40
from extract.layouts.dfd import dfd
from extract.layouts.dfdc import dfdc
from extract.layouts.faceforensics import faceforensics
from extract.layouts.fakeavceleb import fakeavceleb
from extract.layouts.forgerynet import forgerynet
from extract.layouts.frames import GROUPS, group_frames, notes_on
from extract.layouts.kodf import kodf
from extract.layouts.labels import is_no_face
from extract.layouts.lavdf import lavdf
from extract.layouts.several import joined
from extract.layouts.table import read_labels
from extract.layouts.talkingheadbench import talkingheadbench
from extract.layouts.uadfv import uadfv
from extract.layouts.walk import Found, walk
from pipeline import stages
from pipeline.corpora_list import is_corpora_list, read_corpora
from pipeline.errors import CorpusError, command
from pipeline.options import option
from pipeline.storage import Remote, place
from pipeline.tables import COPIES, DEMO_MARK, INDEX, write_table

# The first that knows the names wins; class_folders knows nearly any.
LAYOUTS = (deepfakebench, celeb, faceforensics, dfdc, fakeavceleb, df40, deeperforensics, talkingheadbench, lavdf,
           forgerynet, uadfv, dfd, kodf)
WITH_PICTURES = (df40, forgerynet)  # whose single pictures are rows too; others leave them out
EVERY_S = 3.0    # seconds between frames that --check reckons with, the default of FrameOptions
SHOWN = 5        # names of a kind that --check prints
LEVELS_DOWN = 4  # the folder given and lone folders below it in which a corpus is looked for
SPLITS = {"identity": "no person in two parts", "video": "neither people nor source videos are known",
          "source": "a source video and all fakes of it in one part; people are not known"}
# A known corpus further down than lone folders lead.
INNER = re.compile(r"(.+?)/(?:celeb-(?:real|synthesis)|original_sequences|manipulated_sequences)/", re.I)
CLASS_INSIDE = re.compile(r"[a-z](?:real|fake)|(?:real|fake)[a-z]", re.I)
KNOWN = ("Celeb-DF v1, v2 and ++ (Celeb-real, YouTube-real, Celeb-synthesis), FaceForensics++ (original_sequences, "
         "manipulated_sequences), DFDC (metadata.json or labels.csv) and its preview (dataset.json), FakeAVCeleb, "
         "DF40, DeeperForensics, TalkingHeadBench, LAV-DF, ForgeryNet, UADFV, DFD, KoDF, WildDeepfake, a tree of "
         "DeepfakeBench (dataset_json), folders called "
         "real and fake (of videos, frames of videos, or pictures), a CSV path,label, a zip or tar of any of them")


CORPUS_HELP = ("folder of videos or pictures, a zip or tar of one, a CSV path,label, or a .txt with a folder and a "
               "short name a line, to join corpora")
GROUP_HELP = ("which pictures are the frames of one video: those of a folder, those whose names are alike before a "
              "number (name), or none; auto goes by their names")


@dataclass(frozen=True)
class IndexOptions:
    """What is indexed."""

    corpus: str | None = option(None, CORPUS_HELP)
    group: str = option("auto", GROUP_HELP, GROUPS)


def find_corpus(path: Any, unpack_below: Path | None = None, group: str = "auto", modality: str = "",
                links: Path | None = None) -> Corpus:
    """Recognise a corpus by its names and index it: its videos, or where it holds none its pictures.

    Pictures that are the frames of a video are one row together; other pictures are a row each. Pictures beside video
    files are left out.

    Args:
        path: a folder, here or elsewhere (a storage.Remote), a CSV file with the columns path,label, a zip or tar, or
            a list of such (pipeline.corpora_list).
            A folder one level too high is recognised too; Corpus.root says what the video_ids are relative to.
        unpack_below: folder that an archive is unpacked below; without one its names are only listed.
        group: which pictures are frames of one video, of layouts.frames.GROUPS.
        modality: "image" looks at pictures alone, even beside videos.
        links: folder that becomes the root of a list of corpora, with a link to each; without one its root is the list.

    Raises CorpusError when there is nothing of the kind, no layout fits, most of it cannot be labelled, or the corpus
    contradicts its own lists.
    """
    path = place(path)
    if is_corpora_list(path):
        return _several(path, unpack_below, group, modality, links)
    packed: list[str] = []
    if is_archive(path) and unpack_below:
        path, packed = unpacked(path, unpack_below), left_packed(path, unpack_below)
    if not isinstance(path, Remote) and path.is_file() and not is_archive(path):
        return read_labels(path, group)
    found = _seen(path)
    no_faces = sorted(filter(is_no_face, found.media))
    for name in no_faces:
        del found.media[name]
    files = [name for name in found.names("video") if suffix_of(name) not in IMAGE_SUFFIXES]
    pictures, notes = found.names("image"), packed + found.notes
    if files and modality != "image":
        media, grouping = dict.fromkeys(found.names("video"), "video"), []
        if pictures:
            notes.append(f"{counted(len(pictures), 'picture')} beside the videos: not looked at (e.g. "
                         f"{shown(pictures[0])})")
    else:
        grouped = group_frames(pictures, group)
        if grouped.clips and isinstance(path, Remote):
            raise CorpusError(f"{path} holds frames of videos as pictures, which are read from local folders alone: "
                              "copy them here first, or say GROUP=none if these are single pictures")
        moving = [] if modality == "image" else found.names("video")  # animations
        media = {**dict.fromkeys([*moving, *grouped.clips], "video"), **dict.fromkeys(grouped.alone, "image")}
        grouping = notes_on(grouped, group)
    notes += left_out(len(no_faces), "below a folder of masks, landmarks or the like, which show no faces (e.g. "
                      f"{shown(no_faces[0])})" if no_faces else "",
                      "video" if all(modality_by_name(name) == "video" for name in no_faces) else "picture")
    if not media:
        seen = "; ".join([*found.left_out(), *notes]) or "nothing"
        raise CorpusError(f"{path} holds no video ({' '.join(sorted(VIDEO_SUFFIXES))}) and no picture "
                          f"({' '.join(sorted(IMAGE_SUFFIXES))}), seen: {seen}")
    corpus = _by_layout(path, media, found)
    corpus.notes = notes + corpus.notes + found.left_out()
    corpus.grouping = grouping
    return corpus


def _several(path: Path, unpack_below: Path | None, group: str, modality: str, links: Path | None) -> Corpus:
    """The corpora of a list as one, and below `links` a link to each by its short name."""
    found = dict[str, Corpus]()
    for name, member in read_corpora(path).items():
        if is_corpora_list(member):
            raise CorpusError(f"{path} names {member}, another list: name the corpora themselves")
        found[name] = find_corpus(member, unpack_below / name if unpack_below else None, group, modality)
    demo = any(corpus.dataset == "demo" for corpus in found.values())
    roots = {name: corpus.root.resolve() for name, corpus in found.items()}
    corpus = joined(found)
    corpus.root = path
    if links:
        corpus.root = links
        _link(links, roots, demo)
    return corpus


def _link(folder: Path, roots: dict[str, Path], demo: bool) -> None:
    """Make a folder of links to these roots and nothing else. demo: whether one of them is a drawn corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if not old.is_symlink() and old.name != DEMO_MARK:
            raise CorpusError(f"{old} is in the way: {folder} keeps the links to the corpora; name another OUT=")
        old.unlink()
    for name, root in roots.items():
        (folder / name).symlink_to(root, target_is_directory=True)
    if demo:
        (folder / DEMO_MARK).touch()


def _seen(path: Any) -> Found:
    """What a folder, wherever it is, or an archive holds."""
    if not isinstance(path, Remote):
        if is_archive(path):
            return listed(path)
        if not path.is_dir():
            raise CorpusError(f"{path} does not exist: CORPUS= must name a folder of videos or pictures, a zip or tar, "
                              "or a CSV path,label")
    return walk(path)


def _by_layout(path: Any, media: dict[str, str], found: Found) -> Corpus:
    """The first layout that knows the names, here or below lone folders. media: name -> modality."""
    names = sorted(media)
    videos = {name for name, modality in media.items() if modality == "video"}
    root, start, beside = path, "", found.side
    for _ in range(LEVELS_DOWN):
        inside = [name[len(start):] for name in names]
        for layout in LAYOUTS:
            taken = inside if layout in WITH_PICTURES or len(videos) == len(names) else [
                name for name in inside if start + name in videos]
            if taken and (corpus := layout(taken, beside, root.resolve().name)):
                corpus.root = root
                for entry in corpus.rows:
                    entry["modality"] = media.get(start + entry["video_id"], "video")
                corpus.notes += left_out(len(names) - len(taken), "no frames of a video", "picture")
                _check_labelled(path, corpus, taken)
                return corpus
        tops = {name.partition("/")[0] if "/" in name else "" for name in inside}
        lone = tops.pop()
        if tops or not lone:
            break
        root, start = root / lone, f"{start}{lone}/"
        beside = {name[len(lone) + 1:]: file for name, file in beside.items() if name.startswith(lone + "/")}
    if inner := sorted({match[1] for name in names if (match := INNER.match(name))}):
        raise CorpusError(f"{path} holds {' and '.join(inner)}: name one corpus at a time, CORPUS={path / inner[0]}")
    if corpus := class_folders(media, path.resolve().name):
        corpus.root = path
        _check_labelled(path, corpus, list(media))
        return corpus
    raise _unknown(path, list(media), found.side)


def _check_labelled(path: Any, corpus: Corpus, names: list[str]) -> None:
    """Raises CorpusError where most of what is there got no label."""
    used = {entry["video_id"] for entry in corpus.rows} | {name for group in corpus.doubled for name in group}
    without = [name for name in names if name not in used]
    one_class = len({entry["label"] for entry in corpus.rows}) == 1
    if len(without) * 2 > len(names) - one_class:
        raise CorpusError(f"{path}: {len(without):,} of {counted(len(names), corpus.thing)} cannot be labelled "
                          f"({_places(without)}), only {len(corpus.rows):,} can ({corpus.title}). "
                          f"{_how_to_label(without)}")


def _unknown(path: Any, names: list[str], side: dict[str, Any]) -> CorpusError:
    """An error that says what is there."""
    hint = "; or name the CSV itself" if any(name.endswith(".csv") for name in side) else ""
    if path.resolve().name.lower() in ("celeb-real", "celeb-synthesis", "youtube-real", "original_sequences",
                                       "manipulated_sequences"):
        hint = f"; did you mean CORPUS={path.resolve().parent}?"
    thing = "picture" if all(suffix_of(name) in IMAGE_SUFFIXES for name in names) else "video"
    return CorpusError(f"{path} is laid out in no known way ({counted(len(names), thing)}: {_places(names)}){hint}. "
                       f"{_how_to_label(names)} Known are {KNOWN}")


def _places(names: list[str]) -> str:
    """ "10 in a/, 6 in b/": where these files lie."""
    places = Counter(name.partition("/")[0] + "/" if "/" in name else "" for name in names)
    more = f" and {len(places) - 4:,} more folders" if len(places) > 4 else ""
    return ", ".join(f"{n:,} in {shown(place)}" if place else f"{n:,} at its top"
                     for place, n in places.most_common(4)) + more


def _how_to_label(names: list[str]) -> str:
    inside = sorted({part for name in names for part in name.split("/")[:-1] if CLASS_INSIDE.search(part)})
    why = f" {shown(inside[0])}/ has none: words end at what is no letter." if inside else ""
    return ("A folder tells the class where its name holds the word real or fake (or original, manipulated, …)."
            f"{why} Rename or sort the folders, or list the files in a CSV path,label.")


def same_content(corpus: Corpus) -> list[dict[str, str]]:
    """Return rows of tables.COPIES for a corpus that is here; [] for any other. Reads files of equal size only."""
    if isinstance(corpus.root, Remote) or not corpus.root.is_dir():
        return []
    same_as = same_bytes(corpus.root, [entry["video_id"] for entry in corpus.rows],
                         SMALLEST if corpus.thing == "video" else 0)
    corpus.notes += notes(same_as, corpus.rows, corpus.thing)
    return [{"video_id": name, "same_as": first, "how": "bytes"} for name, first in same_as.items()]


def grouping(rows: list[dict]) -> str:
    """Return what a split of these rows can keep whole: "identity", "source" (videos that fakes were made from) or
    "video"."""
    if any(entry["label"] and entry["target_id"] for entry in rows):
        return "identity"
    return "source" if any(entry["original"] for entry in rows) else "video"


def describe(corpus: Corpus) -> list[str]:
    """Return what was recognised, in lines for people."""
    counts = []
    for kind, n in corpus.found.items():
        whole = corpus.expected.get(kind)
        counts.append(f"{n:,} of {whole:,} {kind}" if whole else f"{n:,} {kind}")
    line = f"{corpus.title}: {', '.join(counts)}"
    if corpus.listed[1]:
        line += f"; official test list: {corpus.listed[0]:,} of {corpus.listed[1]:,} clips here"
    lines = [line, *corpus.labels, *(f"frames: {note}" for note in corpus.grouping),
             *(f"note: {note}" for note in corpus.notes)]
    if corpus.doubled:
        kept, *same = corpus.doubled[0]
        lines.append(f"note: {counted(len(corpus.doubled), 'clip')} there more than once, counted once, e.g. "
                     f"{shown(kept)} for {', '.join(map(shown, same))}")
    return lines


def plan(corpus: Corpus) -> list[str]:
    """Return what is missing or doubled by name, and what the next stages would do."""
    lines = [] if corpus.missing or corpus.doubled else ["nothing is missing or doubled"]
    doubled = [" = ".join(group) for group in corpus.doubled]
    for what, names in (("missing, listed but not here", corpus.missing), ("doubled, the first is used", doubled)):
        if names:
            lines += [f"{what}: {len(names):,}", *(f"  {shown(name)}" for name in names[:SHOWN])]
            lines += [f"  … and {len(names) - SHOWN:,} more"] * (len(names) > SHOWN)
    fakes = sum(entry["label"] for entry in corpus.rows)
    reals = len(corpus.rows) - fakes
    lines.append(f"would index {counted(len(corpus.rows), corpus.thing)}: {reals:,} real, {fakes:,} fake"
                 + ("" if reals and fakes else " (training needs both)"))
    if corpus.thing == "picture":
        lines.append("would look at each picture as a whole (CROP=face: at the main face)")
    elif corpus.grouping:
        lines.append(f"would look at {LEAST_FRAMES} frames of each video, evenly spread, or at all of them where it "
                     "has fewer")
    else:
        frames = len(corpus.rows) * max(math.ceil(corpus.clip_s / EVERY_S), MIN_FRAMES)
        lines.append(f"would extract about {frames:,} frames (one every {EVERY_S:g} s of clips of about "
                     f"{corpus.clip_s:g} s, at least {MIN_FRAMES} of each)")
    rule = grouping(corpus.rows)
    if given_parts(corpus.rows):
        lines.append("would keep the parts given by the folders (train, test)")
    elif corpus.thing == "picture":
        lines.append("would split by picture, copies together")
    else:
        lines.append(f"would split by {rule}: {SPLITS[rule]}")
    return lines


def given_parts(rows: list[dict]) -> bool:
    """Whether folders sort these rows into train and test. (Official lists of videos share people: they are not
    followed unasked.)"""
    return ({"train", "test"} <= {entry["official"] for entry in rows}
            and {entry["dataset"] for entry in rows} <= DATASETS.keys())


def links_beside(index: Any) -> Path | None:
    """Return the folder of links to the corpora of a list, beside the index made from it."""
    return None if isinstance(index, Remote) else index.parent / "corpora"


def beside(index: Any) -> Path | None:
    """Return where an archive is unpacked: beside the index made from it."""
    return None if isinstance(index, Remote) else index.parent / "corpus"


def _index(work: stages.Work) -> None:
    """Write OUT/index.csv, and OUT/copies.csv where files have the same content."""
    if not work.values["corpus"]:
        raise CorpusError("corpus path unknown; pass CORPUS=folder (a folder of videos or pictures, a zip or tar, or a "
                          "CSV path,label)")
    out = work.out / "index.csv"
    corpus = find_corpus(work.values["corpus"], beside(out), work.values["group"], links=links_beside(out))
    if corpus.dataset == "corpora" and not corpus.root.is_dir():
        raise CorpusError("a list of corpora needs an OUT on this machine, where it keeps links to them")
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
    """Run the command; return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    if "--check" not in words:
        return stages.run("index", argv, "Recognise a corpus by its names and write OUT/index.csv. With CORPUS --check "
                                         "only say what is there.", _index)
    parser = argparse.ArgumentParser(prog="python -m extract.corpus", description="Say what a corpus holds.")
    parser.add_argument("corpus", type=place, help=CORPUS_HELP)
    parser.add_argument("--group", choices=GROUPS, default="auto", help=GROUP_HELP)
    parser.add_argument("--check", action="store_true", help="only say what is there; nothing is written")
    arguments = parser.parse_args(argv)
    corpus = find_corpus(arguments.corpus, group=arguments.group)
    if corpus.dataset == "corpora":
        corpus.notes.append("files with the same content in several corpora are looked for by make index")
    same_content(corpus)
    print("\n".join([*describe(corpus), *plan(corpus)]))
    return None


if __name__ == "__main__":
    sys.exit(main())
