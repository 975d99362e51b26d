"""A site's records come back as they were; damaged ones are refused by one code, and secrets are never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.secagg.context import RoundContext, SessionContext
from wardround.common.secagg.keys import PairChains
from wardround.common.secagg.parameters import Strength
from wardround.common.secagg.site_records import (
    AttemptRecord,
    ModelRecord,
    SessionRecord,
    UpdateRecord,
    model_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable

COHORT = (SiteId("a"), SiteId("b"), SiteId("c"))
CONTEXT = SessionContext(
    "c", "sha256:r", StudyId("sha256:s"), StudyRunId("run"), b"S" * 32, 7, COHORT, 0, Strength.ACTIVE, 2
)
ROUND = RoundContext(b"T" * 32, 3, 2, b"m" * 32, b"l" * 32, b"e" * 32, 16, 1)
CHAINS = {0: PairChains(b"\x11" * 32, b"\x22" * 32), 2: PairChains(b"\x33" * 32, b"\x44" * 32)}
Record = SessionRecord | AttemptRecord | UpdateRecord | ModelRecord
RECORDS: list[Record] = [
    SessionRecord(CONTEXT, b"a" * 130, b"\x55" * 64),
    SessionRecord(CONTEXT, b"a" * 130, b"", b"T" * 32, 3, CHAINS),
    AttemptRecord(ROUND, b"\x66" * 32, b"\x77" * 32),
    AttemptRecord(ROUND, b"\x66" * 32, b"\x77" * 32, True, b"V" * 72, b"s" * 64, b"\x88" * 198, True),
    UpdateRecord(3, b"m" * 32),
    UpdateRecord(3, b"m" * 32, b"\x99" * 32, True),
    ModelRecord(7, 3),
    ModelRecord(7, 3, b"d" * 32),
]


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert type(record).decode(record.encode()) == record


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_that_is_cut_or_longer_is_damaged(record: Record) -> None:
    written = record.encode()
    decode: Callable[[bytes], Record] = type(record).decode
    for damaged in [written[:at] for at in range(len(written))] + [written + b"\x00"]:
        with pytest.raises(WardroundError, match="WR-1714"):
            decode(damaged)


@given(record=st.sampled_from(RECORDS), place=st.floats(0, 1), noise=st.binary(min_size=1, max_size=9))
def test_whatever_is_wrong_with_a_record_is_damage(record: Record, place: float, noise: bytes) -> None:
    written = record.encode()
    at = int(place * (len(written) - 1))
    damaged = (written[:at] + noise + written[at + len(noise) :])[: len(written)]
    try:
        found = type(record).decode(damaged)
    except WardroundError as error:
        assert error.code == "WR-1714"  # noqa: PT017  # most places hold secrets, where any bytes are as good
    else:
        assert len(found.encode()) == len(written)


def test_a_statement_inside_that_a_peer_could_not_have_sent_is_damage() -> None:
    for record, at, wrong in [(RECORDS[0], 5, b"\x09"), (RECORDS[2], 4 + 136, b"\x09")]:
        written = record.encode()
        assert type(record).decode(written) == record
        with pytest.raises(WardroundError, match=r"WR-1714.*stored (session|attempt) is damaged"):
            type(record).decode(written[:at] + wrong + written[at + 1 :])


def test_a_model_has_a_record_of_its_own() -> None:
    assert model_record(b"\x0a" * 32) == "model/" + "0a" * 32


def test_secrets_are_never_shown() -> None:
    shown = "".join(map(repr, RECORDS))
    assert not [byte for byte in range(0x11, 0xAA, 0x11) if f"\\x{byte:02x}" in shown or chr(byte) * 9 in shown]
    assert "model=b'mmm" in shown
