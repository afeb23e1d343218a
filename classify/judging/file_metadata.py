"""What a file says of itself: metadata of pictures and videos, for people to read beside a verdict.

Nothing here enters a score. Metadata is written by whoever last saved the file: it is easily removed and easily forged,
so its absence means nothing and its presence is a claim. Where a picture was taken is never
shown, only whether the file says it.
"""
from __future__ import annotations

import contextlib
import json
import mimetypes
import os
from pathlib import Path
from typing import Any

from extract.decoding.frame_files import files_of
from extract.decoding.hdr import transfer_of
from extract.decoding.image import open_picture
from extract.decoding.kinds import HEAD, is_animation, modality_of
from extract.decoding.media import open_bytes, open_container
from pipeline.errors import PipelineError

LONGEST = 2000           # characters of a text that is kept
MOST_TEXTS = 20
SEARCHED = 4 * 2 ** 20   # bytes at the start of a file in which a C2PA box is looked for
EXIF = {0x010F: "camera_make", 0x0110: "camera_model", 0x0131: "software", 0x0132: "date"}
EXIF_OF_EXPOSURE = {0x9003: "date_taken", 0xA434: "lens"}
EXPOSURE, GPS = 0x8769, 0x8825  # the blocks inside EXIF
SHOWN_TAGS = ("encoder", "creation_time", "handler_name", "comment", "software", "com.apple.quicktime.make",
              "com.apple.quicktime.model", "com.apple.quicktime.software", "com.android.version")
# libjpeg's luminance table at quality 50; a table at quality q is this scaled.
LIBJPEG_50 = (16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40,
              58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103,
              104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99)


def facts_of(path: str | Path) -> dict[str, Any]:
    """Return what a picture or video, by its content, says of itself: plain values that JSON can hold.

    A file that cannot be read gives only its size: this is for people, and no reason to fail. Of frames in files of
    their own it is what the first says.
    """
    path = next(iter(files_of(Path(path))), Path(path))
    with contextlib.suppress(OSError, PipelineError):
        facts: dict[str, Any] = {"bytes": os.stat(path).st_size, "c2pa": _has_c2pa(path)}
        if facts["c2pa"]:
            facts["credentials"] = credentials(path)
        with contextlib.suppress(PipelineError):
            facts = {**facts, **(_facts_by_kind(path))}
        return facts
    return {}


