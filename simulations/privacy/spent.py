"""What the patients of each site were promised, and what the site's ledger says that it cost them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardround.client.spending import validations_of
from wardround.client.statement.cost import epsilon_of, filter_epsilon
from wardround.client.statement.leaving import not_sent
from wardround.client.statement.rows import Privacy
from wardround.common.ids import SiteId, StudyRunId
from wardround.common.privacy import pld
from wardround.common.privacy.lattice import Lattice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardround.client.home import Home
    from wardround.client.ledger.state import Run
    from wardround.common.study import Study
    from wardround.simulations.hospitals import VirtualHospital
    from wardround.simulations.job import Job


def privacy_rows(study: Study, hospitals: Mapping[SiteId, VirtualHospital], jobs: Sequence[Job]) -> list[Privacy]:
    """A row for each training site of ``study``.

    Args:
        study: Of the arm ``federated``.
        hospitals: Their ledgers say what was spent.
        jobs: Finished study runs; those of other arms are passed over.

    Raises:
        WardroundError: WR-1811 to WR-1814, a ledger is not usable.
    """
    if study.privacy is None:
        return [Privacy(site=site, unit="patient", epsilon=None, delta=None) for site in study.sites]
    runs = [StudyRunId(job.run) for job in jobs if job.arm == "federated"]
    return [row_of_home(study, hospitals[site].home, runs) for site in study.site_ids]


def row_of_home(study: Study, home: Home, runs: Sequence[StudyRunId]) -> Privacy:
    """The row of one site, from its ledger.

    Args:
        study: One with a promise.
        home: Of the site.
        runs: Its study runs.

    Raises:
        WardroundError: WR-1811 to WR-1814, the ledger is not usable.
    """
    known = home.ledger.state().runs  # nothing of a run that never asked this site
    spent = [known[run] for run in runs if run in known]
    validated = [known[run] for run in map(validations_of, runs) if run in known]
    return _row(study, home.site, len(runs), spent=spent, validated=validated)


def row_without_ledger(study: Study, site: SiteId) -> Privacy:
    """The row of one site as its coordinator knows it: the promise, and not what it cost."""
    if study.privacy is None:
        return Privacy(site=site, unit="patient", epsilon=None, delta=None)
    return _row(study, site, 1, spent=(), validated=None)


def _row(study: Study, site: SiteId, runs: int, *, spent: Sequence[Run], validated: Sequence[Run] | None) -> Privacy:
    promise = study.promise
    return Privacy(
        site=site,
        unit="patient",
        epsilon=promise.promised,
        delta=promise.delta,
        relation="add/remove",
        trust=promise.trust,
        rate=promise.rate,
        clip=promise.clip,
        sensitivity=Lattice(promise.clip, 1, promise.step.multiplier).sensitivity,
        noise_multiplier=promise.step.multiplier,
        steps=study.training.rounds * promise.local_steps,
        runs=runs,
        not_sent=list(not_sent(study)),
        **_cost(study, spent),
        **_validations(study, validated),
    )


def _cost(study: Study, spent: Sequence[Run]) -> dict[str, Any]:
    """The fields of a row that begin with ``spent_``, and their kin."""
    if not spent:
        return {}
    most = max(spent, key=lambda run: run.spent_steps)
    together = sum(run.spent_steps for run in spent)
    return {
        "spent_steps": most.spent_steps,
        "spent_rounds": len(most.computations),
        "spent_epsilon": epsilon_of(study, most.spent_steps),
        "filter_epsilon": filter_epsilon(study, most.spent_steps),
        "all_runs_epsilon": epsilon_of(study, together),
    }


def _validations(study: Study, validated: Sequence[Run] | None) -> dict[str, Any]:
    """The fields of a row that begin with ``validation_``; None: what was spent is not known."""
    paid = study.promise.validation
    if paid is None:
        return {}
    if validated is None:
        return {"validation_epsilon": paid.epsilon}
    steps = max((run.spent_steps for run in validated), default=0)
    spent = pld.epsilon(paid.step, steps, study.promise.delta) if steps else 0.0
    return {"validation_epsilon": paid.epsilon, "validation_spent_epsilon": spent}
