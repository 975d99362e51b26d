"""The newest roster that the coordinator offers, until a person here accepts it.

``roster.offered.json`` counts for nothing: peers are checked against the accepted roster alone
(:mod:`wardround.client.identity`). People see what would change and compare fingerprints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wardround.client.home import write_atomically
from wardround.client.identity import accept_roster, accepted_authority, last_roster
from wardround.common.errors import WardroundError
from wardround.common.roster import SignedRoster

if TYPE_CHECKING:
    from wardround.client.home import Home
    from wardround.common.roster import Roster

OFFERED: Final = "roster.offered.json"


@dataclass(frozen=True, slots=True)
class Changes:
    """What an offered roster would change.

    Attributes:
        added: Sites that are not in the accepted one.
        removed: Sites that are not in the offered one.
        rekeyed: Sites with another key.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    rekeyed: tuple[str, ...] = ()


def keep_offer(home: Home, signed: SignedRoster) -> bool:
    """Keep a roster for people to look at.

    Returns:
        Whether it is another one than the accepted one and the one offered before.

    Raises:
        WardroundError: WR-1702, its authority did not sign it, or is another one than that of the accepted roster; it
            is of the accepted version and differs from it; or the accepted roster is damaged.
    """
    signed.verify()
    accepted = last_roster(home)
    if accepted is not None:
        if signed.authority != accepted_authority(home):
            raise WardroundError("WR-1702", "The roster is signed by another authority than the one accepted before.")
        if signed.roster.version == accepted.version and signed.roster != accepted:
            what = f"There are two different rosters of version {accepted.version}: the accepted one and another."
            fix = "Call the coordinator. One that was restored from a backup has to offer a newer version."
            raise WardroundError("WR-1702", what, fix=fix)
        if signed.roster.version <= accepted.version:
            return False
    before = offered(home)
    if before is not None and before == signed:
        return False
    write_atomically(home.path / OFFERED, signed.to_json(), mode=0o600)
    return True


def offered(home: Home) -> SignedRoster | None:
    """The roster that waits for a person; None: there is none, or it was accepted meanwhile.

    Raises:
        WardroundError: WR-1702, the file was damaged.
    """
    try:
        signed = SignedRoster.from_json((home.path / OFFERED).read_bytes())
    except FileNotFoundError:
        return None
    signed.verify()
    accepted = last_roster(home)
    return None if accepted is not None and signed.roster.version <= accepted.version else signed


def changes(home: Home, roster: Roster) -> Changes:
    """What accepting a roster would change here."""
    accepted = last_roster(home)
    old = {} if accepted is None else dict(accepted.members)
    new = dict(roster.members)
    return Changes(
        tuple(sorted(site for site in new if site not in old)),
        tuple(sorted(site for site in old if site not in new)),
        tuple(sorted(site for site in new if site in old and new[site].key != old[site].key)),
    )


def accept_offer(home: Home, fingerprint: str, by: str) -> Roster:
    """Accept the offered roster, which a person has compared.

    Args:
        home: The hospital's home.
        fingerprint: As the person was told it; spaces do not matter.
        by: The person.

    Raises:
        WardroundError: WR-1702, none is offered, its fingerprint is another one, or it must not follow upon the one
            accepted before; WR-1919, the name is not one.
    """
    signed = offered(home)
    if signed is None:
        raise WardroundError(
            "WR-1702", "No new roster waits to be accepted.", fix="wardround hospital roster shows all."
        )
    if "".join(fingerprint.split()).lower() != "".join(signed.roster.fingerprint.split()):
        fix = (
            "wardround hospital roster asks the coordinator for the newest one, which changes when a hospital joins. "
            "Do not accept one before the coordinator has read the same digits to you over the telephone."
        )
        what = f"The roster that is offered here, version {signed.roster.version}, has another fingerprint."
        raise WardroundError("WR-1702", what, fix=fix)
    try:
        accept_roster(home, signed, by=by)
    except ValueError:
        raise WardroundError("WR-1919", "--by has to be a person's name, one line of printable text.") from None
    (home.path / OFFERED).unlink(missing_ok=True)
    return signed.roster
