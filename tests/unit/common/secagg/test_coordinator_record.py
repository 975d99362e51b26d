"""The coordinator's record of an attempt comes back as it was; a damaged one is refused."""

from __future__ import annotations

import pytest

from wardround.common.errors import WardroundError
from wardround.common.secagg.context import RoundContext
from wardround.common.secagg.coordinator_record import CoordinatorRecord
from wardround.common.secagg.messages import Survivors, packet_bytes

SITES, SURVIVORS = 4, (0, 2, 3)
CONTEXT = RoundContext(b"T" * 32, 3, 2, b"m" * 32, b"l" * 32, b"e" * 32, 16, 1)


def record() -> CoordinatorRecord:
    commitments = {own: tuple(bytes([own, other]) * 16 for other in range(SITES)) for own in SURVIVORS}
    packets = {
        own: {other: bytes([16 * own + other]) * packet_bytes(SITES) for other in range(SITES) if other != own}
        for own in SURVIVORS
    }
    return CoordinatorRecord(CONTEXT, Survivors(CONTEXT.digest, SURVIVORS, b"h" * 32), commitments, packets)


def test_it_comes_back_as_it_was() -> None:
    assert CoordinatorRecord.decode(record().encode()) == record()


def test_its_size_is_that_of_the_uploads() -> None:
    assert len(record().encode()) == 4 + 141 + 32 + 4 + 3 * (4 + 34 + 32 * SITES + 3 * packet_bytes(SITES))


def test_a_damaged_one_is_refused() -> None:
    written = record().encode()
    for at in range(0, len(written), 7):
        with pytest.raises(WardroundError, match="WR-1714"):
            CoordinatorRecord.decode(written[:at])
    with pytest.raises(WardroundError, match="WR-1714"):
        CoordinatorRecord.decode(written + b"\x00")
    for at, wrong in [(4 + 136, b"\x09"), (4 + 141 + 32, b"\x00\x05"), (4 + 141 + 32 + 4 + 4, b"\x00\x09")]:
        with pytest.raises(WardroundError, match="WR-1714"):
            CoordinatorRecord.decode(written[:at] + wrong + written[at + len(wrong) :])


def test_packets_are_never_shown() -> None:
    assert "packets" not in repr(record())
