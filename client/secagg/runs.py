"""Which private study runs a site has joined, and where their records lie.

``secagg/<run>.sqlite`` holds a run's records, ``secagg/studies/<study>.sqlite`` the names of all runs of a
study that the site ever joined: a second run starts from the same model, so policy limits them.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from wardround.client.secagg.store import RecordStore, SiteFiles
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardround.client.home import Home
    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.ids import StudyId

FOLDER: Final = "secagg"
_RUN: Final = "run/"


@contextmanager
def run_files(home: Home, study: StudyId, run: StudyRunId, random: RandomSource) -> Iterator[SiteFiles]:
    """The records of a run that this site has begun to join.

    Raises:
        WardroundError: WR-1706, the run was never offered here; WR-1714, its records are missing or
            not usable.
    """
    path = _path(home, run)
    if not path.exists() and run not in joined_runs(home, study):
        raise WardroundError("WR-1706", "This site has not been offered a session of this study run.")
    with SiteFiles(path, home.site, run, random) as files:
        yield files


@contextmanager
def new_run_files(home: Home, study: StudyId, run: StudyRunId, random: RandomSource) -> Iterator[SiteFiles]:
    """The same, for a run that may be new to this site.

    Raises:
        WardroundError: WR-1712, the site's policy does not allow another run of the study; WR-1714, the
            run was joined before and its records are missing or not usable.
    """
    joined = joined_runs(home, study)
    home.policy.check_run(run, joined)
    if not _path(home, run).exists() and run not in joined:
        SiteFiles.create(_path(home, run), home.site, run)
    with run_files(home, study, run, random) as files:
        yield files


def note_joined(home: Home, study: StudyId, run: StudyRunId) -> None:
    """Record that the site joins a run; durable on return."""
    with _studies(home, study) as records:
        if records.get(_RUN + run) is None:
            records.commit({_RUN + run: b"\x01"})


def joined_runs(home: Home, study: StudyId) -> frozenset[StudyRunId]:
    """Every run of a study that this site ever joined."""
    with _studies(home, study) as records:
        return frozenset(StudyRunId(name.removeprefix(_RUN)) for name in records.names(_RUN))


def _studies(home: Home, study: StudyId) -> RecordStore:
    path = home.path / FOLDER / "studies" / f"{study.removeprefix('sha256:')}.sqlite"
    if not path.exists():
        RecordStore.create(path, home.site, study)
    return RecordStore(path, home.site, study)


def _path(home: Home, run: StudyRunId) -> Path:
    return home.path / FOLDER / f"{run}.sqlite"
