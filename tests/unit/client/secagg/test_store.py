"""Records of a private run: durable, one owner, one user at a time, damage refused."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.client.secagg.store import RecordStore, SiteFiles
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SITE, RUN = SiteId("north"), "run.seed0"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secagg" / f"{RUN}.sqlite"
    SiteFiles.create(path, SITE, RUN)
    return path


def files(path: Path, site: str = SITE, run: str = RUN) -> SiteFiles:
    return SiteFiles(path, SiteId(site), run, os.urandom)


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(WardroundError) as refused:
        attempt()
    assert refused.value.code == "WR-1714"
    return refused.value.what


def test_records_change_together_and_survive(path: Path) -> None:
    with files(path) as store:
        assert store.get("a") is None
        store.commit({"a": b"1", "b": b"2", "run/x": b""})
        store.commit({"a": b"3", "b": None})
    with files(path) as store:
        assert (store.get("a"), store.get("b"), store.get("run/x")) == (b"3", None, b"")
        assert (store.names(""), store.names("run/")) == (["a", "run/x"], ["run/x"])


def test_a_change_that_fails_changes_nothing(path: Path) -> None:
    with files(path) as store:
        store.commit({"a": b"1"})
        store._database.execute("PRAGMA max_page_count=10")  # a full disk
        assert "SQLITE_FULL" in refusal(lambda: store.commit({"a": b"2", "b": bytes(100_000)}))
        assert (store.get("a"), store.get("b")) == (b"1", None)
        store.commit({"a": b"3"})
        assert store.get("a") == b"3"


def test_the_file_is_for_its_owner(path: Path, tmp_path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    copy = tmp_path / "other.sqlite"
    copy.write_bytes(path.read_bytes())
    assert "another site or study run" in refusal(lambda: files(copy, run="other"))
    assert "another site or study run" in refusal(lambda: files(path, site="south"))
    files(copy).__exit__(None, None, None)


def test_a_missing_empty_or_foreign_file_is_refused(path: Path, tmp_path: Path) -> None:
    assert "missing" in refusal(lambda: files(tmp_path / "none.sqlite"))
    for content in (b"", b"SQLite format 3\x00", os.urandom(5000)):
        path.write_bytes(content)
        refusal(lambda: files(path))
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as database:
        database.execute("CREATE TABLE records (name, content, digest)")
    assert "damaged" in refusal(lambda: files(foreign))


def test_another_release_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=2")
    assert "another release" in refusal(lambda: files(path))


def test_a_changed_record_is_refused(path: Path) -> None:
    with files(path) as store:
        store.commit({"a": b"1", "b": b"2"})
    with sqlite3.connect(path) as database:
        database.execute("UPDATE records SET content = ? WHERE name = 'a'", (b"9",))
    with files(path) as store:
        assert "damaged record" in refusal(lambda: store.get("a"))
        assert store.get("b") == b"2"


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM records WHERE name = 'a'",
        "UPDATE records SET name = 'c' WHERE name = 'b'",
        "UPDATE records SET digest = zeroblob(32) WHERE name = 'b'",
        "INSERT INTO records VALUES ('c', x'00', x'00')",
    ],
)
def test_records_that_were_not_written_here_are_refused(change: str, path: Path) -> None:
    with files(path) as store:
        store.commit({"a": b"1", "b": b"2"})
    files(path).__exit__(None, None, None)
    with sqlite3.connect(path) as database:
        database.execute(change)
    assert "other records than were written" in refusal(lambda: files(path))


@settings(max_examples=60)
@given(data=st.data())
def test_flipped_bytes_are_refused_or_change_nothing(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("store") / f"{RUN}.sqlite"
    SiteFiles.create(path, SITE, RUN)
    with files(path) as store:
        store.commit({"session": os.urandom(700)})
        expected = store.get("session")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        with files(path) as store:
            found = store.get("session")
    except WardroundError as error:
        assert error.code == "WR-1714"  # noqa: PT017 - either outcome is right, a wrong record is not
    else:
        assert found == expected


def test_a_store_in_use_is_refused(path: Path) -> None:
    """In this process and in another one."""
    with files(path):
        assert "in use" in refusal(lambda: files(path))
        script = f"""
import os
from pathlib import Path
from wardround.client.secagg.store import SiteFiles
from wardround.common.errors import WardroundError
try:
    SiteFiles(Path({str(path)!r}), {SITE!r}, {RUN!r}, os.urandom)
except WardroundError as error:
    print(error.code)
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "WR-1714"
    with files(path) as store:
        store.commit({"a": b"1"})


def test_what_is_erased_is_not_left_in_the_file(path: Path) -> None:
    secret = os.urandom(300)
    with files(path) as store:
        store.commit({"key": secret, "other": b"1"})
    assert secret in path.read_bytes()
    with files(path) as store:
        store.commit({"key": None})
    assert secret not in path.read_bytes()
    with files(path) as store:
        store.commit({"key": secret})
        store.commit({"key": b"new"})
    assert secret not in path.read_bytes()
    for left in path.parent.iterdir():  # the journal of changes stays, emptied
        assert secret not in left.read_bytes()


def test_what_is_erased_is_not_left_in_the_journal_while_the_store_is_open(path: Path) -> None:
    secret = os.urandom(300)
    with files(path) as store:
        store.commit({"key": secret})
        store.commit({"key": None})
        journal = path.with_name(f"{path.name}-journal")
        assert journal.exists()
        assert secret not in journal.read_bytes()


def test_a_process_that_is_killed_leaves_the_old_or_the_new_records(path: Path) -> None:
    """It is killed between writing and committing: the journal takes the records back."""
    script = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size=1")
database.execute("BEGIN IMMEDIATE")
for number in range(200):
    database.execute("INSERT INTO records VALUES (?, ?, ?)", (str(number), b"x" * 5000, b""))
os._exit(9)
"""
    with files(path) as store:
        store.commit({"a": b"1"})
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    assert path.with_name(f"{path.name}-journal").exists(), "the kill came in the middle of a transaction"
    with files(path) as store:
        assert (store.names(""), store.get("a")) == (["a"], b"1")


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_updates_are_sealed_beside_the_records(dtype: str, path: Path) -> None:
    values = np.arange(70_000, dtype=dtype)
    with files(path) as store:
        store.seal(bytes(32), values)
        found = np.zeros_like(values)
        store.unseal(bytes(32), found)
        np.testing.assert_array_equal(found, values)
        store.seal(bytes(31) + b"\x01", values[:5])
        refusal(lambda: store.unseal(bytes(32), found[:5]))
        refusal(lambda: store.unseal(bytes(31) + b"\x01", found))
    assert path.with_suffix(".update").stat().st_mode & 0o077 == 0


def test_a_store_that_cannot_be_written_is_refused(path: Path) -> None:
    with RecordStore(path, SITE, RUN) as store:
        store._database.execute("PRAGMA query_only=ON")
        assert "SQLITE_READONLY" in refusal(lambda: store.commit({"a": b"1"}))
        assert store.get("a") is None
