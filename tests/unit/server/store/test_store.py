"""The store on SQLite: what is written comes back, from any thread; damage has a code."""

from __future__ import annotations

import sqlite3
import stat
import threading
from typing import TYPE_CHECKING

import pytest
from alembic.script import ScriptDirectory
from fakes.joining import NOW, Hospital
from fakes.run_folder import classification_study

from wardround.common.consortium.studies import Proposal, SignedProposal
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.wire.federation import Report
from wardround.server.store import OPEN_RUNS, Store, StudyRow, open_store
from wardround.server.store.tables import HEAD
from wardround.server.store.upgrade import migrations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OAK = SiteId("oak")
STUDY = classification_study()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store whose clock stands."""
    found = open_store(f"sqlite:///{tmp_path / 'wards.db'}", clock=lambda: NOW)
    yield found
    found.close()


def proposed(store: Store) -> StudyId:
    content = STUDY.canonical().decode()
    signed = SignedProposal.sign(Proposal(consortium="w", study=content, by="A", at=NOW), Hospital("a").identity)
    sites = tuple(SiteId(name) for name in STUDY.sites)
    store.add_study(StudyRow(STUDY.id, STUDY.name, STUDY.title, sites, "A", "", NOW, signed))
    return STUDY.id


def test_the_newest_migration_is_the_one_that_the_tables_name() -> None:
    assert ScriptDirectory.from_config(migrations()).get_heads() == [HEAD]


def test_every_write_is_counted_and_no_read(store: Store) -> None:
    before = store.version()
    store.sites()
    store.events()
    assert store.version() == before
    store.add_site(OAK)
    store.heard(OAK, NOW)
    assert store.version() == before + 2
    with store.transaction():
        store.add_event("one")
        store.add_event("two")
    assert store.version() == before + 3


def test_what_a_site_says_is_kept_beside_what_it_said_before(store: Store) -> None:
    store.add_site(OAK, "Oak clinic")
    report = Report(state="working", run=StudyRunId("r1"), what="train", device="cpu")
    store.heard(OAK, NOW, release="1.0", roster=3)
    store.heard(OAK, NOW + 5, report=report)
    row = store.site(OAK)
    assert row is not None
    assert (row.heard_at, row.release, row.roster, row.report) == (NOW + 5, "1.0", 3, report)
    with pytest.raises(WardroundError, match="WR-1921"):
        store.heard(SiteId("elm"), NOW)
    with pytest.raises(WardroundError, match="WR-1921"):
        store.add_site(OAK)


def test_a_run_goes_from_state_to_state(store: Store) -> None:
    study, run = proposed(store), StudyRunId("r1")
    made = store.add_run(run, study, by="A", seed=7, without=(OAK,))
    assert (made.state, made.committed, made.without, made.created_at) == ("waiting", 0, (OAK,), NOW)
    assert store.run(run) == made
    moved = store.update_run(run, state="running", committed=2, words="round 2", only_if=("waiting",))
    assert (moved.state, moved.committed, moved.words) == ("running", 2, "round 2")
    with pytest.raises(WardroundError, match="WR-1923"):
        store.update_run(run, state="stopped", only_if=("waiting",))
    assert store.run(run) == moved
    assert store.runs(OPEN_RUNS) == store.runs("running") == store.runs() == (moved,)
    assert store.runs("waiting") == ()
    for wrong in (lambda: store.update_run(StudyRunId("r2")), lambda: store.add_run(run, study, by="A", seed=0)):
        with pytest.raises(WardroundError, match="WR-1923"):
            wrong()
    with pytest.raises(WardroundError, match="WR-1913"):
        store.add_run(StudyRunId("r2"), StudyId("sha256:" + "0" * 64), by="A", seed=0)


def test_events_are_read_in_parts(store: Store) -> None:
    for number in range(5):
        store.add_event("kind", site=OAK, words=f"{number}")
    first = store.events(limit=2)
    assert [event.words for event in first] == ["0", "1"]
    assert [event.words for event in store.events(after=first[-1].number)] == ["2", "3", "4"]
    assert (first[0].at, first[0].site, first[0].study) == (NOW, OAK, None)


def test_settings_are_replaced(store: Store) -> None:
    assert store.setting("a") is None
    store.set_setting("a", "1")
    store.set_setting("a", "2")
    assert store.setting("a") == "2"


def test_threads_write_in_turn(store: Store) -> None:
    def add(number: int) -> None:
        for turn in range(10):
            with store.transaction():
                store.add_event(f"{number}", words=str(turn))
                store.add_event(f"{number}", words=str(turn))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [(event.kind, event.words) for event in store.events()]
    assert len(found) == 80
    assert found[::2] == found[1::2]  # no other thread's event is between two of one transaction
    assert store.version() == 40


def test_a_reading_transaction_never_writes(store: Store) -> None:
    with store.reading(), pytest.raises(RuntimeError, match="cannot begin to write"):
        store.add_event("lost")
    store.add_event("kept")


def test_the_file_is_its_owners_alone_and_synced(store: Store, tmp_path: Path) -> None:
    store.add_event("kept")
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    with store.reading() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wards.db"
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(WardroundError, match="WR-1915"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == b"no database at all" * 1000


def test_a_file_that_cannot_be_written_is_told_with_the_systems_reason(tmp_path: Path) -> None:
    (tmp_path / "wards.db").mkdir()
    with pytest.raises(WardroundError, match=r"WR-1915.*Is a directory.*Let this account write in"):
        open_store(f"sqlite:///{tmp_path / 'wards.db'}")


def test_a_file_that_another_program_holds_is_refused_with_a_code(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wardround.server.store.database.BUSY_SECONDS", 0.1)
    impatient = open_store(f"sqlite:///{tmp_path / 'wards.db'}")
    other = sqlite3.connect(tmp_path / "wards.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(WardroundError, match="WR-1915"):
        impatient.add_event("lost")
    other.rollback()
    impatient.add_event("kept")
    assert [event.kind for event in store.events()] == ["kept"]
    impatient.close()
    other.close()


@pytest.mark.parametrize(
    "url", ["", "no url", "mysql://a/b", "sqlite://", "sqlite:///:memory:", "sqlite:////no/such/folder/a.db"]
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(WardroundError, match="WR-1915"):
        open_store(url)
