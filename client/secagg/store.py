"""What a hospital must not forget of a private study run, in ``secagg/<run>.sqlite`` of its home.

One table of named records, each with its SHA-256, and a SHA-256 over all of them, so that neither a
changed nor a vanished record goes unnoticed. A commit is one SQLite transaction with
``synchronous=FULL``: durable when it returns, whole or not at all. ``secure_delete`` overwrites what is
erased. The file names its site and run, so that a copy for another run is refused. While it is
open no other process gets in: two of them would take the same step twice.

The sealed update lies beside it in ``secagg/<run>.update`` (:mod:`wardround.client.secagg.sealed`).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from wardround.client.home import sync_folder
from wardround.client.secagg.sealed import read_sealed, write_sealed
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.ids import SiteId
    from wardround.common.secagg.ring import RingVector

APPLICATION: Final = 0x57525341
"""SQLite's application_id of these files: ``WRSA``."""

VERSION: Final = 1

_SETTINGS: Final = (
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=TRUNCATE",  # a deleted journal is kept open, with erased records in it
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",
)
_TABLES: Final = (
    "CREATE TABLE owner (site TEXT NOT NULL, subject TEXT NOT NULL, summary BLOB NOT NULL)",
    "CREATE TABLE records (name TEXT PRIMARY KEY, content BLOB NOT NULL, digest BLOB NOT NULL)",
)


_WORDS: Final = {"SQLITE_BUSY": "is in use", "SQLITE_FULL": "cannot be written: the disk is full"}
_ALL: Final = "SELECT name, digest FROM records ORDER BY name"


class RecordStore:
    """Named records in one SQLite file.

    Args:
        path: The file.
        site: Whose records these are.
        subject: What they are about: a study run, or a study.

    Raises:
        WardroundError: WR-1714, the file is missing, damaged, another site's or subject's, or in use.
    """

    def __init__(self, path: Path, site: SiteId, subject: str) -> None:
        self._name = path.name
        if not path.is_file():
            raise WardroundError("WR-1714", f"{self._name} is missing.")
        with self._refusing():
            self._database = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            with self._refusing():
                self._check(site, subject)
        except WardroundError:
            self._database.close()
            raise

    @classmethod
    def create(cls, path: Path, site: SiteId, subject: str) -> None:
        """Make an empty file; it is whole before it has its name. One that is there already stays.

        Raises:
            WardroundError: WR-1714, it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        journal = path.with_name(f"{partial.name}-journal")
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            with closing(sqlite3.connect(partial, isolation_level=None)) as database:
                for statement in (*_SETTINGS, "BEGIN", *_TABLES):
                    database.execute(statement)
                database.execute("INSERT INTO owner VALUES (?, ?, ?)", (site, subject, _summary([])))
                database.execute(f"PRAGMA application_id={APPLICATION}")
                database.execute(f"PRAGMA user_version={VERSION}")
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise WardroundError("WR-1714", f"{path.name} cannot be made ({_error_name(error)}).") from error
        else:
            with suppress(FileExistsError):
                path.hardlink_to(partial)
            sync_folder(path.parent)
        finally:
            for left in (partial, journal):
                left.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def get(self, name: str) -> bytes | None:
        """The record, or None.

        Raises:
            WardroundError: WR-1714, it is damaged.
        """
        with self._refusing():
            found = self._database.execute("SELECT content, digest FROM records WHERE name = ?", (name,)).fetchone()
        if found is None:
            return None
        content, digest = found
        if not isinstance(content, bytes) or _digest(name, content) != digest:
            raise WardroundError("WR-1714", f"{self._name} holds a damaged record.")
        return content

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Write and erase (None) records in one transaction, durable on return.

        Raises:
            WardroundError: WR-1714, it cannot be written; nothing was changed.
        """
        with self._refusing():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                for name, content in changes.items():
                    self._change(name, content)
                self._database.execute("UPDATE owner SET summary = ?", (_summary(self._rows(_ALL)),))
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")

    def names(self, prefix: str) -> list[str]:
        """Names of the records that begin so."""
        with self._refusing():
            rows = self._database.execute("SELECT name FROM records ORDER BY name").fetchall()
        return [str(name) for (name,) in rows if str(name).startswith(prefix)]

    def _change(self, name: str, content: bytes | None) -> None:
        if content is None:
            self._database.execute("DELETE FROM records WHERE name = ?", (name,))
        else:
            row = (name, content, _digest(name, content))
            self._database.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", row)

    def _check(self, site: SiteId, subject: str) -> None:
        for statement in (*_SETTINGS, "BEGIN EXCLUSIVE", "COMMIT"):  # from here on the file is ours alone
            self._database.execute(statement)
        if self._rows("PRAGMA quick_check") != [("ok",)] or self._rows("PRAGMA application_id") != [(APPLICATION,)]:
            raise WardroundError("WR-1714", f"{self._name} is damaged.")
        if self._rows("PRAGMA user_version") != [(VERSION,)]:
            raise WardroundError("WR-1714", f"{self._name} was written by another release.")
        if self._rows("SELECT site, subject FROM owner") != [(site, subject)]:
            raise WardroundError("WR-1714", f"{self._name} belongs to another site or study run.")
        if self._rows("SELECT summary FROM owner") != [(_summary(self._rows(_ALL)),)]:
            raise WardroundError("WR-1714", f"{self._name} holds other records than were written.")

    def _rows(self, statement: str) -> list[tuple[object, ...]]:
        return self._database.execute(statement).fetchall()

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn SQLite's errors into refusals."""
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # names in a damaged file need not be text
            name = _error_name(error)
            words = _WORDS.get(name, "is damaged, or cannot be read or written")
            raise WardroundError("WR-1714", f"{self._name} {words} ({name}).") from error


