import cv2
import numpy as np
import pandas as pd
import pytest

from classify.training.sweep import COMPARE
from reports import sweep


def row(name, val, test, frame, model="x", half=.05):
    """A row as classify.training.sweep writes it; a number of None has no interval either."""
    cells = {column: number for column, value in (("val_video_auc", val), ("test_video_auc", test),
                                                  ("test_frame_auc", frame))
             for column, number in ((column, value), *((f"{column}{end}", value and value + sign * half)
                                                       for end, sign in (("_low", -1), ("_high", 1))))}
    return {**{c: "" if kind == "str" else None for c, kind in COMPARE.items()}, "name": name,
            "model_id": model, **cells}


def table(*rows):
    return pd.DataFrame(list(rows), columns=list(COMPARE)).astype(COMPARE)


def drawn(*rows):
    return cv2.imdecode(np.frombuffer(sweep.figure(table(*rows)), np.uint8), cv2.IMREAD_COLOR)


def test_the_figure_grows_by_a_line_per_recipe_and_is_the_same_for_the_same_table():
    one, two = drawn(row("a", .9, .8, .7)), drawn(row("a", .9, .8, .7), row("b", .8, .9, .7))
    assert two.shape[0] - one.shape[0] == pytest.approx(sweep.LINE_IN * sweep.DPI, abs=2)
    assert (one == drawn(row("a", .9, .8, .7))).all() and (one != drawn(row("a", .9, .85, .7))).any()


@pytest.mark.parametrize("rows", [[row("a", None, None, None, model="")], [row("a", None, None, None)],
                                  [row("a", None, .8, .7), row("b", None, None, None, model="")],
                                  [row("a", 1.0, 1.0, 1.0, half=0)]])
def test_rows_without_a_number_are_drawn_too(rows):
    assert drawn(*rows).std() > 1


def test_the_command_prints_the_table_draws_the_figure_and_fails_where_one_failed(demo_run, capsys):
    flags = ["--out", str(demo_run), "--epochs", "1", "--size", "32", "--device", "cpu"]
    assert sweep.main([*flags, "--recipes", "small-cnn"]) == 0
    assert (demo_run / "compare" / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert sweep.main([*flags, "--recipes", "small-cnn two-phase"]) == 1  # 5 epochs of its head are more than one
    said = capsys.readouterr()
    assert "1 of 2 have no result: two-phase-epochs1" in said.err
    assert "two-phase-epochs1" in said.out and "Choosing by a test column would be a leak" in said.out
    assert "cpu, " in said.out  # where the milliseconds are from


def test_a_number_that_is_not_there_is_printed_as_such():
    text = sweep.as_text(table(row("a", None, .8, None)))
    line = next(line for line in text.splitlines() if line.startswith("a "))
    assert line.split()[1] == "n/a" and "0.800 (0.750 to 0.850)" in line


def test_one_recipe_by_the_flag_of_training_is_refused(tmp_path, capsys):
    assert sweep.main(["--out", str(tmp_path), "--recipe", "baseline"]) == 1
    assert "RECIPES=" in capsys.readouterr().err
