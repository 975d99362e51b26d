"""Attacks that give everybody a score: the threshold is chosen on one half of them, and judged on the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.simulations.attacks.leakage.bounds import (
    CERTAIN,
    FAILURE,
    Errors,
    any_epsilon,
    errors_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

THRESHOLDS: Final = 64
"""Tried, evenly among the scores."""

WIDE_GAPS: Final = 8
"""Between scores, in whose middle a threshold is tried as well: scores without noise lie in a few heaps."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What an attack thinks of everybody.

    Args:
        present: Whether each is in, ``[m]``, by the toss of a coin or a random split.
        scores: Higher where the attack thinks so, ``[m]``.
    """

    present: NDArray[np.bool_]
    scores: NDArray[np.float64]

    @staticmethod
    def joined(runs: Sequence[Scores]) -> Scores:
        """Several attacks on the same mechanism as one."""
        return Scores(np.concatenate([run.present for run in runs]), np.concatenate([run.scores for run in runs]))

    @property
    def halves(self) -> tuple[Scores, Scores]:
        """Every second one, and the others."""
        return Scores(self.present[::2], self.scores[::2]), Scores(self.present[1::2], self.scores[1::2])

    def errors(self, threshold: float, failure: float) -> Errors:
        """Of calling those above ``threshold`` in.

        Raises:
            ValueError: Nobody is in, or everybody.
        """
        return errors_at(self.scores[self.present], self.scores[~self.present], threshold, failure)


def tight_errors(found: Scores, failure: float = CERTAIN) -> Errors:
    """Where hits exceed false alarms by most; for comparison with a whole curve."""
    return _held_out(found, failure, lambda errors: errors.hits - errors.alarms)


def surest_errors(found: Scores, delta: float, failure: float = FAILURE) -> Errors:
    """Where the bound that holds for any mechanism is best."""
    return _held_out(found, failure, lambda errors: any_epsilon(errors, delta))


def _held_out(found: Scores, failure: float, gain: Callable[[Errors], float]) -> Errors:
    chosen, judged = found.halves
    ordered = np.unique(chosen.scores)
    between = (ordered[1:] + ordered[:-1]) / 2
    even = np.linspace(0, len(between) - 1, THRESHOLDS).astype(int)
    places = np.unique([*even, *np.argsort(np.diff(ordered))[-WIDE_GAPS:]])
    errors = [(gain(chosen.errors(float(between[place]), failure)), float(between[place])) for place in places]
    return judged.errors(max(errors)[1], failure)
