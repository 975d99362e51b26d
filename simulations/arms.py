"""From arms, seeds and folds to jobs of equal work."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Literal

from wardround.common.secagg.parameters import SMALLEST_COHORT
from wardround.common.study import Study
from wardround.simulations.hospitals import consortium_roster, pooled_home, training_samples
from wardround.simulations.job import Job, run_id
from wardround.simulations.weights import run_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardround.client.home import Home
    from wardround.common.ids import SiteId
    from wardround.simulations.hospitals import VirtualHospital
    from wardround.simulations.scenario import Arm, Scenario


def plan_jobs(
    scenario: Scenario,
    hospitals: Mapping[SiteId, VirtualHospital],
    seeds: Sequence[int],
    folds: int,
    run: Path,
    *,
    measured: bool = False,
) -> list[Job]:
    """Every training of the run; each arm's study is approved at the hospitals that it touches.

    Every arm consumes the same number of samples: ``training.epochs`` passes over the training
    images of all training sites together. With ``measured``, the updates of the arm ``federated`` are.
    """
    fold_numbers: list[int | None] = [None] if folds == 1 else list(range(folds))
    samples = {fold: _work(scenario, hospitals, fold, folds) for fold in fold_numbers}
    jobs = []
    for arm in scenario.arms():
        faults = scenario.faults if arm.kind == "federated" else ()
        trained, homes = _trained_by(arm, scenario, hospitals, run)
        training = {site: home.path for site, home in homes.items()}
        roster = consortium_roster(run) if trained.private else None
        tested = {site: (hospitals[site].home.path, _part(scenario, site)) for site in arm.tested_on}
        data = {site: hospitals[site].digest for site in sorted({*arm.trains_on, *arm.tested_on})}
        for seed, fold in itertools.product(seeds, fold_numbers):
            study = trained
            if arm.kind != "federated" and trained.private and trained.privacy is None:
                study = _with_work(trained, samples[fold], training_samples(hospitals, trained, fold, folds))
            for home in (*homes.values(), *(hospitals[site].home for site in arm.tested_on)):
                home.approve(study)
            jobs.append(
                Job(
                    arm.name,
                    study,
                    seed,
                    fold,
                    folds,
                    samples[fold],
                    training,
                    tested,
                    run / "jobs" / run_id(arm.name, seed, fold),
                    data,
                    faults,
                    measured=measured and arm.kind == "federated",
                    roster=roster,
                    weights=run_weights(run),
                )
            )
    return jobs


def _with_work(study: Study, samples: int, images: int) -> Study:
    """The study of an arm with fewer sites, whose work is that of every arm.

    In private mode a site computes its work from the study alone, so the study says it.

    Args:
        study: Of the arm.
        samples: What its sites together shall consume.
        images: Their training images.
    """
    fields = study.model_dump(by_alias=True)
    return Study.model_validate(fields | {"training": fields["training"] | {"epochs": samples / images}})


def _work(scenario: Scenario, hospitals: Mapping[SiteId, VirtualHospital], fold: int | None, folds: int) -> int:
    """Samples that every arm consumes in a fold."""
    return math.ceil(scenario.study.training.epochs * training_samples(hospitals, scenario.study, fold, folds))


def _trained_by(
    arm: Arm, scenario: Scenario, hospitals: Mapping[SiteId, VirtualHospital], run: Path
) -> tuple[Study, dict[SiteId, Home]]:
    """The arm's study, and the homes that train it: the hospitals, or one that holds their pooled data."""
    if arm.federated or len(arm.trains_on) == 1:
        homes = {site: hospitals[site].home for site in arm.trains_on}
    else:
        left_out = set(scenario.study.site_ids) - set(arm.trains_on)
        name = "-without-".join(["pooled", *sorted(left_out)])
        pooled = pooled_home(name, hospitals, arm.trains_on, run, scenario.study)
        homes = {pooled.site: pooled}
    fields = scenario.study.model_dump(by_alias=True)
    fields |= {"sites": tuple(homes), "aggregation": aggregation_of(scenario.study, len(homes))}
    if scenario.study.privacy is not None:
        fields["privacy"] = _privacy(scenario.study, len(arm.trains_on), fields["aggregation"]["mode"])
    return Study.model_validate(fields), homes


def _privacy(study: Study, hospitals: int, mode: str) -> dict[str, Any]:
    """The study's promise for an arm that trains on this many of its hospitals.

    Every arm promises the same epsilon; where no secure sum hides noise, each update has all of it. Pooled data are
    one site's: its curator adds the noise of one.
    """
    promise = study.promise
    fields = promise.model_dump() | {"patients": max(1, round(promise.patients * hospitals / len(study.sites)))}
    return fields | ({} if mode == "private" else {"trust": "local"})


def aggregation_of(study: Study, sites: int) -> dict[str, Any]:
    """The study's aggregation for an arm with this many sites.

    Where no secure sum over so few exists, it is open: such an arm is the researcher's baseline, and
    no hospital would run it so.
    """
    fields = study.aggregation.model_dump() | {"min_sites": min(study.aggregation.min_sites, sites)}
    if study.private and sites < max(SMALLEST_COHORT, study.colluding + 2):
        fields |= {"mode": "open", "secure": None}
    return fields


def _part(scenario: Scenario, site: SiteId) -> Literal["test", "all"]:
    """Sites that never train, or that are left out whole, are tested on all their patients."""
    whole = site in scenario.unseen or scenario.simulation.protocol == "leave-one-site-out"
    return "all" if whole else "test"
