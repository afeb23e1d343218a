"""`python -m serve.mcp`: the judge as tools of an agent, by the Model Context Protocol over stdin and stdout.

    judge_file       the verdict on a clip or picture of this machine
    explain_verdict  the same with its evidence: some faces as pictures, and the evidence sheet as a file if asked for
    describe_model   what judges, what its answers mean, and how much may be sent

A file is copied first and judged by the worker of the server, under its limits: size, time, memory. stdout carries the
protocol alone; everything else goes to stderr.
"""
from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import secrets
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, AsyncIterator

from classify.models.shipped import SHIPPED
from extract.decoding.media import Limits, set_limits
from pipeline.errors import OptionsError, PipelineError, command
from pipeline.options import add_flags, from_flags, option
from pipeline.tables import write_bytes

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from serve.judgement import Judgement

INSTRUCTIONS = ("Judges whether the face in a video or picture file of this machine was manipulated. A score is "
                "P(fake) of a network that looked at pixels: never evidence, and no reason to accuse anybody. REAL "
                "means that no sign of manipulation was found. Say UNDECIDED where the answer is UNDECIDED, with its "
                "reason.")
MEANING = {"real": "no sign of manipulation was found; that does not make the file authentic",
           "fake": "the score is at or above the threshold; that is not evidence",
           "undecided": "the model gives no answer, for the reason beside it"}


