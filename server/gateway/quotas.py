"""How much one caller may ask at a time: calls, bytes, open calls. No clock is read here."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wardround.server.consortium.settings import GatewaySettings

CALL_BURST_SECONDS: Final = 10.0
BYTE_BURST_SECONDS: Final = 600.0
"""How many seconds' worth of the average may come at once."""

MOST_BURST: Final = 512 << 20
"""Bytes that may come at once at most, unless one message may be larger: a reply of 45 MB eleven times."""

MOST_CALLERS: Final = 4096
"""Callers that are counted; beyond that those that were idle longest begin anew."""


class Bucket:
    """So much a second on average, and so much at once.

    Args:
        rate: A second.
        burst: At once.
        now: Seconds, of any monotonic clock.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, now

    def take(self, amount: float, now: float) -> bool:
        """Take an amount if it is there."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def owe(self, amount: float, now: float) -> bool:
        """Take an amount that has come already; whether it was there. What was not is owed."""
        there = self.take(amount, now)
        if not there:
            self._left -= amount
        return there

    def spent(self, now: float) -> bool:
        """Whether nothing is left."""
        return not self.take(0, now) or self._left <= 0


@dataclass(slots=True)
class _Use:
    calls: Bucket
    sent: Bucket
    open: int = 0


class Quotas:
    """Counts each caller by name. Used from one thread.

    Args:
        settings: The averages.
        clock: Monotonic, seconds.
    """

    def __init__(self, settings: GatewaySettings, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self._uses: dict[str, _Use] = {}

    @contextmanager
    def use(self, name: str, at_once: int | None = None) -> Iterator[None]:
        """Count a call from its headers to its end; its body may not have come yet.

        Args:
            name: Of the caller.
            at_once: How many may be open; None: as many as the settings say.

        Raises:
            WardroundError: WR-1910, too many calls, or open calls, or too many bytes before.
        """
        use, now = self._of(name), self._clock()
        if use.open >= (self._settings.streams if at_once is None else at_once):
            raise WardroundError("WR-1910", f"{use.open} calls are open at the same time.")
        if not use.calls.take(1, now):
            raise WardroundError("WR-1910", f"More than {self._settings.calls_per_second:g} calls a second.")
        if use.sent.spent(now):
            raise self._too_many_bytes()
        use.open += 1
        try:
            yield
        finally:
            use.open -= 1

    def take(self, name: str, size: int) -> None:
        """Count the bytes of a request that has come. Those beyond the quota count too: later calls wait for them.

        Raises:
            WardroundError: WR-1910, too many.
        """
        if not self._of(name).sent.owe(size, self._clock()):
            raise self._too_many_bytes()

    def _too_many_bytes(self) -> WardroundError:
        return WardroundError("WR-1910", f"More than {self._settings.megabytes_per_minute:g} MB a minute.")

    def _of(self, name: str) -> _Use:
        use = self._uses.pop(name, None) or self._new()
        self._uses[name] = use  # the most recent is the last one
        if len(self._uses) > MOST_CALLERS:
            idle = next((key for key, each in self._uses.items() if each.open == 0), None)
            if idle is not None:
                del self._uses[idle]
        return use

    def _new(self) -> _Use:
        now, settings = self._clock(), self._settings
        a_second = settings.megabytes_per_minute * (1 << 20) / 60
        return _Use(
            Bucket(settings.calls_per_second, max(1.0, settings.calls_per_second * CALL_BURST_SECONDS), now),
            Bucket(a_second, max(min(a_second * BYTE_BURST_SECONDS, MOST_BURST), settings.max_message_mb << 20), now),
        )
