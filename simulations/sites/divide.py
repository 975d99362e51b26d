"""Which rows of the source's table are whose: ``where`` first, then shares of patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.client.data.table import read_rows
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.simulations.partition.by_share import by_share
from wardround.simulations.sites.named import at_hospital

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wardround.client.data.manifest import Manifest
    from wardround.simulations.scenario import VirtualSite
    from wardround.simulations.sites.source import Source


def divide(source: Source, root: Path, sites: Sequence[VirtualSite]) -> dict[SiteId, Manifest]:
    """The manifest of every virtual hospital; a patient's rows always stay together.

    Sites with the same ``where`` divide its patients by their shares, in the order of SHA-256.
    Rows that match no site belong to nobody.

    Args:
        source: The table and what its columns mean.
        root: Folder of the table.
        sites: The virtual hospitals.

    Raises:
        WardroundError: WR-1103 to WR-1105 for the table, WR-1012 a patient at two sites, WR-1013
            fewer patients than sites that divide them.
    """
    manifests: dict[SiteId, Manifest] = {}
    homes: dict[str, str] = {}
    for site in sites:
        manifest = source.manifest(site.name, site.where)
        with at_hospital(site.name):
            rows, _ = read_rows(manifest, root)
        patients = {row.values[source.patient.column]: row.number for row in rows}
        own = _own_patients(patients, site, sites)
        _claim(homes, {patient: patients[patient] for patient in own}, site.name)
        if len(own) < len(patients):
            manifest = source.manifest(site.name, _narrowed(site, source.patient.column, own))
        manifests[SiteId(site.name)] = manifest
    return manifests


def _own_patients(patients: Mapping[str, int], site: VirtualSite, sites: Sequence[VirtualSite]) -> list[str]:
    shares = {SiteId(other.name): other.share for other in sites if other.where == site.where}
    homes = by_share(patients, shares)
    own = sorted(patient for patient in patients if homes[patient] == site.name)
    if not own:
        raise WardroundError("WR-1013", f"{len(patients)} patients are too few to give site {site.name} its share.")
    return own


def _narrowed(site: VirtualSite, column: str, own: Sequence[str]) -> dict[str, str | tuple[str, ...]]:
    if column in site.where:
        raise WardroundError("WR-1010", f"Site {site.name} cannot share patients that its where already lists.")
    return {**site.where, column: tuple(own)}


def _claim(homes: dict[str, str], patients: Mapping[str, int], site: str) -> None:
    for patient, row in patients.items():
        if homes.setdefault(patient, site) != site:
            raise WardroundError("WR-1012", f"The patient of table row {row} is at sites {homes[patient]} and {site}.")
