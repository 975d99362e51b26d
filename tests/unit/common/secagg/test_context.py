"""The statements that keys and signatures are bound to: their bytes by hand, and every field counts."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import fields, replace
from typing import Any

import pytest

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.secagg.context import (
    RoundContext,
    SessionContext,
    digest_bytes,
    survivor_digest,
    transcript,
)
from wardround.common.secagg.parameters import Strength

COHORT = (SiteId("a"), SiteId("bb"), SiteId("ccc"))
SESSION = SessionContext(
    "c", "sha256:r", StudyId("sha256:s"), StudyRunId("run"), b"S" * 32, 7, COHORT, 0, Strength.ACTIVE, 2
)
ROUND = RoundContext(b"T" * 32, 3, 2, b"m" * 32, b"l" * 32, b"e" * 32, 16, 1)
OTHER_SESSION: dict[str, Any] = {
    "consortium": "d",
    "members": "sha256:q",
    "study": "sha256:t",
    "run": "run2",
    "settings": b"s" * 32,
    "session": 8,
    "cohort": (*COHORT, SiteId("d")),
    "colluding": 1,
    "strength": Strength.SEMI_HONEST,
    "threshold": 3,
}
OTHER_ROUND: dict[str, Any] = {
    "transcript": b"t" * 32,
    "round": 4,
    "attempt": 3,
    "model": b"n" * 32,
    "layout": b"L" * 32,
    "encoding": b"E" * 32,
    "ring_bits": 32,
    "weight_cap": 2,
}


def text(value: str) -> bytes:
    return struct.pack(">I", len(value)) + value.encode()


def labelled(purpose: bytes, content: bytes) -> bytes:
    return hashlib.sha256(b"wardround/secagg/" + purpose + b"\x00" + content).digest()


def test_a_session_by_hand() -> None:
    expected = struct.pack(">H", 2) + text("c") + text("sha256:r") + text("sha256:s") + text("run") + b"S" * 32
    expected += struct.pack(">IHBHH", 7, 0, 0, 2, 3) + text("a") + text("bb") + text("ccc")
    assert SESSION.encode() == expected
    assert len(expected) == 61 + len("csha256:rsha256:srun") + 3 * 4 + len("abbccc")
    assert SESSION.digest == labelled(b"session", expected)
    assert SessionContext.decode(expected) == SESSION


def test_a_round_by_hand() -> None:
    expected = b"T" * 32 + struct.pack(">II", 3, 2) + b"m" * 32 + b"l" * 32 + b"e" * 32 + struct.pack(">BI", 16, 1)
    assert ROUND.encode() == expected
    assert len(expected) == 141
    assert ROUND.digest == labelled(b"round", expected)
    assert RoundContext.decode(expected) == ROUND


def test_every_field_of_a_session_counts() -> None:
    assert OTHER_SESSION.keys() == {field.name for field in fields(SessionContext)}
    changed = [replace(SESSION, **{name: value}) for name, value in OTHER_SESSION.items()]
    assert len({SESSION.digest, *(session.digest for session in changed)}) == len(changed) + 1
    assert [SessionContext.decode(session.encode()) for session in changed] == changed


def test_every_field_of_a_round_counts() -> None:
    assert OTHER_ROUND.keys() == {field.name for field in fields(RoundContext)}
    changed = [replace(ROUND, **{name: value}) for name, value in OTHER_ROUND.items()]
    assert len({ROUND.digest, *(found.digest for found in changed)}) == len(changed) + 1
    assert [RoundContext.decode(found.encode()) for found in changed] == changed


def test_every_bit_of_a_round_counts() -> None:
    written = ROUND.encode()
    digests = {ROUND.digest}
    for bit in range(8 * len(written)):
        flipped = bytearray(written)
        flipped[bit // 8] ^= 1 << bit % 8
        digests.add(labelled(b"round", bytes(flipped)))
    assert len(digests) == 8 * len(written) + 1


def test_names_cannot_be_moved_from_one_field_to_the_next() -> None:
    moved = replace(SESSION, consortium="csha", members="256:r")
    assert moved.consortium + moved.members == SESSION.consortium + SESSION.members
    assert moved.digest != SESSION.digest
    assert replace(SESSION, cohort=(SiteId("ab"), SiteId("b"), SiteId("ccc"))).digest != SESSION.digest


def test_the_transcript_covers_the_session_and_every_advert_in_order() -> None:
    adverts = [b"1" * 130, b"2" * 130, b"3" * 130]
    found = transcript(SESSION, adverts)
    content = SESSION.digest + struct.pack(">H", 3) + b"".join(struct.pack(">I", 130) + advert for advert in adverts)
    assert found == labelled(b"transcript", content)
    others = [
        transcript(replace(SESSION, session=8), adverts),
        transcript(SESSION, adverts[::-1]),
        transcript(SESSION, adverts[:2]),
        *(transcript(SESSION, [*adverts[:at], b"x" * 130, *adverts[at + 1 :]]) for at in range(3)),
    ]
    assert len({found, *others}) == 7


def test_a_survivor_set_is_named_by_its_sites_in_whatever_session() -> None:
    larger = replace(SESSION, cohort=(SiteId("Z"), *COHORT), session=8)
    assert survivor_digest(SESSION, (0, 2)) == survivor_digest(larger, (1, 3)) == survivor_digest(SESSION, (2, 0))
    named = {survivor_digest(SESSION, some) for some in [(0, 1, 2), (0, 1), (0, 2), (1, 2), (0,)]}
    assert len(named) == 5


def test_positions_are_those_of_the_cohort() -> None:
    assert [SESSION.position(site) for site in COHORT] == [0, 1, 2]
    with pytest.raises(WardroundError, match=r"WR-1704.*stranger"):
        SESSION.position(SiteId("stranger"))


@pytest.mark.parametrize(
    ("at", "change", "refusal"),
    [
        (0, b"\x00\x01", "WR-1701.*version 1, not 2"),
        (6, b"\xff", "WR-1701.*not UTF-8"),
        (2, b"\x00\x00\x01\x01", "WR-1701.*257 bytes"),
        (76, b"\x02", "WR-1701.*unknown strength"),
        (70, bytes(4), "WR-1701.*numbered from 1"),
        (79, b"\x00\x81", "WR-1704.*129 sites"),
        (79, b"\x00\x02", "WR-1701.*longer"),
        (79, b"\x00\x04", "WR-1701.*truncated"),
    ],
)
def test_what_is_no_session(at: int, change: bytes, refusal: str) -> None:
    written = bytearray(SESSION.encode())
    assert SessionContext.decode(bytes(written)) == SESSION
    written[at : at + len(change)] = change
    with pytest.raises(WardroundError, match=refusal):
        SessionContext.decode(bytes(written))


@pytest.mark.parametrize("bits", [0, 8, 17, 64, 255])
def test_no_round_has_another_ring(bits: int) -> None:
    written = bytearray(ROUND.encode())
    written[136] = bits
    with pytest.raises(WardroundError, match=rf"WR-1701.*ring of {bits} bits"):
        RoundContext.decode(bytes(written))


def test_digests_by_name() -> None:
    assert digest_bytes("sha256:" + "0a" * 32) == b"\x0a" * 32
    for wrong in ("sha512:" + "0a" * 32, "sha256:0a", "0a" * 32, "sha256:" + "0g" * 32):
        with pytest.raises(ValueError, match=r"sha256|hexadecimal"):
            digest_bytes(wrong)
