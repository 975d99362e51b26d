"""What a reader of a promise must not overlook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.simulations.privacy.facts import WEAK
from wardround.simulations.privacy.overspent import exceeded, spent_words
from wardround.simulations.privacy.question import at_most, count, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wardround.common.study import Study
    from wardround.simulations.results import Privacy


def promise_warnings(study: Study, spent: Sequence[Privacy] = ()) -> list[str]:
    """Warnings about a study's promise, and about what a run spent beyond it; none for a study without one."""
    if study.privacy is None:
        return []
    return [*_weak(study), *(words for row in spent for words in _overspent(row))]


def _weak(study: Study) -> Iterator[str]:
    promise = study.promise
    if promise.promised is None:
        yield "privacy.epsilon is infinite: gradients are clipped and no noise is added. Patients are promised nothing."
    elif promise.promised > WEAK:
        yield (
            f"Epsilon {number(promise.promised)} is above {number(WEAK)}: the promise is a weak one, and by itself "
            "rules hardly any attack out."
        )


def _overspent(row: Privacy) -> Iterator[str]:
    if exceeded(row):
        yield (
            f"{row.site}: rounds were computed more than once, and {count(row.spent_steps or 0, 'step')} cost epsilon "
            f"{spent_words(row)}, more than the {number(row.epsilon or 0)} of one uninterrupted run."
        )
    promised, spent = row.validation_epsilon, row.validation_spent_epsilon
    if promised is not None and spent is not None and spent > promised:
        yield (
            f"{row.site}: validations were computed more than once, and cost validation patients epsilon "
            f"{at_most(spent, 4)}, more than the {number(promised)} promised."
        )
