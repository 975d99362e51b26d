"""Checks across sites, for whoever holds the raw patient identifiers of all of them: a simulation.

Real hospitals cannot compare identifiers; there the studies' enrolment has to keep patients apart.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from wardround.client.data.checks import missing_classes
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.client.data.samples import DataSet
    from wardround.common.ids import SiteId
    from wardround.common.study import Study


def check_sites(data_sets: Mapping[SiteId, DataSet], study: Study) -> list[str]:
    """Checks across sites, for whoever holds the raw identifiers of all of them (a simulation).

    Args:
        data_sets: Training sites and sites that only test.
        study: Its ``sites`` are the training sites.

    Returns:
        Warnings, without patient data.

    Raises:
        WardroundError: WR-1118, a patient is at two sites; WR-1119, no training site has a class.
    """
    _refuse_shared_patients(data_sets)
    training = [data_sets[site] for site in study.site_ids if site in data_sets]
    strata = [stratum for data in training for stratum in data.strata]
    absent = list(missing_classes(study.task.labels, strata, study.task.target or study.task.kind))
    if absent:
        raise WardroundError("WR-1119", f"Over all training sites, {absent[0]}.")
    copies = _shared_images(data_sets)
    return [f"{copies} images are byte for byte the same at two sites"] if copies else []


def _refuse_shared_patients(data_sets: Mapping[SiteId, DataSet]) -> None:
    seen: dict[str, tuple[SiteId, int]] = {}
    shared: list[tuple[SiteId, int, SiteId, int]] = []
    for site, data in data_sets.items():
        for sample in data.samples:
            first, row = seen.setdefault(sample.patient, (site, sample.row))
            if first != site:
                shared.append((first, row, site, sample.row))
    if shared:
        one, row, other, other_row = shared[0]
        first_pair = f"row {row} of {one} and row {other_row} of {other}"
        raise WardroundError("WR-1118", f"{len(shared)} rows belong to a patient of another site, first {first_pair}.")


def _shared_images(data_sets: Mapping[SiteId, DataSet]) -> int:
    sites = Counter(digest for data in data_sets.values() for digest in {facts.digests[0] for facts in data.facts})
    return sum(count > 1 for count in sites.values())
