"""White-box audit with canaries whose gradients the attacker has made.

Nasr, Song, Thakurta, Papernot, Carlini, Adversary Instantiation, IEEE S&P 2021 (gradient canaries); Steinke, Nasr,
Jagielski, Privacy Auditing with One (1) Training Run, NeurIPS 2023 (many in one run).

1. Canary i is a patient with one image, in which pixel i alone is bright. Under a linear model with weights 0 the
   gradient is that pixel's direction, far longer than the clipping norm C: clipped, it is C in coordinate i.
2. A fair coin decides for each canary whether the hospital has this patient.
3. The coordinator sends the same model in every step and is shown every noisy sum.
4. The score of canary i is the logarithm of the likelihood ratio of in and out, which no attack can better
   (Neyman and Pearson): with y_t coordinate i of sum t over C, ``sum_t ln(1 - q + q exp((2 y_t - 1) / (2 sigma^2)))``.

Canaries are orthogonal, so their scores are independent of each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.simulations.attacks.leakage.bounds import any_epsilon
from wardround.simulations.attacks.leakage.finding import Finding
from wardround.simulations.attacks.leakage.release import observe
from wardround.simulations.attacks.leakage.scores import Scores, surest_errors, tight_errors
from wardround.simulations.attacks.leakage.toys import PIXELS, SIDE, linear_model, patients_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from wardround.client.data.prepare import PreparedSet
    from wardround.common.study import Study
    from wardround.simulations.attacks.leakage.bounds import Promise

CANARIES: Final = 1000


def canary_patients(clip: float, canaries: int = CANARIES) -> PreparedSet:
    """Step 1: image i has the one bright pixel i.

    Raises:
        ValueError: More canaries than pixels.
    """
    if canaries > PIXELS:
        raise ValueError(f"at most {PIXELS} canaries fit into an image")
    images = np.zeros((canaries, PIXELS), dtype=np.float32)
    images[np.arange(canaries), np.arange(canaries)] = 8 * clip  # a gradient of 4 C before it is clipped
    return patients_of(images.reshape(canaries, 1, SIDE, SIDE), np.zeros(canaries, dtype=np.uint8))


def audit(study: Study, promise: Promise, coins: np.random.Generator, *, canaries: int = CANARIES) -> Scores:
    """Audit a toy study once, through all of its steps.

    Args:
        study: A toy; without noise it is a control.
        promise: What the attacker knows of the noise.
        coins: Decides who is a patient; the hospital's own randomness is the operating system's.
        canaries: m.
    """
    present = coins.random(canaries) < 0.5
    data = canary_patients(study.promise.clip, canaries)
    hospital = observe(study, linear_model(), data, np.flatnonzero(present))
    return Scores(present, likelihood_ratios(hospital.sums(), promise, canaries))


def likelihood_ratios(sums: Iterable[NDArray[np.float64]], promise: Promise, canaries: int) -> NDArray[np.float64]:
    """Step 4, ``[m]``.

    Args:
        sums: Of every step, in units of the clipping norm, ``[P]``.
        promise: What is known of rate and noise.
        canaries: m; canary i is coordinate i.
    """
    rate, variance = promise.step.rate, promise.step.multiplier**2
    found = np.zeros(canaries)
    for total in sums:
        drawn = np.log(rate) + (2 * total[:canaries] - 1) / (2 * variance)
        found += drawn if rate == 1 else np.logaddexp(np.log1p(-rate), drawn)
    return found


def audits(runs: Sequence[Scores], delta: float) -> Finding:
    """What several audits found: the best single bound, and the errors of all together."""
    together = Scores.joined(runs)
    bounds = [any_epsilon(surest_errors(found, delta), delta) for found in (*runs, together)]
    errors = tight_errors(together)
    words = f"{len(runs)} x {len(together.scores) // len(runs)} canaries, {errors.words}"
    record = {"runs": [{"present": run.present.tolist(), "scores": run.scores.tolist()} for run in runs]}
    return Finding(len(together.scores), errors, max(bounds), words, record)
