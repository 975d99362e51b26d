"""A federation whose people have decided already: made in this process, without a network, for measurements.

The same folders as :mod:`wardround.simulations.deployed.federation` leaves before a study starts; a hospital's decision
waits in its outbox, and its agent sends it when it connects.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from wardround.client.approval import People, approve
from wardround.client.data.registry import register
from wardround.client.enrol import complete, prepare_home, request
from wardround.client.home import Home, create_home
from wardround.client.offer import accept_offer, keep_offer
from wardround.client.proposals import keep_proposal
from wardround.server.consortium import create_consortium
from wardround.simulations.sites.materialise import materialise

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.policy import Policy
    from wardround.common.ids import SiteId
    from wardround.simulations.scenario import Scenario

PERSON: Final = "a measurement"


def prepare(folder: Path, scenario: Scenario, address: str, policy: Policy) -> dict[SiteId, Path]:
    """Make a coordinator and hospitals that have approved the scenario's study; the hospitals' home folders.

    Args:
        folder: As for :class:`wardround.simulations.deployed.federation.Federation`.
        scenario: The study and its hospitals, drawn.
        address: ``host:port`` on which the gateway will listen.
        policy: Of every hospital; it has to allow the study.

    Raises:
        WardroundError: What the parts refuse.
    """
    now = int(time.time())
    study = scenario.study
    sources = materialise(scenario, None, folder / "sites")
    with create_consortium(folder / "coordinator", "measured", address, listen=address) as consortium:
        homes = {}
        for site in study.site_ids:
            at = folder / "hospitals" / site
            homes[site] = create_home(at, site, [], device="cpu", threads=1, policy=policy)
            register(homes[site], sources[site].manifest, root=sources[site].root)
            asked = folder / "request.json"
            asked.write_bytes(request(prepare_home(at, site), now=now).canonical())
            complete(homes[site], consortium.admit_file(asked, now=now))
        roster = consortium.store.newest_roster()
        if roster is None:
            raise RuntimeError("a consortium with members has a roster")
        proposal = consortium.propose(study, PERSON, now=now)
        for site in study.site_ids:
            home = Home(homes[site].path)
            keep_offer(home, roster)
            accept_offer(home, roster.roster.fingerprint, PERSON)
            keep_proposal(home, proposal)
            approve(home, proposal.verified(roster.authority), People(PERSON), now=now)
    return {site: home.path for site, home in homes.items()}
