"""Shares agree with the textbook, recover the secret from any t holders, and refuse what is malformed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from math import gcd
from pathlib import Path
from typing import Any

import pytest
import sympy
from fakes.textbook_shamir import evaluate, interpolate

from wardround.common.secagg.shamir import PRIME, SECRET_BYTES, SHARE_BYTES, combine, lagrange_weights, split

VECTORS = Path(__file__).parents[3] / "vectors" / "shamir"


def load(name: str) -> list[dict[str, Any]]:
    return list(json.loads((VECTORS / name).read_text(encoding="utf-8"))["vectors"])


def stream(label: str) -> Any:
    """A random source that gives the same bytes every time."""
    return lambda size: hashlib.shake_256(label.encode()).digest(size)


def written(number: int) -> bytes:
    return number.to_bytes(SHARE_BYTES, "little")


def strong_probable_prime(number: int, base: int) -> bool:
    """Miller and Rabin's test."""
    twos = ((number - 1) & -(number - 1)).bit_length() - 1
    power = pow(base, (number - 1) >> twos, number)
    if power in {1, number - 1}:
        return True
    return any((power := power * power % number) == number - 1 for _ in range(twos - 1))


def test_the_modulus_is_the_smallest_prime_above_2_256() -> None:
    assert sympy.isprime(PRIME)
    assert all(strong_probable_prime(PRIME, base) for base in sympy.primerange(300))
    assert not any(sympy.isprime(number) for number in range(2**256, PRIME))
    assert not strong_probable_prime(PRIME + 2, 2)  # the test can fail
    assert gcd(PRIME, sympy.primorial(1000)) == 1


@pytest.mark.parametrize("vector", load("rfc9591.json"), ids=lambda vector: str(vector["group"]))
def test_the_textbook_agrees_with_published_shares(vector: dict[str, Any]) -> None:
    prime, order = int(vector["order"], 16), vector["byteorder"]
    secret, coefficient, *shares = (
        int.from_bytes(bytes.fromhex(text), order)
        for text in (vector["secret"], vector["coefficient"], *vector["shares"])
    )
    points = dict(enumerate(shares, start=1))
    for x, share in points.items():
        assert evaluate([secret, coefficient], x, prime) == share
        pair = {other: value for other, value in points.items() if other != x}
        assert interpolate(pair, 0, prime) == secret
        assert interpolate(pair, x, prime) == share


def test_shares_of_small_numbers_agree_with_a_sum_done_by_hand() -> None:
    # f(x) = 1234 + 166 x + 94 x^2
    shares = {1: 1494, 2: 1942, 3: 2578, 4: 3402, 5: 4414, 6: 5614}
    for holders in ((2, 4, 5), (6, 1, 3)):
        found = combine(lagrange_weights(holders), [written(shares[x]) for x in holders])
        assert found == [(1234).to_bytes(SECRET_BYTES, "little")]
    drawn = b"".join(shares[x].to_bytes(SECRET_BYTES, "little") for x in (1, 2))
    secret = (1234).to_bytes(SECRET_BYTES, "little")
    assert split([secret], threshold=3, holders=6, random=lambda _: drawn) == [written(shares[x]) for x in shares]


@pytest.mark.parametrize("vector", load("field-2-256-297.json"), ids=lambda vector: str(vector["name"]))
def test_splitting_and_recovering_agree_with_the_textbook(vector: dict[str, Any]) -> None:
    threshold, holders = vector["threshold"], vector["holders"]
    secrets = [bytes.fromhex(secret) for secret in vector["secrets"]]
    shares = [bytes.fromhex(share) for share in vector["shares"]]
    drawn = bytes.fromhex(vector["drawn"])
    assert split(secrets, threshold=threshold, holders=holders, random=lambda _: drawn) == shares
    for first in (1, holders - threshold + 1):
        some = range(first, first + threshold)
        weights = lagrange_weights(some, threshold=threshold)
        assert combine(weights, [shares[x - 1] for x in some]) == secrets


def test_the_vectors_are_what_their_script_writes() -> None:
    place = importlib.util.spec_from_file_location("generate_shamir", VECTORS / "generate.py")
    assert place is not None
    assert place.loader is not None
    script = importlib.util.module_from_spec(place)
    place.loader.exec_module(script)
    assert script.document() == (VECTORS / "field-2-256-297.json").read_text(encoding="utf-8")


def test_a_vector_has_a_share_that_needs_its_last_byte() -> None:
    (long,) = [vector for vector in load("field-2-256-297.json") if vector["name"] == "a share above 2^256"]
    assert int.from_bytes(bytes.fromhex(long["shares"][1]), "little") == 2**256 + 5


def test_the_weights_are_lagrange_s() -> None:
    holders = (7, 1, 50, 23, 4)
    weights = lagrange_weights(holders)
    for place, x in enumerate(holders):
        unit = {other: int(other == x) for other in holders}
        assert weights[place] == interpolate(unit, 0, PRIME)
    assert sum(weights) % PRIME == 1  # the constant polynomial 1


