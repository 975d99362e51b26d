"""Virtual hospitals: a home folder for each, and one for the pooled data of several.

Virtual hospitals form one consortium for each run folder. Its authority's key and roster lie in
``consortium/``; every hospital has its own identity key and has accepted that roster. All keys are
drawn from the operating system, and kept when the run is taken up again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from wardround.client.data.pool import SiteData, open_site_data
from wardround.client.home import Home, RegisteredData, create_home, write_atomically
from wardround.client.identity import accept_roster, site_key, stored_key
from wardround.client.policy import Policy
from wardround.common.ids import SiteId
from wardround.common.roster import Member, Roster, SignedRoster
from wardround.simulations.sites.materialise import materialise
from wardround.simulations.sites.named import at_hospital
from wardround.simulations.weights import give_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wardround.common.study import Study
    from wardround.simulations.scenario import Scenario

CONSORTIUM: Final = "simulation"
"""Name of the virtual hospitals' consortium, and of whoever accepts its roster."""

CONSORTIUM_FOLDER: Final = "consortium"

VIRTUAL_POLICY: Final = Policy(
    modes=("open", "private"),
    strengths=("active", "semi-honest"),
    runs_per_study=1_000_000,
    cross_validation=True,
    score_models=True,
    without_privacy=True,
)
"""Virtual hospitals have no patients to protect: they take part in all that can be compared."""


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
        WardroundError: WR-10xx or WR-11xx, the scenario or a hospital's data cannot be used; WR-1305
            or WR-1702, a key or roster of this run folder was damaged; WR-1208, the weights that the study begins
            with are not there.
    """
    sources = materialise(scenario, data_root, run / "sites")
    hospitals: dict[SiteId, VirtualHospital] = {}
    for site in scenario.sites:
        registered = RegisteredData(manifest=sources[site].manifest.resolve(), root=sources[site].root.resolve())
        home = create_home(
            run / "hospitals" / site,
            site,
            [registered],
            device=device,
            threads=threads,
            secret=_public_secret(site),
            policy=VIRTUAL_POLICY,
        )
        _keep_ledger(home, scenario.study)
        with at_hospital(site):
            data = open_site_data(home.settings.data, scenario.study, home.path)
        hospitals[site] = VirtualHospital(home, data)
        progress(site)
    homes = [hospital.home for hospital in hospitals.values()]
    give_weights(scenario.study, run, homes, data_root=data_root)
    enrol(homes, run / CONSORTIUM_FOLDER)
    return hospitals


def enrol(homes: Sequence[Home], consortium: Path) -> Roster:
    """Make ``homes`` one consortium: each has an identity key and accepts the same signed roster.

    The authority's key and the newest roster lie in the folder ``consortium``. The roster there is
    kept while its members and their keys are the same; otherwise the next version takes its place.

    Raises:
        WardroundError: WR-1305 or WR-1702, a key or roster was damaged, or a home has accepted the
            roster of another consortium.
    """
    consortium.mkdir(parents=True, exist_ok=True)
    members = {home.site: Member(key=site_key(home).public.hex()) for home in homes}
    signed = _signed_roster(consortium, members)
    for home in homes:
        accept_roster(home, signed, by=CONSORTIUM)
    return signed.roster


def consortium_roster(run: Path) -> SignedRoster:
    """The roster that the hospitals of a run folder have accepted.

    Raises:
        WardroundError: WR-1702, it was damaged.
    """
    return SignedRoster.from_json((run / CONSORTIUM_FOLDER / "roster.json").read_bytes())


def _signed_roster(consortium: Path, members: Mapping[SiteId, Member]) -> SignedRoster:
    path = consortium / "roster.json"
    last = SignedRoster.from_json(path.read_bytes()) if path.exists() else None
    if last is not None and last.roster.members == members:
        return last
    version = 1 if last is None else last.roster.version + 1
    roster = Roster(consortium=CONSORTIUM, version=version, members=members)
    signed = SignedRoster.sign(roster, stored_key(consortium / "authority.key"))
    write_atomically(path, signed.to_json())
    return signed


def pooled_home(
    name: str, hospitals: Mapping[SiteId, VirtualHospital], sites: Sequence[SiteId], run: Path, study: Study
) -> Home:
    """The home folder of a hospital that holds the data of all ``sites``: the centralised baseline of ``study``."""
    settings = [hospitals[site].home.settings for site in sites]
    registered = [item for setting in settings for item in setting.data]
    home = create_home(
        run / "pooled" / name,
        SiteId(name),
        registered,
        device=settings[0].device,
        threads=settings[0].threads,
        secret=_public_secret(name),
        policy=VIRTUAL_POLICY,
    )
    _keep_ledger(home, study)
    give_weights(study, run, [home])
    return home


def _keep_ledger(home: Home, study: Study) -> None:
    """Let a virtual hospital keep a ledger without a limit: every arm, seed and fold trains on the same patients."""
    if study.privacy is not None and not home.ledger.exists:
        reason = "virtual patients: every arm, seed and fold trains on them anew"
        home.ledger.set_limit(None, 0.0, admin=CONSORTIUM, reason=reason, now=datetime.now(UTC))


def training_samples(hospitals: Mapping[SiteId, VirtualHospital], study: Study, fold: int | None, folds: int) -> int:
    """Training images of all training sites together in a fold."""
    parts = (hospitals[site].data.parts(study, fold or 0, folds) for site in study.site_ids)
    return sum(len(part.train) for part in parts)


def _public_secret(site: str) -> bytes:
    return hashlib.sha256(f"wardround virtual hospital {site}".encode()).digest()
