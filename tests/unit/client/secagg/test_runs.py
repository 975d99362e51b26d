"""Which runs of a study a site joins: one at a time, as many as its policy allows."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from wardround.client.home import Home, RegisteredData, create_home
from wardround.client.policy import Policy
from wardround.client.secagg.runs import joined_runs, joining, leave_run, make_room, run_files
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.secagg.site_records import LEFT, model_record

STUDY, OTHER = StudyId("sha256:" + "1" * 64), StudyId("sha256:" + "2" * 64)
FIRST, SECOND = StudyRunId("first"), StudyRunId("second")


def home_of(folder: Path, **policy: int) -> Home:
    data = [RegisteredData(manifest=Path("manifest.toml"))]
    return create_home(folder, SiteId("lund"), data, device="cpu", threads=1, policy=Policy(**policy))


def join(home: Home, run: StudyRunId, study: StudyId = STUDY) -> str:
    try:
        with joining(home, study, run, os.urandom) as files:
            files.commit({"session": run.encode()})
    except WardroundError as error:
        return error.code
    return ""


def test_a_second_run_needs_the_policys_leave(tmp_path: Path) -> None:
    home = home_of(tmp_path / "strict")
    assert [join(home, run) for run in (FIRST, FIRST, SECOND, FIRST)] == ["", "", "WR-1712", ""]
    assert joined_runs(home, STUDY) == {FIRST}
    lenient = home_of(tmp_path / "lenient", runs_per_study=2)
    assert [join(lenient, run) for run in (FIRST, SECOND)] == ["", ""]


def test_a_run_from_which_nothing_has_left_is_given_up_for_a_new_one(tmp_path: Path) -> None:
    home, third = home_of(tmp_path), StudyRunId("third")
    assert join(home, FIRST) == ""
    assert make_room(home, STUDY, FIRST, os.urandom) == ()  # it goes on
    assert join(home, SECOND) == "WR-1712"
    assert make_room(home, STUDY, SECOND, os.urandom) == (FIRST,)
    with run_files(home, STUDY, FIRST, os.urandom) as files:
        assert files.names("") == [LEFT]
    assert join(home, SECOND) == ""
    assert joined_runs(home, STUDY) == {FIRST, SECOND}
    assert join(home, FIRST) == "WR-1712"  # for good
    with run_files(home, STUDY, SECOND, os.urandom) as files:
        files.commit({model_record(bytes(32)): b"uploaded"})
    assert make_room(home, STUDY, third, os.urandom) == ()
    assert join(home, third) == "WR-1712"


def test_a_run_whose_records_cannot_be_read_counts(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    assert join(home, FIRST) == ""
    with run_files(home, STUDY, FIRST, os.urandom):  # it is at work
        assert make_room(home, STUDY, SECOND, os.urandom) == ()
    kept = (tmp_path / "secagg" / f"{FIRST}.sqlite").rename(tmp_path / "kept")
    assert make_room(home, STUDY, SECOND, os.urandom) == ()
    kept.rename(tmp_path / "secagg" / f"{FIRST}.sqlite")
    assert make_room(home, STUDY, SECOND, os.urandom) == (FIRST,)


def test_two_runs_that_are_offered_at_the_same_time_are_not_both_the_first(tmp_path: Path) -> None:
    home, inside, go_on = home_of(tmp_path), Event(), Event()

    def slowly() -> None:
        with joining(home, STUDY, FIRST, os.urandom):
            inside.set()
            assert go_on.wait(20)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slowly)
        assert inside.wait(20)
        second = pool.submit(join, home, SECOND)
        assert not second.done()
        go_on.set()
        first.result()
        assert second.result() == "WR-1712"
    assert joined_runs(home, STUDY) == {FIRST}


def test_runs_that_begin_together_wait_for_one_another(tmp_path: Path) -> None:
    home = home_of(tmp_path, runs_per_study=100)
    runs = [StudyRunId(f"run{number}") for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda run: join(home, run), runs)) == [""] * 12
    assert joined_runs(home, STUDY) == set(runs)


def test_nothing_remains_of_a_run_whose_offer_was_refused(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    refusal = WardroundError("WR-1704", "The cohort is too small.")

    def refused() -> None:
        with joining(home, STUDY, FIRST, os.urandom):
            raise refusal

    with pytest.raises(WardroundError, match="WR-1704"):
        refused()
    assert joined_runs(home, STUDY) == frozenset()
    assert not [path.name for path in (tmp_path / "secagg").iterdir() if path.is_file()]
    assert join(home, SECOND) == ""


def test_the_records_of_a_run_belong_to_one_study(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    assert join(home, FIRST) == ""
    with (
        pytest.raises(WardroundError, match=r"WR-1714.*another site or study run"),
        run_files(home, OTHER, FIRST, os.urandom),
    ):
        pass
    assert join(home, FIRST, OTHER) == "WR-1714"
    with run_files(home, STUDY, FIRST, os.urandom) as files:
        assert files.get("session") == b"first"


def test_a_run_that_was_never_offered_has_no_records(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    with pytest.raises(WardroundError, match="WR-1706"), run_files(home, STUDY, FIRST, os.urandom):
        pass


@pytest.mark.parametrize("damaged", [False, True])
def test_a_run_that_is_left_keeps_no_secret_and_its_name(tmp_path: Path, *, damaged: bool) -> None:
    home = home_of(tmp_path)
    assert join(home, FIRST) == ""
    path = tmp_path / "secagg" / f"{FIRST}.sqlite"
    beside = [path.with_suffix(suffix) for suffix in (".update", ".optimizer.3")]
    for file in beside:
        file.write_bytes(b"sealed")
    if damaged:
        path.write_bytes(b"no database")
    leave_run(home, FIRST)
    assert not any(file.exists() for file in beside)
    assert b"first" not in path.read_bytes()
    with pytest.raises(WardroundError, match="WR-1714"), run_files(home, STUDY, FIRST, os.urandom):
        pass
    assert (join(home, FIRST), join(home, SECOND)) == ("WR-1714", "WR-1712")
    with pytest.raises(WardroundError, match=r"WR-1706.*'second'"):
        leave_run(home, SECOND)
