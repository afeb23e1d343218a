"""DF40, from the folders of its 40 methods.

    simswap/ff/frames/000_003/*.png     clip 000 of FaceForensics++ with the face of 003; also DF40_train/simswap/…
    simswap/cdf/id1_id2_0007.mp4        clip 7 of person 1 of Celeb-DF with the face of person 2
    heygen/{fake,real}/…                nine methods bring reals of their own
    e4e/cdf/Celeb-real/inversions/…     edited pictures of Celeb-DF

It holds no other reals: those of FaceForensics++ and Celeb-DF are meant. People and originals are written with the name
of their corpus ("FaceForensics++/000"), so that a list of corpora (several.py) keeps them with that corpus.
"""
from __future__ import annotations

import re
from collections import Counter
from typing import Any

from extract.layouts.base import CELEB_DF, FACE_FORENSICS, Corpus, Side, clip_stem, left_out, row, without_copies
from extract.layouts.faceforensics_lists import person

METHODS = {name.lower(): name for name in (
    "fsgan faceswap simswap inswap blendface uniface mobileswap e4s facedancer deepfacelab "
    "fomm facevid2vid wav2lip MRAA one_shot_free pirender tpsm lia danet sadtalker mcnet hyperreenact heygen "
    "VQGAN StyleGAN2 StyleGAN3 StyleGANXL sd2.1 ddim RDDM pixart DiT SiT MidJourney whichfaceisreal "
    "CollabDiff e4e stargan starganv2 styleclip").split()}
SPELLINGS = {"inswapper": "inswap", "face_vid2vid": "facevid2vid", "fs_vid2vid": "facevid2vid",
             "oneshot": "one_shot_free", "dagan": "danet", "whichisreal": "whichfaceisreal", "ddpm": "ddim",
             "midjourney6": "MidJourney", "stylegan-xl": "StyleGANXL", "sd-2.1": "sd2.1"}
SOURCES = {"ff": FACE_FORENSICS, "cdf": CELEB_DF}
FF = re.compile(r"(\d{3})(?:_(\d{3}))?(?:_|$)")
CDF = re.compile(r"(id\d+)(?:_(id\d+))?_(\d{4})(?:_|$)", re.I)


def df40(names: list[str], side: Side, folder: str = "") -> Corpus | None:
    """Return the rows of DF40's test or training set or both, as frames, videos or pictures."""
    placed = {name: place for name in names if (place := _place(name))}
    if not any(domain in SOURCES for _, domain in placed.values()) and "df40" not in folder.lower():
        return None
    if len(placed) * 2 < len(names):
        return None
    kept, doubled = without_copies(list(placed))
    rows = [_row(name, *placed[name]) for name in kept]
    found = {"methods": len({entry["method"] for entry in rows if entry["label"]}),
             **Counter("real" if not entry["label"] else "fake" for entry in rows)}
    notes = left_out(len(names) - len(placed), "in the folder of no method of DF40")
    strange = [name for name, entry in zip(kept, rows) if placed[name][1] in SOURCES and not entry["target_id"]]
    if strange:
        notes.append(f"{len(strange):,} names tell no person (e.g. {strange[0]}): each counts as a person of its own")
    notes.append("its other reals are those of FaceForensics++ and Celeb-DF: name them together in a list of corpora")
    return Corpus("DF40", "DF40", rows, found, {"methods": len(METHODS)}, doubled=doubled, notes=notes)


def _place(name: str) -> tuple[str, str] | None:
    """(method, ff, cdf, fake or real) of a file, None outside the folders of methods."""
    parts = name.split("/")[:-1] + [""]
    for first, second in zip(parts, parts[1:]):
        method = METHODS.get(SPELLINGS.get(first.lower(), first).lower())
        if method and (second.lower() in SOURCES or second.lower() in ("fake", "real")):
            return method, second.lower()
    return None


def _row(name: str, method: str, domain: str) -> dict[str, Any]:
    if domain == "real":
        return row(name, 0, "DF40")
    # The name of a video, or for single pictures that of the folder they lie in.
    match = None
    for stem in (clip_stem(name), name.split("/")[-2]) if domain in SOURCES else ():
        match = match or (FF if domain == "ff" else CDF).match(stem)
    if not match:
        return row(name, 1, "DF40", method)
    world, target, source = SOURCES[domain], match[1].lower(), (match[2] or "").lower()
    clip = target if domain == "ff" else f"{target}_{match[3]}"
    return row(name, 1, "DF40", method, f"{world}/{person(target)}", source and f"{world}/{person(source)}",
               f"{world}/{clip}")