def _facts_by_kind(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        animation = is_animation(file.read(HEAD))
    return picture_facts(path) if animation or modality_of(path) == "image" else video_facts(path)


def picture_facts(path: str | Path) -> dict[str, Any]:
    """format, size_px, camera, software, dates, gps, texts (PNG chunks, comments), jpeg_quality. Raises VideoError."""
    return open_picture(path, _picture_facts)


def _picture_facts(image: Any) -> dict[str, Any]:
    width, height = image.info["stored_px"]
    facts: dict[str, Any] = {"format": image.format, "size_px": f"{width} x {height}", "mode": image.mode}
    if getattr(image, "n_frames", 1) > 1:
        facts["n_pictures"] = image.n_frames
    with contextlib.suppress(Exception):  # damaged EXIF says nothing
        exif = image.getexif()
        said = {name: exif.get(tag) for tag, name in EXIF.items()}
        said |= {name: exif.get_ifd(EXPOSURE).get(tag) for tag, name in EXIF_OF_EXPOSURE.items()}
        facts |= {name: _text(value) for name, value in said.items() if value}
        facts["gps"] = bool(exif.get_ifd(GPS))
    if image.format == "JPEG" and (tables := getattr(image, "quantization", None)):
        facts["jpeg_quality"] = jpeg_quality(list(tables[min(tables)]))
    texts = {**getattr(image, "text", {}), **{k: image.info[k] for k in ("comment",) if k in image.info}}
    if texts:
        facts["texts"] = {_text(name)[:80]: _text(value) for name, value in list(texts.items())[:MOST_TEXTS]}
    return facts


def jpeg_quality(table: list[int]) -> str:
    """Return the quality setting with which libjpeg makes this luminance table: "83", or "about 83, …".

    table: 64 numbers in any order, since programs give them in different ones.
    """
    for q in range(1, 101):
        scale = 5000 // q if q < 50 else 200 - 2 * q
        made = [min(255, max(1, (n * scale + 50) // 100)) for n in LIBJPEG_50]
        if sorted(made) == sorted(table):
            return str(q)
    mean = sum(table) / sum(LIBJPEG_50)
    guess = 50 / mean if mean > 1 else 100 - 50 * mean
    return f"about {max(1, min(100, round(guess)))}, tables of its own"


def video_facts(path: str | Path) -> dict[str, Any]:
    """container, size_px, codec, frames a second, hdr, and the tags of container and streams. Raises VideoError."""
    import av

    from pipeline.errors import VideoError

    try:
        with open_container(path) as file:
            facts: dict[str, Any] = {"container": file.format.name, **_tags(file.metadata)}
            stream: Any
            for stream in file.streams:
                codec = stream.codec_context.name if stream.codec_context else "unknown"
                tags = _tags(stream.metadata)
                about = {"codec": codec, **tags}
                if stream.type == "video" and "video" not in facts:
                    rate = f"{float(stream.average_rate):.3g}" if stream.average_rate else ""
                    about = {"codec": codec, "size_px": f"{stream.width} x {stream.height}", "fps": rate, **tags}
                    if hdr := transfer_of(stream.codec_context.color_trc if stream.codec_context else None):
                        about["hdr"] = f"{hdr}, shown and judged tone-mapped to BT.709"
                facts.setdefault(stream.type, about)
            return facts
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"not a video: {error}") from None


def _tags(metadata: dict[str, str]) -> dict[str, Any]:
    """Return the tags that name tools and times, and whether there is a place among them."""
    found = {name.lower(): value for name, value in metadata.items()}
    tags = {name.rpartition(".")[2]: _text(found[name]) for name in SHOWN_TAGS if found.get(name)}
    return {**tags, "gps": True} if any("location" in name for name in found) else tags


def _has_c2pa(path: Path) -> bool:
    """Whether the file seems to carry a C2PA manifest (a JUMBF box of that name); it is not verified."""
    with open_bytes(path) as file:
        start = file.read(SEARCHED)
    return b"jumb" in start and b"c2pa" in start


def credentials(path: str | Path) -> dict[str, Any]:
    """Who signed the C2PA manifest of a file and what it claims: signer, signed (a time), signature, tool, actions; or
    only why it cannot be read. {} without the extra `c2pa`.

    Nothing is fetched: neither a manifest that is elsewhere, nor whether a certificate was revoked. There is no list of
    trusted signers here: anyone can make a certificate in any name.
    """
    try:
        from c2pa import C2paError, Context, Reader, Settings
    except ImportError:
        return {}
    offline = Settings.from_dict({"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}})
    try:
        with open_bytes(path) as file:
            with Reader(mimetypes.guess_type(path)[0] or "", file, context=Context(offline)) as reader:
                store = json.loads(reader.json())
        return _claims(store["manifests"][store["active_manifest"]], store)
    except (C2paError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {"signature": f"cannot be read ({_text(error)[:200]})"}


def _claims(manifest: dict[str, Any], store: dict[str, Any]) -> dict[str, Any]:
    signed = manifest.get("signature_info") or {}
    wrong = [status["code"] for status in store.get("validation_status", ())
             if status["code"] != "signingCredential.untrusted"]  # of every signer, without a list of trusted ones
    fits = ("valid: the file is as it was signed" if store["validation_state"] != "Invalid" else
            f"NOT valid: file or manifest were changed ({', '.join(wrong)})")
    actions = [action for assertion in manifest.get("assertions", ()) if assertion["label"].startswith("c2pa.actions")
               for action in assertion["data"]["actions"]]
    sources = [action.get("digitalSourceType", "").rpartition("/")[2] for action in actions]
    said = {"signer": ", ".join(filter(None, (signed.get("common_name"), signed.get("issuer")))),
            "signed": signed.get("time"), "signature": fits, "tool": manifest.get("claim_generator") or ", ".join(
                info["name"] for info in manifest.get("claim_generator_info") or ()),
            "actions": ", ".join(action["action"] + (f" ({source})" if source else "")
                                 for action, source in zip(actions, sources))}
    return {name: _text(value) for name, value in said.items() if value}


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.strip("\0 \n")[:LONGEST]
