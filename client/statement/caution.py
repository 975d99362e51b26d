"""What a reader of a promise must not overlook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.client.statement.facts import WEAK, Facts, model_facts
from wardround.client.statement.overspent import exceeded, spent_words
from wardround.client.statement.question import at_most, count, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wardround.client.statement.facts import ModelFacts
    from wardround.client.statement.rows import Privacy
    from wardround.common.study import Study


HOPELESS: Final = 10.0
"""Noise of a step over the longest sum, from which on a study is warned about: it is 0.3 to 0.8 in the scenarios with a
promise (cxr-dp under both trust models, hippocampus-dp)."""


def promise_warnings(study: Study, spent: Sequence[Privacy] = (), model: ModelFacts | None = None) -> list[str]:
    """Warnings about a study's promise, and about what a run spent beyond it; none for a study without one.

    Args:
        study: The study.
        spent: Rows of ``results.json`` after a run.
        model: Size of its model; None: it is built.

    Raises:
        WardroundError: WR-1201, WR-1202 or WR-1207, the model cannot be built.
    """
    if study.privacy is None:
        return []
    drowned = _drowned(Facts(study, model or model_facts(study))) if study.privacy.noisy else ()
    return [*_weak(study), *drowned, *(words for row in spent for words in _overspent(row))]


def _drowned(facts: Facts) -> Iterator[str]:
    if facts.noise_share >= HOPELESS:
        yield (
            f"In a step the noise is {at_most(facts.noise_share, 2)} times as long as the longest sum that the "
            "patients can give: the model will learn next to nothing. Fewer trained values (model scattering), more "
            "patients or a larger epsilon help."
        )


def _weak(study: Study) -> Iterator[str]:
    promise, paid = study.promise, study.promise.validation
    if promise.promised is None:
        yield "privacy.epsilon is infinite: gradients are clipped and no noise is added. Patients are promised nothing."
    elif promise.promised > WEAK:
        yield (
            f"Epsilon {number(promise.promised)} is above {number(WEAK)}: the promise is a weak one, and by itself "
            "rules hardly any attack out."
        )
    if paid is not None and paid.epsilon > WEAK:
        yield (
            f"Epsilon {number(paid.epsilon)} of the validation patients is above {number(WEAK)}: their promise is a "
            "weak one."
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
