import os
import signal

import pytest

from pipeline.parallel import map_unordered


def square(n):
    if n == 3:
        raise ValueError("three")
    if n == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_each_item_comes_back_once_with_its_result_or_its_exception(workers):
    results = dict(map_unordered(square, [1, 2, 3, 4], workers))
    assert results.pop(3).args == ("three",) and results == {1: 1, 2: 4, 4: 16}


def test_an_item_that_kills_its_worker_is_an_error_and_nothing_else_is_lost():
    results = dict(map_unordered(square, range(10), 2))
    assert "died twice" in str(results.pop(5)) and isinstance(results.pop(3), ValueError)
    assert results == {n: n * n for n in (0, 1, 2, 4, 6, 7, 8, 9)}
