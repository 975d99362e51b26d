"""Which private study runs a site has joined, and where their records lie.

``secagg/<run>.sqlite`` holds a run's records, ``secagg/studies/<study>.sqlite`` the names of all runs of a
study that the site ever joined: a second run starts from the same model, so policy limits them. A run does not count
when this site has left it for good before any masked update left: no sum, of whatever sites, can have this site in it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from wardround.client.home import write_atomically
from wardround.client.secagg.optimizer_state import erase_states
from wardround.client.secagg.store import RecordStore, SiteFiles
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId
from wardround.common.secagg.site_records import LEAVING, MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardround.client.home import Home
    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.ids import StudyId

FOLDER: Final = "secagg"
_RUN: Final = "run/"
_COUNTS: Final = b"\x01"
_GIVEN_UP: Final = b"\x00"


@contextmanager
def run_files(home: Home, study: StudyId, run: StudyRunId, random: RandomSource) -> Iterator[SiteFiles]:
    """The records of a run that this site has begun to join.

    Raises:
        WardroundError: WR-1706, the run was never offered here; WR-1714, its records are missing, not
            usable, or of another study.
    """
    path = _path(home, run)
    if not path.exists() and run not in joined_runs(home, study):
        raise WardroundError("WR-1706", "This site has not been offered a session of this study run.")
    with SiteFiles(path, home.site, _subject(study, run), random) as files:
        yield files


@contextmanager
def joining(home: Home, study: StudyId, run: StudyRunId, random: RandomSource) -> Iterator[SiteFiles]:
    """The same, for a run that may be new to this site. It counts as joined when the block ends without a refusal.

    The study's list of runs is this caller's alone from the check to the record: of two runs that are offered at
    the same time, one comes first. Nothing remains of a new run that was refused.

    Raises:
        WardroundError: WR-1712, the site's policy does not allow another run of the study; WR-1714, the
            run was joined before and its records are missing or not usable, or another offer is being answered.
    """
    path, subject = _path(home, run), _subject(study, run)
    with _studies(home, study) as records:
        joined = _joined(records)
        home.policy.check_run(run, _counting(records))
        fresh = run not in joined and not path.exists()
        if fresh:
            SiteFiles.create(path, home.site, subject)
        try:
            with SiteFiles(path, home.site, subject, random) as files:
                yield files
        except WardroundError:
            if fresh:
                path.unlink()
            raise
        if run not in joined:
            records.commit({_RUN + run: _COUNTS})


def make_room(home: Home, study: StudyId, run: StudyRunId, random: RandomSource) -> tuple[StudyRunId, ...]:
    """Give up earlier runs of a study that never sent anything, where the policy has no room for a new one.

    The site leaves them for good, durably, and only then do they count no more. A run with a masked update outside
    counts for ever: the other sites can open a sum with it without asking this one. So does one whose training the
    privacy ledger has paid for, and one whose records cannot be read.

    Returns:
        The runs that were given up now; what the ledger reserved for them is the caller's to free.

    Raises:
        WardroundError: WR-1714, the list of runs cannot be used.
    """
    with _studies(home, study) as records:
        counting = _counting(records)
        if run in _joined(records) or len(counting) < home.policy.runs_per_study:
            return ()
        given_up = tuple(sorted(other for other in counting if _leave_unused(home, study, other, random)))
        records.commit({_RUN + other: _GIVEN_UP for other in given_up})
        return given_up


def _leave_unused(home: Home, study: StudyId, run: StudyRunId, random: RandomSource) -> bool:
    """Leave a run for good if nothing of it has left; whether that is so."""
    paid = home.ledger.state().runs.get(run) if home.ledger.exists else None
    if paid is not None and paid.computations:
        return False
    try:
        with SiteFiles(_path(home, run), home.site, _subject(study, run), random) as files:
            if files.names(MODEL):
                return False
            files.commit(LEAVING)
            erase_run(files)
    except WardroundError:
        return False
    return True


def erase_run(files: SiteFiles) -> None:
    """Remove what a run that was left kept beside its records; what became of its models stays recorded."""
    files.discard_update()
    erase_states(files)


def has_records(home: Home, run: StudyRunId) -> bool:
    """Whether this site keeps records of a private run of that name."""
    path = _path(home, run)
    return path.parent == home.path / FOLDER and path.is_file()


def leave_run(home: Home, run: StudyRunId) -> None:
    """Leave a run for good, whatever state its records are in: its secrets are erased, its name stays taken.

    Raises:
        WardroundError: WR-1706, there is no such run here; WR-1714, its records cannot be written.
    """
    path = _path(home, run)
    if not has_records(home, run):
        raise WardroundError("WR-1706", f"This site keeps nothing of a run {run!r}.")
    left = [path.with_suffix(".update"), *path.parent.glob(f"{path.stem}.optimizer.*")]
    try:
        for file in left:
            file.unlink(missing_ok=True)
        write_atomically(path, b"", mode=0o600)
    except OSError as error:
        raise WardroundError("WR-1714", f"{path.name} cannot be written ({type(error).__name__}).") from error


def joined_runs(home: Home, study: StudyId) -> frozenset[StudyRunId]:
    """Every run of a study that this site ever joined."""
    with _studies(home, study) as records:
        return _joined(records)


def counting_runs(home: Home, study: StudyId) -> frozenset[StudyRunId]:
    """Runs of a study that policy counts; only looks, and makes nothing.

    One of them from which nothing has left is given up when another run is offered (:func:`make_room`).

    Raises:
        WardroundError: WR-1714, the list of runs cannot be used.
    """
    if not _studies_path(home, study).exists():
        return frozenset()
    with _studies(home, study) as records:
        return _counting(records)


def _joined(records: RecordStore) -> frozenset[StudyRunId]:
    return frozenset(StudyRunId(name.removeprefix(_RUN)) for name in records.names(_RUN))


def _counting(records: RecordStore) -> frozenset[StudyRunId]:
    """Those that policy counts."""
    return frozenset(run for run in _joined(records) if records.get(_RUN + run) != _GIVEN_UP)


def _subject(study: StudyId, run: StudyRunId) -> str:
    return f"{run} of {study}"


@contextmanager
def _studies(home: Home, study: StudyId) -> Iterator[RecordStore]:
    """The list of a study's runs, for one caller at a time: others wait."""
    path = _studies_path(home, study)
    for made in (home.path / FOLDER, path.parent):  # names of runs and studies are nobody else's
        made.mkdir(exist_ok=True, mode=0o700)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not path.exists():
            RecordStore.create(path, home.site, study)
        with RecordStore(path, home.site, study) as records:
            yield records
    finally:
        os.close(folder)


def _studies_path(home: Home, study: StudyId) -> Path:
    return home.path / FOLDER / "studies" / f"{study.removeprefix('sha256:')}.sqlite"


def _path(home: Home, run: StudyRunId) -> Path:
    return home.path / FOLDER / f"{run}.sqlite"
