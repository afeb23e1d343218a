"""The errors a user can meet, and the one place that turns them into a line and an exit status.

PipelineError                 the user's to mend: one line on stderr, exit status 1
├── OptionsError              a flag or Make variable holds an impossible value
├── TableError                a table is missing, damaged or of another version
├── CorpusError               the corpus is not laid out as any layout we know, or contradicts its own lists
├── VideoError                this one video or picture cannot be used; carries the status its row gets
├── SplitError                the videos cannot be divided as asked
├── WeightsError              pretrained weights cannot be had
├── CheckpointError           a model file is missing, damaged or of another version
└── OutOfMemoryError          the device has no room for what was asked

Anything else is a bug and ends in a traceback. A message says what is wrong, where, and what to do.
"""
from __future__ import annotations

import errno
import functools
import io
import os
import sys
from typing import Any, Callable, Protocol

# Modules that the small installation lacks (setup.cfg, extra "train").
OF_TRAINING = ("torch", "torchvision", "timm", "facenet_pytorch", "lightning", "safetensors", "onnx", "onnxscript",
               "pandas", "scipy", "sklearn", "matplotlib", "huggingface_hub", "tensorboard", "pyarrow")


class PipelineError(Exception):
    """Base of all errors that a user can mend."""


class OptionsError(PipelineError):
    """A flag or Make variable holds an impossible value."""


class TableError(PipelineError):
    """A table is missing, damaged or of another version."""


class CorpusError(PipelineError):
    """A corpus is laid out in no known way, or contradicts its own lists."""


class VideoError(PipelineError):
    """One video or picture cannot be used. `status` is what its row in the table of videos says."""

    def __init__(self, reason: str, status: str = "unreadable"):
        super().__init__(reason)
        self.status = status

    def __reduce__(self) -> Any:  # crosses process borders with its status
        return type(self), (str(self), self.status)


class SplitError(PipelineError):
    """The videos cannot be divided as asked."""


class WeightsError(PipelineError):
    """Pretrained weights cannot be had."""


class CheckpointError(PipelineError):
    """A model file is missing, damaged or of another version."""


class OutOfMemoryError(PipelineError):
    """The device has no room for what was asked."""


def fail(message: object) -> int:
    """Print one line on stderr and return the exit status 1."""
    print("error: " + " ".join(str(message).split()), file=sys.stderr)
    return 1


class Command(Protocol):
    """The `main` of a command."""

    def __call__(self, argv: list[str] | None = None) -> int: ...


def command(main: Callable[[list[str] | None], int | None]) -> Command:
    """Wrap a `main(argv=None)`: a user's error becomes one line and status 1, a bug stays a traceback."""

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None) -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a locale that lacks a sign must not end the command
                stream.reconfigure(errors="backslashreplace")
        try:
            return main(argv) or 0
        except PipelineError as error:
            return fail(str(error))
        except ModuleNotFoundError as error:
            if (package := (error.name or "").partition(".")[0]) not in OF_TRAINING:
                raise
            return fail(f"{package} is not installed: this needs more than the small installation has; `make setup` or "
                        "pip install -e '.[train]' installs it")
        except BrokenPipeError:  # `… | head` closed our output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                folder = os.path.dirname(os.path.abspath(error.filename)) if error.filename else ""
                return fail(f"the disk is full{f' ({folder})' if folder else ''}: free some space and run the same "
                            "command again, what is finished is kept")
            if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
                return fail(f"no permission for {error.filename}: {error.strerror}")
            if error.errno in (errno.EISDIR, errno.ENOTDIR):
                return fail(f"{error.filename}: {error.strerror}; name another file or folder")
            raise
        except KeyboardInterrupt as interrupt:
            print(f"interrupted: {interrupt.args[0] if interrupt.args else 'run the same command again to go on'}",
                  file=sys.stderr)
            return 130

    return wrapped
