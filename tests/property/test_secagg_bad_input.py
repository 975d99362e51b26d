"""Broken, foreign and misplaced messages at every step: a typed refusal, nothing changed, and the run goes on.

At one step of an honest run a site or the coordinator is handed something else first. Whatever it is, there is no other
exception than a :class:`WardroundError`; a refused message changes nothing; and the sum at the end is exact. Some
changes cannot be seen where they arrive (a share inside an encrypted packet): then the attempt may fail, never with a
wrong sum, and the next one is exact.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.secagg import plain_sum
from fakes.secagg_run import STEPS, VICTIM, HonestRun
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.common.errors import WardroundError
from wardround.common.secagg.context import RoundContext, SessionContext

if TYPE_CHECKING:
    from collections.abc import Callable

SEEN_LATER = {"upload", "confirm", "opening", "ended"}
"""Steps at which a change may be taken: packets are sealed, heads are the coordinator's, shares are numbers."""


def honest_messages() -> dict[str, bytes]:
    """By step: what reaches, or leaves, the victim in an honest run."""
    run = HonestRun()
    assert run.total() is not None
    return {step: message for (step, name), message in run.messages.items() if name == VICTIM}


POOL = honest_messages()


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A way to change a message."""
    kind = draw(st.sampled_from(["cut", "more", "flip", "swap", "double", "hole", "other", "empty", "huge", "noise"]))
    place, second = draw(st.tuples(st.floats(0, 1), st.floats(0, 1)))
    some = draw(st.binary(min_size=1, max_size=40))
    other = draw(st.sampled_from(STEPS))

    def change(message: bytes) -> bytes:
        at = int(place * (len(message) - 1))
        to = at + 1 + int(second * (len(message) - at - 1))
        flipped = bytearray(message)
        flipped[at] ^= 1 << int(second * 7)
        return {
            "cut": message[:at],
            "more": message + some,
            "flip": bytes(flipped),
            "swap": message[to:] + message[at:to] + message[:at],
            "double": message + message,
            "hole": message[:at] + message[to:],
            "other": POOL[other],
            "empty": b"",
            "huge": message + bytes(1 << 20),
            "noise": message[:at] + some + message[at + len(some) :],
        }[kind]

    return change


def newer(step: str, changed: bytes) -> bool:
    """Whether a message is merely of a later session, round or attempt: a good message, which ends the older one."""
    try:
        if step == "offer":
            number = SessionContext.decode(changed).session
            return replace(SessionContext.decode(changed), session=1).encode() == POOL["offer"] and number > 1
        if step == "request":
            found = RoundContext.decode(changed)
            return replace(found, round=1, attempt=1).encode() == POOL["request"]
    except WardroundError:
        return False
    return False


def check(step: str, change: Callable[[bytes], bytes]) -> None:
    """Hand over the changed message, then finish the run."""
    if change(POOL[step]) == POOL[step] or newer(step, change(POOL[step])):
        return
    run = HonestRun(step, change)
    total = run.total()
    assert run.taken or run.code is not None
    assert not run.taken or step in SEEN_LATER
    if total is not None:
        assert total.tolist() == plain_sum(map(run.consortium.update, run.consortium.names), 16)


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=40)
@given(change=changes())
def test_a_changed_message_is_refused_and_the_run_goes_on(step: str, change: Callable[[bytes], bytes]) -> None:
    check(step, change)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=500)
@given(change=changes())
def test_very_many_changed_messages_are_refused_and_the_run_goes_on(
    step: str, change: Callable[[bytes], bytes]
) -> None:
    check(step, change)


@pytest.mark.parametrize("step", STEPS)
def test_a_message_may_come_twice(step: str) -> None:
    run = HonestRun(step, bytes)
    total = run.total()
    assert run.taken  # the positive control of the tests above: unchanged, it is taken
    assert total is not None
    assert total.tolist() == plain_sum(map(run.consortium.update, run.consortium.names), 16)
