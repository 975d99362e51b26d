"""Power that fails in the middle of a write: files as they then lie on the disk.

A commit writes the journal, then the pages, then empties the journal, then the head. Whatever of these is on disk, the
ledger is the one before the event or the one after it, or it is refused. It is never a third one.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from fakes.ledgers import NOW, RUN, cohort, ledger, limited, reserve, spend

from wardround.client.ledger.events import Spent, chained
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from pathlib import Path

ALL = cohort(range(3000))  # 48 kB of keys, so that a commit has many pages
NAMES = ("ledger.sqlite", "ledger.sqlite-journal", "ledger.head")


def copy(source: Path, target: Path) -> None:
    target.mkdir()
    for name in NAMES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A ledger before an event, in the middle of its commit, and after it.

    In the middle, the journal is whole and some of the pages are written over already.
    """
    home, before, middle = tmp_path / "home", tmp_path / "before", tmp_path / "middle"
    home.mkdir()
    book = limited(home)
    reserve(book, cohort(range(40)))
    spend(book, cohort(range(40)), 1)
    copy(home, before)
    state = book.state()
    event = Spent(run=RUN, round=2, computation=1, at="2026-11-20T12:00:00Z").canonical()
    with closing(sqlite3.connect(before / "ledger.sqlite", isolation_level=None)) as database:
        for statement in ("PRAGMA journal_mode=TRUNCATE", "PRAGMA synchronous=FULL", "PRAGMA cache_size=1", "BEGIN"):
            database.execute(statement)
        database.execute("INSERT INTO cohorts VALUES (?, ?)", (ALL.digest, ALL.content))
        row = (state.sequence + 1, event, chained(state.digest, event))
        database.execute("INSERT INTO events VALUES (?, ?, ?)", row)
        database.execute("INSERT INTO cohorts VALUES ('more', zeroblob(100000))")  # spills pages into the file
        copy(before, middle)
        database.execute("ROLLBACK")
    spend(book, cohort(range(40)), 2)
    return before, middle, home


def outcome(folder: Path) -> str:
    """``before``, ``after`` or the code of the refusal; a third state fails."""
    try:
        state = ledger(folder).check()
    except WardroundError as error:
        return error.code
    return {(5, (1,)): "before", (6, (1, 2)): "after"}[state.sequence, tuple(state.runs[RUN].computations)]


def put_together(folder: Path, database: Path, journal: bytes | None, head: Path) -> Path:
    """A folder as the disk may have it."""
    folder.mkdir()
    shutil.copyfile(database / "ledger.sqlite", folder / "ledger.sqlite")
    shutil.copyfile(head / "ledger.head", folder / "ledger.head")
    if journal is not None:
        (folder / "ledger.sqlite-journal").write_bytes(journal)
    return folder


def test_a_hot_journal_is_played_back(three: tuple[Path, Path, Path]) -> None:
    before, middle, after = three
    written = (middle / "ledger.sqlite").read_bytes()
    assert written != (before / "ledger.sqlite").read_bytes()  # or it would be no middle
    assert outcome(before) == "before"
    assert outcome(middle) == "before"
    assert outcome(after) == "after"
    spend(ledger(middle), cohort(range(40)), 2)


def test_whatever_is_on_the_disk_it_is_one_of_two_or_refused(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    before, middle, after = three
    hot = (middle / "ledger.sqlite-journal").read_bytes()
    journals = [None, b"", bytes(512), hot, *(hot[: int(len(hot) * share)] for share in (0.01, 0.1, 0.4, 0.7, 0.99))]
    seen = {}
    for number, journal in enumerate(journals):
        for database in three:
            for head in (before, after):
                folder = tmp_path / f"{number}-{database.name}-{head.name}"
                seen[number, database.name, head.name] = outcome(put_together(folder, database, journal, head))
    assert set(seen.values()) <= {"before", "after", "WR-1811", "WR-1812"}
    assert seen[0, "home", "before"] == "after"  # killed between the commit and the head
    assert seen[3, "middle", "before"] == "before"  # killed within the commit
    assert seen[0, "before", "home"] == "WR-1812"  # the commit was acknowledged and then lost
    assert seen[0, "middle", "before"] == "WR-1811"  # the journal was lost, and half of the pages are new


def test_every_length_of_a_truncated_ledger_is_refused(three: tuple[Path, Path, Path], tmp_path: Path) -> None:
    home = three[2]
    content = (home / "ledger.sqlite").read_bytes()
    for cut in range(0, len(content), 1024):
        folder = put_together(tmp_path / str(cut), home, b"", home)
        (folder / "ledger.sqlite").write_bytes(content[:cut])
        assert outcome(folder) == "WR-1811"
    assert outcome(put_together(tmp_path / "whole", home, b"", home)) == "after"


def test_a_hot_journal_of_a_file_that_is_gone_is_not_played_back(three: tuple[Path, Path, Path]) -> None:
    before, middle, after = three
    hot = (middle / "ledger.sqlite-journal").read_bytes()
    for name in ("ledger.sqlite", "ledger.head"):
        (middle / name).unlink()
    assert outcome(after) == "after"
    (middle / "ledger.sqlite-journal").write_bytes(hot)
    limited(middle)
    reserve(ledger(middle), ALL)
    assert ledger(middle).check().sequence == 4

    for name in ("ledger.sqlite", "ledger.head"):
        (middle / name).unlink()
    (middle / "ledger.sqlite-journal").write_bytes(hot)
    ledger(middle).restore(after / "ledger.sqlite", admin="Ada", reason="a test", now=NOW)
    assert ledger(middle).check().runs[RUN].written_off
    assert outcome(before) == "before"
