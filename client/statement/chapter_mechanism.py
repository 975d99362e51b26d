"""Sampling, sensitivity, noise, randomness: the algorithm and how it is computed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from wardround.client.statement.question import Question, count, number
from wardround.common.privacy.lattice import FLOAT_SLACK

if TYPE_CHECKING:
    from wardround.client.statement.facts import Facts

PROVEN_UP_TO: Final = 40.0
"""Epsilon up to which section 4 of common/privacy/README.md bounds what the sampler adds to delta."""

_SMALLEST: Final = -1000
"""What is below 10 to this power is not told more exactly."""


def questions(facts: Facts) -> tuple[Question, ...]:
    """Of a study with a finite epsilon."""
    return (_algorithm(facts), _sampling(facts), _sensitivity(facts), _noise(facts), _randomness(), _numerics(facts))


def _algorithm(facts: Facts) -> Question:
    joint = (
        "The coordinator takes one step with the sum over hospitals (joint DP-SGD)."
        if facts.study.distributed
        else "The hospital takes the step itself, and the difference of the weights leaves after "
        f"{count(facts.promise.local_steps, 'step')}."
    )
    everybody = facts.promise.rate == 1
    drawn = (
        "In a step every patient gives one gradient"
        if everybody
        else "In a step each patient is drawn at random; a drawn patient gives one gradient"
    )
    nobody = "" if everybody else " A step that draws nobody adds noise all the same."
    return Question(
        "algorithm",
        "What is computed?",
        (
            (
                "Stochastic gradient descent with differential privacy (DP-SGD; Abadi et al. 2016), with patients for "
                f"examples. {drawn}; it is clipped; the sum over patients gets noise. {joint}{nobody}"
            ),
            (
                "What a sum is divided by is a public number, "
                f"{number(facts.plan.denominator)} for one hospital, and no count of anybody's patients."
            ),
        ),
        {"denominator": facts.plan.denominator, "local_steps": facts.promise.local_steps},
    )


def _sampling(facts: Facts) -> Question:
    promise = facts.promise
    words = (
        "Not at all: every patient takes part in every step (rate 1), so the accounting relies on no chance of being "
        "left out."
        if promise.rate == 1
        else (
            f"Each patient by themselves with probability {number(promise.rate)} in every step (Poisson sampling), by "
            "the operating system's randomness at their hospital. Nobody else can know or steer who is drawn, and the "
            "accounting relies on that."
        )
    )
    return Question(
        "sampling",
        "How are patients drawn?",
        (words,),
        {"rate": promise.rate, "expected_patients": promise.expected},
    )


def _sensitivity(facts: Facts) -> Question:
    lattice = facts.plan.lattice
    return Question(
        "sensitivity",
        "How much can one patient change?",
        (
            (
                f"A patient's gradient is clipped to norm {number(lattice.clip)}. With what float arithmetic may add, "
                f"one patient changes a sum by {number(lattice.sensitivity)} at most. "
                "A gradient that is not a number counts as zero. Nothing about this is learnt from the data."
            ),
        ),
        {"clip": lattice.clip, "sensitivity": lattice.sensitivity, "lattice_step": lattice.step},
    )


def _noise(facts: Facts) -> Question:
    plan = facts.plan
    shared = (
        f"Each hospital adds Gaussian noise of variance 1 / {plan.certain} of that to its own sum"
        if facts.study.distributed
        else "Each hospital adds all of it to its own sum"
    )
    return Question(
        "noise",
        "What is the noise?",
        (
            (
                f"Gaussian noise, rounded to the lattice, of standard deviation {number(facts.noise)} on each of "
                f"{facts.model.values} values: the noise multiplier {number(facts.step.multiplier)} times the "
                f"sensitivity. {shared}: a standard deviation of {number(plan.deviation)} lattice units."
            ),
            (
                "The sum with its Gaussian noise is rounded to whole steps of the lattice. Rounding comes after the "
                "noise and sees nothing else, so nothing is lost by it and the accounting of the Gaussian holds."
            ),
        ),
        {
            "noise_multiplier": facts.step.multiplier,
            "deviation": facts.noise,
            "deviation_of_a_hospital_in_lattice_units": plan.deviation,
            "values": facts.model.values,
        },
    )


def _randomness() -> Question:
    return Question(
        "randomness",
        "Where does the randomness come from?",
        (
            (
                "From the operating system of the hospital. Each noise vector has a fresh key of 256 bits, expanded by "
                "AES-256 in counter mode and kept nowhere. Neither a study nor a coordinator can set or learn a seed: "
                "studies that try are refused (WR-1806)."
            ),
        ),
    )


def _beyond_proof(facts: Facts) -> tuple[str, ...]:
    """What is not bounded for a promise that is hardly one."""
    if facts.epsilon <= PROVEN_UP_TO:
        return ()
    return (
        (
            "How far the sampler may be from an ideal Gaussian is bounded beside delta for an epsilon up to "
            f"{number(PROVEN_UP_TO)}; beyond, as here, nothing is claimed about it."
        ),
    )


def _numerics(facts: Facts) -> Question:
    slack: tuple[str, ...] = ()
    if facts.study.distributed:
        slack = (
            (
                "A sum of what several hospitals rounded is not exactly a rounded sum. The difference adds less "
                f"than 10^{max(math.ceil(facts.added_to_delta), _SMALLEST)} to delta."
            ),
        )
    return Question(
        "implementation",
        "Do computers' numbers break the promise?",
        (
            (
                "Noise that is computed in floating point can give values away by their last digits (Mironov 2012). "
                "Here only whole numbers on a lattice leave this step: each is exactly what sum and noise round to, "
                "computed with more digits where floating point could round it the wrong way."
            ),
            (
                "Sums are computed in float64, gradients by kernels in single precision. What their rounding "
                f"may add to one patient's change, 2^{math.log2(FLOAT_SLACK):.0f} of the clipping norm, is covered by "
                "noise; that it is not more is an assumption about the kernels."
            ),
            *slack,
            *_beyond_proof(facts),
            (
                f"The proofs stand beside the code (common/privacy/README.md). The lattice's step is "
                f"{facts.plan.lattice.step:.3g}."
            ),
        ),
        {"added_to_delta_below_10_to": facts.added_to_delta if facts.study.distributed else None},
    )
