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


def go(turnstile: Turnstile, task: asyncio.Task[Pass]) -> None:
    """It moves, and leaves."""
    turnstile.move(task.result())
    turnstile.leave(task.result())


def inside(tasks: list[asyncio.Task[Pass]]) -> str:
    return "".join("i" if task.done() else "-" for task in tasks)


def test_callers_take_turns_and_a_flood_of_one_waits_behind_the_others() -> None:
    async def scene() -> None:
        turnstile = Turnstile(Limits(width=2, each=2, most=9, patience=5.0), Clock())
        loud = entering(turnstile, *["loud"] * 20)
        quiet = entering(turnstile, "north", "south")
        await settled()
        assert (inside(loud), inside(quiet)) == ("ii" + 18 * "-", "--")
        go(turnstile, loud[0])
        await settled()
        assert (inside(loud), inside(quiet)) == ("ii" + 18 * "-", "i-")  # the flood has one inside, north had none
        go(turnstile, loud[1])
        await settled()
        assert (inside(loud), inside(quiet)) == ("iii" + 17 * "-", "i-")
        go(turnstile, loud[2])
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
        go(turnstile, loud[0])
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


def test_those_who_come_again_and_again_without_moving_leave_places_to_the_others() -> None:
    async def scene(width: int, *, moving: bool) -> str:
        clock = Clock()
        turnstile = Turnstile(Limits(width=width, each=2, most=99, patience=1.0), clock)
        for _ in range(3):  # each time for less than the patience
            loud = entering(turnstile, *["a", "b", "c"] * 2)
            await settled()
            clock.now += 0.2
            for task in loud:
                if task.done() and moving:
                    turnstile.move(task.result())
                if task.done():
                    turnstile.leave(task.result())
                else:
                    task.cancel()
            await settled()
        loud = entering(turnstile, *["a", "b", "c"] * 2)
        quiet = entering(turnstile, "north")
        await settled()
        said = inside(loud) + " " + inside(quiet)
        for task in loud:
            task.cancel()
        return said

    assert asyncio.run(scene(5, moving=False)) == "ii---- i"
    assert asyncio.run(scene(5, moving=True)) == "iiiii- -"  # the control: those who move have all places


def test_a_slow_caller_is_one_of_the_others_again_after_a_while() -> None:
    async def scene() -> None:
        clock = Clock()
        turnstile = Turnstile(Limits(width=4, each=2, most=99, patience=1.0, slow=10.0), clock)
        turnstile.slow("north")
        first = entering(turnstile, "north", "north")
        await settled()
        assert inside(first) == "i-"
        turnstile.move(first[0].result())
        turnstile.leave(first[0].result())
        clock.now += 11.0
        again = entering(turnstile, "north")
        await settled()
        assert inside([first[1], again[0]]) == "ii"

    asyncio.run(scene())


def test_one_that_moves_all_the_time_is_counted_for_so_long_and_no_longer() -> None:
    async def scene(longest: float) -> str:
        clock = Clock()
        turnstile = Turnstile(Limits(width=1, each=1, most=9, patience=1.0, longest=longest), clock)
        drip, north = entering(turnstile, "drip", "north")
        for _ in range(8):
            await settled()
            clock.now += 0.5
            turnstile.move(drip.result())
        other = entering(turnstile, "south")[0]
        await settled()
        said = inside([drip, north])
        other.cancel()
        north.cancel()
        return said

    assert asyncio.run(scene(3.0)) == "ii"
    assert asyncio.run(scene(9.0)) == "i-"
