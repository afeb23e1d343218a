"""Facts about progress where stderr is a file: whole lines, seldom, and nothing on stdout."""
import io
import sys
import time

from pipeline import progress


def written(monkeypatch, every_s, **how):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "EVERY_S", every_s)
    monkeypatch.setattr(progress, "_said_s", time.monotonic())
    for _ in progress.progress_bar(range(300), desc="judge", unit="clip", **how):
        time.sleep(0.001)
    return sys.stderr.getvalue()


def test_a_short_work_leaves_one_line_at_its_end(monkeypatch, capsys):
    said = written(monkeypatch, 30.0)
    assert said.startswith("judge: 300 of 300 clips, ") and said.count("\n") == 1 and "\r" not in said
    assert written(monkeypatch, 30.0, leave=False) == "" and capsys.readouterr().out == ""


def test_a_long_work_writes_a_line_whenever_one_is_due(monkeypatch):
    lines = written(monkeypatch, 0.0, mininterval=0).splitlines()
    assert len(lines) >= 1 and all(line.startswith("judge: ") and "\r" not in line for line in lines)
