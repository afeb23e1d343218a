"""Which pictures of a corpus are frames of one video, from their names alone.

    real/v01/0001.png     by folder: a folder per video with numbered frames
    real/v01_0001.jpg     by name: several videos in one folder, told apart by what comes before the number

GROUP=auto does both where the names look like it and says so; `folder`, `name` and `none` decide instead. A folder that
is a class or a part itself (real/0001.jpg) holds pictures, not a video.
"""
from __future__ import annotations

import contextlib
import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from extract.decoding.frame_files import SAME_SHAPE, frames_among, numbers_of, shape_of
from extract.decoding.kinds import IMAGE_SUFFIXES, VIDEO_SUFFIXES, suffix_of
from extract.layouts.labels import CONTAINERS, FAKE_WORDS, PART_WORDS, REAL_WORDS, told_by, words_of

GROUPS = ("auto", "folder", "name", "none")
MOST_FRAMES = 3000     # in a folder whose name does not say that it is a video; more are a collection of pictures
MOST_IN_NAMES = 0.8    # share of the pictures of a folder that must be in groups by name
MOST_FACES = 8         # numbers of faces behind that of a frame
SHARD = 20             # pictures a folder from which numbers that never repeat across folders are running numbers
# Folders that are named like clips: numbers, pairs of FaceForensics++, Celeb-DF, actors, or a video file.
NAMED = re.compile(r"\d+([_-]\d+)*|id\d+(_id\d+)?_\d+.*|\d+(_\d+)?__.+|.*(video|vid|clip|seq|sequence|scene|shot|movie|"
                   r"track)[ _-]?\d+", re.I)
ONE_EACH = re.compile(r"id\d+(_id\d+)?_\d+", re.I)  # a whole name of Celeb-DF has no frame number behind it
# What cameras and scripts put before a running number: no name of a video.
GENERIC = frozenset("img image images pic picture photo photos face faces frame frames dsc dscn dscf dcim pxl mvimg "
                    "screenshot p seed sample samples crop output out res result file untitled".split())
CLASSES = REAL_WORDS | FAKE_WORDS | PART_WORDS.keys()
PLACES = frozenset(("celeb-real", "youtube-real", "celeb-synthesis", "original_sequences", "manipulated_sequences",
                    "youtube", "actors"))


@dataclass
class Grouped:
    """clips: name of a video -> its frames in order. alone: pictures that belong to none. unused: pictures in a folder
    of frames that are no frames. sure: whether the names leave no doubt."""

    clips: dict[str, list[str]] = field(default_factory=dict)
    alone: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)  # "folder", "name" -> clips
    sure: bool = True


def group_frames(names: list[str], how: str = "auto", only_sure: bool = False) -> Grouped:
    """Sort pictures into the frames of videos and pictures by themselves.

    Args:
        names: pictures, relative to the corpus, with /.
        how: one of GROUPS.
        only_sure: leave alone what only looks as if it were frames.
    """
    found = Grouped()
    if how == "none":
        found.alone = sorted(names)
        return found
    inside: dict[str, list[str]] = defaultdict(list)
    for name in names:
        inside[name.rpartition("/")[0]].append(name)
    told = told_by(inside)
    tops = {folder for folder in inside if _is_top(folder, told[folder].depth)}
    by_folder = _by_folder(inside, tops, how)
    for folder, pictures in sorted(inside.items()):
        sure = by_folder.get(folder)
        if how != "name" and sure is not None and (sure or not only_sure):
            found.clips[folder] = frames_among(pictures)
            found.unused += sorted(set(pictures) - set(found.clips[folder]))
            found.by["folder"] += 1
            found.sure &= sure or how == "folder"
        elif how != "folder" and (clips := _by_name(pictures, how == "name", only_sure)):
            found.clips.update(clips)
            found.alone += sorted(set(pictures) - {name for frames in clips.values() for name in frames})
            found.by["name"] += len(clips)
            found.sure &= how == "name"
        else:
            found.alone += sorted(pictures)
    _unnest(found)
    return found


def clips_below(root: Path, names: list[str]) -> list[str]:
    """Return the clips that these pictures are the frames of, relative to `root`; "" is `root` itself.

    names: pictures, relative to the folder `root`, with /.
    """
    top = root.resolve().name
    is_class = set(words_of(top.lower())) <= CLASSES and not re.search(r"\d", top)
    if not is_class and not NAMED.fullmatch(top) and suffix_of(top) not in VIDEO_SUFFIXES:
        top = "clip_1"  # whoever names a folder called frames or real_person means what is in it
    found = group_frames([f"{top}/{name}" for name in names])
    return sorted(clip.removeprefix(top).removeprefix("/") for clip in found.clips)


def is_clip(folder: Path) -> bool:
    """Whether a folder itself is a clip: it holds the numbered frames of one."""
    with contextlib.suppress(OSError), os.scandir(folder) as scan:
        return "" in clips_below(folder, [entry.name for entry in scan if suffix_of(entry.name) in IMAGE_SUFFIXES
                                          and not entry.name.startswith(".")])
    return False


