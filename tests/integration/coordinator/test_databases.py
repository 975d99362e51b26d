"""What several processes do to one database at the same time, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fakes.joining import NOW, Hospital, pin
from sqlalchemy import text

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.server.consortium import Consortium, create_consortium
from wardround.server.consortium.export import exported
from wardround.server.store import open_store
from wardround.server.store.database import connect
from wardround.server.store.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wardround.server.store import Store

pytestmark = pytest.mark.xdist_group("postgresql")

OPEN = """
import sys
import alembic.command, alembic.script
from wardround.server.store import open_store

print("ready", flush=True)
sys.stdin.readline()
store = open_store(sys.argv[1])
store.add_event("opened")
store.close()
print("opened")
"""

JOIN = """
import sys
from pathlib import Path
from fakes.joining import NOW, Hospital
from wardround.common.errors import WardroundError
from wardround.server.consortium import Consortium

folder, pin, *sites = sys.argv[1:]
with Consortium(Path(folder)) as consortium:
    hospitals = [Hospital(site) for site in sites]
    print("ready", flush=True)
    sys.stdin.readline()
    for hospital in hospitals:
        try:
            consortium.enrol(hospital.request(), now=NOW, invite_pin=pin or None)
            print(hospital.identity.public.hex(), flush=True)
        except WardroundError as error:
            print(error.code, flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'wards.db'}"
    new: Callable[[], str] = request.getfixturevalue("postgresql")
    return new()


@pytest.fixture
def folder(url: str, tmp_path: Path) -> Path:
    """A consortium on that database."""
    create_consortium(tmp_path / "wards", "wards", "localhost:8443", now=NOW, database=url).close()
    return tmp_path / "wards"


