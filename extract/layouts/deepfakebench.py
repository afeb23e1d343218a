"""A tree that DeepfakeBench preprocessed, from its dataset json: the frames, their labels and the parts of the split.

    preprocessing/dataset_json/Celeb-DF-v2.json            {dataset: {label: {part: {video: {label, frames}}}}}
    datasets/rgb/Celeb-DF-v2/Celeb-real/frames/id0_0000/000.png

Of FaceForensics++ a level c23, c40 or raw lies between part and video. People and originals are those that the layouts
of Celeb-DF and FaceForensics++ read from the names. Its json puts some videos into several parts (all of DFD, the test
clips of Celeb-DF): they are test here, so that nothing that is trained on is tested.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Iterator

from extract.layouts.base import Corpus, Side, left_out, read_json, row, shown
from extract.layouts.celebdf import celeb
from extract.layouts.faceforensics import faceforensics

FOLDER = "dataset_json"
PARTS = ("test", "val", "train")  # the first that names a video has it
COMPRESSIONS = ("raw", "c23", "c40")
METHODS = {"FF-DF": "Deepfakes", "FF-F2F": "Face2Face", "FF-FS": "FaceSwap", "FF-NT": "NeuralTextures",
           "FF-FH": "FaceShifter", "FF-SH": "FaceShifter", "DFD_fake": "DeepFakeDetection"}
TAIL = 3   # folders of a video's path that tell it from others, at least
NEIGHBOURS = (celeb, faceforensics)  # whose names tell people


def label_of(name: str) -> int | None:
    """Return the class that a label of DeepfakeBench means: 0 for names that end in real, 1 for fakes, else None."""
    if name.lower().endswith("real"):
        return 0
    return 1 if name in METHODS or name.lower().endswith(("fake", "fakea", "fakeb")) else None


def deepfakebench(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """The videos that the json files below a folder dataset_json name, as folders of frames.

    Raises CorpusError where a json cannot be read.
    """
    lists = [name for name in sorted(side) if name.lower().endswith(".json") and FOLDER in name.split("/")[:-1]]
    entries = [entry for name in lists for entry in _entries(read_json(side[name]))]
    if not entries:
        return None
    find, people = _by_tail(names), _neighbours(names)
    rows: dict[str, dict[str, Any]] = {}
    parts: dict[str, set[str]] = defaultdict(set)
    missing, unlabelled, contradicting = set[str](), set[str](), set[str]()
    for dataset, name, part, frame in entries:
        place = frame.replace("\\", "/").rpartition("/")[0]
        label = label_of(name)
        if label is None:
            unlabelled.add(name)
        elif not (video_id := find(place)):
            missing.add(place)
        elif rows.get(video_id, {"label": label})["label"] != label:
            contradicting.add(video_id)
        else:
            known = people.get(video_id, {})
            method = known.get("method") or METHODS.get(name, name)
            rows[video_id] = row(video_id, label, dataset, method if label else "", known.get("target_id", ""),
                                 known.get("source_id", ""), known.get("original", ""))
            parts[video_id].add(part)
    for video_id in contradicting:
        rows.pop(video_id, None)
    for video_id, entry in rows.items():
        entry["official"] = next(part for part in PARTS if part in parts[video_id])
    several = sum(len(own) > 1 for video_id, own in parts.items() if video_id in rows)
    counts = Counter(f"{entry['dataset']} {entry['method'] or 'real'}" for entry in rows.values())
    notes = left_out(len(set(names) - rows.keys()), "named by no dataset json", "video")
    if several:
        notes.append(f"{several:,} videos stand in several parts of the json: they count for test, else for val")
    if unlabelled:
        notes.append(f"labels of which it is not known what they mean: {', '.join(map(shown, sorted(unlabelled)))}")
    if contradicting:
        notes.append(f"{len(contradicting):,} videos are real and fake, so left out (e.g. {min(contradicting)})")
    datasets = {entry["dataset"] for entry in rows.values()}
    return Corpus("a tree of DeepfakeBench", datasets.pop() if len(datasets) == 1 else "DeepfakeBench",
                  [rows[name] for name in sorted(rows)], dict(sorted(counts.items())), missing=sorted(missing),
                  notes=notes)


def _entries(content: Any) -> Iterator[tuple[str, str, str, str]]:
    """Dataset, label, part and a frame of each video of a json; nothing of one with another grammar."""
    for dataset, labels in content.items() if isinstance(content, dict) else ():
        for name, parts in labels.items() if isinstance(labels, dict) else ():
            for part, videos in parts.items() if isinstance(parts, dict) else ():
                if part not in PARTS or not isinstance(videos, dict):
                    continue
                levels = [videos[level] for level in COMPRESSIONS if isinstance(videos.get(level), dict)]
                for video in (info for level in levels or [videos] for info in level.values()):
                    frames = video.get("frames") if isinstance(video, dict) else None
                    if isinstance(frames, list) and frames and isinstance(frames[0], str):
                        yield str(dataset), str(video.get("label", name)), part, frames[0]


def _by_tail(names: list[str]):
    """A function from a folder of frames, wherever it was when the json was written, to its name here, or ""."""
    tails: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        folders = name.split("/")
        for n in range(min(TAIL, len(folders)), len(folders) + 1):
            tails[tuple(folders[-n:])].append(name)

    def find(place: str) -> str:
        folders = [part for part in place.split("/") if part not in ("", ".")]
        for n in range(len(folders), 0, -1):
            if found := tails.get(tuple(folders[-n:])):
                return found[0] if len(found) == 1 else ""
        return ""

    return find


def _neighbours(names: list[str]) -> dict[str, dict[str, Any]]:
    """video_id -> row, as the layouts of known corpora read the names below their folders."""
    found: dict[str, dict[str, Any]] = {}
    places = {name[:at] for name in names for top in ("Celeb-real/", "Celeb-synthesis/", "YouTube-real/",
                                                      "original_sequences/", "manipulated_sequences/")
              if (at := name.find(top)) >= 0}
    for place in places:
        below = [name[len(place):] for name in names if name.startswith(place)]
        for layout in NEIGHBOURS:
            corpus = layout(below, {}, place.rstrip("/").rpartition("/")[2])
            for entry in corpus.rows if corpus else ():
                original = place + entry["original"] if entry["original"] else ""
                found[place + entry["video_id"]] = {**entry, "original": original}
    return found
