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
    validations = [validations_of(run) for run in runs]
    return [
        _row(
            study, site, len(runs), spent=_spent(hospitals[site], runs), validated=_spent(hospitals[site], validations)
        )
        for site in study.site_ids
    ]


def _spent(hospital: VirtualHospital, runs: Sequence[StudyRunId]) -> list[Run]:
    """What the ledger has of each run; nothing of a run that never asked this site."""
    known = hospital.home.ledger.state().runs
    return [known[run] for run in runs if run in known]


def _row(study: Study, site: SiteId, runs: int, *, spent: Sequence[Run], validated: Sequence[Run]) -> Privacy:
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
        sensitivity=Lattice(promise.clip, 1).sensitivity,
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


def _validations(study: Study, validated: Sequence[Run]) -> dict[str, Any]:
    """The fields of a row that begin with ``validation_``."""
    paid = study.promise.validation
    if paid is None:
        return {}
    steps = max((run.spent_steps for run in validated), default=0)
    spent = pld.epsilon(paid.step, steps, study.promise.delta) if steps else 0.0
    return {"validation_epsilon": paid.epsilon, "validation_spent_epsilon": spent}