def notes_on(found: Grouped, how: str) -> list[str]:
    """Return lines for people: how pictures were grouped, and what decides otherwise."""
    if not found.clips:
        return []
    clip, frames = next(iter(found.clips.items()))
    n = sum(map(len, found.clips.values()))
    ways = " and ".join({"folder": "by folder", "name": "by file name"}[way] for way in found.by)
    first, last = (os.path.basename(name) for name in (frames[0], frames[-1]))
    line = (f"{n:,} pictures are frames of {len(found.clips):,} videos, grouped {ways} (e.g. {clip}: {len(frames):,} "
            f"frames, {first} to {last})")
    if not found.sure:
        line += ("; this is a guess from their names: GROUP=none takes each picture by itself, GROUP=folder makes each "
                 "folder a video, GROUP=name groups by what comes before the number")
    lines = [line]
    if found.alone:
        lines.append(f"{len(found.alone):,} pictures are no frames of a video: each is a row of its own "
                     f"(e.g. {found.alone[0]})")
    if found.unused:
        lines.append(f"{len(found.unused):,} pictures in folders of frames left out: they are not numbered like the "
                     f"frames (e.g. {found.unused[0]})")
    return lines


def _unnest(found: Grouped) -> None:
    """Name a video by its frames instead of its folder where that folder holds more than them.

    Crops are kept in a folder of the video's name, so no name may be a folder of another one.
    """
    above = {folder for name in [*found.clips, *found.alone] for folder in _folders_of(name)}
    for clip in above & found.clips.keys():
        frames = found.clips.pop(clip)
        match = re.fullmatch(r"(.*?)\d+", _stem(frames[0]))
        pattern = f"{clip}/{match[1]}*{os.path.splitext(frames[0])[1]}" if match else ""
        alike = [name for name in frames if match and re.fullmatch(
            re.escape(pattern).replace(r"\*", r"\d+"), name)]
        if alike:
            found.clips[pattern] = alike
        found.alone += sorted(set(frames) - set(alike))


def _folders_of(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _is_top(folder: str, decides: int) -> bool:
    """Whether a folder is a class, a part or a container by itself, so that its pictures are no one video's."""
    parts = folder.split("/") if folder else []
    if not parts or decides == len(parts) - 1:
        return True
    last = parts[-1].lower()
    words = set(words_of(last))
    if last in CONTAINERS or last in PLACES:
        return True
    # below fake/ a folder fake_001 is a clip's, but fake/ and train/ are not
    return bool(words) and words <= CLASSES and (decides < 0 or not re.search(r"\d", last))


def _by_folder(inside: dict[str, list[str]], tops: set[str], how: str) -> dict[str, bool]:
    """Folder -> whether it surely is one video, for folders that look like one."""
    if how == "folder":
        return {folder: True for folder in inside if folder not in tops}
    looks: dict[str, bool] = {}
    siblings: dict[str, list[str]] = defaultdict(list)
    for folder, pictures in inside.items():
        if folder in tops or not _numbered(pictures):
            continue
        above, _, last = folder.rpartition("/")
        sure = (bool(NAMED.fullmatch(last)) or suffix_of(last) in VIDEO_SUFFIXES
                or above.rpartition("/")[2].lower() in CONTAINERS)
        if sure or 2 <= len(pictures) <= MOST_FRAMES:
            looks[folder] = sure
            siblings[above].append(folder)
    for folders in siblings.values():
        if len(folders) > 1 and _run_on([inside[folder] for folder in folders]):
            for folder in folders:
                del looks[folder]
    return looks


def _numbered(pictures: list[str]) -> bool:
    """Whether the names of nearly all are alike but for a running number at the end, perhaps with one of a face behind
    it (frame_0012.png, 0012_1.png). Numbers before it tell videos apart, not frames."""
    shapes = Counter(shape_of(_stem(name)) for name in pictures)
    shape, n = shapes.most_common(1)[0]
    if not shape or n < SAME_SHAPE * len(pictures):
        return False
    columns = list(zip(*(numbers_of(name) for name in pictures if shape_of(_stem(name)) == shape)))
    *before, last = [len(set(column)) for column in columns]
    if before and before[-1] > 1 and last <= MOST_FACES and all(
            re.search(r"\D\d\d?$", _stem(name)) for name in pictures):
        last = before.pop()
    return set(before) <= {1} and (last > 1 or len(pictures) == 1)


def _run_on(folders: list[list[str]]) -> bool:
    """Whether numbers go on from folder to folder: 00000/ to 00999.png, 01000/ from 01000.png. No video begins anew."""
    n = sum(map(len, folders))
    return n >= SHARD * len(folders) and len({numbers_of(name) for names in folders for name in names}) == n


def _by_name(pictures: list[str], forced: bool, only_sure: bool) -> dict[str, list[str]]:
    """Name of a video -> its frames, for pictures of one folder; {} where their names do not tell videos apart."""
    if only_sure:
        return {}
    groups: dict[str, list[str]] = defaultdict(list)
    for name in pictures:
        match = re.fullmatch(r"(.*\D)(\d{1,7})", _stem(name))
        if not match or not forced and (set(words_of(match[1])) <= GENERIC | CLASSES and not re.search(r"\d", match[1])
                                        or ONE_EACH.fullmatch(_stem(name))):
            continue
        above, slash, _ = name.rpartition("/")
        groups[f"{above}{slash}{match[1]}*{os.path.splitext(name)[1]}"].append(name)
    several = [names for names in groups.values() if len(names) > 1]
    if not forced and (len(several) < 2 or sum(map(len, several)) < MOST_IN_NAMES * len(pictures)):
        return {}
    return {clip: sorted(names, key=lambda name: (numbers_of(name), name)) for clip, names in groups.items()}


def _stem(name: str) -> str:
    return os.path.splitext(os.path.basename(name))[0]
