"""README and docs are true: links, commands, options, messages and examples are those of the code."""
from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from classify.models.card import read_card
from classify.models.shipped import SHIPPED
from pipeline import errors
from pipeline.errors import OptionsError
from pipeline.make import ORDER, SETUP, TARGETS, YES, arguments, chain, check_names
from pipeline.options import add_flags, from_flags
from pipeline.run_record import RunRecord
from pipeline.stages import STAGES, Work, show

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = ("pipeline", "extract", "data", "classify", "reports", "serve", "tests", "docs")
TOP = 150  # lines that README stays under
MAKEFILE = (ROOT / "Makefile").read_text()

# Programs in the docs that no test starts, and why. A command of make or Python in their arguments is checked.
NOT_STARTED = {
    "sbatch": "needs a cluster", "aws": "needs a cloud", "kaggle": "downloads", "pip": "installs",
    "pre-commit": "installs", "torchrun": "several processes: tests/classify/training",
    "curl": "needs a server: tests/serve", "docker": "not here",
    "ffmpeg": "not here; tests/classify/test_live.py makes its frames"}
CHEAP = ("check", "index", "options", "plan")  # targets that the tests below run
# Targets whose command lines are checked name by name and value by value here, and run elsewhere.
RUN_ELSEWHERE = {
    **dict.fromkeys(ORDER, "tests/test_run_remembers.py"),
    **dict.fromkeys(("bench-extract", "bench-judge", "bench-train", "bench-serve", "soak"), "minutes"),
    "restore": "tests/test_run_remembers.py",
    "compare": "tests/reports/test_sweep.py", "augment-sheet": "tests/classify/training", "ensemble": "tests/classify",
    "serve": "tests/serve", "demo": "minutes", "docs-pictures": "minutes, Chromium",
    "bench-quality": "needs real clips", "calibrate": "tests/classify",
    "export": "tests/classify/test_export.py", "export-deepfakebench": "tests/data/test_export_deepfakebench.py",
    "export-tables": "tests/data/test_export_tables.py", "hub": "tests/classify/test_hub.py",
    "setup-small": "installs",
    "detector": "hours", "setup": "installs", "test": "runs this", "test-fast": "runs this",
    "lint": "CI", "help": "tests/test_makefile.py"}
MISSPELLED = {"make train EPOCH=5", "EPOCH=5"}  # that the docs give as examples of what is refused
ENVIRONMENT = {"RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "AWS_ENDPOINT_URL", "OPTION"}
RULED_OUT = ("told", "hangs on", "of our own", "where there is one", "worn", "comes and goes", "as of", "what a ",
             "nobody said", "are not taken")

ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type)
          and issubclass(value, errors.PipelineError)}


class Command(NamedTuple):
    """A command line of a page."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(re.sub(r"\$\([^)]*\)", "x" * 16, self.text), comments=True)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


def lines(page: Path) -> list[Command]:
    """The command lines of a page's sh blocks, and the commands named in its text."""
    name = str(page.relative_to(ROOT))
    found = [Command(name, line) for block in blocks(page, "sh")
             for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    spans = [span for span in re.findall(r"`([^`\n]+)`", text)
             if re.match(r"(?:make|python -m|\.venv/bin/python -m|torchrun) ", span)]
    return found + [Command(name, span) for span in spans if "…" not in span.split()[1]]


COMMANDS = sorted({command for page in PAGES for command in lines(page)})


def inner(words: list[str]) -> list[str]:
    """The command of make or Python in the arguments of another program, else the words themselves."""
    wrapped = [word for word in words[1:] if word.startswith("make ")]
    return shlex.split(wrapped[0]) if wrapped else words


# ------------------------------------------------------------------------------------------------------ pages and links

def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < TOP


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}, which has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_project_that_is_named_exists(page):
    for name in re.findall(r"`((?:%s)/[\w./-]*)`" % "|".join(PACKAGES), page.read_text()):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_every_page_can_be_reached_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", (ROOT / "README.md").read_text()))
    assert linked == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}


def test_pictures_are_small():
    for path in (ROOT / "docs" / "pictures").iterdir():
        assert path.stat().st_size < 300_000, path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_language_is_plain(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.S | re.M)
    assert [phrase for phrase in RULED_OUT if re.search(rf"\b{re.escape(phrase)}", text, re.I)] == []
    assert not re.search(r"\bOf ", text), "a sentence begins with Of"


# ------------------------------------------------------------------------------------------------------------- commands

def test_every_program_is_known():
    known = {"make", "python", ".venv/bin/python", *NOT_STARTED}
    assert {command.words[0] for command in COMMANDS} <= known


