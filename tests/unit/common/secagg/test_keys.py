"""Keys of a session against HKDF written out with HMAC: everything that should change a key changes it."""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import replace

import numpy as np
import pytest
from fakes.secagg_stores import RepeatableRandom

from wardround.common.crypto.agreement import AgreementKey
from wardround.common.secagg.context import RoundContext
from wardround.common.secagg.keys import PairChains, commitment, packet_associated, pair_sign
from wardround.common.secagg.masks import add_keystream

T, RC, NONCE = b"T" * 32, b"R" * 32, b"N" * 16
CHAINS = PairChains(b"m" * 32, b"p" * 32)
ROUND = RoundContext(T, 3, 2, b"m" * 32, b"l" * 32, b"e" * 32, 16, 1)
OTHER_ROUNDS = [
    replace(ROUND, transcript=b"t" * 32),
    replace(ROUND, round=4),
    replace(ROUND, attempt=3),
    replace(ROUND, model=b"n" * 32),
    replace(ROUND, layout=b"k" * 32),
    replace(ROUND, encoding=b"d" * 32),
    replace(ROUND, ring_bits=32),
    replace(ROUND, weight_cap=2),
]


def hkdf(secret: bytes, salt: bytes, purpose: str, *numbers: int, after: bytes = b"") -> bytes:
    """RFC 5869 for one block, with the labels of the protocol."""
    info = struct.pack(">I", len(purpose)) + purpose.encode() + b"".join(struct.pack(">I", one) for one in numbers)
    info += after
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def flips(value: bytes) -> list[bytes]:
    """The value with each of its bits flipped in turn."""
    number = int.from_bytes(value, "big")
    return [(number ^ 1 << bit).to_bytes(len(value), "big") for bit in range(8 * len(value))]


def test_every_derivation_by_hand() -> None:
    first = PairChains.first(b"M" * 32, b"S" * 32, T, (5, 2))
    assert first.mask == hkdf(b"M" * 32, T, "mask chain", 2, 5)
    assert first.packet == hkdf(b"S" * 32, T, "packet chain", 2, 5)
    second = first.next(T, 2)
    assert second.mask == hkdf(first.mask, T, "next round", 2)
    assert second.packet == hkdf(first.packet, T, "next round", 2)
    assert second.seed(RC, (5, 2)) == hkdf(second.mask, RC, "pair seed", 2, 5)
    assert second.packet_key(RC, 5, 2, NONCE) == hkdf(second.packet, RC, "packet", 5, 2, after=NONCE)


def test_both_sites_of_a_pair_derive_the_same() -> None:
    random = RepeatableRandom("keys")
    masks, shares = ([AgreementKey.generate(random) for _ in range(2)] for _ in range(2))
    mine = PairChains.first(masks[0].shared(masks[1].public), shares[0].shared(shares[1].public), T, (0, 1))
    theirs = PairChains.first(masks[1].shared(masks[0].public), shares[1].shared(shares[0].public), T, (1, 0))
    assert mine == theirs
    assert mine.next(T, 2).seed(RC, (0, 1)) == theirs.next(T, 2).seed(RC, (1, 0))


def test_a_packet_has_a_key_for_each_direction() -> None:
    assert CHAINS.packet_key(RC, 0, 1, NONCE) != CHAINS.packet_key(RC, 1, 0, NONCE)
    assert CHAINS.packet_key(RC, 0, 1, NONCE) != CHAINS.packet_key(RC, 0, 1, bytes(16))
    assert packet_associated(RC, 0, 1) != packet_associated(RC, 1, 0)
    assert CHAINS.seed(RC, (0, 1)) == CHAINS.seed(RC, (1, 0))


def test_every_field_of_the_round_changes_every_key() -> None:
    contexts = [ROUND.digest, *(other.digest for other in OTHER_ROUNDS)]
    keys = [
        key
        for context in contexts
        for key in (
            CHAINS.seed(context, (0, 1)),
            CHAINS.packet_key(context, 0, 1, NONCE),
            CHAINS.packet_key(context, 1, 0, NONCE),
            commitment(context, b"s" * 32, (0, 1)),
        )
    ]
    assert len(set(keys)) == 4 * 9
    assert len({packet_associated(context, 0, 1) for context in contexts}) == 9


