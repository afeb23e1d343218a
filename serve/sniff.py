"""Which kind of file the first bytes are of. What a client calls a file decides nothing."""
from __future__ import annotations

from extract.decoding.media import heif_formats

HEAD = 4096  # bytes that decide
PACKET = 188  # bytes of an MPEG-TS packet, each beginning with 0x47
KINDS = ("MP4 and MOV", "Matroska and WebM", "AVI", "MPEG-TS", "MPEG-PS", "FLV", "ASF (WMV)", "JPEG", "PNG", "WebP",
         "GIF", "BMP", "TIFF", "AVIF")
HEIC = ".heic"
BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # that begin an MP4 or a MOV
STILLS = {b"avif": ".avif", b"avis": ".avif", **dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"), HEIC)}  # ISO-BMFF brands of pictures
STARTS = ((b"\x1aE\xdf\xa3", ".mkv"), (b"FLV\x01", ".flv"), (b"\x00\x00\x01\xba", ".mpg"),
          (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ".wmv"), (b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"),
          (b"GIF87a", ".gif"), (b"GIF89a", ".gif"), (b"II*\x00", ".tif"), (b"MM\x00*", ".tif"))


def kinds() -> list[str]:
    """Return what is accepted, by its names for people; HEIC where its package is installed."""
    return [*KINDS, *["HEIC"] * bool(heif_formats())]


def suffix_of(head: bytes) -> str | None:
    """The suffix under which a file that begins so is kept, None where it is no clip or picture.

    Texts are none, so no playlist that names other files or addresses reaches the decoder. Whether it is judged as a
    clip or a picture depends on its content alone: an animated GIF or WebP is a clip.
    """
    for start, suffix in STARTS:
        if head.startswith(start):
            return suffix
    if head[4:8] in BOXES:
        return STILLS.get(head[8:12], ".mp4") if head[4:8] == b"ftyp" else ".mp4"
    if head[:4] == b"RIFF":
        return {b"AVI ": ".avi", b"WEBP": ".webp"}.get(head[8:12])
    if head[:2] == b"BM" and head[14:18] in (b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0", b"\x0c\0\0\0"):
        return ".bmp"
    for offset, length in ((0, PACKET), (4, PACKET + 4)):  # with 4 bytes of time before each packet: M2TS
        marks = head[offset::length][:4]
        if len(marks) == 4 and set(marks) == {0x47}:
            return ".ts"
    return None
