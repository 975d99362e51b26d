"""Shares of a site's secrets: who gets which, what an opening holds in which order, and what a packet is bound to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.secagg import HEAD, Consortium

from wardround.common.errors import WardroundError
from wardround.common.secagg import packets
from wardround.common.secagg.keys import commitment
from wardround.common.secagg.messages import Survivors, packet_bytes
from wardround.common.secagg.shamir import SHARE_BYTES, combine, lagrange_weights
from wardround.common.secagg.site_records import ATTEMPT, SESSION, AttemptRecord, SessionRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

SITES, THRESHOLD = 4, 3


class Cohort:
    """The records of four sites that have begun one attempt."""

    def __init__(self) -> None:
        consortium = Consortium(SITES)
        session = consortium.session()
        context = consortium.context(session)
        for site in consortium.sites.values():
            site.begin(context.encode(), context.model)
        stored = [consortium.stores[name].records for name in consortium.names]
        self.sessions = [SessionRecord.decode(records[SESSION]) for records in stored]
        self.attempts = [AttemptRecord.decode(records[ATTEMPT]) for records in stored]
        self.context = context.digest

    def secrets(self, own: int) -> list[bytes]:
        return packets.secrets(self.sessions[own], self.attempts[own], own)

    def shares(self, own: int) -> list[bytes]:
        return packets.shares(self.sessions[own], self.attempts[own], own)

    def sealed(self, own: int) -> dict[int, bytes]:
        return packets.sealed_packets(self.sessions[own], self.attempts[own], own)

    def unsealed(self, own: int, sender: int, packet: bytes) -> bytes:
        return packets.unsealed(self.sessions[own], self.attempts[own], own, sender, packet)

    def opening(self, own: int, survivors: tuple[int, ...]) -> bytes:
        received = {sender: self.sealed(sender)[own] for sender in survivors if sender != own}
        return packets.opening(
            self.sessions[own], self.attempts[own], own, Survivors(self.context, survivors, HEAD), received
        )


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return Cohort()


def combined(holders: Iterable[int], shares: Iterable[bytes]) -> list[bytes]:
    return combine(lagrange_weights([holder + 1 for holder in holders]), list(shares))


def test_secrets_stand_in_cohort_order_and_pairs_agree(cohort: Cohort) -> None:
    secrets = [cohort.secrets(own) for own in range(SITES)]
    for own in range(SITES):
        assert secrets[own][own] == cohort.attempts[own].self_mask
        for other in range(SITES):
            if other != own:
                assert secrets[own][other] == secrets[other][own]
                assert secrets[own][other] == cohort.sessions[own].chains[other].seed(cohort.context, (own, other))
    assert len({secret for some in secrets for secret in some}) == SITES + SITES * (SITES - 1) // 2


def test_commitments_agree_within_a_pair(cohort: Cohort) -> None:
    found = [packets.commitments(cohort.sessions[own], cohort.attempts[own], own) for own in range(SITES)]
    for own in range(SITES):
        for other in range(SITES):
            assert found[own][other] == found[other][own]
            assert found[own][other] == commitment(cohort.context, cohort.secrets(own)[other], (own, other))


def test_any_t_holders_recover_all_secrets_and_fewer_do_not(cohort: Cohort) -> None:
    shares = cohort.shares(2)
    for holders in [(0, 1, 2), (0, 1, 3), (1, 2, 3), (3, 0, 2), (0, 1, 2, 3)]:
        assert combined(holders, (shares[holder] for holder in holders)) == cohort.secrets(2)
    for holders in [(0, 1), (2, 3), (1,)]:
        try:
            found = combined(holders, (shares[holder] for holder in holders))
        except ValueError:  # the value at 0 of another polynomial need not even have 32 bytes
            continue
        assert not set(found) & set(cohort.secrets(2))


def test_packets_are_sealed_to_one_receiver_in_one_direction(cohort: Cohort) -> None:
    sealed, shares = cohort.sealed(1), cohort.shares(1)
    assert sorted(sealed) == [0, 2, 3]
    for receiver, packet in sealed.items():
        assert len(packet) == packet_bytes(SITES)
        assert cohort.unsealed(receiver, 1, packet) == shares[receiver]
        for wrong in {0, 2, 3} - {receiver}:
            with pytest.raises(WardroundError, match=r"WR-1709.*s01"):
                cohort.unsealed(wrong, 1, packet)
        with pytest.raises(WardroundError, match="WR-1709"):
            cohort.unsealed(receiver, next(iter({0, 2, 3} - {receiver})), packet)
        with pytest.raises(WardroundError, match="WR-1709"):  # reflected to its sender
            cohort.unsealed(1, receiver, packet)


def test_a_packet_of_another_attempt_or_with_a_changed_bit_does_not_open(cohort: Cohort) -> None:
    packet = cohort.sealed(1)[0]
    later = replace(cohort.attempts[0], context=replace(cohort.attempts[0].context, attempt=2))
    with pytest.raises(WardroundError, match="WR-1709"):
        packets.unsealed(cohort.sessions[0], later, 0, 1, packet)
    for bit in (0, 7, 8 * 60, 8 * len(packet) - 1):
        flipped = bytearray(packet)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WardroundError, match="WR-1709"):
            cohort.unsealed(0, 1, bytes(flipped))


def test_an_opening_holds_self_masks_of_survivors_and_their_pair_masks_with_the_others(cohort: Cohort) -> None:
    survivors = (0, 1, 3)
    openings = [cohort.opening(holder, survivors) for holder in range(SITES)]
    assert {len(opening) for opening in openings} == {SHARE_BYTES * 3 * (1 + 1)}
    found = combined((0, 1, 3), (openings[holder] for holder in (0, 1, 3)))
    secrets = [cohort.secrets(own) for own in range(SITES)]
    assert found == [secrets[0][0], secrets[1][1], secrets[3][3], secrets[0][2], secrets[1][2], secrets[3][2]]
    assert combined((0, 2, 3), (openings[holder] for holder in (0, 2, 3))) == found  # a site outside U may help


def test_an_opening_of_everybody_holds_self_masks_alone(cohort: Cohort) -> None:
    openings = [cohort.opening(holder, (0, 1, 2, 3)) for holder in range(THRESHOLD)]
    found = combined(range(THRESHOLD), openings)
    assert found == [attempt.self_mask for attempt in cohort.attempts]


def test_after_a_crash_the_packets_are_the_same(cohort: Cohort) -> None:
    session = SessionRecord.decode(cohort.sessions[1].encode())
    attempt = AttemptRecord.decode(cohort.attempts[1].encode())
    assert packets.sealed_packets(session, attempt, 1) == cohort.sealed(1)
    other = replace(attempt, sharing=bytes(32))
    assert packets.sealed_packets(session, other, 1) != cohort.sealed(1)
