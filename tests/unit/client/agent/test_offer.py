"""An offered roster counts for nothing until a person has compared it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from wardround.client.home import Home, create_home
from wardround.client.identity import accepted_roster, site_key
from wardround.client.offer import OFFERED, accept_offer, changes, keep_offer, offered
from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.roster import Member, Roster, SignedRoster

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITY = SigningKey.generate(os.urandom)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path, SiteId("north"), [], device="cpu", threads=1)


def roster(home: Home, version: int, *others: str, authority: SigningKey = AUTHORITY) -> SignedRoster:
    members = {SiteId("north"): Member(key=site_key(home).public.hex())}
    members |= {SiteId(site): Member(key=SigningKey.generate(os.urandom).public.hex()) for site in others}
    return SignedRoster.sign(Roster(consortium="Test", version=version, members=members), authority)


def accept(home: Home, signed: SignedRoster) -> None:
    keep_offer(home, signed)
    accept_offer(home, signed.roster.fingerprint, "A. Tester")


def refusal(home: Home, signed: SignedRoster) -> str:
    with pytest.raises(WardroundError) as error:
        keep_offer(home, signed)
    return error.value.code


def test_it_waits_until_its_fingerprint_is_given(home: Home) -> None:
    signed = roster(home, 1, "coast")
    assert keep_offer(home, signed)
    assert not keep_offer(home, signed)
    with pytest.raises(WardroundError):
        accepted_roster(home)
    with pytest.raises(WardroundError) as error:
        accept_offer(home, "0" * 40, "A. Tester")
    assert error.value.code == "WR-1702"
    accept_offer(home, signed.roster.fingerprint.replace(" ", "").upper(), "A. Tester")
    assert accepted_roster(home) == signed.roster
    assert offered(home) is None


def test_it_says_what_would_change(home: Home) -> None:
    accept(home, roster(home, 1, "coast", "valley"))
    later = roster(home, 2, "valley", "island")
    keep_offer(home, later)
    found = changes(home, later.roster)
    assert (found.added, found.removed, found.rekeyed) == (("island",), ("coast",), ("valley",))


def test_an_older_one_is_not_offered(home: Home) -> None:
    old = roster(home, 1)
    accept(home, roster(home, 2))
    assert not keep_offer(home, old)
    assert offered(home) is None


def test_another_one_of_the_same_version_is_refused(home: Home) -> None:
    accept(home, roster(home, 2, "coast"))
    assert refusal(home, roster(home, 2, "valley")) == "WR-1702"
    assert offered(home) is None
    assert not keep_offer(home, roster(home, 1, "valley"))
    assert keep_offer(home, roster(home, 3, "valley"))


def test_another_authority_is_refused(home: Home) -> None:
    accept(home, roster(home, 1))
    other = SigningKey.generate(os.urandom)
    assert refusal(home, roster(home, 2, authority=other)) == "WR-1702"
    assert keep_offer(home, roster(home, 2))


def test_an_edited_one_is_refused(home: Home) -> None:
    signed = roster(home, 1)
    edited = signed.model_copy(update={"roster": roster(home, 1, "coast").roster})
    assert refusal(home, edited) == "WR-1702"
    keep_offer(home, signed)
    path = home.path / OFFERED
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))
    with pytest.raises(WardroundError):
        offered(home)
