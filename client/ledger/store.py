"""Where a ledger's events lie: ``ledger.sqlite`` of the hospital's home.

Two tables, events and the keys of cohorts, to which rows are added and nothing else: triggers end any UPDATE and
DELETE, and AUTOINCREMENT remembers the highest number that was ever given. An append is one transaction with
``synchronous=FULL``: durable when it returns, whole or not at all. While the file is open no other process gets in.

Not decided here: whether the newest event is the newest there ever was (:mod:`wardround.client.ledger.place`).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, Self

from wardround.client.home import sync_folder
from wardround.client.ledger.events import CohortSeen, chained, parse_event
from wardround.client.ledger.patients import Cohort
from wardround.client.ledger.state import State
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from wardround.client.ledger.events import Event

APPLICATION: Final = 0x57524C47
"""SQLite's application_id of these files: ``WRLG``."""

VERSION: Final = 1

_SETTINGS: Final = (
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=TRUNCATE",  # the truncation is synced; the removal of a journal would not be
    "PRAGMA synchronous=FULL",
    "PRAGMA trusted_schema=OFF",
)
_SCHEMA: Final = (
    "CREATE TABLE events (sequence INTEGER PRIMARY KEY AUTOINCREMENT, content BLOB NOT NULL, digest BLOB NOT NULL)",
    "CREATE TABLE cohorts (digest TEXT PRIMARY KEY, keys BLOB NOT NULL)",
    *(
        f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is only added to'); END"
        for table in ("events", "cohorts")
        for verb in ("UPDATE", "DELETE")
    ),
    (
        "CREATE TRIGGER events_next BEFORE INSERT ON events "
        "WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM events) "
        "BEGIN SELECT RAISE(ABORT, 'not the next event'); END"
    ),
    (
        "CREATE TRIGGER cohorts_new BEFORE INSERT ON cohorts "
        "WHEN EXISTS (SELECT 1 FROM cohorts WHERE digest = NEW.digest) "
        "BEGIN SELECT RAISE(ABORT, 'not a new cohort'); END"
    ),
)
_DAMAGED: Final = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CONSTRAINT_TRIGGER", "SQLITE_ERROR"})
_WORDS: Final = {"SQLITE_BUSY": "is in use by another program", "SQLITE_FULL": "cannot be written: the disk is full"}


