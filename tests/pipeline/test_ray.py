"""A Ray of this machine's own; every test says in its name what becomes of the items."""
import importlib.util
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.errors import PipelineError
from pipeline.parallel import map_unordered
from pipeline.workers import TimedOut

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
started: list = []


def begin(*arguments):
    started.extend(arguments)


def work(item):
    """Squares numbers; the file in an item's place makes its worker die, once or always."""
    number, once, always = item
    if number == 3:
        raise ValueError("three")
    if number == 4:
        if not os.path.exists(once):
            open(once, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
    if number == 5 and always:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number * number + len(started)


def refuse():
    raise ZeroDivisionError("the worker does not start")


def numbers(tmp_path, always):
    return [(n, str(tmp_path / "died-once"), always) for n in range(12)]


def plain(results):
    return {item[0]: str(result) for item, result in results}


@needs_ray
@pytest.mark.slow
def test_of_three_workers_one_is_killed_and_all_results_are_those_of_local_processes(tmp_path):
    items = numbers(tmp_path, always=False)
    on_ray = plain(map_unordered(work, items, 3, begin, (1, 2), engine="ray"))
    assert os.path.exists(items[0][1])  # one worker did die
    assert on_ray == plain(map_unordered(work, items, 2, begin, (1, 2))) and on_ray[4] == "18" and on_ray[3] == "three"


@needs_ray
@pytest.mark.slow
def test_an_item_that_kills_two_workers_is_an_error_in_the_words_of_local_processes_and_the_others_finish(tmp_path):
    results = plain(map_unordered(work, numbers(tmp_path, always=True), 3, begin, (1,), engine="ray"))
    assert results.pop(5) == "its worker process died twice (killed, or out of memory)"
    assert results.pop(3) == "three" and results == {n: str(n * n + 1) for n in (0, 1, 2, 4, 6, 7, 8, 9, 10, 11)}


@needs_ray
@pytest.mark.slow
def test_an_item_that_hangs_is_a_timeout_as_of_local_processes():
    for engine in ("ray", "local"):
        results = dict(map_unordered(time.sleep, [600, 0, .1, .2], 2, engine=engine,
                                     limit_s=lambda s: 2.0 if s > 1 else 60.0))
        assert isinstance(results.pop(600), TimedOut) and results == {0: None, .1: None, .2: None}


@needs_ray
@pytest.mark.slow
def test_more_workers_than_the_cluster_has_room_for_do_not_hold_it_up(tmp_path):
    results = plain(map_unordered(work, numbers(tmp_path, always=False), 12, begin, (1,), engine="ray"))
    assert len(results) == 12


@needs_ray
@pytest.mark.slow
def test_a_worker_that_cannot_start_ends_the_map_with_its_error(tmp_path):
    with pytest.raises(ZeroDivisionError, match="does not start"):
        list(map_unordered(work, numbers(tmp_path, always=False), 2, refuse, engine="ray"))


@needs_ray
@pytest.mark.slow
def test_a_killed_driver_leaves_no_process_of_its_own_ray_behind(tmp_path):
    script = tmp_path / "driver.py"
    script.write_text("import time\nfrom pipeline.parallel import map_unordered\n"
                      "for _ in map_unordered(len, ['a', 'b'], 2, engine='ray'):\n"
                      "    print('one', flush=True)\n    time.sleep(600)\n")
    mark = f"test-of-ray-{os.getpid()}"
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE,
                              env={**os.environ, "PYTHONPATH": os.getcwd(), "LEFT_BEHIND": mark})
    try:
        assert driver.stdout.readline() == b"one\n"
        assert len(marked(mark)) > 3
    finally:
        driver.kill()
        driver.wait()
    deadline = time.monotonic() + 120  # mostly under 5 s, but two of Ray's helpers were seen to take over 60
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert marked(mark) == []


def marked(mark):
    """Processes whose environment holds the mark."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if mark.encode() in file.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PipelineError, match="run make setup, or pip install"):
        list(map_unordered(len, ["a"], 1, engine="ray"))
