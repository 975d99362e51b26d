"""Lets few through at a time, caller after caller, so that what they carry does not add up; nobody waits for the slow.

Memory is bounded by who is inside. One who has not moved for a while is no longer counted, and another one may come in
beside it: a hospital on a slow line, or one that means harm, holds up nobody. How many may be inside in that way has a
bound too.
"""

from __future__ import annotations

import asyncio
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
        moved: When it came in, or moved last; by the turnstile's clock.
        patience: Seconds without a move after which it is not counted.
    """

    caller: str
    moved: float
    patience: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Who may be inside.

    Attributes:
        width: How many at a time, those not counted that have not moved for a while.
        each: How many of one caller.
        most: How many at all.
        patience: Seconds without a move after which somebody is not counted.
    """

    width: int
    each: int
    most: int
    patience: float


class Turnstile:
    """Used in the gateway's loop.

    Args:
        limits: Who may be inside.
        clock: Monotonic, seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._inside: set[Pass] = set()
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
        """Wait for one's turn: first those of whom the fewest are inside; the calls of one in their order."""
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
        entered = Pass(caller, self._clock(), self._limits.patience)
        self._inside.add(entered)
        return entered

    def leave(self, left: Pass) -> None:
        """Let the next one in; again does nothing."""
        self._inside.discard(left)
        self._admit()

    def move(self, moved: Pass, patience: float | None = None) -> None:
        """Something came of it: it is counted from now on, maybe for longer than others."""
        moved.moved = self._clock()
        if patience is not None:
            moved.patience = patience

    @asynccontextmanager
    async def through(self, caller: str) -> AsyncIterator[None]:
        """Be inside while the block lasts."""
        inside = await self.enter(caller)
        try:
            yield
        finally:
            self.leave(inside)

    def _admit(self) -> None:
        while self._has_room() and (caller := self._next()):
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

    def _has_room(self) -> bool:
        now = self._clock()
        counted = sum(now - each.moved < each.patience for each in self._inside)
        return len(self._inside) < self._limits.most and counted < self._limits.width

    def _next(self) -> str | None:
        """Whoever has the fewest inside; of those who waits longest."""
        held = Counter(each.caller for each in self._inside)
        free = [caller for caller in self._waiting if held[caller] < self._limits.each]
        return min(free, key=lambda caller: held[caller], default=None)
