import argparse
import dataclasses
import pickle
import subprocess
import sys
from dataclasses import dataclass

import pytest

from pipeline.errors import OptionsError, PipelineError, VideoError, command
from pipeline.options import add_flags, as_record, from_flags, from_record, option


@dataclass(frozen=True)
class Some:
    every: float = option(3.0, "seconds between frames, 15 % of all")
    min_face: int | None = option(None, "px")
    flip: bool = option(True, "mirror")
    reader: str = option("a", "which", choices=("a", "b"))

    def __post_init__(self):
        if self.every <= 0:
            raise ValueError(f"every must be more than 0, got {self.every}")


def parsed(*argv):
    parser = argparse.ArgumentParser()
    add_flags(parser, Some)
    return parser.parse_args(argv)


def test_flags_carry_the_names_and_defaults_of_the_fields():
    assert from_flags(Some, parsed()) == Some()
    assert from_flags(Some, parsed("--every", "1", "--min-face", "20", "--no-flip", "--reader", "b")) == \
        Some(1.0, 20, False, "b")


def test_a_value_that_the_options_refuse_is_the_users_error():
    with pytest.raises(OptionsError, match="every must be more than 0"):
        from_flags(Some, parsed("--every", "0"))


def test_a_record_goes_there_and_back_and_an_unknown_field_is_refused():
    assert from_record(Some, as_record(Some(min_face=7))) == Some(min_face=7)
    with pytest.raises(OptionsError, match="no option"):
        from_record(Some, {**as_record(Some()), "gone": 1})


def test_help_shows_every_sentence():
    parser = argparse.ArgumentParser()
    add_flags(parser, Some)
    text = " ".join(parser.format_help().split())
    assert all(field.metadata["help"] in text for field in dataclasses.fields(Some))


def test_a_users_error_is_one_line_and_status_1_and_a_bug_is_a_traceback(capsys):
    @command
    def wrong(argv=None):
        raise PipelineError("two\nlines")

    @command
    def broken(argv=None):
        raise ZeroDivisionError

    assert wrong([]) == 1 and capsys.readouterr().err == "error: two lines\n"
    with pytest.raises(ZeroDivisionError):
        broken([])


def test_a_full_disk_is_one_line(capsys):
    @command
    def full(argv=None):
        raise OSError(28, "No space left on device", "x.png")

    assert full([]) == 1 and "disk is full" in capsys.readouterr().err


def test_a_video_error_keeps_its_status_across_processes():
    error = pickle.loads(pickle.dumps(VideoError("why", "no_face")))
    assert (str(error), error.status) == ("why", "no_face")


@pytest.mark.parametrize("module", ["extract.corpus", "extract.run", "data.split", "classify.video", "classify.image",
                                    "reports.page", "data.demo.make"])
def test_help_loads_nothing_heavy(module):
    code = (f"import sys, runpy; sys.argv = ['x', '--help']\ntry: runpy.run_module({module!r}, run_name='__main__')\n"
            "except SystemExit: pass\n"
            "bad = {'torch', 'pandas', 'av', 'sklearn', 'matplotlib', 'timm'} & set(sys.modules)\n"
            "sys.exit(str(bad) if bad else 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
