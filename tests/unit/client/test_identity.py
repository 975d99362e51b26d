"""The site's identity key, and the roster that its people accepted."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from wardround.client.home import Home, RegisteredData, create_home
from wardround.client.identity import accept_roster, accepted_roster, site_key, stored_key
from wardround.common.crypto.signing import SigningKey, verify
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.roster import Member, Roster, SignedRoster

if TYPE_CHECKING:
    from collections.abc import Callable

AUTHORITY = SigningKey(b"a" * 32)
OTHER = SigningKey(b"o" * 32)
SOUTH = SigningKey(b"s" * 32).public.hex()
BY = "Ada Lovelace"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(
        tmp_path / "north", SiteId("north"), [RegisteredData(manifest=Path("d.toml"))], device="cpu", threads=1
    )


def signed(
    home: Home,
    version: int = 1,
    *,
    consortium: str = "lung",
    south: str = SOUTH,
    key: str | None = None,
    authority: SigningKey = AUTHORITY,
) -> SignedRoster:
    own = key or site_key(home).public.hex()
    members = {SiteId("south"): Member(key=south), home.site: Member(key=own, label="North")}
    return SignedRoster.sign(Roster(consortium=consortium, version=version, members=members), authority)


def refused(code: str, match: str, step: Callable[[], object]) -> None:
    with pytest.raises(WardroundError, match=match) as error:
        step()
    assert error.value.code == code


def test_the_key_is_made_at_the_site_once(home: Home) -> None:
    assert not (home.path / "identity.key").exists()
    key = site_key(home)
    assert site_key(Home(home.path)).private == key.private == (home.path / "identity.key").read_bytes()
    assert (home.path / "identity.key").stat().st_mode & 0o777 == 0o600
    assert verify(key.public, "advert", b"m", site_key(home).sign("advert", b"m"))


def test_two_sites_have_different_keys(tmp_path: Path) -> None:
    assert stored_key(tmp_path / "a").public != stored_key(tmp_path / "b").public


def test_all_who_ask_at_once_get_the_same_key(tmp_path: Path) -> None:
    for attempt in range(20):
        together = Barrier(4)

        def ask(path: Path, together: Barrier = together) -> bytes:
            together.wait()
            return stored_key(path).private

        with ThreadPoolExecutor(4) as pool:
            keys = set(pool.map(ask, [tmp_path / f"key-{attempt}"] * 4))
        assert len(keys) == 1


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33, b"78" * 32])
def test_a_damaged_key_is_refused_and_kept(content: bytes, home: Home) -> None:
    site_key(home)
    (home.path / "identity.key").write_bytes(content)
    refused("WR-1305", r"identity\.key is damaged", lambda: site_key(home))
    assert (home.path / "identity.key").read_bytes() == content


def test_a_key_that_cannot_be_read_is_refused(home: Home) -> None:
    (home.path / "identity.key").mkdir()
    refused("WR-1305", "IsADirectoryError", lambda: site_key(home))


def test_the_key_is_in_no_text(home: Home) -> None:
    key = site_key(home)
    accept_roster(home, signed(home), by=BY)
    for text in (repr(key), repr(home), repr(accepted_roster(home)), (home.path / "roster.json").read_text()):
        assert key.private.hex() not in text
        assert repr(key.private) not in text


def test_no_roster_is_accepted_at_first(home: Home) -> None:
    refused("WR-1702", r"No roster was accepted at north\. Join first", lambda: accepted_roster(home))
    (home.path / "membership.toml").touch()
    refused("WR-1702", "wardround hospital roster shows what waits", lambda: accepted_roster(home))


def test_an_accepted_roster_is_kept_with_the_persons_name(home: Home) -> None:
    offered = signed(home)
    accept_roster(home, offered, by=BY)
    assert accepted_roster(Home(home.path)) == offered.roster
    assert json.loads((home.path / "roster.json").read_bytes())["by"] == BY


def test_newer_versions_follow_and_older_ones_do_not(home: Home) -> None:
    accept_roster(home, signed(home, 3), by=BY)
    refused("WR-1702", "Version 2 of the roster is older than 3", lambda: accept_roster(home, signed(home, 2), by=BY))
    assert accepted_roster(home).version == 3
    accept_roster(home, signed(home, 7, south=OTHER.public.hex()), by="Grace Hopper")
    assert accepted_roster(home).public_key(SiteId("south")) == OTHER.public
    refused("WR-1702", "older than 7", lambda: accept_roster(home, signed(home, 3), by=BY))


def test_the_same_roster_again_changes_nothing(home: Home) -> None:
    accept_roster(home, signed(home), by=BY)
    accept_roster(home, signed(home), by="Grace Hopper")
    assert json.loads((home.path / "roster.json").read_bytes())["by"] == BY


def test_two_rosters_of_one_version_contradict_each_other(home: Home) -> None:
    accept_roster(home, signed(home), by=BY)
    other = signed(home, south=OTHER.public.hex())
    refused("WR-1702", "two different rosters of version 1", lambda: accept_roster(home, other, by=BY))
    assert accepted_roster(home) == signed(home).roster


def test_authority_and_consortium_are_pinned(home: Home) -> None:
    accept_roster(home, signed(home), by=BY)
    refused("WR-1702", "another authority", lambda: accept_roster(home, signed(home, 2, authority=OTHER), by=BY))
    refused("WR-1702", "another consortium", lambda: accept_roster(home, signed(home, 2, consortium="heart"), by=BY))
    accept_roster(home, signed(home, 2), by=BY)
    assert accepted_roster(home).version == 2


def test_people_can_take_the_pin_off_by_hand(home: Home) -> None:
    accept_roster(home, signed(home, 5), by=BY)
    (home.path / "roster.json").unlink()
    accept_roster(home, signed(home, authority=OTHER), by=BY)
    assert accepted_roster(home).version == 1


def test_a_roster_that_the_authority_did_not_sign_is_refused(home: Home) -> None:
    forged = signed(home).model_copy(update={"authority": OTHER.public.hex()})
    refused("WR-1702", "not signed", lambda: accept_roster(home, forged, by=BY))
    refused("WR-1702", "No roster was accepted", lambda: accepted_roster(home))


def test_a_roster_must_have_this_sites_own_key(home: Home) -> None:
    swapped = signed(home, key=OTHER.public.hex())
    refused("WR-1702", "another key for north", lambda: accept_roster(home, swapped, by=BY))
    roster = Roster(consortium="lung", version=1, members={SiteId("south"): Member(key=SOUTH)})
    absent = SignedRoster.sign(roster, AUTHORITY)
    refused("WR-1702", "north is not in version 1", lambda: accept_roster(home, absent, by=BY))


def test_a_site_whose_key_was_lost_or_changed_notices(home: Home) -> None:
    accept_roster(home, signed(home), by=BY)
    kept = (home.path / "identity.key").read_bytes()
    (home.path / "identity.key").write_bytes(bytes([kept[0] ^ 1, *kept[1:]]))
    refused("WR-1702", "another key for north", lambda: accepted_roster(home))
    (home.path / "identity.key").unlink()
    refused("WR-1305", "missing although", lambda: accepted_roster(home))
    refused("WR-1305", "missing although", lambda: site_key(home))
    assert not (home.path / "identity.key").exists()
    (home.path / "identity.key").write_bytes(kept)
    assert accepted_roster(home).version == 1


def test_a_damaged_roster_is_refused_and_not_written_over(home: Home) -> None:
    accept_roster(home, signed(home, 2), by=BY)
    content = (home.path / "roster.json").read_bytes()
    for damaged in (b"", b"{}", content[:-1], content.replace(b'"version":2', b'"version":3'), b"\xff"):
        (home.path / "roster.json").write_bytes(damaged)
        refused("WR-1702", "damaged|not signed", lambda: accepted_roster(home))
        refused("WR-1702", "damaged|not signed", lambda: accept_roster(home, signed(home, 9), by=BY))
        assert (home.path / "roster.json").read_bytes() == damaged
    (home.path / "roster.json").write_bytes(content)
    assert accepted_roster(home).version == 2


def test_a_roster_that_cannot_be_read_is_refused(home: Home) -> None:
    (home.path / "roster.json").mkdir()
    refused("WR-1702", "IsADirectoryError", lambda: accepted_roster(home))


@pytest.mark.parametrize("by", ["", " ", "a\nb", "x" * 101])
def test_a_roster_is_accepted_by_somebody(by: str, home: Home) -> None:
    with pytest.raises(ValueError, match="by"):
        accept_roster(home, signed(home), by=by)
    assert not (home.path / "roster.json").exists()