@pytest.mark.parametrize("command", [c for c in COMMANDS if "make" in (c.words[0], inner(c.words)[0])],
                         ids=lambda command: command.text)
def test_every_make_command_names_a_target_and_its_options(command, tmp_path):
    words = inner(command.words)
    goals = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
    given = {name: value for name, value in (word.split("=", 1) for word in words[1:] if "=" in word)}
    targets = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split())
    assert len(goals) == 1 and goals[0] in targets
    assert goals[0] in CHEAP or goals[0] in RUN_ELSEWHERE
    if goals[0] not in STAGES and goals[0] not in TARGETS:
        assert set(given) <= set(SETUP)
        return
    record = RunRecord(tmp_path / "out")
    if command.text in MISSPELLED:
        with pytest.raises(OptionsError, match="is not an option; did you mean"):
            check_names(given, goals, record)
        return
    check_names(given, goals, record)
    if not any("…" in value or "$" in value or not value for value in given.values()):
        check_values(goals[0], given, record)


def check_values(target: str, given: dict[str, str], record: RunRecord) -> None:
    """Check that the options of every stage that a target runs take these values."""
    for name in chain(target, given, record):
        stage = STAGES[name]
        own = {key: value for key, value in given.items() if key not in ("MODEL", "SCORES")}
        work = Work(stage, ["--out", str(record.out), *arguments(stage.options, own)], "")
        for cls in stage.classes():
            work.options(cls)
    if target in TARGETS and target != "compare":
        classes = [getattr(importlib.import_module(entry.partition(":")[0]), entry.partition(":")[2])
                   for entry in TARGETS[target].options]
        parser = argparse.ArgumentParser()
        add_flags(parser, *classes)
        own = {key: value for key, value in given.items() if key != "TOKEN"}
        if given.get("TOKEN"):
            own["TOKEN"] = given["TOKEN"]
        parsed = parser.parse_args(arguments(TARGETS[target].options, own))
        for cls in classes:
            from_flags(cls, parsed)


@functools.lru_cache
def known_options() -> set[str]:
    """Every variable that some target of make takes."""
    classes = {entry for stage in STAGES.values() for entry in stage.options}
    classes |= {entry for target in TARGETS.values() for entry in target.options}
    fields = {field.name.upper() for entry in classes for field in dataclasses.fields(
        getattr(importlib.import_module(entry.partition(":")[0]), entry.partition(":")[2]))}
    return fields | set(SETUP) | {name for target in TARGETS.values() for name in (*target.flags, *target.words)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_is_named_exists(page):
    for span in re.findall(r"`([^`\n]+)`", page.read_text()):
        names = re.findall(r"^([A-Z][A-Z0-9_]+)=", span) + re.findall(r" ([A-Z][A-Z0-9_]+)=", span)
        if span in MISSPELLED or "…" in span or span.startswith("["):
            continue
        assert set(names) <= known_options() | ENVIRONMENT, f"{page.name}: `{span}`"


def test_the_tables_of_options_name_options_with_their_defaults():
    """`| `EVERY` | 3 | ...`: the second column is the default."""
    named = 0
    for page in PAGES:
        for name, said in re.findall(r"^\| `([A-Z][A-Z0-9_]+)` \| ([^|`]*) \|", page.read_text(), re.M):
            defaults = [field.default for entry in {e for s in STAGES.values() for e in s.options}
                        | set(TARGETS["serve"].options) for field in dataclasses.fields(getattr(
                            importlib.import_module(entry.partition(":")[0]), entry.partition(":")[2]))
                        if field.name.upper() == name]
            assert defaults, f"{page.name}: {name}"
            if said.strip():
                named += 1
                assert said.strip() in {show(value) for value in defaults}, f"{page.name}: {name}, {defaults}"
    assert named > 10


@functools.lru_cache
def help_of(module: str) -> str:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if "-m" in c.words], ids=lambda command: command.text)
def test_every_python_command_names_a_module_and_its_flags(command):
    words = command.words[command.words.index("-m"):]
    module, flags = words[1], [word.partition("=")[0] for word in words[2:] if re.match("--?[a-z]", word)]
    if module in ("pytest", "venv"):
        return
    path = ROOT / (module.replace(".", "/") + ".py")
    assert path.is_file() and "__main__" in path.read_text()
    said = help_of(module)
    for flag in flags:
        assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", said), f"{module} has no {flag}"
    if (stage := next((s for s in STAGES.values() if s.command == module), None)) and "--out" in flags \
            and "://" not in command.text:
        work = Work(stage, words[2:], "")
        for cls in stage.classes():
            work.options(cls)


