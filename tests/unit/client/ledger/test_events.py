"""Events: their form, their chain, what they refuse."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from wardround.client.ledger.events import START, LimitSet, Reserved, Spent, chained, moment, parse_event
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId
from wardround.common.privacy.witness import Bound

AT = "2026-11-20T12:00:00Z"
SPENT = b'{"at":"2026-11-20T12:00:00Z","computation":1,"kind":"spent","round":3,"run":"r"}'


def test_an_event_is_canonical_json_and_comes_back() -> None:
    event = Spent(run=StudyRunId("r"), round=3, computation=1, at=AT)
    assert event.canonical() == SPENT
    assert parse_event(SPENT) == event


def test_the_chain_is_sha256_over_digest_and_content() -> None:
    first = chained(START, SPENT)
    assert first == hashlib.sha256(b"wardround/1/ledger/event\0" + bytes(32) + SPENT).digest()
    assert chained(first, SPENT) == hashlib.sha256(b"wardround/1/ledger/event\0" + first + SPENT).digest() != first


def test_times_are_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert (
        moment(datetime(2026, 11, 20, 14, 0, 0, 999, tzinfo=east))
        == AT
        == moment(datetime(2026, 11, 20, 12, tzinfo=UTC))
    )
    with pytest.raises(ValueError, match="time zone"):
        moment(datetime(2026, 11, 20, 12))  # noqa: DTZ001 - what is refused


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        SPENT.replace(b"spent", b"refunded"),
        SPENT.replace(b'"round":3', b'"round":0'),
        SPENT.replace(b'"round":3', b'"round":"3"'),
        SPENT.replace(b'"run":"r"', b'"run":"../r"'),
        SPENT.replace(b"}", b',"more":1}'),
    ],
)
def test_anything_else_is_no_event(content: bytes) -> None:
    parse_event(SPENT)
    with pytest.raises(WardroundError, match="WR-1811"):
        parse_event(content)


@pytest.mark.parametrize("admin", ["", " ", "a\nb", " Ada", "x" * 101])
@pytest.mark.parametrize("reason", ["because"])
def test_a_limit_needs_a_name(admin: str, reason: str) -> None:
    limit = Bound(epsilon=8.0, delta=1e-5)
    LimitSet(limit=limit, admin="Ada", reason=reason, at=AT)
    with pytest.raises(ValidationError):
        LimitSet(limit=limit, admin=admin, reason=reason, at=AT)


@pytest.mark.parametrize("reason", ["", " ", "a\nb", "x" * 1001])
def test_a_limit_needs_a_reason(reason: str) -> None:
    with pytest.raises(ValidationError):
        LimitSet(limit=Bound(epsilon=8.0, delta=1e-5), admin="Ada", reason=reason, at=AT)


def test_an_event_says_what_happened_not_what_it_costs() -> None:
    assert not {"cost", "epsilon", "delta"} & set(Reserved.model_fields)
