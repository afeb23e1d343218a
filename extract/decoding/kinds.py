"""What a file is, a video or an image: by its suffix where that is known, by its first bytes otherwise.

An index goes by `modality_by_name` and opens only files whose suffix leaves it open. Whatever is opened goes by its
content (`modality_of`), so that a picture called .mp4 is never judged as a clip.
"""
from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

# Compared in lower case.
VIDEO_SUFFIXES = frozenset(".mp4 .mkv .avi .mov .webm .m4v .ts .mts .m2ts .mpg .mpeg .mpe .m2v .vob .wmv .asf .flv "
                           ".f4v .3gp .3g2 .ogv .ogm .qt .mxf .divx .dv .rm .rmvb".split())
IMAGE_SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .webp .bmp .tif .tiff .gif .heic .heif .avif".split())
MAY_MOVE = frozenset((".gif", ".webp"))  # a picture, or a clip of its frames
# Neither, and so never opened to find out.
OTHER_SUFFIXES = frozenset(".txt .json .csv .npy .npz .pkl .pickle .pt .pth .safetensors .h5 .hdf5 .onnx .keras .mat "
                           ".pts .pdf .doc .docx .xls .xlsx .ppt .pptx .py .pyc .ipynb .md .rst .html .htm .xml .yaml "
                           ".yml .toml .ini .cfg .log .sh .zip .tar .gz .tgz .bz2 .xz .7z .rar .wav .mp3 .m4a .aac "
                           ".flac .ogg .opus .srt .vtt .ass .db .thm .svg .ps .eps .exe .jsonl .parquet".split())
HEAD = 4096   # bytes that decide
PACKET = 188  # bytes of an MPEG-TS packet, each of which begins with 0x47
BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # that begin an MP4 or a MOV
STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")
AUDIO_BRANDS = (b"M4A ", b"M4B ")
VIDEO_STARTS = (b"\x1aE\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b".RMF",
                b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\x06\x0e\x2b\x34\x02\x05\x01\x01")
IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
BMP_HEADERS = (b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0", b"\x0c\0\0\0")


def suffix_of(name: str | Path) -> str:
    """Return the suffix in lower case, "" where the name has none."""
    last = str(name).rstrip("/").rpartition("/")[2]
    dot = last.rfind(".")
    # As pathlib has it, which takes ten times as long: a name may begin with a dot, and none ends in one.
    return last[dot:].lower() if 0 < dot < len(last) - 1 else ""


def modality_by_name(name: str | Path) -> str:
    """Return "video" or "image" where the suffix tells which, else "". An animation goes by "image" here."""
    suffix = suffix_of(name)
    return "video" if suffix in VIDEO_SUFFIXES else "image" if suffix in IMAGE_SUFFIXES else ""


def modality_to_index(path: str | Path) -> str:
    """Return "video", "image" or "" for a file: by its suffix, by its content where that leaves it open."""
    suffix = suffix_of(path)
    if suffix in OTHER_SUFFIXES:
        return ""
    known = modality_by_name(path)
    if known and suffix not in MAY_MOVE:
        return known
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
            return "video" if is_animation(head) and moves(file) else known or modality_by_content(head)
    except OSError:
        return known


def modality_of(path: str | Path) -> str:
    """Return "video" or "image" by the content of a file, by its suffix where the content tells nothing.

    An animated GIF or WebP is a video, and so is a folder: of the frames of one. What neither content nor suffix
    tells goes by "video", whose decoder then says what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        return modality_by_name(path) or "video" if "*" not in path.name else "video"
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
            found = modality_by_content(head)
            if found == "image" and is_animation(head) and moves(file):
                return "video"
    except OSError:
        found = ""
    return found or modality_by_name(path) or "video"


def modality_by_content(head: bytes) -> str:
    """Return "video", "image" or "" for a file that begins with these bytes. An animation goes by "image" here."""
    if head.startswith(IMAGE_STARTS) or head[:2] == b"BM" and head[14:18] in BMP_HEADERS:
        return "image"
    if head[4:8] in BOXES:
        brand = head[8:12] if head[4:8] == b"ftyp" else b""
        return "image" if brand in STILL_BRANDS else "" if brand in AUDIO_BRANDS else "video"
    if head[:4] == b"RIFF":
        return {b"AVI ": "video", b"WEBP": "image"}.get(head[8:12], "")
    if head.startswith(VIDEO_STARTS) or head[:4] == b"OggS" and b"theora" in head:
        return "video"
    for offset, length in ((0, PACKET), (4, PACKET + 4)):  # with 4 bytes of time before each packet: M2TS
        marks = head[offset::length][:4]
        if len(marks) == 4 and set(marks) == {0x47}:
            return "video"
    return ""


def is_animation(head: bytes) -> bool:
    """Whether a file that begins like this is in a format of pictures that can move: GIF or WebP."""
    return head[:6] in (b"GIF87a", b"GIF89a") or head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def moves(file: BinaryIO) -> bool:
    """Whether a GIF or WebP holds more than one picture. Reads to the second one; a damaged file does not move."""
    file.seek(0)
    try:
        return (_gif_moves if file.read(6) in (b"GIF87a", b"GIF89a") else _webp_moves)(file)
    except IndexError:  # it ends early
        return False


def _gif_moves(file: BinaryIO) -> bool:
    screen = file.read(7)
    _skip_colours(file, screen[4])
    pictures = 0
    while True:
        mark = file.read(1)[0]
        if mark == 0x21:  # an extension
            file.seek(1, 1)
        elif mark == 0x2C:
            pictures += 1
            if pictures > 1:
                return True
            _skip_colours(file, file.read(9)[8])
            file.seek(1, 1)
        else:
            return False
        while length := file.read(1)[0]:
            file.seek(length, 1)


def _skip_colours(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << ((flags & 7) + 1), 1)


def _webp_moves(file: BinaryIO) -> bool:
    file.seek(12)
    pictures = 0
    while len(chunk := file.read(8)) == 8:
        pictures += chunk[:4] == b"ANMF"
        if pictures > 1:
            return True
        length = int.from_bytes(chunk[4:], "little")
        file.seek(length + length % 2, 1)
    return False
