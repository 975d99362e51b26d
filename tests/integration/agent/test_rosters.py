"""A roster that people accept while the agent is connected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes.agents import agents, join_all, one_hospital, until
from fakes.federated import federated
from fakes.serving import wait_for

from wardround.client.offer import accept_offer, offered
from wardround.common.ids import SiteId

if TYPE_CHECKING:
    from pathlib import Path


def test_the_coordinator_hears_which_roster_was_accepted(tmp_path: Path) -> None:
    home, _ = one_hospital(tmp_path)
    with federated(tmp_path) as stand:
        join_all(stand, {"north": home})

        def known() -> int | None:
            row = stand.consortium.store.site(SiteId("north"))
            assert row is not None
            return row.roster

        with agents([home]):
            assert known() == 1
            stand.join("guest")
            until(home, lambda status: status.offered == 2)
            assert known() == 1
            waiting = offered(home)
            assert waiting is not None
            accept_offer(home, waiting.roster.fingerprint, "A. Tester")
            wait_for(lambda: known() == 2)
            until(home, lambda status: (status.roster, status.offered) == (2, None))
