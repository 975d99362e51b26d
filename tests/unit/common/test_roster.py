"""The signed roster: what it fixes, and what is refused."""

from __future__ import annotations

import hashlib
import json
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wardround.common.crypto.signing import SigningKey, fingerprint
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.roster import MAX_BYTES, Member, Roster, SignedRoster

AUTHORITY = SigningKey(b"a" * 32)
KEYS = {SiteId(site): SigningKey(site.encode() * 16).public for site in ("n1", "s2", "e3")}
ROSTER = Roster(
    consortium="Lunge und Herz",
    version=4,
    members={site: Member(key=key.hex(), label=f"Spital {site}") for site, key in KEYS.items()},
)
SIGNED = SignedRoster.sign(ROSTER, AUTHORITY)
NEUTRAL = "01" + "00" * 31
"""The curve's neutral point: anybody can sign for it."""


def refusal(content: bytes) -> str:
    with pytest.raises(WardroundError) as refused:
        SignedRoster.from_json(content)
    assert refused.value.code == "WR-1702"
    return refused.value.what


def changed(path: str, value: object) -> bytes:
    """The signed roster with one field changed, or added, and everything else in its canonical place."""
    fields: dict[str, Any] = json.loads(SIGNED.to_json())
    *sections, last = path.split("/")
    reduce(lambda section, name: section[name], sections, fields)[last] = value
    return canonical(fields)


