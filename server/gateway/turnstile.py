"""Lets few through at a time, caller after caller, so that what they carry does not add up; nobody waits for the slow.

Memory is bounded by who is inside. One who has not moved for a while is no longer counted, and another one may come in
beside it: a hospital on a slow line, or one that means harm, holds up nobody. Its caller is slow from then on for some
time: it comes behind the others, with one at a time, and all who are slow have half of the places, so that those who
come in again and again without moving leave the other half to the rest. How many may be inside in that way has a bound
too.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@dataclass(eq=False, slots=True)
class Pass:
    """Somebody who is inside.

    Attributes:
        caller: Whose it is.
        entered: When it came in; by the turnstile's clock.
        moved: When it came in, or moved last.
        patience: Seconds without a move after which it is not counted.
        went: It has moved.
    """

    caller: str
    entered: float
    moved: float
    patience: float
    went: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """Who may be inside.

    Attributes:
        width: How many at a time, those not counted that have not moved for a while.
        each: How many of one caller; counted or not, twice as many.
        most: How many at all.
        patience: Seconds without a move after which somebody is not counted; of a slow caller a quarter.
        longest: Seconds after which somebody is not counted whether it moves or not.
        slow: For how many seconds a caller is slow after it had somebody inside that was not counted, or did not move.
    """

    width: int
    each: int
    most: int
    patience: float
    longest: float = math.inf
    slow: float = 10.0


class Turnstile:
    """Used in the gateway's loop.

    Args:
        limits: Who may be inside.
        clock: Monotonic, seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._inside: set[Pass] = set()
        self._slow: dict[str, float] = {}
        self._waiting: dict[str, deque[asyncio.Future[Pass]]] = {}
        self._look: asyncio.TimerHandle | None = None

    @property
    def inside(self) -> int:
        """How many are inside, counted or not."""
        return len(self._inside)

    def waiting(self, caller: str) -> int:
        """How many of a caller wait."""
        return sum(not turn.done() for turn in self._waiting.get(caller, ()))

    async def enter(self, caller: str) -> Pass:
        """Wait for one's turn: first those of whom the fewest are counted; the calls of one in their order."""
        turn: asyncio.Future[Pass] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(turn.result())
            raise

    def let_in(self, caller: str) -> Pass:
        """Let somebody in without a turn."""
        now = self._clock()
        entered = Pass(caller, now, now, self._limits.patience / 4 if self._is_slow(caller) else self._limits.patience)
        self._inside.add(entered)
        return entered

    def leave(self, left: Pass) -> None:
        """Let the next one in; again does nothing."""
        if left in self._inside and not left.went:
            self.slow(left.caller)
        self._inside.discard(left)
        self._admit()

    def slow(self, caller: str) -> None:
        """Take a caller for slow from now on."""
        self._slow.pop(caller, None)
        self._slow[caller] = self._clock() + self._limits.slow

    def move(self, moved: Pass, patience: float | None = None) -> None:
        """Something came of it: it is counted from now on, maybe for longer than others."""
        moved.moved, moved.went = self._clock(), True
        if patience is not None:
            moved.patience = patience

    @asynccontextmanager
    async def through(self, caller: str) -> AsyncIterator[Pass]:
        """Be inside while the block lasts; one that ends well has moved."""
        inside = await self.enter(caller)
        try:
            yield inside
            self.move(inside)
        finally:
            self.leave(inside)

    def _admit(self) -> None:
        while caller := self._next():
            queue = self._waiting.pop(caller)
            turn = queue.popleft()
            if queue:
                self._waiting[caller] = queue  # behind the other callers
            if not turn.cancelled():
                turn.set_result(self.let_in(caller))
        if self._waiting and self._look is None:
            self._look = asyncio.get_running_loop().call_later(self._limits.patience / 4, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        self._admit()

    def _next(self) -> str | None:
        """Whoever waits and has room: first those who are not slow, then by how few are counted, then by the queue."""
        counted = Counter(each.caller for each in self._counted())
        if len(self._inside) >= self._limits.most or counted.total() >= self._limits.width:
            return None
        held = Counter(each.caller for each in self._inside)
        slow = {caller for caller in {*counted, *self._waiting} if self._is_slow(caller)}
        half = sum(counted[caller] for caller in slow) < max(1, self._limits.width // 2)
        free = [
            caller
            for caller in self._waiting
            if held[caller] < 2 * self._limits.each
            and ((half and not counted[caller]) if caller in slow else counted[caller] < self._limits.each)
        ]
        return min(free, key=lambda caller: (caller in slow, counted[caller]), default=None)

    def _counted(self) -> list[Pass]:
        """Those inside who move; callers of the others are slow."""
        now, counted = self._clock(), []
        for each in self._inside:
            if now - each.moved < each.patience and now - each.entered < self._limits.longest:
                counted.append(each)
            else:
                self.slow(each.caller)
        return counted

    def _is_slow(self, caller: str) -> bool:
        until = self._slow.get(caller)
        if until is None or self._clock() < until:
            return until is not None
        del self._slow[caller]
        return False