@pytest.fixture
def drawn_names(tmp_path):
    """The names of a small Celeb-DF; the files are empty."""
    root = tmp_path / "Celeb-DF-v2"
    for name in ("Celeb-real/id0_0000.mp4", "Celeb-real/id1_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def make(*words):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "GOALS"))}
    return subprocess.run(["make", "--no-print-directory", "-C", str(ROOT), f"VENV={sys.prefix}", "-o",
                           f"{sys.prefix}/.done", *words], capture_output=True, text=True, env=environment)


def test_the_cheap_commands_run(drawn_names, tmp_path):
    ran = set()
    for command in COMMANDS:
        words = [word for word in command.words[1:]]
        if command.words[0] != "make" or not words or words[0] not in CHEAP or "…" in command.text or "=" in words[0]:
            continue
        words = [word for word in words if not word.startswith(("OUT=", "CORPUS="))]
        corpus = [f"CORPUS={drawn_names}"] if words[0] in ("check", "index") else []
        out = [] if words[0] == "check" else [f"OUT={tmp_path / 'out'}"]
        if words[0] in ran:
            continue
        done = make(*words, *corpus, *out)
        assert done.returncode == 0, f"{command.text}: {done.stderr}"
        ran.add(words[0])
    assert ran == set(CHEAP)


# ------------------------------------------------------------------------------------------------------------- examples

PYTHON = [(page.name, block) for page in PAGES for block in blocks(page, "python")]
WITH_SERVER = "requests"  # tests/serve sends such requests
WITH_RUN = "out/celeb"


@pytest.mark.parametrize("page, block", PYTHON)
def test_every_python_example_compiles(page, block):
    compile(block, page, "exec")


@pytest.fixture
def folder(demo_corpus, tmp_path, monkeypatch):
    """A folder with the files that the examples name."""
    import cv2

    from extract.decoding.sampling import Clip, FrameOptions

    clips = sorted((demo_corpus / "Celeb-synthesis").glob("*.mp4"))
    (tmp_path / "folder").mkdir()
    for source, name in zip(clips, ("clip.mp4", "more.mp4", "folder/a.mp4")):
        shutil.copy(source, tmp_path / name)
    frame = next(Clip(tmp_path / "clip.mp4", FrameOptions()).frames())
    cv2.imwrite(str(tmp_path / "photo.jpg"), frame.rgb[..., ::-1])
    shutil.copy(SHIPPED, tmp_path / f"model{SHIPPED.suffix}")
    (tmp_path / "corpus").symlink_to(demo_corpus)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page, block", [(p, b) for p, b in PYTHON if WITH_SERVER not in b and WITH_RUN not in
                                         re.sub("#.*", "", b)])
