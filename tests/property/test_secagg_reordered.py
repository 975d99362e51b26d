"""A network that repeats old messages, and gives messages to the wrong sites, at any time: refusals, and exact sums.

Between any two messages of an honest run of two rounds with a retry, messages from the whole history of the run are
handed to whoever takes messages then: of any step, of any attempt, for any site. Nobody raises anything but a
:class:`WardroundError`, and every sum is exact.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pytest
from fakes.secagg import plain_sum
from fakes.secagg_run import HonestRun

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardround.common.ids import SiteId

Found = TypeVar("Found")


class RepeatingNetwork(HonestRun):
    """An honest run with old messages between any two; ``met`` counts what became of them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.met: Counter[str] = Counter()
        self._draw = np.random.default_rng(seed)
        self._history: list[tuple[str, bytes]] = []
        self._takers: dict[tuple[str, SiteId], Callable[[bytes], object]] = {}

    def deliver(self, step: str, name: SiteId, take: Callable[[bytes], Found], message: bytes | None) -> Found | None:
        assert message is not None
        self._takers[step, name] = take
        self._history.append((step, message))
        for _ in range(int(self._draw.integers(0, 4))):
            self._interfere()
        try:
            return take(message)
        except WardroundError as error:
            if step != "upload" or error.code != "WR-1701":
                raise
            self.met["an upload that had arrived already"] += 1
            return None

    def _interfere(self) -> None:
        recent = min(len(self._history), int(self._draw.choice([4, 20, 1000])))
        step, message = self._history[-1 - int(self._draw.integers(recent))]
        anywhere = self._draw.random() < 0.3
        takers = [take for (takes, _), take in self._takers.items() if anywhere or takes == step]
        take = takers[int(self._draw.integers(len(takers)))]
        try:
            take(message)
        except WardroundError as error:
            self.met[error.code] += 1
        else:
            self.met["taken"] += 1

    def play(self) -> None:
        """A failed attempt, its retry, and a second round."""
        session = self.joined()
        failed = self.consortium.attempt(session, self.consortium.context(session))
        self._uploaded(failed, self.consortium.names[0])
        with pytest.raises(WardroundError, match="WR-1711"):
            failed.close_uploads()
        for number, attempt in ((1, 2), (2, 1)):
            coordinator = self.consortium.attempt(session, self.consortium.context(session, number, attempt, number))
            total = self.opened(coordinator).tolist()
            assert coordinator.uploaded == self.consortium.names
            assert total == plain_sum(map(self.consortium.update, self.consortium.names), 16)


def test_old_and_misplaced_messages_do_no_harm() -> None:
    met: Counter[str] = Counter()
    for seed in range(40):
        run = RepeatingNetwork(seed)
        run.play()
        met += run.met
    for kind in ("taken", "WR-1701", "WR-1703", "WR-1706", "WR-1709", "an upload that had arrived already"):
        assert met[kind] > 10, met
