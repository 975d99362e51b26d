"""The main points of a privacy statement, one paragraph each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wardround.client.statement import attacker
from wardround.client.statement.facts import FALSE_ALARMS, STRONG, WEAK
from wardround.client.statement.overspent import in_words
from wardround.client.statement.question import at_most, count, number, share

if TYPE_CHECKING:
    from wardround.client.statement.facts import Facts
    from wardround.common.study import Study


def summary(facts: Facts) -> tuple[str, ...]:
    """Of a study with a finite epsilon."""
    more = (more_spent(facts),) if facts.beyond else ()
    return (claim(facts), *more, meaning(facts), trusted(facts), *_begin(facts), _outside(facts))


def no_promise(study: Study) -> tuple[str, ...]:
    """Of a study without differential privacy, or with an infinite epsilon."""
    if study.privacy is None:
        first = "This study promises its patients no differential privacy: epsilon is unlimited."
    else:
        first = (
            "This study clips gradients and draws patients as under differential privacy, but adds no noise: epsilon "
            "is unlimited. It is for experiments."
        )
    seen = (
        "The coordinator sees sums over hospitals only, and sums can give images away."
        if study.private
        else "The coordinator sees every hospital's update, and updates can give images away."
    )
    return (first, f"{seen} A hospital with a limit on epsilon refuses it.")


def _begin(facts: Facts) -> tuple[str, ...]:
    """Where the weights come from that training begins with, if not from chance."""
    choice = facts.study.model
    if choice.init is None:
        return ()
    frozen = f" {facts.model.frozen} of its values are frozen and never travel." if facts.model.frozen else ""
    return (
        (
            f"Training begins with the file of SHA-256 {choice.init}.{frozen} Its data, as the author declares: "
            f"{choice.init_data}. The promise is about this study's patients, not about theirs."
        ),
    )


def claim(facts: Facts) -> str:
    """What is promised to whom."""
    promise, paid = facts.promise, facts.promise.validation
    per_round = f"{count(facts.study.training.rounds, 'round')} of {count(promise.local_steps, 'step')}"
    training, delta = f"epsilon {number(promise.promised or 0)}", f"at delta {number(promise.delta)}"
    if paid is None:
        whom = f"Every patient of every training hospital is promised {training} {delta} over the whole study"
        return f"{whom} ({per_round}), whatever the number of their images."
    return (
        f"Every training patient of every hospital is promised {training} over the whole study ({per_round}), and "
        f"every validation patient, who is another, epsilon {number(paid.epsilon)} "
        f"({count(paid.times, 'validation')}); both {delta}, whatever the number of their images."
    )


def more_spent(facts: Facts) -> str:
    """What holds instead of the promise, where more was spent; nothing where not."""
    if facts.beyond is None:
        return ""
    return (
        f"What was spent is epsilon {in_words(facts.beyond)}. That is what holds for its patients, and what every "
        "number here on attackers follows from."
    )


def meaning(facts: Facts) -> str:
    """What that leaves to an attacker, and how such a promise is called."""
    epsilon, delta = facts.epsilon, facts.promise.delta
    promised = attacker.power(FALSE_ALARMS, epsilon, delta)
    return (
        f"An attacker who knows all other patients and sees everything that leaves can recognise at most "
        f"{share(facts.recognised)} of the participants if they call {share(FALSE_ALARMS)} of all others "
        f"(by epsilon and delta alone: {share(promised)}). {strength(epsilon)}{_validated(facts)}"
    )


def _validated(facts: Facts) -> str:
    """The same of validation patients, where they pay."""
    paid = facts.promise.validation
    if paid is None:
        return ""
    epsilon = max(paid.epsilon, *(row.validation_spent_epsilon or 0.0 for row in facts.rows), 0.0)
    recognised = share(attacker.power(FALSE_ALARMS, epsilon, facts.promise.delta))
    return (
        f" That is of training patients; of validation patients it is at most {recognised}, by epsilon and delta "
        f"alone. {strength(epsilon)}"
    )


def strength(epsilon: float) -> str:
    """How such a promise is called."""
    if epsilon <= STRONG:
        return f"A promise of epsilon {number(STRONG)} or less is called strong."
    if epsilon <= WEAK:
        return (
            f"A promise of epsilon between {number(STRONG)} and {number(WEAK)} is called reasonable: it limits attacks "
            "that work in practice, but does not rule out all that are conceivable."
        )
    return f"A promise of epsilon above {number(WEAK)} is called weak: it limits little by itself."


def trusted(facts: Facts) -> str:
    """Whom a patient has to trust."""
    study = facts.study
    if not study.distributed:
        return (
            "Trust model local: a patient has to trust their own hospital alone. Every update is private before it "
            "leaves, even if the coordinator and all other hospitals work together."
        )
    allowed = f"no more than {study.colluding} of them work" if study.colluding else "none of them works"
    return (
        f"Trust model distributed: the noise of {count(len(study.sites), 'hospital')} adds up inside a secure sum. The "
        f"promise holds as long as {allowed} with the coordinator. A sum opens over {study.aggregation.min_sites} "
        f"hospitals or more; the noise of {facts.plan.certain} of them is certain, and is all the noise that was "
        "promised."
    )


def _outside(facts: Facts) -> str:
    second = f"somebody who is a patient of two of the hospitals has epsilon {at_most(facts.two_hospitals)}"
    paid = facts.promise.validation
    validation = (
        "validation patients are not used"
        if paid is None
        else f"validation patients have a promise of their own, epsilon {number(paid.epsilon)}{_beyond(facts)}"
    )
    return (
        f"Not covered: {second}; test patients are outside the promise, and nothing about them leaves ({validation}); "
        "nothing here protects the images at the hospital itself."
    )


def _beyond(facts: Facts) -> str:
    """What validation patients paid, where that is more than they were promised."""
    dear = [row for row in facts.rows if (row.validation_spent_epsilon or 0) > (row.validation_epsilon or math.inf)]
    if not dear:
        return ""
    most = max(dear, key=lambda row: row.validation_spent_epsilon or 0.0)
    return f", but {at_most(most.validation_spent_epsilon or 0.0, 4)} was spent at {most.site}"
