"""How much work a site has in each round, and after which rounds the model is validated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardround.common.study import Study

CURVE_POINTS: Final = 10
"""Validations of a run whose selection rule needs none: enough for a curve, little beside training."""


def consumed_before(total: int, rounds: int, number: int) -> int:
    """Samples of ``total`` consumed before round ``number`` (from 1) when spread evenly."""
    return total * (number - 1) // rounds


def samples_in(total: int, rounds: int, number: int) -> int:
    """Samples of ``total`` that fall into round ``number`` (from 1)."""
    return consumed_before(total, rounds, number + 1) - consumed_before(total, rounds, number)


def own_total(study: Study, samples: int) -> int:
    """Samples that a site of a private study consumes over all rounds.

    The site computes it by itself: ``training.epochs`` passes over its own training images, which for whole
    epochs is exactly its part of an open run. No round is without work at any site: where one site alone
    trained, the sum would be its update.

    Args:
        study: The approved study; no message changes the amount of work.
        samples: The site's training samples, 1 or more.
    """
    return max(study.training.rounds, round(study.training.epochs * samples))


def is_validated(study: Study, number: int) -> bool:
    """Whether the model after round ``number`` is scored on validation patients.

    The rule ``validation`` needs every round; otherwise about :data:`CURVE_POINTS` rounds, evenly spread.
    """
    every = 1 if study.selection.rule == "validation" else math.ceil(study.training.rounds / CURVE_POINTS)
    return number % every == 0
