"""A multipart body to temporary files, as it arrives: limited in size and number, checked by content.

Nothing of a file is kept in memory but its first bytes, and nothing a client says (name, type) decides anything.
"""
from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, AsyncIterator, Callable, Iterator, NamedTuple

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from classify.judging.inputs import printable
from extract.decoding.media import heif_formats
from serve.problems import Problem
from serve.sniff import HEAD, HEIC, kinds, suffix_of

MOST_FILES = 32
LONGEST_NAME = 200    # characters that are kept of a client's name for a file
OVERHEAD = 64 * 1024  # bytes of a body that are not files
LINGER = 2 ** 20      # bytes that are read and thrown away of a body that is too large, before the connection is closed
GRACE_S = 10.0        # seconds before the speed of an upload counts
PREFIX = "judgements-"


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Make a folder for the files of this server, deleted at the end; those of servers that were killed go now.

    A server holds a lock on its folder for as long as it lives, however it ends.
    """
    for other in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if other.is_symlink() or other.stat().st_uid != os.getuid():
                continue
            with _locked(other):
                shutil.rmtree(other)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder, _locked(Path(folder)):
        yield Path(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder. Raises OSError where another process has it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


async def steady(chunks: AsyncIterator[bytes], bytes_s: float) -> AsyncIterator[bytes]:
    """Pass on the chunks of a body, which must arrive with `bytes_s` after the first GRACE_S. Raises Problem 408."""
    loop = asyncio.get_running_loop()
    began, n_bytes = loop.time(), 0
    while True:
        try:
            async with asyncio.timeout_at(began + GRACE_S + n_bytes / bytes_s):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise Problem(408, f"the upload is slower than {bytes_s / 1000:g} kB a second", Connection="close"
                          ) from None
        if chunk is None:
            return
        n_bytes += len(chunk)
        yield chunk


class Upload(NamedTuple):
    """A file that has arrived. name: the client's, for people. path: where it lies; whoever takes it deletes it."""

    name: str
    path: Path
    n_bytes: int


class Receiver:
    """Parses one body; the files that it made are deleted by `discard`, or handed out by `finish`.

    folder: for the files. max_bytes: of the whole body. admit: called once a file, raises Problem where there is no
    room for it. After a refusal the rest is read and thrown away, so that a browser gets to see the answer; of a body
    that is too large, only LINGER bytes of it.
    """

    def __init__(self, content_type: str, folder: Path, max_bytes: int, admit: Callable[[], None]):
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Problem(415, "send the file as multipart/form-data: curl -F file=@clip.mp4")
        self.folder, self.max_bytes, self.admit = folder, max_bytes, admit
        self.n_bytes = 0
        self.uploads: list[Upload] = []
        self.refused: Problem | None = None
        self.file: IO[bytes] | None = None
        self.name, self.head, self.ended = "", b"", False
        self.headers: dict[bytes, bytes] = {}
        self.field = self.value = b""
        try:
            self.parser = MultipartParser(options[b"boundary"], {
                "on_part_begin": self._begin, "on_header_field": self._field, "on_header_value": self._value,
                "on_header_end": self._header, "on_headers_finished": self._headers, "on_part_data": self._data,
                "on_part_end": self._end, "on_end": self._finished})
        except FormParserError as error:
            raise Problem(400, f"the body cannot be read: {error}") from None

    async def receive(self, chunks: AsyncIterator[bytes]) -> list[Upload]:
        """Receive the files of a body. Raises Problem."""
        async for chunk in chunks:
            self.n_bytes += len(chunk)
            if self.n_bytes > self.max_bytes + OVERHEAD and not (self.refused and self.refused.status == 413):
                self.refused = Problem(413, f"upload exceeds {self.max_bytes / 1e6:g} MB", Connection="close")
                self.discard()
            if self.n_bytes > self.max_bytes + OVERHEAD + LINGER:
                break
            if self.refused:
                continue
            try:
                self.parser.write(chunk)
            except Problem as problem:
                self.refused = problem
                self.discard()
            except FormParserError as error:
                self.refused = Problem(400, f"the body cannot be read: {error}")
        if self.refused:
            raise self.refused
        if not self.ended:
            raise Problem(400, "the body ends before its last boundary")
        if not self.uploads:
            raise Problem(422, "no file in the body: curl -F file=@clip.mp4")
        return self.uploads

    def discard(self) -> None:
        """Delete whatever has been written."""
        if self.file:
            self.file.close()
            Path(self.file.name).unlink(missing_ok=True)
            self.file = None
        for upload in self.uploads:
            upload.path.unlink(missing_ok=True)
        self.uploads = []

    def _begin(self) -> None:
        self.headers, self.field, self.value, self.head = {}, b"", b"", b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self.field += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def _header(self) -> None:
        self.headers[self.field.lower()] = self.value
        self.field = self.value = b""

    def _headers(self) -> None:
        _, said = parse_options_header(self.headers.get(b"content-disposition", b""))
        if b"filename" not in said or said.get(b"name") != b"file":
            raise Problem(422, "only files in the field `file` are expected: curl -F file=@clip.mp4")
        name = said[b"filename"].decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
        self.name = printable(name)[-LONGEST_NAME:] or "file"
        if len(self.uploads) == MOST_FILES:
            raise Problem(422, f"more than {MOST_FILES} files at once")
        self.admit()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self.file:
            self.file.write(data[start:end])
            return
        self.head += data[start:end]
        if len(self.head) >= HEAD:
            self._open()

    def _open(self) -> None:
        suffix = suffix_of(self.head[:HEAD])
        if suffix is None:
            raise Problem(415, f"{self.name} is {'no clip or picture' if self.head else 'empty'}: supported are "
                               f"{', '.join(kinds())}")
        if suffix == HEIC and not heif_formats():
            raise Problem(415, f"{self.name} is a HEIC picture, which this server does not read: send it as JPEG or "
                               "PNG, or have the package pi-heif installed there")
        self.file = tempfile.NamedTemporaryFile(prefix="upload-", suffix=suffix, dir=self.folder, delete=False)
        self.file.write(self.head)

    def _end(self) -> None:
        if not self.file:
            self._open()
        assert self.file
        self.file.close()
        path = Path(self.file.name)
        self.file = None
        self.uploads.append(Upload(self.name, path, path.stat().st_size))

    def _finished(self) -> None:
        self.ended = True
