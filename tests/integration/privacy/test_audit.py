"""White-box audit of the production code: 1,000 canaries a seed, at a claim of epsilon 3.

False alarms: a seed's bound is wrong with a probability of at most 1e-3 by construction. That it exceeds the claim is
far less likely, since no attack on Gaussian noise has as many hits to an alarm as the claim allows: below 1e-6 for all
twenty seeds (the last test computes it). The comparison with the whole trade-off curve is wrong with probability 1e-6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from fakes.seeded_bugs import HalfNoise, ImageLevel, MakeStep, NoNoise, Step, bright_pixels, promising
from scipy import stats

from wardround.common.privacy import pld
from wardround.simulations.attacks.leakage.bounds import (
    FAILURE,
    any_epsilon,
    clopper_pearson,
    gaussian_epsilon,
    refutes,
)
from wardround.simulations.attacks.leakage.canaries import audit, audits, likelihood_ratios
from wardround.simulations.attacks.leakage.finding import within
from wardround.simulations.attacks.leakage.scores import Scores, surest_errors, tight_errors
from wardround.simulations.attacks.leakage.toys import promise_of, toy_study, without_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.study import Study

CLAIM: Final = 3.0
STUDY: Final = promising(epsilon=CLAIM)
PROMISE: Final = promise_of(STUDY)

DISTRIBUTED: Final = {
    "trust": "distributed",
    "epsilon": CLAIM,
    "patients": 1000,
    "rate": 0.25,
}


def distributed() -> Study:
    fields = STUDY.model_dump(mode="json", by_alias=True)
    fields |= {"sites": [f"site{n}" for n in range(5)], "privacy": DISTRIBUTED}
    fields["aggregation"] = {"mode": "private", "weights": "equal"}
    return toy_study(type(STUDY).model_validate(fields))


def seeds(study: Study, count: int) -> list[Scores]:
    coins = np.random.default_rng(4)
    return [audit(study, PROMISE, coins) for _ in range(count)]


def epsilons(runs: list[Scores]) -> list[float]:
    return [any_epsilon(surest_errors(run, PROMISE.delta), PROMISE.delta) for run in runs]


def audited(make: MakeStep, *, images: int = 1, canaries: int = 1000, seeds: int = 3) -> Scores:
    """Audits of a step that may have a bug; every canary has as many images."""
    study = promising(epsilon=CLAIM, images_per_patient=images)
    coins, found = np.random.default_rng(4), []
    for _ in range(seeds):
        present = coins.random(canaries) < 0.5
        step = make(study, bright_pixels([images * int(here) for here in present]))
        found.append(Scores(present, likelihood_ratios(step.sums(PROMISE.steps), PROMISE, canaries)))
    return Scores.joined(found)


def refuted(found: Scores) -> bool:
    return refutes(tight_errors(found), PROMISE.step, PROMISE.steps)


def test_the_promise_is_kept_and_without_noise_it_is_not() -> None:
    runs = seeds(STUDY, 3)
    assert all(bound <= CLAIM for bound in epsilons(runs))
    assert not any(refuted(run) for run in runs)
    controls = seeds(without_noise(STUDY), 3)
    assert all(bound > CLAIM for bound in epsilons(controls))
    assert all(refuted(run) for run in controls)


@pytest.mark.slow
def test_twenty_seeds_of_a_thousand_canaries() -> None:
    runs = seeds(STUDY, 20)
    assert sum(bound <= CLAIM for bound in epsilons(runs)) == 20
    finding = audits(runs, PROMISE.delta)
    assert within(finding, PROMISE)
    assert 1.5 < gaussian_epsilon(finding.errors, PROMISE) <= CLAIM  # close enough to the claim to mean something
    controls = seeds(without_noise(STUDY), 20)
    assert sum(bound > CLAIM for bound in epsilons(controls)) == 20
    assert not within(audits(controls, PROMISE.delta), PROMISE)


def test_half_of_the_promised_noise_is_seen() -> None:
    assert not refuted(audited(Step))
    assert refuted(audited(HalfNoise))


def test_left_out_noise_is_seen() -> None:
    assert refuted(audited(NoNoise))


def test_a_patient_with_fifty_images_is_as_private_as_one_with_one() -> None:
    assert promising(images_per_patient=50).promise.step == promising(images_per_patient=1).promise.step
    assert not refuted(audited(Step, images=50, canaries=200, seeds=1))
    assert refuted(audited(ImageLevel, images=50, canaries=200, seeds=1))


def test_noise_that_hospitals_share_is_enough_for_those_that_do_not_collude() -> None:
    study = distributed()
    assert study.aggregation.min_sites - max(study.colluding, 1) == 3
    assert not refuted(Scores.joined(seeds(study, 2)))
    assert refuted(Scores.joined(seeds(without_noise(study), 2)))


def most_hits(alarms: float) -> float:
    """Hits that the promised noise allows at this rate of false alarms."""
    slopes = np.linspace(0, 6, 25)
    return min(1.0, *(float(np.exp(e) * alarms + pld.delta(PROMISE.step, PROMISE.steps, float(e))) for e in slopes))


def hits_needed(judged: int) -> NDArray[np.int64]:
    """By false alarms: the fewest hits with which a seed exceeds the claim; more than there can be if none do."""
    counts = range(judged + 1)
    low = np.array([clopper_pearson(count, judged, FAILURE / 2)[0] for count in counts])
    high = np.array([clopper_pearson(count, judged, FAILURE / 2)[1] for count in counts])
    enough = low[None, :] - PROMISE.delta > np.exp(CLAIM) * high[:, None]
    return np.where(enough.any(axis=1), enough.argmax(axis=1), judged + 1)


def test_a_seed_exceeds_a_kept_claim_by_chance_less_than_once_in_a_million_runs() -> None:
    judged = 250  # of a thousand canaries a quarter is in and judged, a quarter out and judged
    needed = hits_needed(judged)
    for rate in np.geomspace(1e-4, 0.5, 40):
        alarms = stats.binom.pmf(np.arange(judged + 1), judged, rate)
        chance = float(np.sum(alarms * stats.binom.sf(needed - 1, judged, most_hits(float(rate)))))
        assert 2 * 20 * chance < 1e-6  # both directions, twenty seeds
