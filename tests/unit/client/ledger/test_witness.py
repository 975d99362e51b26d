"""Heads and answers of witnesses: signed, fresh, and from somebody who was asked."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.privacy.witness import Answer, Bound, Head, SignedHead, fresh_heads, newest

NORTH, SOUTH = SiteId("north"), SiteId("south")
KEY, WITNESS = SigningKey(bytes(32)), SigningKey(bytes([1] * 32))
NONCE, OTHER = "00" * 32, "01" * 32
KEYS = {SOUTH: WITNESS.public}


def head(sequence: int = 5) -> Head:
    return Head(
        site=NORTH,
        incarnation="ab" * 16,
        sequence=sequence,
        digest="cd" * 32,
        committed="ef" * 32,
        ceiling=Bound(epsilon=8.0, delta=1e-5),
    )


SIGNED = SignedHead.sign(head(), NONCE, KEY)


def test_a_head_is_signed_with_its_nonce() -> None:
    SIGNED.verify(KEY.public)
    for change in ({"nonce": OTHER}, {"head": head(6)}, {"signature": "00" * 64}):
        with pytest.raises(WardroundError, match="WR-1816"):
            SIGNED.model_copy(update=change).verify(KEY.public)
    with pytest.raises(WardroundError, match="WR-1816"):
        SIGNED.verify(WITNESS.public)


@pytest.mark.parametrize("given", [SIGNED, None])
def test_an_answer_gives_its_head(given: SignedHead | None) -> None:
    answer = Answer.sign(SOUTH, NORTH, given, NONCE, WITNESS)
    assert Answer.model_validate_json(answer.canonical()) == answer
    assert fresh_heads([answer], site=NORTH, nonce=NONCE, keys=KEYS) == (given,)


@pytest.mark.parametrize(
    "change",
    [
        {"newest": None},
        {"newest": SignedHead.sign(head(4), NONCE, KEY)},
        {"nonce": OTHER},
        {"site": SOUTH},
        {"witness": NORTH},
        {"signature": "00" * 64},
    ],
)
def test_a_changed_answer_is_refused(change: dict[str, object]) -> None:
    answer = Answer.sign(SOUTH, NORTH, SIGNED, NONCE, WITNESS)
    fresh_heads([answer], site=NORTH, nonce=NONCE, keys=KEYS)
    with pytest.raises(WardroundError, match="WR-1816"):
        fresh_heads([answer.model_copy(update=change)], site=NORTH, nonce=NONCE, keys=KEYS)


def test_an_older_answer_is_refused() -> None:
    older = Answer.sign(SOUTH, NORTH, None, OTHER, WITNESS)
    with pytest.raises(WardroundError, match="another question"):
        fresh_heads([older], site=NORTH, nonce=NONCE, keys=KEYS)


def test_an_unknown_witness_is_refused() -> None:
    answer = Answer.sign(SOUTH, NORTH, SIGNED, NONCE, WITNESS)
    with pytest.raises(WardroundError, match="unknown witness"):
        fresh_heads([answer], site=NORTH, nonce=NONCE, keys={})


def test_a_witness_keeps_the_head_with_more_events() -> None:
    later = SignedHead.sign(head(6), OTHER, KEY)
    assert newest(None, SIGNED) is SIGNED
    assert newest(SIGNED, later) is later
    assert newest(later, SIGNED) is later


def test_bounds_compare_both_numbers() -> None:
    small, wide, sharp = Bound(epsilon=1.0, delta=1e-5), Bound(epsilon=2.0, delta=1e-5), Bound(epsilon=1.0, delta=1e-6)
    none = Bound(epsilon="infinite", delta=0.0)
    assert wide.covers(small)
    assert not small.covers(wide)
    assert small.covers(sharp)
    assert not sharp.covers(small)
    assert small.covers(None)
    assert wide.joined(None) == wide
    assert wide.joined(sharp) == wide == sharp.joined(wide)
    assert Bound(epsilon=3.0, delta=1e-7).joined(small) == Bound(epsilon=3.0, delta=1e-5)
    assert math.isinf(none.number)
    assert small.joined(none) == Bound(epsilon="infinite", delta=1e-5)


@pytest.mark.parametrize("bad", [{"epsilon": 0.0}, {"epsilon": "much"}, {"delta": 1.0}, {"delta": -0.1}])
def test_what_is_no_bound_is_refused(bad: dict[str, object]) -> None:
    good: dict[str, object] = {"epsilon": 1.0, "delta": 0.0}
    Bound.model_validate(good)
    with pytest.raises(ValidationError):
        Bound.model_validate(good | bad)
