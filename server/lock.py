"""Who works on a coordinator's folder: one process at a time serves it."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.server.files import append_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK: Final = ".lock"

STATUS: Final = "status.json"
"""What the running coordinator says of itself; there only while one runs, or was killed."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other coordinator out of a folder; the system lets go of it however this process ends.

    Raises:
        WardroundError: WR-1916, another one works on it.
    """
    with append_private(folder / LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WardroundError("WR-1916", "A coordinator runs on this folder already.") from None
        yield


def is_served(folder: Path) -> bool:
    """Whether a coordinator runs on a folder."""
    with append_private(folder / LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
