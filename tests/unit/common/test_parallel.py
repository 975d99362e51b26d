"""Parts are worked on together, and nothing is begun after a failure."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from wardround.common.parallel import on_each


def test_results_have_the_order_of_the_parts() -> None:
    with ThreadPoolExecutor(3) as pool:
        assert on_each(pool, lambda part: part * part, range(20)) == [part * part for part in range(20)]
        assert on_each(pool, str, []) == []


def test_nothing_is_begun_after_a_failure_behind_one_that_takes_long() -> None:
    begun, go_on = [], threading.Event()

    def work(part: int) -> None:
        begun.append(part)
        if part == 0:
            go_on.wait(60)
        elif part == 3:
            raise ConnectionError
        else:
            time.sleep(0.01)

    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(ConnectionError):
            on_each(pool, work, range(1000))
        go_on.set()
    assert set(begun[:4]) == {0, 1, 2, 3}
    assert len(begun) < 1000, "the control: without the failure all are"
