"""Unit, neighbouring relation, epsilon and delta, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.client.statement import attacker
from wardround.client.statement.facts import FALSE_ALARMS
from wardround.client.statement.question import Question, at_most, count, share
from wardround.client.statement.summary import claim, more_spent, strength

if TYPE_CHECKING:
    from wardround.client.statement.facts import Facts

_EVEN = 0.5


def questions(facts: Facts) -> tuple[Question, ...]:
    """Of a study with a finite epsilon."""
    return (_unit(facts), _two_hospitals(facts), _relation(), _parameters(facts), _meaning(facts))


def _unit(facts: Facts) -> Question:
    most = facts.promise.images_per_patient
    return Question(
        "unit",
        "Who is protected: what is the unit of privacy?",
        (
            (
                "The patient, with all of their images and labels together. A patient with fifty images has the same "
                f"promise as one with a single image: in a step a patient counts once, with {count(most, 'image')} at "
                "most."
            ),
            "Every patient whom a hospital may train on is covered, whether or not a step ever drew them.",
        ),
        {"unit": "patient", "images_per_patient": most},
    )


def _two_hospitals(facts: Facts) -> Question:
    two = facts.two_hospitals
    kept = ", whether they are kept for training or for validation" if facts.promise.validation else ""
    return Question(
        "two-hospitals",
        "What about somebody whom two of the hospitals treat?",
        (
            (
                f"Hospitals do not compare their patients, so nobody knows that it is the same person, and both "
                f"promises are used up. Together they have epsilon {at_most(two)} at most, at the same delta{kept}."
            ),
        ),
        {"epsilon_of_two_hospitals": two},
    )


def _relation() -> Question:
    return Question(
        "relation",
        "What is compared with what: what are neighbouring data?",
        (
            (
                "The data with all of one patient's images, and the data without any of them (add/remove one patient). "
                "The promise says that what leaves would look nearly the same in both cases."
            ),
        ),
        {"relation": "add/remove"},
    )


def _parameters(facts: Facts) -> Question:
    promise = facts.promise
    return Question(
        "parameters",
        "What are epsilon and delta, and of what?",
        (
            claim(facts),
            *((more_spent(facts),) if facts.beyond else ()),
            (
                "Epsilon bounds how much more likely anything that leaves can be with the patient than without: by a "
                f"factor of exp({at_most(facts.epsilon, 4)}) at most. Delta is the probability with which this may "
                f"fail. It is at most 1 / (10 * {promise.patients}), {promise.patients} being the public number of "
                "patients, so that it cannot stand for giving some patients away entirely."
            ),
            (
                f"Accounting finds epsilon {at_most(facts.accounted, 5)} for the noise of the {facts.plan.steps} steps "
                "of this study, which is what is promised or less."
            ),
        ),
        {
            "epsilon": promise.promised,
            "epsilon_that_holds": facts.epsilon,
            "delta": promise.delta,
            "patients": promise.patients,
            "epsilon_accounted": facts.accounted,
            "steps": facts.plan.steps,
        },
    )


def _meaning(facts: Facts) -> Question:
    epsilon, delta = facts.epsilon, facts.promise.delta
    sure = attacker.posterior(_EVEN, epsilon)
    right = attacker.success(epsilon, delta)
    recognised = attacker.power(FALSE_ALARMS, epsilon, delta)
    return Question(
        "meaning",
        "What can an attacker learn about a patient?",
        (
            (
                "Think of an attacker who knows the images of every other patient, sees everything that leaves and the "
                "final model, and asks whether one person's images were used. The bounds hold whatever else they know "
                "or will learn, and for any computation."
            ),
            (
                "By epsilon and delta alone: who held it for as likely as not that the person took part can be "
                f"{share(sure)} sure afterwards, except with a probability of about delta. Where half of the people "
                f"asked about took part, {share(right)} of the answers can be right. An attacker who calls "
                f"{share(FALSE_ALARMS)} of the others participants can recognise {share(recognised)} of the "
                "participants."
            ),
            (
                f"By what the noise of this study really does, which is more than the pair says: {share(facts.right)} "
                f"of the answers can be right, and {share(facts.recognised)} of the participants can be recognised at "
                f"{share(FALSE_ALARMS)} false alarms."
            ),
            strength(epsilon),
        ),
        {
            "sure_after_even_odds": sure,
            "right_answers": right,
            "recognised_at_false_alarms": recognised,
            "false_alarms": FALSE_ALARMS,
            "right_answers_by_noise": facts.right,
            "recognised_at_false_alarms_by_noise": facts.recognised,
        },
    )
