"""Any t holders recover every secret, t - 1 fit any other, and the field's products are those of integers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from fakes.textbook_shamir import interpolate
from hypothesis import given
from hypothesis import strategies as st

from wardround.common.secagg.field import ELEMENT_BYTES, PRIME, ROW_BYTES, combinations, weight_digits
from wardround.common.secagg.shamir import SECRET_BYTES, SHARE_BYTES, combine, lagrange_weights, split

if TYPE_CHECKING:
    from random import Random

SECRETS = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)
EDGES = st.sampled_from([0, 1, 2**16 - 1, 2**16, 2**32 - 1, 2**255, 2**256 - 1, 2**256, PRIME - 1])
ELEMENTS = st.one_of(st.integers(0, PRIME - 1), EDGES)
WEIGHTS = st.builds(lambda value, sign: sign * value, ELEMENTS, st.sampled_from([-1, 1]))


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    holders = draw(st.integers(2, 40))
    return holders, draw(st.integers(2, holders))


def stream(seed: bytes, size: int) -> bytes:
    return hashlib.shake_256(seed).digest(size)


@given(sizes(), st.lists(SECRETS, min_size=1, max_size=4), st.binary(max_size=8), st.randoms(use_true_random=False))
def test_any_holders_recover_and_agree_with_the_textbook(
    size: tuple[int, int], secrets: list[bytes], seed: bytes, order: Random
) -> None:
    holders, threshold = size
    shares = split(secrets, threshold=threshold, holders=holders, random=lambda wanted: stream(seed, wanted))
    some = order.sample(range(1, holders + 1), order.randint(threshold, holders))
    assert combine(lagrange_weights(some, threshold=threshold), [shares[x - 1] for x in some]) == secrets

    place = order.randrange(len(secrets))
    values = [int.from_bytes(text[SHARE_BYTES * place :][:SHARE_BYTES], "little") for text in shares]
    points = {x: values[x - 1] for x in some[:threshold]}
    assert interpolate(points, 0, PRIME) == int.from_bytes(secrets[place], "little")
    assert [interpolate(points, x, PRIME) for x in range(1, holders + 1)] == values


@given(sizes(), SECRETS, SECRETS, st.binary(max_size=8), st.randoms(use_true_random=False))
def test_fewer_than_the_threshold_fit_every_secret(
    size: tuple[int, int], secret: bytes, other: bytes, seed: bytes, order: Random
) -> None:
    holders, threshold = size
    shares = split([secret], threshold=threshold, holders=holders, random=lambda wanted: stream(seed, wanted))
    known = order.sample(range(1, holders + 1), threshold - 1)
    points = {0: int.from_bytes(other, "little"), **{x: int.from_bytes(shares[x - 1], "little") for x in known}}
    drawn = [interpolate(points, x, PRIME) for x in range(1, threshold)]
    again = split(
        [other],
        threshold=threshold,
        holders=holders,
        random=lambda _: b"".join(value.to_bytes(SECRET_BYTES, "little") for value in drawn),
    )
    assert [again[x - 1] for x in known] == [shares[x - 1] for x in known]


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 4), st.data())
def test_combinations_are_those_of_integers(rows: int, terms: int, columns: int, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.lists(WEIGHTS, min_size=terms, max_size=terms), min_size=rows, max_size=rows))
    values = data.draw(st.lists(st.lists(ELEMENTS, min_size=columns, max_size=columns), min_size=terms, max_size=terms))
    packed = b"".join(value.to_bytes(ROW_BYTES, "little") for row in values for value in row)
    elements = np.frombuffer(packed, dtype=np.uint8).reshape(terms, columns, ROW_BYTES)
    found = combinations(weight_digits(weights), elements)
    for row in range(rows):
        for column in range(columns):
            wanted = sum(weights[row][term] * values[term][column] for term in range(terms)) % PRIME
            assert found[row, column].tobytes() == wanted.to_bytes(ROW_BYTES, "little")
    assert not found[:, :, ELEMENT_BYTES:].any()
