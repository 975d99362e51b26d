"""Who is let in when, by a clock of the test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from wardround.server.gateway.turnstile import Limits, Turnstile

if TYPE_CHECKING:
    from wardround.server.gateway.turnstile import Pass


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def settled() -> None:
    """Everything that can happen now has happened."""
    for _ in range(10):
        await asyncio.sleep(0)


def entering(turnstile: Turnstile, *callers: str) -> list[asyncio.Task[Pass]]:
    return [asyncio.ensure_future(turnstile.enter(caller)) for caller in callers]


def inside(tasks: list[asyncio.Task[Pass]]) -> str:
    return "".join("i" if task.done() else "-" for task in tasks)


def test_callers_take_turns_and_a_flood_of_one_waits_behind_the_others() -> None:
    async def scene() -> None:
        turnstile = Turnstile(Limits(width=2, each=2, most=9, patience=5.0), Clock())
        loud = entering(turnstile, *["loud"] * 20)
        quiet = entering(turnstile, "north", "south")
        await settled()
        assert (inside(loud), inside(quiet)) == ("ii" + 18 * "-", "--")
        turnstile.leave(loud[0].result())
        await settled()
        assert (inside(loud), inside(quiet)) == ("ii" + 18 * "-", "i-")  # the flood has one inside, north had none
        turnstile.leave(loud[1].result())
        await settled()
        assert (inside(loud), inside(quiet)) == ("iii" + 17 * "-", "i-")
        turnstile.leave(loud[2].result())
        turnstile.leave(loud[2].result())  # again: no room comes of it
        await settled()
        assert (inside(loud), inside(quiet)) == ("iii" + 17 * "-", "ii")
        for task in loud:
            task.cancel()

    asyncio.run(scene())


def test_a_caller_has_no_more_inside_than_its_share() -> None:
    async def scene() -> None:
        turnstile = Turnstile(Limits(width=9, each=2, most=9, patience=5.0), Clock())
        loud, quiet = entering(turnstile, *["loud"] * 4), entering(turnstile, "north")
        await settled()
        assert (inside(loud), inside(quiet)) == ("ii--", "i")
        turnstile.leave(loud[0].result())
        await settled()
        assert inside(loud) == "iii-"
        loud[3].cancel()

    asyncio.run(scene())


def test_those_who_do_not_move_are_not_waited_for_and_their_number_has_a_bound() -> None:
    async def scene() -> None:
        clock = Clock()
        turnstile = Turnstile(Limits(width=1, each=1, most=2, patience=0.02), clock)
        slow, quick, last = (entering(turnstile, name)[0] for name in ("slow", "quick", "last"))
        await settled()
        assert inside([slow, quick, last]) == "i--"
        clock.now += 0.01
        turnstile.move(slow.result())
        clock.now += 0.015
        await asyncio.sleep(0.02)  # it looks again by itself
        assert inside([slow, quick, last]) == "i--"  # it moved
        clock.now += 0.01
        await asyncio.wait_for(quick, 5)
        clock.now += 1.0
        await asyncio.sleep(0.02)
        assert not last.done()  # two are inside, and that is the bound
        turnstile.leave(slow.result())
        await asyncio.wait_for(last, 5)

    asyncio.run(scene())


def test_who_gives_up_takes_nobodys_place() -> None:
    async def scene() -> None:
        turnstile = Turnstile(Limits(width=1, each=1, most=9, patience=5.0), Clock())
        first, gone, second = entering(turnstile, "a", "b", "c")
        await settled()
        gone.cancel()
        await settled()
        turnstile.leave(first.result())
        turnstile.leave(await asyncio.wait_for(second, 5))
        assert turnstile.inside == 0
        with pytest.raises(RuntimeError):
            async with turnstile.through("a"):
                raise RuntimeError
        assert turnstile.inside == 0

    asyncio.run(scene())
