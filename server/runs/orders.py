"""What people ask of runs: start, stop, resume. Each is a change of the store, which the coordinator's process sees."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyRunId
from wardround.server.private.session import smallest_cohort
from wardround.server.runs.keys import check_same_keys, words_of_revoked
from wardround.server.runs.rosters import agreed_roster, check_accepted
from wardround.server.store.rows import COMPLETED_RUNS, OPEN_RUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.study import Study
    from wardround.server.consortium import Consortium
    from wardround.server.store import RunRow, Store, StudyRow

_SHORTEST: Final = 6
"""Characters of a hash that people have to give at least."""

_NAME: Final = 100
_FIX_STUDY: Final = "wardround coordinator studies lists what was proposed; give name or hash as it stands there."


def find_study(store: Store, text: str) -> StudyRow:
    """A proposed study by its name, its hash, or the beginning of its hash; of several, the only one not withdrawn.

    Raises:
        WardroundError: WR-1924, there is none, or several.
    """
    wanted = text.removeprefix("sha256:")
    found = [
        row
        for row in store.studies()
        if row.name == text or (len(wanted) >= _SHORTEST and row.id.removeprefix("sha256:").startswith(wanted))
    ]
    found = [row for row in found if not row.withdrawn] or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise WardroundError("WR-1924", f"No study that was proposed has the name or hash {text!r}.", fix=_FIX_STUDY)
    fix = f"Give the hash of one of them, or its beginning: {', '.join(_short(row) for row in found)}."
    raise WardroundError("WR-1924", f"{len(found)} studies have the name or hash {text!r}.", fix=fix)


def find_run(store: Store, text: str) -> RunRow:
    """A run by its id, or by the name or hash of a study of which it is the newest run.

    Raises:
        WardroundError: WR-1923, there is none, or runs of several studies could be meant.
    """
    runs = store.runs()
    for row in runs:
        if row.id == text:
            return row
    studies = {row.id for row in store.studies() if text in (row.name, row.id)}
    of_study = [row for row in runs if row.study in studies]
    if not of_study:
        raise WardroundError("WR-1923", f"There is no run {text!r}.")
    if len({row.study for row in of_study}) > 1:
        fix = f"Give the id of the run: {', '.join(row.id for row in of_study)}."
        raise WardroundError("WR-1923", f"Several studies of the name {text!r} have runs.", fix=fix)
    return of_study[-1]


def _short(row: StudyRow) -> str:
    return row.id.removeprefix("sha256:")[:12]


def start(
    consortium: Consortium, text: str, *, by: str, seed: int = 0, without: Sequence[str] = (), again: bool = False
) -> RunRow:
    """Have a proposed study run once; the coordinator's process begins when it sees it.

    Args:
        consortium: Whose study.
        text: Name or hash of the study.
        by: The person who starts it.
        seed: Of the initial model and of the sites' sample order.
        without: Sites of the study that do not take part.
        again: Also where a run of it was completed: another one costs every patient its epsilon once more.

    Raises:
        WardroundError: WR-1924, it was not proposed; WR-1938, it was withdrawn; WR-1913, a site that takes part has not
            approved it; WR-1936, people at one have not accepted the roster that it needs; WR-1923, a run of it is not
            over, or was completed and another one is not asked for; WR-1931, the name of the person cannot be used.
    """
    from wardround.server.consortium.consortium import check_not_withdrawn
    from wardround.server.consortium.requests import words

    asked_by, store = words(by, "The name of the person who starts the run"), consortium.store
    with store.transaction():
        row = find_study(store, text)
        check_not_withdrawn(row)
        study = read_study(consortium, row)
        left_out = tuple(SiteId(site) for site in dict.fromkeys(without))
        _check_sites(study, left_out)
        _check_approved(consortium, row, left_out)
        check_accepted(store, study, left_out)
        _check_not_run(store, row, again=again)
        number = 1 + sum(run.study == row.id for run in store.runs())
        run_id = StudyRunId(f"{row.name[:_NAME]}.{number}.{secrets.token_hex(3)}")
        store.add_event("run.asked", study=row.id, run=run_id, words=asked_by)
        return store.add_run(run_id, row.id, by=asked_by, seed=seed, without=left_out)


def _check_not_run(store: Store, row: StudyRow, *, again: bool) -> None:
    for run in store.runs():
        if run.study != row.id:
            continue
        if run.state in OPEN_RUNS:
            raise WardroundError("WR-1923", f"Run {run.id} of this study is {run.state}.")
        if run.state in COMPLETED_RUNS and not again:
            fix = (
                "Another run costs every patient the study's epsilon once more, and hospitals take part in it only if "
                "their policies allow several (runs_per_study). If that is meant: start it with --again."
            )
            raise WardroundError("WR-1923", f"Run {run.id} of this study was completed.", fix=fix)


def stop(store: Store, text: str, *, by: str) -> RunRow:
    """End a run, also one that failed; what it committed stays, and it may be resumed.

    Raises:
        WardroundError: WR-1923, there is no such run, or it is over.
    """
    with store.transaction():
        run = find_run(store, text)
        store.add_event("run.stopped", study=run.study, run=run.id, words=by)
        return store.update_run(run.id, state="stopped", words=f"stopped by {by}", only_if=(*OPEN_RUNS, "failed"))


def resume(consortium: Consortium, text: str, *, by: str) -> RunRow:
    """Go on with a run that was stopped or failed, after its last committed round.

    It rests on the newest roster that its hospitals have accepted.

    Raises:
        WardroundError: WR-1923, there is no such run, it is neither stopped nor failed, or it is private and one of its
            hospitals has not the keys any more that it began with; WR-1936, its hospitals have accepted rosters with
            different keys of theirs; WR-1714, what it keeps is damaged; WR-1903 or WR-1906, its study cannot be used.
    """
    store = consortium.store
    with store.transaction():
        run = find_run(store, text)
        study = _study_of(consortium, run)
        if run.state in ("stopped", "failed"):
            check_same_keys(consortium, run, study)
        if agreed_roster(store, study, run.without) is None:
            check_accepted(store, study, run.without)
        store.add_event("run.resumed", study=run.study, run=run.id, words=by)
        return store.update_run(run.id, state="waiting", words=f"resumed by {by}", only_if=("stopped", "failed"))


def needing(consortium: Consortium, site: SiteId) -> dict[StudyRunId, str]:
    """Runs under way in which a site takes part that was just revoked: what they do now, and what there is to do."""
    found = {}
    for run in consortium.store.runs(OPEN_RUNS):
        row = consortium.store.study(run.study)
        if row is None or site not in row.sites or site in run.without:
            continue
        try:
            found[run.id] = words_of_revoked(consortium, run, read_study(consortium, row), site)
        except WardroundError as error:
            found[run.id] = f"Run {run.id} needs {site}; its study cannot be used: {error.code} {error.what}"
    return found


def read_study(consortium: Consortium, row: StudyRow) -> Study:
    """The study that was proposed, as the authority signed it.

    Raises:
        WardroundError: WR-1903, the database holds another one; WR-1906, this release does not know it.
    """
    return row.signed.verified(consortium.authority.public.hex()).read_study()


def _study_of(consortium: Consortium, run: RunRow) -> Study:
    row = consortium.store.study(run.study)
    if row is None:
        raise RuntimeError("a run without a study")
    return read_study(consortium, row)


def _check_sites(study: Study, without: Sequence[SiteId]) -> None:
    unknown = [site for site in without if site not in study.sites]
    if unknown:
        raise WardroundError("WR-1913", f"{', '.join(unknown)}: not a site of the study.")
    left = len(study.sites) - len(without)
    needed = smallest_cohort(study) if study.private else study.aggregation.min_sites
    if left < needed:
        raise WardroundError("WR-1913", f"{left} sites would take part; the study needs {needed}.")


def _check_approved(consortium: Consortium, row: StudyRow, without: Sequence[SiteId]) -> None:
    approved = set(consortium.approvals(row.id))
    verdicts = {found.site: found.verdict for found in consortium.decisions(row.id)}
    missing = [site for site in row.sites if site not in approved and site not in without]
    if missing:
        told = "; ".join(f"{site}: {verdicts.get(site, 'no decision yet')}" for site in missing)
        fix = "Ask these hospitals, or start without them: --without SITE."
        raise WardroundError("WR-1913", f"Not every hospital of {row.name} has approved it. {told}.", fix=fix)
