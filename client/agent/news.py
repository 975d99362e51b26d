"""What agent and coordinator tell each other besides messages: rosters, proposals, decisions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NoReturn

from wardround.client.identity import last_roster, site_key
from wardround.client.offer import keep_offer, offered
from wardround.client.proposals import keep_proposal, mark_sent, pending_decisions
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.client.federation import Connection
    from wardround.client.home import Home

KNOWN: Final = "WR-1932"
"""The coordinator has the decision already, or a newer one."""

LOST: Final = frozenset({"WR-1901", "WR-1905", "WR-1907", "WR-1908", "WR-1914"})
"""Refusals that say that there is no connection: a new one has to be made before anything else."""

_log = logging.getLogger("wardround.agent")


def roster_version(home: Home) -> int:
    """Version of the accepted roster; 0: none was accepted with the identity that this hospital has.

    Raises:
        WardroundError: WR-1702, it is damaged.
    """
    found = last_roster(home)
    own = None if found is None else found.members.get(home.site)
    return found.version if found is not None and own is not None and own.key == site_key(home).public.hex() else 0


def fetch_roster(connection: Connection, home: Home) -> int | None:
    """Keep the newest roster for people to look at.

    Returns:
        The version that waits for a person; None: the accepted one is the newest.

    Raises:
        WardroundError: WR-1702, it is not signed by the authority of the accepted one; as the connection.
    """
    if keep_offer(home, connection.roster()):
        _log.warning("A new roster waits for a person: wardround hospital roster")
    waiting = offered(home)
    return None if waiting is None else waiting.roster.version


def ask_for_roster(home: Home) -> WardroundError | None:
    """Ask the coordinator for the newest roster now, whether the agent runs or not, and keep it for people to look at.

    Returns:
        Why it could not be asked; None: it was.

    Raises:
        WardroundError: WR-1702, it is not signed by the authority of the accepted one, or contradicts it.
    """
    from wardround.client.egress import Gate
    from wardround.client.federation import connect

    def none(_: object) -> NoReturn:
        raise RuntimeError("a request has no vector")

    try:
        with connect(home.path, Gate(home, none).request) as connection:
            newest = connection.roster()
    except WardroundError as error:
        return error
    keep_offer(home, newest)
    return None


def fetch_studies(connection: Connection, home: Home) -> None:
    """Keep every proposal that is genuine; what is not is logged and left out.

    Raises:
        WardroundError: As the connection.
    """
    for signed in connection.studies():
        try:
            proposal = keep_proposal(home, signed)
            if proposal is not None:
                what = "was withdrawn" if proposal.withdrawn else "was proposed"
                _log.warning("Study %s %s: wardround hospital studies", proposal.study_id[7:15], what)
        except WardroundError as error:
            _log.error("A proposal is not kept: %s", error)


def send_decisions(connection: Connection, home: Home, refused: set[str]) -> None:
    """Send what people decided and the coordinator does not know.

    Args:
        connection: To the coordinator.
        home: The hospital's home.
        refused: Hashes of decisions that the coordinator did not take; they are not sent again until a restart.

    Raises:
        WardroundError: The connection was lost; what was not sent waits.
    """
    for signed in pending_decisions(home):
        if signed.hash in refused:
            continue
        try:
            connection.decide(signed)
        except WardroundError as error:
            if error.code in LOST:
                raise
            if error.code != KNOWN:
                refused.add(signed.hash)
                _log.error("The coordinator does not take a decision: %s", error)
                continue
        mark_sent(home, signed)