def test_the_fast_python_examples_run(page, block, folder, capsys):
    exec(compile(block, page, "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
@pytest.mark.parametrize("page, block", [(p, b) for p, b in PYTHON if WITH_SERVER not in b and WITH_RUN in
                                         re.sub("#.*", "", b)])
def test_the_python_examples_on_a_finished_run_run(page, block, folder, demo_run, capsys):
    (folder / "out").mkdir()
    (folder / "out" / "celeb").symlink_to(demo_run)
    exec(compile(block, page, "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.strip()


JUDGING = sorted({c.text for c in COMMANDS if "-m" in c.words and c.words[c.words.index("-m") + 1] in (
    "classify.video", "classify.image", "classify.live") and len(c.words) > 3 and ".keras" not in c.text
    and " - " not in c.text and c.words[-1] != "0"})


@pytest.mark.slow
@pytest.mark.parametrize("text", JUDGING)
def test_the_judging_commands_run(text, folder, demo_run):
    (folder / "out").mkdir()
    (folder / "out" / "celeb").symlink_to(demo_run)
    words = Command("", text).words
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, cwd=folder,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


# ------------------------------------------------------------------------------------------------------------- messages

@functools.lru_cache
def source_texts() -> list[str]:
    """Every text in the code, with … for what is filled in; blanks are single."""
    found = []
    for package in PACKAGES[:6]:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
                elif isinstance(node, ast.JoinedStr):
                    found.append("".join(part.value if isinstance(part, ast.Constant) else "…"
                                         for part in node.values))
    return [" ".join(text.split()) for text in [*found, MAKEFILE]]


def messages(page: Path) -> list[str]:
    """The messages in the first column of the tables with the header `message`."""
    found, inside = [], False
    for line in page.read_text().splitlines():
        if line.startswith("| message |"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside:
            found += re.findall(r"`([^`]+)`", line.split(" | ")[0])
    return found


def test_every_message_in_troubleshooting_is_one_of_the_code():
    """A part between two … stands in some text of the code."""
    stale: list[tuple[str, str]] = []
    for message in messages(ROOT / "docs" / "troubleshooting.md"):
        parts = [part.strip(" :,;?().=") for part in message.split("…")]
        stale += [(message, part) for part in parts if not any(part in text for text in source_texts())]
    assert not stale, "\n".join(f"`{message}`: no text of the code has {part!r}" for message, part in stale)


def test_verify_reaches_every_stage_that_make_runs():
    from pipeline.make import flags_of

    assert YES[0] == "1"
    for name in ORDER:
        assert "--verify" in flags_of(STAGES[name], {"VERIFY": "1"})
        assert "--verify" not in flags_of(STAGES[name], {"OUT": "x"})


def test_the_json_that_the_docs_show_has_the_fields_of_a_verdict():
    from classify.judging.judge import as_object

    for page in PAGES:
        for block in blocks(page, "json"):
            said = json.loads(block)
            if "verdict" in said:
                assert list(said) == list(as_object())
                return
    raise AssertionError("no page shows a verdict as JSON")


@pytest.mark.slow
def test_the_picture_of_an_evidence_sheet_is_made_by_the_project(folder, demo_run, monkeypatch):
    from tests import docs_pictures

    monkeypatch.setattr(docs_pictures, "PICTURES", folder)
    docs_pictures.save_evidence(folder / "clip.mp4", demo_run / "model" / "model.safetensors")
    assert 10_000 < (folder / "evidence-sheet.jpg").stat().st_size <= docs_pictures.MOST_BYTES


@pytest.mark.slow
def test_make_serve_answers(demo_run):
    """The server starts with the model that MODEL= names, and asks for the token that TOKEN= names."""
    import requests

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "GOALS"))}
    model = demo_run / "model" / "model.safetensors"
    process = subprocess.Popen(["make", "-C", str(ROOT), f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.done", "serve",
                                f"MODEL={model}", f"PORT={port}", "TOKEN=0123456789abcdef", "DEVICE=cpu"],
                               env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                answer = requests.get(f"http://127.0.0.1:{port}/v1/model", timeout=10)
                break
            except requests.ConnectionError:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < until
                time.sleep(.2)
        assert answer.status_code == 401
        said = requests.get(f"http://127.0.0.1:{port}/v1/model", timeout=10,
                            headers={"Authorization": "Bearer 0123456789abcdef"}).json()
        assert said["model"] == read_card(model)["model_id"]
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)


def test_every_option_and_every_target_is_in_the_guide():
    guide = "\n".join(page.read_text() for page in PAGES if page.parent.name == "docs" or page.name == "README.md")
    fields = {field.name.upper() for entry in {entry for stage in STAGES.values() for entry in stage.options}
              | set(TARGETS["serve"].options) for field in dataclasses.fields(getattr(
                  importlib.import_module(entry.partition(":")[0]), entry.partition(":")[2]))}
    assert sorted(name for name in fields if not re.search(rf"\b{name}\b", guide)) == []
    targets = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split())
    everywhere = "\n".join(page.read_text() for page in [*PAGES, ROOT / "BENCHMARKS.md", ROOT / "MODEL_CARD.md"])
    assert sorted(name for name in targets - {"help"} if f"make {name}" not in everywhere) == []


def message_of(node: ast.AST) -> str:
    """The text of an error, with … for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(message_of(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return message_of(node.left) + message_of(node.right)
    if isinstance(node, ast.IfExp):
        return message_of(node.body)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"


def test_nearly_every_error_is_in_troubleshooting():
    """The rest are errors of options that `--help` explains, and of tools for the maintainers."""
    known = [[part.strip(" :,;?().=") for part in message.split("…")]
             for message in messages(ROOT / "docs" / "troubleshooting.md")]
    raised = set()
    for package in PACKAGES[:6]:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                call = node.exc if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) else None
                if call is not None and call.args and isinstance(call.func, ast.Name) and call.func.id in ERRORS:
                    raised.add(" ".join(message_of(call.args[0]).split()))
    unknown = [said for said in sorted(raised - {"…"})
               if not any(all(part in said for part in parts) for parts in known)]
    assert len(unknown) < 0.15 * len(raised), "not in docs/troubleshooting.md:\n" + "\n".join(unknown)
