"""Work on several parts at a time that stops at the first failure."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

T = TypeVar("T")
R = TypeVar("R")


def on_each(pool: Executor, work: Callable[[T], R], parts: Iterable[T]) -> list[R]:
    """What ``work`` gives for each part, in their order.

    Once one has failed none is begun any more, however long others before it still take; those that run are not waited
    for.

    Raises:
        BaseException: Whatever failed first.
    """
    begun = [pool.submit(work, part) for part in parts]
    try:
        done, _ = wait(begun, return_when=FIRST_EXCEPTION)
        for each in done:
            each.result()  # a failure is raised here
        return [each.result() for each in begun]
    finally:
        for each in begun:
            each.cancel()
