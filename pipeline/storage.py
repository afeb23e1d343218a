"""Folders and files that are elsewhere: s3://, gs:// and what else fsspec knows, with the few methods of a Path in use.

`place` turns what a user wrote into a Path or a Remote. s3:// and gs:// go through pyarrow, whose credentials are the
usual ones (AWS_ACCESS_KEY_ID or ~/.aws, GOOGLE_APPLICATION_CREDENTIALS) and which heeds AWS_ENDPOINT_URL; any other
scheme through the fsspec package of its own. A file is written with one put, so it is there whole or not at all.
"""
from __future__ import annotations

import contextlib
import errno
import functools
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Iterator

from pipeline.errors import PipelineError

AT_ONCE = 32  # requests under way where many small files are read: each waits some 20 ms for its answer


def place(text: str | Path | Remote) -> Any:
    """A Path, or a Remote where the text begins with a scheme."""
    if isinstance(text, Remote):
        return text
    scheme, colon, rest = str(text).partition("://")
    return Remote(scheme.lower(), rest.strip("/")) if colon and scheme.isalnum() else Path(text)


@dataclass(frozen=True)
class Remote:
    """A file or folder. scheme: "s3"; key: bucket and name, "bucket/folder/clip.mp4".

    Raises FileNotFoundError where a file is not there, PipelineError for all else that goes wrong.
    """

    scheme: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, name: str | Path) -> Remote:
        return Remote(self.scheme, f"{self.key}/{name}")

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return PurePosixPath(self.key).name

    @property
    def parent(self) -> Remote:
        """Return the folder that holds it."""
        return Remote(self.scheme, str(PurePosixPath(self.key).parent))

    def resolve(self) -> Remote:
        """Return itself: an address has one form."""
        return self

    def read_bytes(self) -> bytes:
        """Return the whole content."""
        with self._asking("read"):
            return _filesystem(self.scheme).cat_file(self.key)

    def write_bytes(self, content: bytes) -> None:
        """Write the whole content."""
        with self._asking("written"):
            _filesystem(self.scheme).pipe_file(self.key, content)

    def unlink(self) -> None:
        """Remove the file."""
        with self._asking("removed"):
            _filesystem(self.scheme).rm_file(self.key)

    def is_file(self) -> bool:
        """Tell whether there is such a file."""
        with contextlib.suppress(FileNotFoundError), self._asking("asked for"):
            return _filesystem(self.scheme).info(self.key)["type"] == "file"
        return False

    exists = is_file

    def files(self) -> dict[str, list[Any]]:
        """Names of all files below, relative to here, with their stamps: [bytes, when modified]. One listing; {} where
        nothing is there."""
        with contextlib.suppress(FileNotFoundError), self._asking("listed"):
            start = len(self.key) + 1
            return {name.lstrip("/")[start:]: stamp for name, stamp in _listed(_filesystem(self.scheme), self.key)}
        return {}

    @contextlib.contextmanager
    def downloaded(self) -> Iterator[Path]:
        """A temporary copy, gone afterwards. Raises OSError, also where fewer bytes came than the file has."""
        with tempfile.TemporaryDirectory(prefix="video-") as folder:
            copy = Path(folder) / self.name
            try:
                with self._asking("read"):
                    filesystem = _filesystem(self.scheme)
                    size = filesystem.info(self.key)["size"]
                    filesystem.get_file(self.key, str(copy))
            except PipelineError as error:
                raise OSError(errno.EIO, str(error), str(self)) from None
            if copy.stat().st_size != size:
                raise OSError(errno.EIO, f"only {copy.stat().st_size:,} of {size:,} bytes came", str(self))
            yield copy

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, PipelineError):
            raise
        except Exception as error:  # each store has errors of its own
            raise PipelineError(f"{self} cannot be {what}: {' '.join(str(error).split())}") from None


def read_many(files: list[Any]) -> list[bytes | None]:
    """Contents of Remotes, many at once; None for those that are gone."""

    def content(file: Any) -> Any:
        with contextlib.suppress(FileNotFoundError):
            return file.read_bytes()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(content, files))


@contextlib.contextmanager
def local_copy(file: Any) -> Iterator[Path]:
    """The file itself, or a temporary copy where it is elsewhere."""
    with file.downloaded() if isinstance(file, Remote) else contextlib.nullcontext(file) as path:
        yield path


def _listed(filesystem: Any, folder: str) -> Iterator[tuple[str, list[Any]]]:
    """All files below a folder in pages of a thousand, not a request for each folder."""
    if hasattr(filesystem, "fs"):  # pyarrow's
        from pyarrow.fs import FileSelector, FileType

        for info in filesystem.fs.get_file_info(FileSelector(folder, recursive=True)):
            if info.type is FileType.File:
                yield info.path, [info.size, str(info.mtime)]
    else:
        for name, entry in filesystem.find(folder, detail=True).items():
            when = next((entry[key] for key in ("LastModified", "updated", "mtime", "ETag") if key in entry), "")
            yield name, [entry["size"], str(when)]


@functools.cache
def _filesystem(scheme: str) -> Any:
    """One connection a process: what a Remote itself does not carry when it is sent to a worker."""
    try:
        import fsspec

        if scheme not in ("s3", "gs"):
            return fsspec.filesystem(scheme)
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow import fs
    except ImportError as error:
        raise PipelineError(f"{scheme}:// needs a package that is not here ({error}): pip install -e '.[remote]'"
                            ) from None
    except ValueError as error:
        raise PipelineError(f"{scheme}:// is no scheme that fsspec knows ({error})") from None
    if scheme == "gs":
        return ArrowFSWrapper(fs.GcsFileSystem())
    options = {}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        kind, _, options["endpoint_override"] = endpoint.rstrip("/").rpartition("://")
        options["scheme"] = kind or "https"
    # Small files then take one request each, not the three of an upload in parts.
    return ArrowFSWrapper(fs.S3FileSystem(allow_delayed_open=True, **options))
