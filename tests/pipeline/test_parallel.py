import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.errors import PipelineError, WeightsError
from pipeline.parallel import map_unordered
from pipeline.workers import TimedOut, WorkerDied, time_limit_of


def square(n):
    if n == 3:
        raise ValueError("three")
    if n == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    if n == 7:
        time.sleep(600)
    return n * n


class Odd(Exception):
    """Pickles, and cannot be made again from what was pickled."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def odd(n):
    if n == 1:
        raise Odd("a", "b")
    return (lambda: n) if n == 2 else n


def no_weights():
    raise WeightsError("the weights are not there")


def late_death(item):
    """Die at the first try, when the other worker has long finished."""
    what, folder = item
    if what == "dies once" and not (folder / "tried").exists():
        (folder / "tried").touch()
        while not (folder / "quick").exists():
            time.sleep(.01)
        time.sleep(.5)
        die()
    if what == "quick":
        (folder / "quick").touch()
    return what


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_each_item_comes_back_once_with_its_result_or_its_exception(workers):
    results = dict(map_unordered(square, [1, 2, 3, 4], workers))
    assert results.pop(3).args == ("three",) and results == {1: 1, 2: 4, 4: 16}


def test_an_item_that_kills_its_worker_is_an_error_and_nothing_else_is_lost():
    results = dict(map_unordered(square, [0, 1, 2, 3, 4, 5, 6, 8, 9], 2))
    assert isinstance(found := results.pop(5), WorkerDied) and "died twice" in str(found)
    assert isinstance(results.pop(3), ValueError) and results == {n: n * n for n in (0, 1, 2, 4, 6, 8, 9)}


def test_an_item_whose_worker_dies_last_goes_to_a_worker_that_already_waits(tmp_path):
    results = dict(map_unordered(late_death, [("quick", tmp_path), ("dies once", tmp_path)], 2))
    assert results == {("quick", tmp_path): "quick", ("dies once", tmp_path): "dies once"}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_item_that_hangs_is_a_timeout_and_its_worker_is_replaced(workers):
    results = dict(map_unordered(square, [7, 1, 2, 4, 7, 6], workers, limit_s=lambda n: 1.0 if n == 7 else 60.0))
    assert isinstance(results.pop(7), TimedOut) and results == {1: 1, 2: 4, 4: 16, 6: 36}


def test_a_hanging_item_without_workers_ends_the_process_and_is_named():
    code = ("import time\nfrom pipeline.parallel import map_unordered\n"
            "def late(item, error): print(item, error, flush=True)\n"
            "for item, _ in map_unordered(time.sleep, [0, 600, 1], 0, limit_s=lambda s: 1.0, expired=late):\n"
            "    print('slept', item, flush=True)\n")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout == "slept 0\n600 took longer than 1 s, which is the limit of time: see --time-limit\n"


def test_results_and_errors_that_do_not_pickle_are_errors():
    results = dict(map_unordered(odd, [1, 2, 3], 2))
    assert str(results[1]) == "Odd: a b" and "a result: " in str(results[2]) and results[3] == 3


@pytest.mark.parametrize("workers", [1, 3])
def test_a_worker_that_cannot_start_ends_the_run_with_its_own_message(workers):
    with pytest.raises(WeightsError, match="^the weights are not there$"):
        list(map_unordered(square, range(20), workers, no_weights))


def test_workers_that_die_while_they_start_end_the_run():
    with pytest.raises(PipelineError, match="die before they have started .*status -9"):
        list(map_unordered(square, range(20), 1, die))


def test_a_map_that_is_left_leaves_no_process_behind():
    found = map_unordered(pid_of, range(4), 2)
    _, pid = next(found)
    found.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def pid_of(_):
    return os.getpid()


def test_the_limit_grows_with_the_file():
    assert [time_limit_of(n, 600) for n in (None, 0, 5_000_000, 4_000_000_000)] == [600, 600, 650, 40_600]