def started(root: Path, script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, cwd=root / "tests", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def joining(root: Path, folder: Path, pin: str, *sites: str) -> subprocess.Popen[str]:
    return started(root, JOIN, str(folder), pin, *sites)


def race(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    """What each said, once all are ready and let go."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.communicate()[0].split() for process in processes]


def test_tables_are_as_the_newest_migration_leaves_them(url: str) -> None:
    store = open_store(url)
    with store.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        connection.execute(text("ALTER TABLE events ADD COLUMN more INTEGER"))
        assert compare_metadata(MigrationContext.configure(connection), metadata) != []
        connection.execute(text("ALTER TABLE events DROP COLUMN more"))
    store.close()


def test_processes_that_find_an_empty_database_make_its_tables_once(url: str, root: Path) -> None:
    processes = [started(root, OPEN, url) for _ in range(6)]
    assert race(processes) == [["opened"]] * 6
    store = open_store(url)
    assert [event.kind for event in store.events()] == ["opened"] * 6
    assert store.version() == 6
    store.close()


def test_a_database_of_a_newer_release_is_left_alone(url: str) -> None:
    store = open_store(url)
    store.add_event("kept")
    with store.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    store.close()
    with pytest.raises(WardroundError, match=r"WR-1915.*newer release"):
        open_store(url)


def test_of_two_processes_with_one_invite_exactly_one_wins(folder: Path, root: Path) -> None:
    with Consortium(folder) as consortium:
        invite = pin(consortium.invite("oak", now=NOW))
    said = race([joining(root, folder, invite, "oak") for _ in range(3)])
    answers = sorted(answer for (answer,) in said)
    assert answers.count("WR-1904") == 2
    (winner,) = set(answers) - {"WR-1904"}
    with Consortium(folder) as consortium:
        roster = consortium.store.newest_roster()
        assert roster is not None
        assert roster.roster.version == 1
        assert roster.roster.members[SiteId("oak")].key == winner
        assert [row.kind for row in consortium.store.events()] == ["site.invited", "site.joined"]
        assert len(consortium.store.certificates(SiteId("oak"))) == 1


def test_every_version_of_the_roster_exists_once_though_processes_admit_at_the_same_time(
    folder: Path, root: Path
) -> None:
    names = [[f"{letter}{number}" for number in range(4)] for letter in "abc"]
    said = race([joining(root, folder, "", *some) for some in names])
    keys = dict(zip(chain(*names), chain(*said), strict=True))
    with Consortium(folder) as consortium:
        rosters = consortium.store.rosters()
        assert [signed.roster.version for signed in rosters] == list(range(1, 13))
        assert [len(signed.roster.members) for signed in rosters] == list(range(1, 13))
        assert {site: member.key for site, member in rosters[-1].roster.members.items()} == keys
        for before, after in pairwise(rosters):
            after.verify()
            assert dict(before.roster.members).items() <= dict(after.roster.members).items()


@pytest.mark.parametrize("answers", [1, 3, 6])
def test_a_process_that_is_killed_leaves_whole_members_and_nothing_else(folder: Path, root: Path, answers: int) -> None:
    process = joining(root, folder, "", *(f"site{number}" for number in range(200)))
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()
    told = [process.stdout.readline().strip() for _ in range(answers)]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Consortium(folder) as consortium:
        roster = consortium.store.newest_roster()
        assert roster is not None
        keys = [member.key for member in roster.roster.members.values()]
        assert set(told) <= set(keys)
        assert len(keys) == roster.roster.version < 200
        members = [row for row in consortium.store.sites() if row.state == "member"]
        assert {row.name for row in members} == set(roster.roster.members)
        assert all(len(consortium.store.certificates(row.name)) == 1 for row in members)
        Hospital("after").join(consortium)


def test_the_count_of_writes_is_seen_by_other_processes(url: str, root: Path) -> None:
    store = open_store(url)
    before = store.version()
    script = "import sys; from wardround.server.store import open_store; open_store(sys.argv[1]).add_site('oak')"
    subprocess.run([sys.executable, "-c", script, url], cwd=root, check=True)
    assert store.version() == before + 1
    assert [row.name for row in store.sites()] == ["oak"]
    store.close()


def test_what_is_read_in_one_transaction_is_of_one_moment(url: str) -> None:
    store, other = open_store(url), open_store(url)
    with store.reading():
        assert store.events() == ()
        other.add_event("meanwhile")
        assert store.events() == ()
    assert len(store.events()) == 1
    store.close()
    other.close()


def test_everything_is_exported_but_keys(folder: Path) -> None:
    with Consortium(folder) as consortium:
        Hospital("oak").join(consortium)
        consortium.invite("elm", now=NOW)
        document: dict[str, Any] = json.loads(json.dumps(exported(consortium)))
    assert [row["name"] for row in document["sites"]] == ["elm", "oak"]
    assert len(document["rosters"]) == len(document["certificates"]) == 1
    assert [row["kind"] for row in document["events"]] == ["site.invited", "site.joined", "site.invited"]
    printed = json.dumps(document)
    assert "PRIVATE KEY" not in printed
    secrets = [(folder / name).read_bytes() for name in ("authority.key", "tls/ca.key", "tls/server.key")]
    assert secrets[0].hex() not in printed
    assert "localhost:8443" in printed
    assert "wards_" not in printed  # the address of the database


def test_a_failure_inside_a_transaction_takes_everything_back(url: str) -> None:
    store = open_store(url)
    store.add_site(SiteId("oak"))
    before = store.version()
    with pytest.raises(WardroundError, match="WR-1913"):
        add_run_of_no_study(store)
    assert (store.events(), [row.name for row in store.sites()]) == ((), ["oak"])
    assert store.version() == before
    with store.transaction():
        store.add_event("kept")
        store.add_site(SiteId("elm"))
    assert (len(store.events()), len(store.sites()), store.version()) == (1, 2, before + 1)
    store.close()


def add_run_of_no_study(store: Store) -> None:
    with store.transaction():
        store.add_event("lost")
        store.add_site(SiteId("elm"))
        store.add_run(StudyRunId("r1"), StudyId("sha256:" + "0" * 64), by="A", seed=0)


def test_a_server_that_hung_up_is_called_again(postgresql: Callable[[], str]) -> None:
    url = postgresql()
    store, other = open_store(url), connect(url)
    store.add_event("before")
    with other.connect() as connection:
        ended = connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).all()
    assert ended
    store.add_event("after")
    assert [event.kind for event in store.events()] == ["before", "after"]
    other.dispose()
    store.close()


def test_a_database_that_is_not_there_is_named_without_its_address(tmp_path: Path) -> None:
    url = f"postgresql://wardround:hunter2@/wards?host={tmp_path}"
    with pytest.raises(WardroundError, match="WR-1915") as refused:
        open_store(url)
    assert "hunter2" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
