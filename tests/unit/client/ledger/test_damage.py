"""An edited, cut, exchanged or rolled-back ledger is refused by its code; the same file untouched is not."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from fakes.ledgers import NOW, RUN, SITE, cohort, ledger, limited, reserve, spend

from wardround.client.ledger.events import START, chained
from wardround.client.ledger.place import read_head
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId

if TYPE_CHECKING:
    from pathlib import Path

ALL = cohort(range(20))
TRIGGERS = ("events_update", "events_delete", "cohorts_update", "cohorts_delete", "events_next", "cohorts_new")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of eight events."""
    made = tmp_path_factory.mktemp("whole")
    book = limited(made)
    reserve(book, ALL)
    for number in (1, 2, 3, 4):
        spend(book, ALL, number)
    return made


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    ledger(tmp_path).check()
    return tmp_path


def refusal(folder: Path) -> str:
    """The code with which every operation of another process is refused."""
    attempts = (
        lambda: ledger(folder).check(),
        lambda: spend(ledger(folder), ALL, 5),
        lambda: reserve(ledger(folder), ALL, run="next"),
        lambda: ledger(folder).signed_head(bytes(32)),
        lambda: ledger(folder).set_limit(9.0, 1e-5, admin="Ada", reason="a test", now=NOW),
    )
    codes = set()
    for attempt in attempts:
        with pytest.raises(WardroundError) as error:
            attempt()
        codes.add(error.value.code)
    assert len(codes) == 1
    return codes.pop()


def tamper(folder: Path, *statements: str, keep_triggers: bool = True) -> None:
    """Change the file as somebody with a database tool would, and put the triggers back."""
    with closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as database:
        query = "SELECT sql FROM sqlite_master WHERE type = 'trigger'"
        triggers = [sql for (sql,) in database.execute(query).fetchall()]
        for trigger in TRIGGERS:
            database.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            database.execute(statement)
        for trigger in triggers if keep_triggers else ():
            database.execute(trigger)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET content = '{}' WHERE sequence = 1",
        "DELETE FROM events",
        "DELETE FROM cohorts",
        "UPDATE cohorts SET keys = x'00'",
        "INSERT INTO events SELECT 3, content, digest FROM events WHERE sequence = 5",
        "INSERT OR REPLACE INTO events SELECT 3, content, digest FROM events WHERE sequence = 5",
        "INSERT INTO events SELECT 99, content, digest FROM events WHERE sequence = 5",
        "INSERT OR REPLACE INTO cohorts SELECT digest, x'00' FROM cohorts",
    ],
)
def test_the_file_itself_resists(folder: Path, statement: str) -> None:
    with (
        closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as database,
        pytest.raises(sqlite3.IntegrityError, match=r"ledger|next event|new cohort"),
    ):
        database.execute(statement)
    spend(ledger(folder), ALL, 5)


@pytest.mark.parametrize(
    "statement",
    [
        """UPDATE events SET content = replace(content, '"epsilon":8', '"epsilon":9') WHERE sequence = 2""",
        "UPDATE events SET content = CAST(replace(content, '\"round\":2', '\"round\":9') AS BLOB) WHERE sequence = 6",
        "UPDATE events SET content = x'7b7d' WHERE sequence = 5",
        "UPDATE events SET digest = x'00' WHERE sequence = 5",
        "UPDATE events SET digest = zeroblob(32) WHERE sequence = 8",
        "DELETE FROM events WHERE sequence = 6",
        "DELETE FROM events WHERE sequence = 1",
        "DELETE FROM events WHERE sequence = 8",
        "DELETE FROM events WHERE sequence > 4",
        "DELETE FROM events",
        "DELETE FROM cohorts",
        "UPDATE cohorts SET keys = zeroblob(16)",
        "UPDATE cohorts SET keys = x'01'",
        "UPDATE cohorts SET keys = 'text'",
        "UPDATE cohorts SET digest = 'other'",
        "INSERT INTO cohorts VALUES ('more', zeroblob(16))",
        "INSERT INTO events SELECT 9, content, digest FROM events WHERE sequence = 8",
        "UPDATE events SET sequence = 20 WHERE sequence = 8",
        "CREATE TABLE more (x)",
        "PRAGMA application_id = 1",
    ],
)
def test_an_edited_file_is_damaged(folder: Path, statement: str) -> None:
    tamper(folder)  # the control: the triggers alone may be dropped and made again
    assert ledger(folder).check().sequence == 8
    tamper(folder, statement)
    assert refusal(folder) == "WR-1811"


def test_a_file_without_its_triggers_is_damaged(folder: Path) -> None:
    tamper(folder, keep_triggers=False)
    assert refusal(folder) == "WR-1811"


def test_a_process_that_has_read_the_ledger_sees_an_edit_too(folder: Path) -> None:
    book = ledger(folder)
    book.state()
    tamper(folder, "UPDATE events SET content = x'7b7d' WHERE sequence = 5")
    with pytest.raises(WardroundError, match="WR-1811"):
        spend(book, ALL, 5)


def test_an_edit_with_a_new_chain_is_found_by_the_head(folder: Path) -> None:
    def rewritten(old: bytes, new: bytes) -> list[str]:
        digest, statements = START, []
        with closing(sqlite3.connect(folder / "ledger.sqlite")) as database:
            rows = database.execute("SELECT sequence, content FROM events ORDER BY sequence").fetchall()
        for sequence, content in rows:
            edited = content.replace(old, new)
            digest = chained(digest, edited)
            values = f"content = x'{edited.hex()}', digest = x'{digest.hex()}'"
            statements.append(f"UPDATE events SET {values} WHERE sequence = {sequence}")  # noqa: S608 - a forger's
        return statements

    tamper(folder, *rewritten(b'"Ada"', b'"Ada"'))
    assert ledger(folder).check().sequence == 8
    tamper(folder, *rewritten(b'"epsilon":8', b'"epsilon":9'))
    assert refusal(folder) == "WR-1811"


