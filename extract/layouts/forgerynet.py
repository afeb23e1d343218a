"""ForgeryNet, from its lists of videos and pictures.

    <path> <0 or 1> <3 classes> <16 classes>                        image_list.txt
    <n> <path> <n segments> <0 or 1> <3 classes> <16 classes>       video_list.txt; segments are two numbers each

1 is fake. The folder of a method has a number: fakes 1 to 15, reals 16 (RAVDESS), 17 (CREMA-D), 18 (AVSpeech) and 19
(VoxCeleb). The last column numbers reals otherwise, so the folder names the method. Nothing says who is in a clip.
"""
from __future__ import annotations

import re
from collections import Counter
from typing import Any, Iterator

from extract.layouts.base import Corpus, Side, clip_key, clip_stem, left_out, read_text, row, word
from extract.layouts.labels import part_of
from pipeline.errors import CorpusError

EXPECTED = {"real videos": 99_630, "fake videos": 121_617, "real images": 1_438_201, "fake images": 1_457_861}  # paper
LISTS = re.compile(r"(image|video)_list\w*\.txt", re.I)
LINE = re.compile(r"\s*(?:\d+\s+)?(\S*/\S+)(?:\s+\S+)*?\s+([01])\s+([012])\s+(\d{1,2})\s*$")
METHODS, REALS = range(1, 16), range(16, 20)


def forgerynet(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Return the rows of ForgeryNet, any part of it, videos or pictures.

    Raises CorpusError when a list contradicts a folder, or a line is malformed.
    """
    lists = [file for file in sorted(side) if LISTS.fullmatch(file.rpartition("/")[2])]
    lists = [file for file in lists if LINE.match(next((line for line in _lines(side[file])), (0, ""))[1])]
    if not lists:
        return None
    here = {clip_key(name, nested=False): name for name in names}
    rows, missing, kinds = dict[str, dict[str, Any]](), list[str](), Counter[str]()
    for file in lists:
        kind = LISTS.fullmatch(file.rpartition("/")[2])[1].lower()  # type: ignore[index]
        before: list[str] = []  # what comes before a path of the list here; found with the first that is here
        for number, line in _lines(side[file]):
            if not (match := LINE.match(line)):
                raise CorpusError(f"{side[file]}, line {number}: expected a path and three labels, got {line[:80]!r}")
            key = clip_key(match[1], nested=False)
            before = before or [found[:-len(key)] for found in here if found.endswith("/" + key) or found == key][:1]
            if not (name := here.get((before or [""])[0] + key)):
                missing.append(match[1])
                continue
            rows[name] = _row(name, int(match[2]), f"{side[file]}, line {number}")
            kinds[f"{word(int(match[2]))} {kind}s"] += 1
    return Corpus("ForgeryNet", "ForgeryNet", [rows[name] for name in sorted(rows)],
                  {kind: kinds[kind] for kind in EXPECTED if kinds[kind]}, EXPECTED, missing=missing,
                  notes=left_out(len(names) - len(rows), "in no list of ForgeryNet"))


def _lines(path: Any) -> Iterator[tuple[int, str]]:
    """(number, line) of those that are not blank."""
    return ((number, line) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip())


def _row(name: str, label: int, where: str) -> dict[str, Any]:
    numbers = [int(part) for part in name.split("/")[:-1] if re.fullmatch(r"1?\d", part)]
    number = next((n for n in numbers if n in METHODS or n in REALS), None)
    if number is not None and (number in METHODS) != bool(label):
        raise CorpusError(f"{where}: calls {name} {word(label)}, but folder {number} holds {word(1 - label)}s")
    method = f"method {number}" if number is not None else clip_stem(name.split("/")[-2])
    return row(name, label, "ForgeryNet", method if label else "", official=part_of(name.rpartition("/")[0]))