def test_fewer_than_the_threshold_fit_another_secret_as_well() -> None:
    secret, other = stream("secret")(32), stream("other")(32)
    shares = split([secret], threshold=4, holders=6, random=stream("drawn"))
    known = {x: int.from_bytes(shares[x - 1], "little") for x in (2, 5, 6)}
    points = {0: int.from_bytes(other, "little"), **known}
    drawn = b"".join(interpolate(points, x, PRIME).to_bytes(SECRET_BYTES, "little") for x in (1, 2, 3))
    again = split([other], threshold=4, holders=6, random=lambda _: drawn)
    assert all(again[x - 1] == shares[x - 1] for x in known)
    assert all(again[x - 1] != shares[x - 1] for x in (1, 3, 4))
    assert combine(lagrange_weights((1, 2, 5, 6)), [again[x - 1] for x in (1, 2, 5, 6)]) == [other]


def test_secrets_have_polynomials_of_their_own() -> None:
    secret = bytes(range(32))
    (first, *_) = split([secret, secret], threshold=2, holders=3, random=stream("two"))
    assert first[:SHARE_BYTES] != first[SHARE_BYTES:]


def test_randomness_is_asked_for_once_and_for_all() -> None:
    asked: list[int] = []

    def source(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    split([bytes(32)] * 5, threshold=4, holders=6, random=source)
    assert asked == [5 * 3 * 32]


def test_shares_of_no_secrets_are_empty() -> None:
    shares = split([], threshold=2, holders=3, random=stream("none"))
    assert shares == [b""] * 3
    assert combine(lagrange_weights((1, 2)), shares[:2]) == []


@pytest.mark.parametrize(
    ("secrets", "threshold", "holders"),
    [
        ([bytes(31)], 2, 3),
        ([bytes(33)], 2, 3),
        ([bytes(32), b""], 2, 3),
        ([bytes(32)], 1, 3),
        ([bytes(32)], 4, 3),
        ([bytes(32)], 0, 3),
        ([bytes(32)], 2, 1025),
    ],
)
def test_secrets_and_numbers_out_of_range_are_refused(secrets: list[bytes], threshold: int, holders: int) -> None:
    assert len(split([bytes(32)], threshold=2, holders=3, random=stream("control"))) == 3
    with pytest.raises(ValueError, match=r"secret|threshold"):
        split(secrets, threshold=threshold, holders=holders, random=stream("refused"))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_random_source_that_gives_another_length_is_an_error(size: int) -> None:
    with pytest.raises(ValueError, match="asked for"):
        split([bytes(32)], threshold=2, holders=3, random=lambda _: bytes(size))


@pytest.mark.parametrize("holders", [(), (1,), (1, 1), (1, 2, 2), (0, 1), (-1, 1), (1, 1025), tuple(range(1, 1026))])
def test_holders_too_few_repeated_or_out_of_range_have_no_weights(holders: tuple[int, ...]) -> None:
    assert len(lagrange_weights((1, 1024), threshold=2)) == 2
    with pytest.raises(ValueError, match="holder"):
        lagrange_weights(holders, threshold=2)


def altered(shares: list[bytes], change: str) -> list[bytes]:
    first, *others = shares
    return {
        "cut": [first[:-1], *others],
        "longer": [first + bytes(SHARE_BYTES), *others],
        "all cut": [share[:-1] for share in shares],
        "one less": others,
        "the prime": [written(PRIME) + first[SHARE_BYTES:], *others],
        "highest": [first[:SHARE_BYTES] + b"\xff" * SHARE_BYTES, *others],
        "none": [],
    }[change]


@pytest.mark.parametrize("change", ["cut", "longer", "all cut", "one less", "the prime", "highest", "none"])
def test_malformed_shares_are_refused(change: str) -> None:
    secrets = [bytes(range(32)), bytes(32)]
    shares = split(secrets, threshold=3, holders=4, random=stream("malformed"))[:3]
    weights = lagrange_weights((1, 2, 3))
    assert combine(weights, shares) == secrets
    with pytest.raises(ValueError, match="share"):
        combine(weights, altered(shares, change))


def test_no_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        combine((), [])


@pytest.mark.parametrize(("value", "fits"), [(2**256 - 1, True), (2**256, False), (PRIME - 1, False)])
def test_what_is_recovered_has_32_bytes_or_is_refused(value: int, fits: bool) -> None:  # noqa: FBT001
    # f(0) = 2 f(1) - f(2) with f(2) = 1
    half = (value + 1) * pow(2, -1, PRIME) % PRIME
    weights, shares = lagrange_weights((1, 2)), [written(half), written(1)]
    if fits:
        assert combine(weights, shares) == [value.to_bytes(SECRET_BYTES, "little")]
        return
    with pytest.raises(ValueError, match="do not belong to a secret"):
        combine(weights, shares)


def test_a_share_of_somebody_else_gives_another_secret() -> None:
    secret = bytes(range(32))
    shares = split([secret], threshold=3, holders=5, random=stream("swapped"))
    weights = lagrange_weights((1, 2, 3))
    assert combine(weights, shares[:3]) == [secret]
    assert combine(weights, [shares[0], shares[1], shares[3]]) != [secret]


def test_two_holders_of_three_are_too_few() -> None:
    secret = bytes(range(32))
    shares = split([secret], threshold=3, holders=3, random=stream("few"))
    with pytest.raises(ValueError, match="3 are needed"):
        lagrange_weights((1, 2), threshold=3)
    assert combine(lagrange_weights((1, 2)), shares[:2]) != [secret]
