"""Virtual hospitals: a home folder for each, and one for the pooled data of several."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.client.data.pool import SiteData, open_site_data
from wardround.client.home import Home, RegisteredData, create_home
from wardround.common.ids import SiteId
from wardround.simulations.sites.materialise import materialise
from wardround.simulations.sites.named import at_hospital

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wardround.common.study import Study
    from wardround.simulations.scenario import Scenario


@dataclass(frozen=True)
class VirtualHospital:
    """A hospital of the simulation.

    Attributes:
        home: Its home folder.
        data: Its checked and prepared data.
    """

    home: Home
    data: SiteData

    @property
    def digest(self) -> str:
        """``sha256:`` of its data set, or of several in their order."""
        digests = [item.digest for item in self.data.data]
        return digests[0] if len(digests) == 1 else "sha256:" + hashlib.sha256("".join(digests).encode()).hexdigest()


def build_hospitals(
    scenario: Scenario,
    data_root: Path | None,
    run: Path,
    *,
    device: str,
    threads: int,
    progress: Callable[[SiteId], None],
) -> dict[SiteId, VirtualHospital]:
    """Make every hospital of the scenario: its data, its home folder, its prepared images.

    Patient keys of virtual hospitals are made under a public secret, so that runs can be compared.

    Raises:
        WardroundError: WR-10xx or WR-11xx, the scenario or a hospital's data cannot be used.
    """
    sources = materialise(scenario, data_root, run / "sites")
    hospitals: dict[SiteId, VirtualHospital] = {}
    for site in scenario.sites:
        registered = RegisteredData(manifest=sources[site].manifest.resolve(), root=sources[site].root.resolve())
        home = create_home(
            run / "hospitals" / site, site, [registered], device=device, threads=threads, secret=_public_secret(site)
        )
        with at_hospital(site):
            data = open_site_data(home.settings.data, scenario.study, home.path)
        hospitals[site] = VirtualHospital(home, data)
        progress(site)
    return hospitals


def pooled_home(name: str, hospitals: Mapping[SiteId, VirtualHospital], sites: Sequence[SiteId], run: Path) -> Home:
    """The home folder of a hospital that holds the data of all ``sites``: the centralised baseline."""
    settings = [hospitals[site].home.settings for site in sites]
    registered = [item for setting in settings for item in setting.data]
    return create_home(
        run / "pooled" / name,
        SiteId(name),
        registered,
        device=settings[0].device,
        threads=settings[0].threads,
        secret=_public_secret(name),
    )


def training_samples(hospitals: Mapping[SiteId, VirtualHospital], study: Study, fold: int | None, folds: int) -> int:
    """Training images of all training sites together in a fold."""
    parts = (hospitals[site].data.parts(study, fold or 0, folds) for site in study.site_ids)
    return sum(len(part.train) for part in parts)


def _public_secret(site: str) -> bytes:
    return hashlib.sha256(f"wardround virtual hospital {site}".encode()).digest()
