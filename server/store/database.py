"""A database behind a URL: connections, transactions, errors.

Writers take turns: a transaction that writes begins by counting itself in the table ``writes``, which locks that row
(PostgreSQL) or the file (SQLite) until it ends. So what it read cannot change before it has written, and the count
tells every process cheaply whether anything happened.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import create_engine, event, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from wardround.common.errors import WardroundError
from wardround.server.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import URL, Connection, Engine

BUSY_SECONDS: Final = 30
"""How long a transaction waits for another one before it is refused."""

_AGAIN_SECONDS: Final = 0.01

WRITES: Final = "wardround_writes"
"""Execution option of connections whose transaction will write."""


def connect(url: str) -> Engine:
    """An engine for ``sqlite:///file`` or ``postgresql://…``; nothing is opened yet.

    Raises:
        WardroundError: WR-1915, the URL is neither, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise WardroundError("WR-1915", "database.url is not a database URL.") from None
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return _sqlite(parsed)
    if kind == "postgresql":
        return _postgresql(parsed)
    raise WardroundError("WR-1915", f"A database of the kind {kind} cannot be used; use sqlite or postgresql.")


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _settle(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where _begin says so
        _write_ahead(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Use a write-ahead log. Where several processes open a new file at once SQLite refuses without waiting."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except ImportError:
        fix = "Install wardround with its extra deploy: pip install 'wardround[deploy]'."
        raise WardroundError("WR-1915", "PostgreSQL needs the package psycopg.", fix=fix) from None


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a database refuses into WR-1915; what only a bug can cause stays as it is."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error  # without its text, which holds the URL or values
        raise WardroundError("WR-1915", f"The database refuses ({type(cause).__name__}).") from error


class Database:
    """Transactions on an engine. One object serves all threads of a process.

    Args:
        engine: Of :func:`connect`.
        clock: Seconds since 1970.
    """

    def __init__(self, engine: Engine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self.clock = clock
        self._mine = threading.local()
        postgresql = engine.dialect.name == "postgresql"  # SQLite reads at one moment by itself
        self._snapshot = {"isolation_level": "REPEATABLE READ"} if postgresql else {}

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that writes: everything in it or nothing. Inside another one of this thread it joins that.

        Raises:
            WardroundError: WR-1915, the database cannot be reached or refuses.
            RuntimeError: This thread is inside a transaction that only reads (a bug).
        """
        outer: Connection | None = getattr(self._mine, "writer", None)
        if outer is not None:
            yield outer
            return
        if getattr(self._mine, "reader", None) is not None:
            raise RuntimeError("a transaction that reads cannot begin to write")
        with refusals(), self._engine.connect() as plain:
            connection = plain.execution_options(**{WRITES: True})
            with connection.begin():
                connection.execute(update(tables.writes).values(count=tables.writes.c.count + 1))
                self._mine.writer = connection
                try:
                    yield connection
                finally:
                    self._mine.writer = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads, all at one moment; inside another one of this thread it joins that."""
        outer: Connection | None = getattr(self._mine, "writer", None) or getattr(self._mine, "reader", None)
        if outer is not None:
            yield outer
            return
        with refusals(), self._engine.connect() as plain:
            connection = plain.execution_options(**self._snapshot)
            with connection.begin():
                self._mine.reader = connection
                try:
                    yield connection
                finally:
                    self._mine.reader = None

    def version(self) -> int:
        """Grows with every transaction that writes, of any process."""
        with self.reading() as connection:
            count: int = connection.execute(select(tables.writes.c.count)).scalar_one()
            return count
