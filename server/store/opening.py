"""Open a store by its URL."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from wardround.common.errors import WardroundError
from wardround.server.store.database import connect
from wardround.server.store.store import Store
from wardround.server.store.upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine


def clock() -> int:
    """Seconds since 1970."""
    return int(time.time())


def open_store(url: str, clock: Callable[[], int] = clock) -> Store:
    """Open a database, with its tables brought up to this release; a missing SQLite file is made.

    Args:
        url: ``sqlite:///file`` or ``postgresql://user@host/name``.
        clock: Seconds since 1970.

    Raises:
        WardroundError: WR-1915, it cannot be reached, is damaged, or was made by a newer release.
    """
    engine = connect(url)
    if engine.dialect.name == "sqlite":
        _make_private(engine)
    try:
        upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, clock)


def _make_private(engine: Engine) -> None:
    """The file is its owner's alone from the first moment; SQLite gives its other files the same mode."""
    name = make_url(engine.url).database
    if not name or name == ":memory:":
        raise WardroundError("WR-1915", "A store needs a file: sqlite:///path.")
    try:
        os.close(os.open(Path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        what = f"The database's file cannot be opened for writing: {error.strerror}."
        fix = f"Let this account write in {Path(name).parent}; it may be mounted read-only, or belong to somebody else."
        raise WardroundError("WR-1915", what, fix=fix) from error