def canonical(fields: object) -> bytes:
    """RFC 8785 for what these rosters hold: sorted ASCII names, integers and strings without escapes."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_signed_roster_survives_the_trip() -> None:
    back = SignedRoster.from_json(SIGNED.to_json())
    back.verify()
    assert back == SIGNED
    assert {site: back.roster.public_key(site) for site in KEYS} == KEYS


def test_hash_and_fingerprints_are_those_of_the_canonical_form() -> None:
    text = canonical(
        {
            "schema": 1,
            "consortium": "Lunge und Herz",
            "version": 4,
            "members": {site: {"key": key.hex(), "label": f"Spital {site}"} for site, key in KEYS.items()},
        }
    )
    assert ROSTER.canonical() == text
    assert ROSTER.hash == "sha256:" + hashlib.sha256(text).hexdigest()
    assert ROSTER.fingerprint == fingerprint(text)
    assert ROSTER.members[SiteId("n1")].fingerprint == fingerprint(KEYS[SiteId("n1")])
    assert Roster.model_validate_json(text) == ROSTER  # also after the hash was computed


def test_the_order_of_members_does_not_matter() -> None:
    backwards = dict(reversed(list(ROSTER.members.items())))
    assert Roster(consortium=ROSTER.consortium, version=4, members=backwards).hash == ROSTER.hash


def test_the_hash_of_some_entries_is_that_of_their_keys() -> None:
    n1, s2 = SiteId("n1"), SiteId("s2")
    text = canonical({"consortium": "Lunge und Herz", "keys": {site: KEYS[site].hex() for site in (n1, s2)}})
    assert ROSTER.entries_hash([s2, n1]) == "sha256:" + hashlib.sha256(text).hexdigest()
    newer = {site: Member(key=KEYS[site].hex()) for site in (n1, s2)}  # without labels and the third one
    same = Roster(consortium=ROSTER.consortium, version=9, members=newer)
    assert same.entries_hash([n1, s2]) == ROSTER.entries_hash([n1, s2]) != ROSTER.entries_hash([n1])
    swapped = Roster(consortium=ROSTER.consortium, version=4, members={n1: newer[s2], s2: newer[n1]})
    assert swapped.entries_hash([n1, s2]) != ROSTER.entries_hash([n1, s2])
    assert same.model_copy(update={"consortium": "Lunge"}).entries_hash([n1]) != ROSTER.entries_hash([n1])
    with pytest.raises(WardroundError, match=r"WR-1702.*e3"):
        same.entries_hash(KEYS)


def test_a_site_that_is_no_member_has_no_key() -> None:
    assert ROSTER.public_key(SiteId("s2")) == KEYS[SiteId("s2")]
    with pytest.raises(WardroundError, match="west") as refused:
        ROSTER.public_key(SiteId("west"))
    assert refused.value.code == "WR-1702"


def test_only_the_named_authoritys_signature_over_these_members_counts() -> None:
    SIGNED.verify()
    other = SigningKey(b"b" * 32)
    renamed = ROSTER.model_copy(update={"version": 5})
    signature = other.sign("advert", ROSTER.canonical()).hex()
    wrong = [
        SIGNED.model_copy(update={"roster": renamed}),
        SIGNED.model_copy(update={"authority": other.public.hex()}),
        SIGNED.model_copy(update={"signature": SignedRoster.sign(renamed, AUTHORITY).signature}),
        SignedRoster(roster=ROSTER, authority=other.public.hex(), signature=signature),
    ]
    for signed in wrong:
        with pytest.raises(WardroundError, match="not signed") as refused:
            signed.verify()
        assert refused.value.code == "WR-1702"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("surprise", 1, "surprise"),
        ("roster/surprise", 1, "roster.surprise"),
        ("roster/members/n1/surprise", 1, "roster.members"),
        ("roster/schema", 2, "schema"),
        ("roster/version", 0, "version"),
        ("roster/version", "4", "version"),
        ("roster/version", True, "version"),
        ("roster/version", 4.0, "version"),
        ("roster/version", 2**53, "version"),
        ("roster/consortium", "", "consortium"),
        ("roster/consortium", "a\u202eb", "consortium"),
        ("roster/consortium", " a", "consortium"),
        ("roster/members", [], "members"),
        ("roster/members/North", {"key": "ab" * 32, "label": ""}, "members"),
        ("roster/members/n1/label", "x" * 101, "members"),
        ("roster/members/n1/label", "a\nb", "members"),
        ("roster/members/n1/key", "ab" * 31, "members"),
        ("roster/members/n1/key", "AB" * 32, "members"),
        ("roster/members/n1/key", "zz" * 32, "members"),
        ("roster/members/n1/key", NEUTRAL, "members"),
        ("roster/members/n1/key", KEYS[SiteId("s2")].hex(), "share a key"),
        ("authority", NEUTRAL, "authority"),
        ("authority", "ab", "authority"),
        ("signature", "ab" * 63, "signature"),
        ("signature", "AB" * 64, "signature"),
        ("signature", None, "signature"),
    ],
)
def test_wrong_fields_are_refused(path: str, value: object, reason: str) -> None:
    assert reason in refusal(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("roster/version", 5),
        ("roster/consortium", "心肺联盟"),
        ("roster/members/n1/label", ""),
        ("roster/members/w4", {"key": SigningKey(b"w" * 32).public.hex(), "label": "x" * 100}),
        ("signature", "ab" * 64),
    ],
)
def test_good_fields_are_read_and_the_signature_is_for_verify_to_check(path: str, value: object) -> None:
    read = SignedRoster.from_json(changed(path, value))
    with pytest.raises(WardroundError, match="not signed"):
        read.verify()


def test_every_field_is_needed() -> None:
    fields = json.loads(SIGNED.to_json())
    for name in fields:
        assert name in refusal(canonical({key: value for key, value in fields.items() if key != name}))
    for name in fields["roster"]:
        rest = {key: value for key, value in fields["roster"].items() if key != name}
        assert refusal(canonical(fields | {"roster": rest}))


def test_only_the_canonical_bytes_are_read() -> None:
    content = SIGNED.to_json()
    twice = content.replace(b'"version":4', b'"version":3,"version":4')
    for other in (content + b"\n", b" " + content, twice, json.dumps(json.loads(content)).encode()):
        assert "canonical" in refusal(other)


def test_what_is_no_roster_is_refused() -> None:
    for content in (b"", b"{}", b"null", b"[" * 100_000, b"\xff\xfe", SIGNED.to_json()[:-1]):
        assert "not valid" in refusal(content)
    assert "bytes" in refusal(b" " * (MAX_BYTES + 1))


def test_a_refusal_repeats_no_text_from_outside() -> None:
    name = "Dr. <b>who</b>"
    assert name not in refusal(changed(f"roster/members/{name.replace('/', '')}", {"key": "x"}))
    assert "who" not in refusal(changed("roster/members/n1/label", "who\n"))


@given(st.data())
def test_damaged_bytes_are_refused_or_do_not_verify(data: st.DataObject) -> None:
    content = bytearray(SIGNED.to_json())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WardroundError) as refused:
        SignedRoster.from_json(bytes(content)).verify()
    assert refused.value.code == "WR-1702"


def test_a_roster_of_a_thousand_members_with_the_longest_labels_can_be_sent() -> None:
    members = {
        SiteId(f"s{i:063d}"): Member(key=SigningKey(i.to_bytes(32, "big")).public.hex(), label="\U0001fac1" * 100)
        for i in range(1000)
    }
    signed = SignedRoster.sign(Roster(consortium="c", version=1, members=members), AUTHORITY)
    SignedRoster.from_json(signed.to_json()).verify()


def test_rosters_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ROSTER.version = 5  # type: ignore[misc]
