"""Composition over the study and over studies; what leaves, what does not; what was spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.client.statement.leaving import leaving, not_sent
from wardround.client.statement.question import Question, at_most, count, number, share
from wardround.common.privacy.calibration import multiplier_for
from wardround.common.privacy.discretised import LEAST_MULTIPLIER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.client.statement.facts import Facts
    from wardround.client.statement.rows import Privacy


def questions(facts: Facts, spent: Sequence[Privacy]) -> tuple[Question, ...]:
    """Of a study with a finite epsilon; what was spent is told after a run only."""
    first = (_accounting(facts), _studies(facts), _leaves(facts), _stays(facts), _others(facts), _validation(facts))
    return (*first, *((_spent(spent),) if any(row.spent_steps is not None for row in spent) else ()))


def _accounting(facts: Facts) -> Question:
    promise, plan = facts.promise, facts.plan
    return Question(
        "accounting",
        "How is the cost of all steps added up?",
        (
            (
                f"All {plan.steps} steps of the study are charged, whatever becomes of them, and they are planned "
                f"before the first one: a study cannot run out of its budget half-way. {_multiplier(facts)}"
            ),
            (
                "The cost is the privacy loss distribution of the Poisson-sampled Gaussian, in both directions of "
                "add/remove, bounded from above: "
                f"epsilon {at_most(facts.accounted, 5)} at delta {number(promise.delta)}."
            ),
        ),
        {"steps": plan.steps, "epsilon_accounted": facts.accounted},
    )


def _multiplier(facts: Facts) -> str:
    promise, multiplier = facts.promise, facts.step.multiplier
    smallest = multiplier_for(promise.rate, facts.plan.steps, facts.epsilon, promise.delta)
    steps = f"over {facts.plan.steps} steps at rate {number(promise.rate)}"
    less = f"the study costs epsilon {at_most(facts.accounted, 5)} and not {number(facts.epsilon)}"
    if multiplier > smallest:
        return (
            f"The study sets its noise multiplier, {number(multiplier)}; {number(smallest)} would do {steps}: {less}."
        )
    if multiplier == LEAST_MULTIPLIER:
        return f"The noise multiplier is {number(multiplier)}, the smallest that is ever used: {less}."
    return f"The noise multiplier is the smallest that keeps the promise {steps}."


def _studies(facts: Facts) -> Question:
    ledger, validation = facts.ledger, facts.ledger_of_validation
    taken = f"epsilon {at_most(ledger or 0.0, 5)}"
    if validation is not None:
        taken += (
            f" of a training patient, and epsilon {at_most(validation, 5)} of a validation patient, who is another,"
        )
    return Question(
        "several-studies",
        "What if a patient's hospital joins more studies, or repeats this one?",
        (
            (
                "Each hospital keeps a ledger for each patient over all data sets, studies and coordinators, and "
                "refuses what would exceed the limit that a named person has set. It adds up Renyi costs, which stay "
                "valid when a later study depends on what earlier ones gave away; this study takes "
                f"{taken} of such a limit if it is the only one."
            ),
            (
                "A round that has to be computed again after a crash is paid for again. Training again with another "
                "seed or on other folds is another study run, with its own cost."
            ),
        ),
        {"epsilon_in_the_ledger": ledger, "validation_epsilon_in_the_ledger": validation},
    )


def _leaves(facts: Facts) -> Question:
    return Question(
        "leaves",
        "What leaves a hospital?",
        (
            "In every round: " + "; ".join(leaving(facts.study)) + ".",
            (
                "Besides: that the hospital takes part, that it has answered, and when; and errors with a code, which "
                "hold no data of patients. After the last round the model is released: it is made of what has left and "
                "costs nothing more."
            ),
        ),
        {"values": facts.model.values, "rounds": facts.study.training.rounds},
    )


def _stays(facts: Facts) -> Question:
    stays = "; ".join(f"{entry.what} ({entry.why})" for entry in not_sent(facts.study))
    return Question("stays", "What does not leave, and why?", (f"These are not sent: {stays}.",))


def _others(facts: Facts) -> Question:
    split = facts.study.split
    return Question(
        "test-patients",
        "Are test patients protected?",
        (
            (
                f"They are outside the promise, and nothing is trained on them: {share(split.test)} of a hospital's "
                "patients. Scores of single test patients stay at their hospital. If a hospital publishes how well the "
                "model does on its test patients, that number has no noise: it is the hospital's own decision, and not "
                "part of epsilon."
            ),
        ),
        {"test": split.test},
    )


def _validation(facts: Facts) -> Question:
    split, promise = facts.study.split, facts.promise
    paid = promise.validation
    words = (
        "Their images are not used, and nothing about them leaves."
        if paid is None
        else (
            f"Nothing is trained on them. Their mean loss leaves {count(paid.times, 'time')}, with noise of multiplier "
            f"{number(paid.step.multiplier)}, and no patient counts for more than {number(paid.loss_cap)}. They are "
            f"promised epsilon {number(paid.epsilon)} at delta {number(promise.delta)} for it, in the same ledgers; "
            "being others than the training patients, they pay for nothing else."
        )
    )
    return Question(
        "validation-patients",
        "Are validation patients protected?",
        (f"{share(split.validation)} of a hospital's patients are kept for validation. {words}",),
        {"validation": split.validation, "validation_epsilon": None if paid is None else paid.epsilon},
    )


def _spent(rows: Sequence[Privacy]) -> Question:
    told = [row for row in rows if row.spent_steps is not None]
    lines = [
        f"{row.site}: {count(row.spent_steps or 0, 'step')} in {count(row.spent_rounds or 0, 'round')}, {_cost(row)}."
        for row in told
    ]
    return Question(
        "spent",
        "What was spent in this run?",
        (*lines, *_together(told)),
        {row.site: {"spent_steps": row.spent_steps, "spent_epsilon": row.spent_epsilon} for row in told},
    )


def _cost(row: Privacy) -> str:
    if row.spent_epsilon is None or row.filter_epsilon is None:
        return "without noise: epsilon is unlimited"
    return (
        f"epsilon {at_most(row.spent_epsilon, 5)} of {number(row.epsilon or 0)} promised "
        f"({at_most(row.filter_epsilon, 5)} of a ledger's limit)"
    )


def _together(rows: Sequence[Privacy]) -> tuple[str, ...]:
    runs = max((row.runs or 0 for row in rows), default=0)
    together = [row.all_runs_epsilon for row in rows if row.all_runs_epsilon is not None]
    if runs < 2 or not together:
        return ()
    return (
        (
            f"This run folder holds {runs} study runs, for its seeds and folds; the figures are those of the dearest "
            f"one. Real hospitals that ran and published them all would have spent epsilon {at_most(max(together), 5)}."
        ),
    )
