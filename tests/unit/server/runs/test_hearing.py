"""Which sites are heard: by their calls, in this process's time."""

from __future__ import annotations

import pytest

from wardround.common.ids import SiteId
from wardround.server.runs.hearing import NEVER, NO_MEMBER, Hearing

A, B = SiteId("a"), SiteId("b")


class Clock:
    """Goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def states(hearing: Hearing, *members: SiteId) -> dict[str, str]:
    return {site: found.state for site, found in hearing.presence([A, B], members).items()}


def test_a_site_is_expected_then_silent_and_heard_when_it_calls(clock: Clock) -> None:
    hearing = Hearing(40, 60, clock)
    assert states(hearing, A, B) == {"a": "expected", "b": "expected"}
    hearing.note({A: 5.0})
    clock.now += 39
    assert states(hearing, A, B) == {"a": "heard", "b": "expected"}
    clock.now += 22
    assert states(hearing, A, B) == {"a": "silent", "b": "silent"}
    found = hearing.presence([A, B], [A, B])
    assert found[A].words == "not heard since 1970-01-01 00:00:05 UTC"
    assert found[B].words == NEVER
    hearing.note({A: 5.0, B: 6.0})
    assert states(hearing, A, B) == {"a": "silent", "b": "heard"}, "the same call is not another one"


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_somebody_sets_silences_nobody(clock: Clock, jump: float) -> None:
    hearing = Hearing(40, 60, clock)
    hearing.note({A: 1e6})
    clock.now += 30
    hearing.note({A: 1e6 + jump})
    clock.now += 30
    assert states(hearing, A, B)["a"] == "heard"
    clock.now += 11
    assert states(hearing, A, B)["a"] == "silent", "the positive control"


def test_who_is_no_member_is_silent_at_once(clock: Clock) -> None:
    hearing = Hearing(40, 60, clock)
    hearing.note({A: 1.0, B: 1.0})
    assert states(hearing, A, B) == {"a": "heard", "b": "heard"}
    assert states(hearing, A) == {"a": "heard", "b": "silent"}
    assert hearing.presence([B], [A])[B].words == NO_MEMBER
