"""Keys of a session: one chain a pair of sites, one key a use.

* mask chain of {v, w}: ``HKDF(X25519(mask keys), salt T)``; gives the pair seed s_vw of an attempt;
* packet chain of {v, w}: the same from the share keys; gives one packet key a direction and attempt.

Chains are ratcheted from round to round and the old link is forgotten, so a site that is broken into
later cannot give away earlier rounds. RC is in every derivation, so two attempts never share a key.
Both sites of a pair compute the same chain; the order of the two positions is part of every label.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from wardround.common.crypto.kdf import derive
from wardround.common.secagg.framing import Writer

if TYPE_CHECKING:
    from wardround.common.secagg.masks import Sign

LINK: Final = 32
"""Bytes of a link of a chain, of a seed and of a packet key."""


@dataclass(frozen=True, slots=True)
class PairChains:
    """The two chains that a pair of sites shares, at one round."""

    mask: bytes = field(repr=False)
    packet: bytes = field(repr=False)

    @classmethod
    def first(cls, mask_secret: bytes, share_secret: bytes, transcript: bytes, pair: tuple[int, int]) -> PairChains:
        """The links of round 1, from the two X25519 secrets of the pair."""
        return cls(
            derive(mask_secret, salt=transcript, info=_label(b"mask chain", *_ordered(pair))),
            derive(share_secret, salt=transcript, info=_label(b"packet chain", *_ordered(pair))),
        )

    def next(self, transcript: bytes, number: int) -> PairChains:
        """The links of round ``number``; from them nobody gets back to these ones."""
        info = _label(b"next round", number)
        return PairChains(
            derive(self.mask, salt=transcript, info=info), derive(self.packet, salt=transcript, info=info)
        )

    def seed(self, context: bytes, pair: tuple[int, int]) -> bytes:
        """s_vw of the attempt whose context RC is given."""
        return derive(self.mask, salt=context, info=_label(b"pair seed", *_ordered(pair)))

    def packet_key(self, context: bytes, sender: int, receiver: int, nonce: bytes) -> bytes:
        """The key of the one packet from sender to receiver in this attempt.

        RC and the direction make it unique already; ``nonce``, which the sender drew with the polynomials of the
        attempt, keeps a sender whose records were rolled back from sealing other shares under the same key.
        """
        return derive(self.packet, salt=context, info=_label(b"packet", sender, receiver) + nonce)


def pair_sign(own: int, other: int) -> Sign:
    """Whether a site adds (+1) or subtracts (-1) the mask that it shares with another one."""
    return 1 if other > own else -1


def packet_associated(context: bytes, sender: int, receiver: int) -> bytes:
    """What a packet is bound to besides its key."""
    return context + _label(b"packet", sender, receiver)


def commitment(context: bytes, secret: bytes, pair: tuple[int, int]) -> bytes:
    """Hash of a seed, by which the coordinator sees whether it was reconstructed rightly.

    Hiding because a seed has 256 bits of entropy. ``pair`` is (v, v) for the self mask b_v.
    """
    return hashlib.sha256(b"wardround/secagg/commitment\x00" + context + _label(b"", *_ordered(pair)) + secret).digest()


def _ordered(pair: tuple[int, int]) -> tuple[int, int]:
    return min(pair), max(pair)


def _label(purpose: bytes, *numbers: int) -> bytes:
    writer = Writer().variable(purpose)
    for number in numbers:
        writer.u32(number)
    return writer.bytes()