def test_removed_events_with_the_count_set_back_are_a_rollback(folder: Path) -> None:
    tamper(folder, "DELETE FROM events WHERE sequence > 6", "UPDATE sqlite_sequence SET seq = 6")
    assert refusal(folder) == "WR-1812"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_damaged(folder: Path, share: float) -> None:
    path = folder / "ledger.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert refusal(folder) == "WR-1811"
    path.write_bytes(content)
    spend(ledger(folder), ALL, 5)


def test_every_changed_byte_of_content_is_found(folder: Path) -> None:
    path = folder / "ledger.sqlite"
    content = path.read_bytes()
    for marker in (b'"kind":"spent"', b'"round":3', b'"steps":10', ALL.content[:16]):
        at = content.index(marker) + len(marker) - 1
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(WardroundError, match="WR-1811"):
            ledger(folder).check()
    path.write_bytes(content)
    assert ledger(folder).check().sequence == 8


def test_a_rolled_back_copy_is_refused(folder: Path) -> None:
    backup = folder / "backup"
    shutil.copyfile(folder / "ledger.sqlite", backup)
    shutil.copyfile(backup, folder / "ledger.sqlite")  # the control: a copy of the newest file is the newest file
    spend(ledger(folder), ALL, 5)
    shutil.copyfile(backup, folder / "ledger.sqlite")
    assert refusal(folder) == "WR-1812"


def test_a_ledger_that_is_gone_is_not_begun_anew(folder: Path) -> None:
    (folder / "ledger.sqlite").rename(folder / "kept")
    assert ledger(folder).exists
    assert refusal(folder) == "WR-1812"
    (folder / "kept").rename(folder / "ledger.sqlite")
    spend(ledger(folder), ALL, 5)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff"])
def test_without_its_head_a_ledger_is_damaged(folder: Path, content: bytes | None) -> None:
    head = folder / "ledger.head"
    kept = head.read_bytes()
    head.unlink() if content is None else head.write_bytes(content)
    assert refusal(folder) == "WR-1811"
    head.write_bytes(kept)
    spend(ledger(folder), ALL, 5)


def test_a_head_may_be_one_event_behind_and_no_more(folder: Path) -> None:
    head = folder / "ledger.head"
    old = head.read_bytes()
    spend(ledger(folder), ALL, 5)
    head.write_bytes(old)  # as a crash between the event and its head leaves it
    assert ledger(folder).state().sequence == 9
    newest = read_head(folder)
    assert newest is not None
    assert newest.sequence == 9
    spend(ledger(folder), ALL, 6)
    head.write_bytes(old)
    assert refusal(folder) == "WR-1811"


def test_the_ledger_of_another_site_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("south")
    with pytest.raises(WardroundError, match="WR-1813"):
        ledger(folder, site=SiteId("south")).state()
    south = ledger(other, site=SiteId("south"))
    south.set_limit(8.0, 1e-5, admin="Bob", reason="a test", now=NOW)
    shutil.copyfile(other / "ledger.sqlite", folder / "ledger.sqlite")
    assert refusal(folder) == "WR-1813"
    assert ledger(other, site=SiteId("south")).state().sequence == 2


def test_another_ledger_of_the_same_site_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("again")
    reserve(limited(other), ALL)
    shutil.copyfile(other / "ledger.sqlite", folder / "ledger.sqlite")
    assert refusal(folder) == "WR-1812"  # it is shorter
    for number in range(1, 8):
        spend(ledger(other), ALL, number)
    shutil.copyfile(other / "ledger.sqlite", folder / "ledger.sqlite")
    assert refusal(folder) == "WR-1811"


def test_another_secret_is_refused(folder: Path) -> None:
    with pytest.raises(WardroundError, match="WR-1814"):
        ledger(folder, secret="00" * 32).state()
    assert ledger(folder).state().opened is not None


def test_another_release_is_refused(folder: Path) -> None:
    tamper(folder, "PRAGMA user_version = 2")
    assert refusal(folder) == "WR-1813"
    tamper(folder, "PRAGMA user_version = 1")
    spend(ledger(folder), ALL, 5)


def test_a_program_that_holds_the_file_is_waited_for(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(WardroundError, match="in use by another program"):
            ledger(folder, wait=0.05).state()
    ledger(folder, wait=0.05).state()


def test_a_full_disk_changes_nothing(folder: Path) -> None:
    book = ledger(folder)
    before = book.state().head()
    with book._open() as pages:
        assert pages.file is not None
        pages.file._database.execute("PRAGMA max_page_count=1")
        with pytest.raises(WardroundError, match="disk is full"):
            pages.file.append(9, bytes(100_000), hashlib.sha256().digest(), None)
    assert ledger(folder).check().head() == before
    spend(book, ALL, 5)


def test_a_journal_of_a_file_that_is_gone_is_not_played_back(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    (tmp_path / ".ledger.sqlite.partial").write_bytes(b"left by a crash")
    reserve(limited(tmp_path), ALL)
    assert ledger(tmp_path).check().runs[RUN].committed_steps == 100
    assert ledger(tmp_path).state().head().site == SITE
    assert not (tmp_path / ".ledger.sqlite.partial").exists()
