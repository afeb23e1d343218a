"""What a run keeps: a folder per video with its crops and its row, which appears whole or not at all.

    OUT/faces/<video_id>/<frame>.png    crop of the main face, lossless
    OUT/faces/<video_id>/row.json       what became of the video, the options and the file it was made from

A folder is made below .partial and renamed into place, so that whatever ends a run at whatever moment, the next one
finds videos that are finished and videos that are not there. Elsewhere (s3://) nothing can be renamed: there the row is
removed first and written last, and a video without a row is not there. Nor can anything be locked there: two runs at
once do each other's work again.
"""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator

from extract.copies import fingerprint
from extract.decoding.frame_files import frame_files
from extract.faces.face import as_row
from pipeline.errors import PipelineError
from pipeline.storage import Remote, read_many
from pipeline.tables import write_bytes

if TYPE_CHECKING:
    from extract.video import Extraction


class Store:
    """The folder `out` of one run.

    made_with: record of the options that decide what the crops are; rows made with others are not kept.
    share: name of the part of the index that this run does ("all", or "1of4"), which no other run may do meanwhile.
    """

    def __init__(self, out: Any, made_with: dict[str, Any], share: str = "all"):
        self.out, self.made_with = out, made_with
        self.partial = out / ".partial" / share

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, or this share of it, and clear what a killed run left half done. Raises PipelineError."""
        alone = self.partial.name == "all"
        self.out.mkdir(parents=True, exist_ok=True)
        with open(self.out / ".lock", "w") as whole, open(self.out / f".lock-{self.partial.name}", "w") as mine:
            try:
                fcntl.flock(whole, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PipelineError(f"another extraction is writing to {self.out}: wait for it, or choose another OUT="
                                    ) from None
            # Alone, what runs on shares left is nobody's any more either.
            litter = self.partial.parent if alone else self.partial
            shutil.rmtree(litter, ignore_errors=True)
            try:
                yield
            finally:
                shutil.rmtree(litter, ignore_errors=True)
                with contextlib.suppress(OSError):
                    self.partial.parent.rmdir()  # the last of several runs takes it away

    def put(self, video_id: str, found: Extraction, stamp: list | None, sha256: list[str] | None = None) -> dict:
        """Write a video's crops and row into a folder of its own, then rename it into place. Returns the row.

        Args:
            video_id: of the video.
            found: what was extracted.
            stamp: size and times of the video, see `stamp_of`.
            sha256: of its content, and of that of the real whose boxes it took.

        Raises:
            OSError: nothing more can be written.
        """
        import cv2

        folder = self._fresh(video_id)
        checksums = {}
        for frame, crop in found.crops.items():
            ok, png = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
            if not ok:
                raise RuntimeError(f"OpenCV cannot encode the crop of frame {frame}")
            name, content = f"{frame:06d}.png", png.tobytes()
            (folder / name).write_bytes(content)  # raises on a full disk, which imwrite does not
            checksums[name] = zlib.crc32(content)
        faces = [{**as_row(face), "crop": "" if face.face else f"{video_id}/{face.frame:06d}.png"}
                 for face in found.faces]
        row = {"video": asdict(found.video), "faces": faces, "made_with": self.made_with, "stamp": stamp,
               "sha256": sha256, "crc32": checksums, "n_reused": found.n_reused, "mismatch": found.mismatch,
               **fingerprint(found.digests, found.crops)}
        write_bytes(folder / "row.json", json.dumps(row).encode())
        self._finish(folder, video_id)
        return row

    def _fresh(self, video_id: str) -> Any:
        """An empty folder to write a video's files into."""
        folder = self.partial / str(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _finish(self, folder: Any, video_id: str) -> None:
        final = self.out / video_id
        if final.exists():
            shutil.rmtree(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder, final)

    def kept(self, video_id: str, stamp: list | None, reread: bool = False,
             sha256: Callable[[], list[str] | None] = lambda: None) -> dict | None:
        """Return the row of a video that needs no new extraction, else None.

        Args:
            video_id: of the video.
            stamp: of the video as it is now; None where it is gone, and its crops stand for it.
            reread: read every crop, which must be what was written.
            sha256: computes the digests of the video now. It is called where sizes are as they were and only times
                differ; where the digests are the same, the row is kept and gets the new stamp.
        """
        folder = self.out / video_id
        try:
            row = json.loads(self._row(video_id))
            if row["made_with"] != self.made_with:
                return None
            if stamp is not None and row["stamp"] != stamp:
                if _sizes(row["stamp"]) != _sizes(stamp) or not row.get("sha256") or row["sha256"] != sha256():
                    return None
                row["stamp"] = stamp
                self._restamp(video_id, row)
            crops = self._read([folder / name for name in row["crc32"]]) if reread else []
            if any(zlib.crc32(png) != crc for png, crc in zip(crops, row["crc32"].values())):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return row

    def _restamp(self, video_id: str, row: dict) -> None:
        write_bytes(self.out / video_id / "row.json", json.dumps(row).encode())

    def _row(self, video_id: str) -> bytes:
        return (self.out / video_id / "row.json").read_bytes()

    def _read(self, files: list) -> list[bytes]:
        return [file.read_bytes() for file in files]


class RemoteStore(Store):
    """The same where `out` is a Remote."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Ask once what is there: a listing, then many rows at a time, not a request for each video in turn."""
        names = [name for name in self.out.files() if name.endswith("/row.json")]
        contents = read_many([self.out / name for name in names])
        self.rows = {name.removesuffix("/row.json"): row for name, row in zip(names, contents) if row}
        yield

    def __getstate__(self) -> dict:
        return {**self.__dict__, "rows": {}}  # a worker only writes

    def _fresh(self, video_id: str) -> Any:
        folder = self.out / video_id
        for name in sorted(folder.files(), key=lambda name: name != "row.json"):
            (folder / name).unlink()
        return folder

    def _finish(self, folder: Any, video_id: str) -> None:
        pass  # the row, written last, has finished it

    def _row(self, video_id: str) -> bytes:
        return self.rows[video_id]

    def _read(self, files: list) -> list[bytes]:
        return [content or b"" for content in read_many(files)]


def store_at(out: Any, made_with: dict[str, Any], share: str = "all") -> Store:
    """Return the store of a folder, here or elsewhere."""
    return (RemoteStore if isinstance(out, Remote) else Store)(out, made_with, share)


def stamps_below(root: Any) -> Callable[[str], list | None]:
    """video_id -> stamp_of that file; of a Remote from one listing."""
    if isinstance(root, Remote):
        return root.files().get
    return lambda video_id: stamp_of(root / video_id)


def stamp_of(path: Path) -> list | None:
    """Return size, modification and change time of a video; None where it cannot be asked.

    Of frames in files of their own: all sizes together, the latest times, and how many they are.
    """
    with contextlib.suppress(OSError):
        if not path.is_file() and (files := frame_files(path)):
            found = [file.stat() for file in files]
            return [sum(one.st_size for one in found), max(one.st_mtime_ns for one in found),
                    max(one.st_ctime_ns for one in found), len(found)]
        status = path.stat()
        return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return None


def sha256_of(path: Any) -> str | None:
    """Return the SHA-256 of a local file's content; None where it cannot be read, or is elsewhere."""
    if isinstance(path, Remote):
        return None
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _sizes(stamp: Any) -> Any:
    """The sizes in a stamp, or in the stamps of a fake and of the real whose boxes it takes."""
    if not isinstance(stamp, list) or not stamp:
        return stamp
    return [_sizes(part) for part in stamp] if isinstance(stamp[0], list) or stamp[0] is None else stamp[0]