def test_every_bit_of_what_goes_in_changes_what_comes_out() -> None:
    secret = bytes(range(32))
    first = [PairChains.first(flipped, secret, T, (0, 1)).mask for flipped in [secret, *flips(secret)]]
    packet = [PairChains.first(secret, flipped, T, (0, 1)).packet for flipped in [secret, *flips(secret)]]
    session = [PairChains.first(secret, secret, flipped, (0, 1)).mask for flipped in [T, *flips(T)]]
    following = [PairChains(flipped, secret).next(T, 2).mask for flipped in [secret, *flips(secret)]]
    seeds = [PairChains(flipped, secret).seed(RC, (0, 1)) for flipped in [secret, *flips(secret)]]
    contexts = [CHAINS.seed(flipped, (0, 1)) for flipped in [RC, *flips(RC)]]
    for keys in (first, packet, session, following, seeds, contexts):
        assert len(set(keys)) == 257
    assert len({CHAINS.packet_key(RC, 0, 1, flipped) for flipped in [NONCE, *flips(NONCE)]}) == 129


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_every_bit_of_a_seed_changes_the_mask(dtype: type[np.uint16 | np.uint32]) -> None:
    seed, masks = bytes(range(32)), []
    for flipped in [seed, *flips(seed)]:
        mask = np.zeros(64, dtype=dtype)
        add_keystream(mask, flipped, 1)
        masks.append(mask)
    for other in masks[1:]:
        assert np.count_nonzero(other != masks[0]) > 60  # of 64 values, each equal by chance once in 65,536
    assert len({mask.tobytes() for mask in masks}) == 257


def test_no_pair_and_no_round_has_a_key_of_another() -> None:
    pairs = [(own, other) for own in range(12) for other in range(own + 1, 12)]
    links = [PairChains.first(b"M" * 32, b"S" * 32, T, pair) for pair in pairs]
    assert len({key for link in links for key in (link.mask, link.packet)}) == 2 * len(pairs)
    assert len({CHAINS.seed(RC, pair) for pair in pairs}) == len(pairs)
    assert len({CHAINS.packet_key(RC, *pair, NONCE) for pair in pairs}) == len(pairs)


def test_a_long_chain_never_comes_back_to_a_key() -> None:
    link, keys = PairChains.first(b"M" * 32, b"S" * 32, T, (0, 1)), []
    for number in range(2, 502):
        keys += [
            link.mask,
            link.packet,
            link.seed(RC, (0, 1)),
            link.packet_key(RC, 0, 1, NONCE),
            link.packet_key(RC, 1, 0, NONCE),
        ]
        link = link.next(T, number)
    assert len(set(keys)) == 5 * 500


def test_the_two_chains_of_a_pair_are_apart_even_from_one_secret() -> None:
    link = PairChains.first(b"M" * 32, b"M" * 32, T, (0, 1))
    assert link.mask != link.packet
    assert link.seed(RC, (0, 1)) != link.packet_key(RC, 0, 1, NONCE)


def test_a_mask_is_added_on_one_side_and_subtracted_on_the_other() -> None:
    assert [pair_sign(1, other) for other in (0, 2, 3)] == [-1, 1, 1]
    assert all(pair_sign(own, other) == -pair_sign(other, own) for own in range(5) for other in range(own))


def test_a_commitment_by_hand_and_bound_to_its_pair() -> None:
    label = struct.pack(">I", 0) + struct.pack(">II", 2, 5)
    expected = hashlib.sha256(b"wardround/secagg/commitment\x00" + RC + label + b"s" * 32).digest()
    assert commitment(RC, b"s" * 32, (5, 2)) == commitment(RC, b"s" * 32, (2, 5)) == expected
    assert len({commitment(RC, b"s" * 32, pair) for pair in [(2, 5), (2, 2), (5, 5), (2, 4)]}) == 4
    assert len({commitment(RC, secret, (0, 1)) for secret in [b"s" * 32, *flips(b"s" * 32)]}) == 257


def test_chains_are_never_shown() -> None:
    assert repr(CHAINS) == "PairChains()"
