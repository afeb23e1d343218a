"""LAV-DF, from its metadata.json: a list, with the pictures, the voice or both changed for a part of a clip.

    [{"file": "test/000001.mp4", "n_fakes": 1, "modify_video": true, "modify_audio": false, "split": "test",
      "original": "test/000000.mp4"}, …]

A clip whose voice alone was changed counts as real: its pictures are. Nothing says who is in a clip.
"""
from __future__ import annotations

from typing import Any

from extract.layouts.base import Corpus, Side, clip_key, left_out, read_json, row
from pipeline.errors import CorpusError

EXPECTED = {"unmodified": 36_431, "modified": 99_873}  # of its paper
FILES = ("metadata.json", "metadata.min.json")
PARTS = {"train": "train", "dev": "val", "val": "val", "test": "test"}
FLAGS = ("modify_video", "modify_audio")


def lavdf(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Return the rows of LAV-DF, any subset of it.

    Raises CorpusError when an entry of metadata.json is malformed or contradicts itself.
    """
    lists = [(file, read_json(side[file])) for file in sorted(side) if file.rpartition("/")[2].lower() in FILES]
    lists = [(file, content) for file, content in lists if _is_lavdf(content)]
    if not lists:
        return None
    file, content = lists[0]
    place = file[:file.rfind("/") + 1]
    here = {clip_key(name, nested=False): name for name in names}
    rows, missing, modified, voices = dict[str, dict[str, Any]](), list[str](), 0, 0
    for number, entry in enumerate(content):
        where = f"{side[file]}, entry {number}"
        if not isinstance(entry, dict) or not entry.get("file") or not all(
                isinstance(entry.get(flag), bool) for flag in FLAGS):
            raise CorpusError(f"{where}: expected file, modify_video and modify_audio, got {str(entry)[:80]}")
        video, audio = (entry[flag] for flag in FLAGS)
        if "n_fakes" in entry and bool(entry["n_fakes"]) != (video or audio):
            raise CorpusError(f"{where}: {entry['file']} has {entry['n_fakes']} fake segments, but modify_video is "
                              f"{video} and modify_audio {audio}")
        if not (name := here.get(clip_key(place + entry["file"], nested=False))):
            missing.append(place + entry["file"])
            continue
        modified += video or audio
        voices += audio and not video
        original = entry.get("original") or ""
        rows[name] = row(name, int(video), "LAV-DF", ("video and audio" if audio else "video") if video else "",
                         original=here.get(clip_key(place + original, nested=False), place + original)
                         if original and (video or audio) else "",
                         official=PARTS.get(str(entry.get("split")).lower(), ""))
    notes = left_out(len(names) - len(rows), "not in metadata.json")
    if voices:
        notes.append(f"{voices:,} whose voice alone was changed count as real")
    if modified > voices:
        notes.append("the fakes are fake for a part of their time only: frames between may be real")
    return Corpus("LAV-DF", "LAV-DF", [rows[name] for name in sorted(rows)],
                  {"unmodified": len(rows) - modified, "modified": modified}, EXPECTED, missing=missing, notes=notes,
                  clip_s=9.0)


def _is_lavdf(content: Any) -> bool:
    """Whether this metadata.json is that of LAV-DF: other corpora have files of that name too."""
    return isinstance(content, list) and any(isinstance(entry, dict) and {"file", *FLAGS} & entry.keys() == {
        "file", *FLAGS} for entry in content)
