"""Step 3's shares: made, sealed for their receivers, and put together for an opening.

A site's secrets are b_v and s_vw for every other w; they stand in cohort order, b_v at its own
position. Everything here is a function of the attempt's record and the chains, so a site that
crashed makes the identical packets again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.crypto.aead import seal, unseal
from wardround.common.crypto.kdf import derive
from wardround.common.crypto.keystream import Keystream
from wardround.common.errors import WardroundError
from wardround.common.secagg.keys import commitment, packet_associated
from wardround.common.secagg.messages import NONCE
from wardround.common.secagg.shamir import SHARE_BYTES, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.secagg.messages import Survivors
    from wardround.common.secagg.site_records import AttemptRecord, SessionRecord


def secrets(session: SessionRecord, attempt: AttemptRecord, own: int) -> list[bytes]:
    """b_v and every s_vw of an attempt, in cohort order."""
    context = attempt.context.digest
    return [
        attempt.self_mask if other == own else session.chains[other].seed(context, (own, other))
        for other in range(len(session.context.cohort))
    ]


def commitments(session: SessionRecord, attempt: AttemptRecord, own: int) -> tuple[bytes, ...]:
    """A hash of each of these secrets, in the same order."""
    context = attempt.context.digest
    found = secrets(session, attempt, own)
    return tuple(commitment(context, secret, (own, other)) for other, secret in enumerate(found))


def shares(session: SessionRecord, attempt: AttemptRecord, own: int) -> list[bytes]:
    """Shares of the secrets by holder, in cohort order; n * 33 bytes each."""
    sizes = session.context.sizes
    drawn = _stream(attempt.sharing)
    return split(secrets(session, attempt, own), threshold=sizes.threshold, holders=sizes.sites, random=drawn)


def sealed_packets(session: SessionRecord, attempt: AttemptRecord, own: int) -> dict[int, bytes]:
    """One packet for each other site."""
    context = attempt.context.digest
    nonce = derive(attempt.sharing, salt=context, info=b"packet nonce", length=NONCE)
    return {
        receiver: nonce
        + seal(
            session.chains[receiver].packet_key(context, own, receiver, nonce),
            content,
            packet_associated(context, own, receiver),
        )
        for receiver, content in enumerate(shares(session, attempt, own))
        if receiver != own
    }


def opening(
    session: SessionRecord, attempt: AttemptRecord, own: int, survivors: Survivors, packets: Mapping[int, bytes]
) -> bytes:
    """The shares that open U: of b_v for v in U, then of s_vu for v in U and u outside U, ascending.

    Args:
        session: The session.
        attempt: The attempt.
        own: This site's position.
        survivors: U.
        packets: Sealed packets of every other site of U.

    Raises:
        WardroundError: WR-1709, a packet does not open under the key of its sender, this receiver and RC.
    """
    held = {sender: unsealed(session, attempt, own, sender, packet) for sender, packet in packets.items()}
    if own in survivors.sites:
        held[own] = shares(session, attempt, own)[own]
    outside = [position for position in range(len(session.context.cohort)) if position not in survivors.sites]
    masks = [_share(held[v], v) for v in survivors.sites]
    pairs = [_share(held[v], u) for v in survivors.sites for u in outside]
    return b"".join(masks + pairs)


def unsealed(session: SessionRecord, attempt: AttemptRecord, own: int, sender: int, packet: bytes) -> bytes:
    """The shares that a sender made for this site.

    Raises:
        WardroundError: WR-1709, the packet is not authentic.
    """
    context = attempt.context.digest
    nonce, sealed = packet[:NONCE], packet[NONCE:]
    key = session.chains[sender].packet_key(context, sender, own, nonce)
    try:
        return unseal(key, sealed, packet_associated(context, sender, own))
    except ValueError as error:
        site = session.context.cohort[sender]
        raise WardroundError(
            "WR-1709", f"The packet of {site} was not made by it for this site and attempt."
        ) from error


def _stream(key: bytes) -> RandomSource:
    """A source of randomness that gives the same bytes again after a crash."""
    stream = Keystream(key)

    def draw(length: int) -> bytes:
        drawn = bytearray(length)
        stream.into(drawn)
        return bytes(drawn)

    return draw


def _share(held: bytes, secret: int) -> bytes:
    return held[secret * SHARE_BYTES : (secret + 1) * SHARE_BYTES]