class EventFile:
    """An open ledger file.

    Args:
        path: The file.
        wait: Seconds to wait for other programs that have it open.
        name: What it is called in refusals; default: by its name.

    Raises:
        WardroundError: WR-1811, it is no ledger, or damaged; WR-1813, it is of another release, or cannot be read or
            written.
    """

    def __init__(self, path: Path, wait: float = 0.0, name: str | None = None) -> None:
        self._name = name or path.name
        with self._refusing():
            self._database = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", wait, isolation_level=None, uri=True
            )
        try:
            with self._refusing():
                self._prepare()
        except WardroundError:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def newest(self) -> tuple[int, bytes | None]:
        """Number and digest of the last event; 0 and None where there is none."""
        with self._refusing():
            rows = self._database.execute("SELECT max(sequence), digest FROM events").fetchall()
        return rows[0][0] or 0, rows[0][1]

    def digest(self, sequence: int) -> bytes | None:
        """Digest of an event; None where there is no such event."""
        with self._refusing():
            rows = self._database.execute("SELECT digest FROM events WHERE sequence = ?", (sequence,)).fetchall()
        return rows[0][0] if rows else None

    def read(self) -> State:
        """All events, folded; each is checked against the chain of digests.

        Raises:
            WardroundError: WR-1811, something was changed, removed or added.
        """
        if self._rows("PRAGMA quick_check") != [("ok",)]:
            raise WardroundError("WR-1811", f"{self._name} is damaged.")
        state = State()
        with self._refusing():
            for sequence, content, digest in self._database.execute(
                "SELECT sequence, content, digest FROM events ORDER BY sequence"
            ):
                known = sequence == state.sequence + 1 and isinstance(content, bytes)  # and not text that looks alike
                if not known or chained(state.digest, content) != digest:
                    raise WardroundError("WR-1811", f"Event {state.sequence + 1} of the ledger was changed or removed.")
                event = parse_event(content)
                if event.canonical() != content:
                    raise WardroundError("WR-1811", f"Event {sequence} of the ledger is not in canonical form.")
                state.apply(event, digest, self._cohort(event))
        self._check_counts(state)
        return state

    def append(self, sequence: int, content: bytes, digest: bytes, cohort: Cohort | None) -> None:
        """Add the next event, with the keys of the cohort that it makes known; durable on return.

        Raises:
            WardroundError: WR-1811, it is not the next one; WR-1813, it cannot be written. Nothing was changed.
        """
        with self._refusing():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                if cohort is not None:
                    self._database.execute("INSERT INTO cohorts VALUES (?, ?)", (cohort.digest, cohort.content))
                self._database.execute("INSERT INTO events VALUES (?, ?, ?)", (sequence, content, digest))
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")

    def contents(self) -> list[tuple[bytes, bytes]]:
        """Content and digest of every event, in order."""
        with self._refusing():
            return self._database.execute("SELECT content, digest FROM events ORDER BY sequence").fetchall()

    def _prepare(self) -> None:
        for statement in (*_SETTINGS, "BEGIN EXCLUSIVE", "COMMIT"):  # from here on the file is ours alone
            self._database.execute(statement)
        if self._rows("PRAGMA application_id") != [(APPLICATION,)]:
            raise WardroundError("WR-1811", f"{self._name} is not a ledger.")
        if self._rows("PRAGMA user_version") != [(VERSION,)]:
            raise WardroundError("WR-1813", f"{self._name} was written by another release.")
        found = self._rows("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
        if len(found) != len(_SCHEMA) or {sql for (sql,) in found} != set(_SCHEMA):
            raise WardroundError("WR-1811", f"{self._name} has other tables or triggers than a ledger.")

    def _cohort(self, event: Event) -> Cohort | None:
        if not isinstance(event, CohortSeen):
            return None
        rows = self._database.execute("SELECT keys FROM cohorts WHERE digest = ?", (event.cohort,)).fetchall()
        if not rows:
            raise WardroundError("WR-1811", "The ledger lacks the keys of a cohort.")
        try:
            return Cohort(rows[0][0])
        except (ValueError, TypeError):
            raise WardroundError("WR-1811", "The keys of a cohort in the ledger are damaged.") from None

    def _check_counts(self, state: State) -> None:
        if state.opened is None:
            raise WardroundError("WR-1811", f"{self._name} has no events.")
        if self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'events'") != [(state.sequence,)]:
            raise WardroundError("WR-1811", "Events at the end of the ledger were removed.")
        if self._rows("SELECT count(*) FROM cohorts") != [(len(state.cohorts),)]:
            raise WardroundError("WR-1811", "The ledger has keys of patients that no event speaks of.")

    def _rows(self, statement: str) -> list[tuple[object, ...]]:
        with self._refusing():
            return self._database.execute(statement).fetchall()

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn SQLite's errors into refusals."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # a damaged file need not hold text where text should be
            name = _error_name(error)
            if name in _DAMAGED or isinstance(error, UnicodeDecodeError):
                raise WardroundError("WR-1811", f"{self._name} is damaged ({name}).") from error
            words = _WORDS.get(name, "cannot be read or written")
            raise WardroundError("WR-1813", f"{self._name} {words} ({name}).") from error


@contextmanager
def new_file(path: Path) -> Iterator[EventFile]:
    """A file without events, to be given its first ones; it gets its name when the block ends without a refusal.

    Raises:
        WardroundError: WR-1813, it cannot be written.
    """
    partial = partial_of(path)
    try:
        _make(partial)
        with EventFile(partial) as file:
            yield file
        remove_journal(path)  # of a file that was removed: it must not be played back into this one
        partial.replace(path)
        sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        raise WardroundError("WR-1813", f"{path.name} cannot be made ({_error_name(error)}).") from error
    finally:
        partial.unlink(missing_ok=True)
        remove_journal(partial)


def partial_of(path: Path) -> Path:
    """Where a ledger is made before it gets its name. What a crash left there is nothing."""
    return path.with_name(f".{path.name}.partial")


def remove_journal(path: Path) -> None:
    """Remove what SQLite keeps beside a file while it writes."""
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)


def _make(path: Path) -> None:
    path.unlink(missing_ok=True)
    remove_journal(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in (*_SETTINGS, "BEGIN", *_SCHEMA):
            database.execute(statement)
        database.execute(f"PRAGMA application_id={APPLICATION}")
        database.execute(f"PRAGMA user_version={VERSION}")
        database.execute("COMMIT")


def _error_name(error: Exception) -> str:
    """SQLite's name of an error; errors of Python's own module have none."""
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