@dataclass(frozen=True)
class ToolOptions:
    """What the tools let through."""

    folder: str | None = option(None, "only files below this folder are judged, and sheets are written there alone")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps")
    max_mb: float = option(512.0, "a file may have so many MB")
    queue: int = option(8, "files that may wait; more are refused")
    time_limit: float = option(120.0, "seconds that one file may take in the worker")
    memory_mb: int = option(4096, "MB that judging may take beyond the loaded model; 0 is no limit. CPU only")

    def __post_init__(self) -> None:
        for name in ("max_mb", "queue", "time_limit"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0, got {getattr(self, name)}")
        if self.memory_mb < 0:
            raise ValueError(f"memory_mb must be at least 0, got {self.memory_mb}")


class Refused(PipelineError):
    """A file that is not judged, or a sheet that is not written; the agent gets the reason."""


class Tools:
    """What the tools do: copy a file, wait for its judgement, hand out the answer.

    Args:
        model: path of a model file.
        options: the limits.
    """

    def __init__(self, model: Path, options: ToolOptions):
        from classify.models.card import read_card
        from serve.desk import Desk
        from serve.options import ServeOptions

        self.card, self.shipped, self.options = read_card(model), model == SHIPPED, options
        self.desk = Desk(model, ServeOptions(device=options.device, max_mb=options.max_mb, queue=options.queue,
                                             client_queue=options.queue, time_limit=options.time_limit,
                                             memory_mb=options.memory_mb))
        self.copies: Path | None = None

    @contextlib.asynccontextmanager
    async def alive(self, _: Any = None) -> AsyncIterator[None]:
        """Keep the worker and the folder of the copies for as long as the server lives."""
        from serve.uploads import own_folder

        with own_folder() as self.copies:
            running = asyncio.create_task(self.desk.run())
            try:
                yield
            finally:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running

    def described(self) -> dict[str, Any]:
        """The answer of describe_model."""
        from serve.sniff import KINDS

        band = self.card.get("calibration")
        return {"model": self.card["model_id"], "shipped": self.shipped, "demo": bool(self.card.get("demo")),
                "trained_on": self.card.get("dataset"), "threshold": self.card["threshold"],
                "uncertain_band": [band["low"], band["high"]] if band else None, "verdicts": MEANING,
                "score": "P(fake) from 0 to 1, higher is faker", "files": list(KINDS), "max_mb": self.options.max_mb,
                "time_limit_s": self.options.time_limit, "folder": self.options.folder,
                "limits": "It knows the generators, codecs and people of what it learned from; on others it is much "
                          "worse. It looks for traces of a pasted face and has learned of no picture that is generated "
                          "as a whole."}

    @contextlib.asynccontextmanager
    async def judged(self, path: str) -> AsyncIterator[Judgement]:
        """Judge a file; its copy and its sheet are deleted at the end.

        Raises:
            Refused: it is not judged, or its judging failed.
        """
        from serve.judgement import ENDED
        from serve.problems import Problem
        from serve.uploads import Upload

        if self.desk.n_queued >= self.options.queue:
            raise Refused(f"{self.options.queue} files are waiting already: try again later")
        copy, n_bytes = await asyncio.to_thread(self._copied, path)
        judgement = self.desk.take(Upload(path, copy, n_bytes), "agent")
        try:
            while judgement.state not in ENDED:
                await judgement.changed.wait()
            if judgement.problem:
                raise Refused(str(judgement.problem["detail"]))
            if judgement.state != "done":
                raise Refused(f"the judgement was {judgement.state}")
            yield judgement
        finally:
            with contextlib.suppress(Problem):
                self.desk.delete(self.desk.get(judgement.id))

    def allowed(self, path: str) -> Path:
        """Return a path with its links followed. Raises Refused where it lies outside the folder of the options."""
        resolved = Path(path).expanduser().resolve()
        if self.options.folder and not resolved.is_relative_to(Path(self.options.folder).resolve()):
            raise Refused(f"{path} is not below {self.options.folder}: only files there may be used")
        return resolved

    def _copied(self, path: str) -> tuple[Path, int]:
        """Copy a regular file of a known kind to where the worker reads it, at most max_mb. Raises Refused."""
        from serve.sniff import HEAD, KINDS, suffix_of

        assert self.copies is not None
        most = round(self.options.max_mb * 1e6)
        try:
            # Without waiting for who writes to a pipe; what is no regular file is then refused.
            handle = os.open(self.allowed(path), os.O_RDONLY | os.O_NONBLOCK)
            with open(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise Refused(f"{path} is no regular file")
                if os.fstat(handle).st_size > most:
                    raise Refused(f"{path} exceeds {self.options.max_mb:g} MB")
                suffix = suffix_of(file.read(HEAD))
                if suffix is None:
                    raise Refused(f"{path} is no video or picture of a known kind ({', '.join(KINDS)})")
                file.seek(0)
                copy = self.copies / f"{secrets.token_hex(8)}{suffix}"
                with open(copy, "wb") as target:
                    shutil.copyfileobj(file, target)
        except OSError as error:
            raise Refused(f"{path} cannot be read: {error.strerror or error}") from None
        return copy, copy.stat().st_size


def make_server(tools: Tools) -> MCPServer:
    """Build the server of the protocol."""
    from mcp.server.mcpserver import Image, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("deepfake-pipeline", instructions=INSTRUCTIONS, lifespan=tools.alive, log_level="WARNING")

    @server.tool(structured_output=True)
    async def judge_file(path: str) -> dict[str, Any]:
        """Judge whether the face in a video or picture was manipulated.

        Returns verdict (real, fake or undecided, with a reason), score (P(fake), null without enough faces),
        probability, threshold, counts of frames, the score of each judged frame, and each person where several are
        seen.

        Args:
            path: a video or picture file of this machine.
        """
        try:
            async with tools.judged(path) as judgement:
                return judgement.result or {}
        except PipelineError as error:
            raise ToolError(str(error)) from None

    @server.tool(structured_output=False)
    async def explain_verdict(path: str, sheet: str = "") -> list[Any]:
        """Judge a file and show what the verdict rests on: the result as JSON, then up to six of the judged faces.

        Args:
            path: a video or picture file of this machine.
            sheet: an .html file to write the evidence sheet to, for a person who has to decide; must not exist yet.
        """
        try:
            target = _sheet(tools, sheet) if sheet else None
            async with tools.judged(path) as judgement:
                said: dict[str, Any] = {"result": judgement.result, "sheet": None, "faces": [
                    {"time_s": face["time_s"], "score": face["score"], "where": face["where"]}
                    for face in judgement.faces]}
                if target and judgement.sheet:
                    await asyncio.to_thread(write_bytes, target, judgement.sheet.read_bytes())
                    said["sheet"] = str(target)
                pictures = [Image(data=base64.b64decode(face["jpeg"].partition(",")[2]), format="jpeg")
                            for face in judgement.faces]
                return [json.dumps(said), *pictures]
        except PipelineError as error:
            raise ToolError(str(error)) from None
        except OSError as error:
            raise ToolError(f"{sheet} cannot be written: {error.strerror or error}") from None

    @server.tool(structured_output=True)
    async def describe_model() -> dict[str, Any]:
        """Say which model judges, what its verdicts mean, what it cannot know, and which files may be sent."""
        return tools.described()

    return server


def _sheet(tools: Tools, path: str) -> Path:
    """Where a sheet is written. Raises Refused."""
    target = tools.allowed(path)
    if target.suffix != ".html":
        raise Refused(f"{path}: name a file that ends in .html")
    if target.exists():
        raise Refused(f"{path} exists already: name another file")
    return target


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m serve.mcp", description="The judge as tools of an agent (Model "
                                     "Context Protocol, stdin and stdout).")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="model file (default: the shipped detector)")
    add_flags(parser, ToolOptions, Limits)
    arguments = parser.parse_args(argv)
    options = from_flags(ToolOptions, arguments)
    if options.folder and not Path(options.folder).is_dir():
        raise OptionsError(f"--folder {options.folder} is no folder")
    set_limits(from_flags(Limits, arguments))
    try:
        server = make_server(Tools(arguments.model, options))
    except ImportError as error:
        raise OptionsError(f"{error.name} is not installed: pip install -e '.[mcp]', or make setup") from None
    # Whatever prints, the worker too, prints to stderr.
    protocol = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = open(protocol, "w", encoding="utf-8", newline="\n")
    server.run("stdio")


if __name__ == "__main__":
    sys.exit(main())