class SiteFiles(RecordStore):
    """:class:`~wardround.common.secagg.store.SiteStore` of one study run.

    Args:
        path: ``secagg/<run>.sqlite``.
        site: The site.
        run: The study run.
        random: Draws the salts of sealed files.

    Raises:
        WardroundError: WR-1714, as :class:`RecordStore`.
    """

    def __init__(self, path: Path, site: SiteId, run: str, random: RandomSource) -> None:
        super().__init__(path, site, run)
        self._random = random
        self._path = path
        self._update = path.with_suffix(".update")

    def beside(self, suffix: str) -> Path:
        """A file of this run with another suffix."""
        return self._path.with_suffix(suffix)

    def discard_update(self) -> None:
        """Remove the sealed update; without its key it is noise already."""
        self._update.unlink(missing_ok=True)

    def seal(self, key: bytes, values: RingVector) -> None:
        """Keep the encoded update, sealed under ``key``; durable on return."""
        write_sealed(self._update, key, _octets(values), self._random)

    def unseal(self, key: bytes, values: RingVector) -> None:
        """Read it back into ``values``.

        Raises:
            WardroundError: WR-1714, it is missing, damaged, of another size or key.
        """
        read_sealed(self._update, key, _octets(values))


def _error_name(error: Exception) -> str:
    """SQLite's name of an error; errors of Python's own module have none."""
    return str(getattr(error, "sqlite_errorname", type(error).__name__))


def _summary(rows: Sequence[tuple[object, ...]]) -> bytes:
    """SHA-256 over name and digest of every record."""
    summary = hashlib.sha256()
    for name, digest in rows:
        summary.update(_digest(str(name), digest if isinstance(digest, bytes) else b""))
    return summary.digest()


def _octets(values: RingVector) -> memoryview:
    return values.view(np.uint8).data


def _digest(name: str, content: bytes) -> bytes:
    return hashlib.sha256(len(name.encode()).to_bytes(4, "big") + name.encode() + content).digest()
