"""A hospital leaves a study run for good, whatever mode it is of and whatever became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.client.kept_round import FILE, forget_round
from wardround.client.secagg.runs import FOLDER, has_records, leave_run
from wardround.client.spending import reserved_names, settle_run, validations_of
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.client.home import Home
    from wardround.common.ids import StudyRunId


@dataclass(frozen=True, slots=True)
class Left:
    """What was there of a run.

    Attributes:
        erased: Whether keys or updates were erased.
        settled: Names under which the ledger had reserved for it, and has no longer.
    """

    erased: bool
    settled: tuple[StudyRunId, ...]


def leave(home: Home, run: StudyRunId) -> Left:
    """Erase a run's keys and sealed updates, and settle what the privacy ledger reserved for it.

    Raises:
        WardroundError: WR-1941, there is nothing of such a run; WR-1714, its records cannot be written; WR-1811 to
            WR-1814, the ledger is not usable: what it reserved stays reserved, and everything else is done.
    """
    private, kept = has_records(home, run), (home.run_folder(run) / FILE).exists()
    if private:
        leave_run(home, run)
    if kept:
        forget_round(home, run)
    try:
        names = reserved_names(home, run)
        settle_run(home, run)
    except WardroundError as error:
        done = "Its keys and updates are erased. " if private or kept else ""
        fix = f"{error.fix} Then: wardround hospital ledger settle {run}"
        raise WardroundError(error.code, f"{done}What it reserved stays reserved: {error.what}", fix=fix) from error
    if not (private or kept or names):
        raise _nothing_of(home, run)
    return Left(private or kept, names)


def _nothing_of(home: Home, run: StudyRunId) -> WardroundError:
    """That there is nothing of a run, and of which runs there is something."""
    reserved = home.ledger.state().runs.items() if home.ledger.exists else ()
    validations = {validations_of(name) for name, _ in reserved}
    found: set[str] = {name for name, entry in reserved if not entry.settled and name not in validations}
    found |= {path.parent.name for path in home.path.glob(f"runs/*/{FILE}")}
    found |= {path.stem for path in home.path.glob(f"{FOLDER}/*.sqlite")}
    names = ", ".join(sorted(found))
    fix = f"Give one of these, as it stands here: {names}." if found else "No run is open here: there is nothing to do."
    what = f"This site keeps nothing of a run {run!r}, and the privacy ledger has nothing open for it."
    return WardroundError("WR-1941", what, fix=fix)
