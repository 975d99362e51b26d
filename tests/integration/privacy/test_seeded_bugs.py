"""Six bugs that make a promise of differential privacy false: each test passes on production code and fails on its bug.

Every test is a function that raises AssertionError. Those that measure frequencies are wrong about the production code
with a probability of at most 1e-6 a run (all together, :data:`FALSE_ALARM`); the others are never wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
import torch
from fakes.seeded_bugs import (
    BUGS,
    ImageLevel,
    MakeStep,
    NoClip,
    NoNoise,
    PrivateDenominator,
    SeededNoise,
    Step,
    WrongRate,
    bright_pixels,
    promising,
)
from monai.utils import set_determinism
from scipy import stats

from wardround.common.privacy.lattice import NOISE_STEPS
from wardround.common.privacy.plan import noise_plan
from wardround.simulations.attacks.leakage.toys import PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

FALSE_ALARM: Final = 1e-6 / 8
"""Of each comparison that measures a frequency; there are fewer than eight."""

NOISY: Final = promising()
EXACT: Final = promising(epsilon="infinite", rate=1.0)
"""Everybody is drawn and nothing is added: a patient's contribution as it is."""


@pytest.fixture(autouse=True)
def _unseeded() -> Iterator[None]:
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002 - what MONAI seeds
    yield
    set_determinism(seed=None)
    torch.random.set_rng_state(state)
    np.random.set_state(numpy_state)  # noqa: NPY002


def two_sided(statistic: stats.rv_continuous | stats.rv_discrete, value: float, *parameters: float) -> float:
    return float(2 * min(statistic.cdf(value, *parameters), statistic.sf(value - 1e-9, *parameters)))


def empty_sums(make: MakeStep, draws: int) -> NDArray[np.float64]:
    """Released sums of a hospital without patients, over their standard deviation."""
    plan = noise_plan(NOISY, PIXELS)
    step = make(NOISY, bright_pixels([]))
    return np.stack([step.sum() for _ in range(draws)]) / (plan.deviation * plan.lattice.step)


def check_noise(make: MakeStep) -> None:
    """An empty draw has Gaussian noise of the planned variance, in every cell of its distribution."""
    noise = empty_sums(make, 64).ravel()
    noise += (
        np.random.default_rng().uniform(-0.5, 0.5, noise.size) / NOISE_STEPS
    )  # so that the lattice's cells are smooth again
    assert two_sided(stats.chi2, float(np.sum(noise**2)), noise.size) > FALSE_ALARM
    cells = np.histogram(stats.norm.cdf(noise), bins=32, range=(0, 1))[0]
    assert stats.chisquare(cells).pvalue > FALSE_ALARM


def check_independence(make: MakeStep) -> None:
    """Two sums drawn after the same seeding of everything that can be seeded are not correlated."""
    sums = []
    for _ in range(2):
        set_determinism(seed=0)
        sums.append(empty_sums(make, 1)[0])
    product = float(sums[0] @ sums[1]) / np.sqrt(PIXELS)  # standard normal but for terms of 1 / sqrt(P)
    assert abs(product) < stats.norm.isf(FALSE_ALARM / 20)


def check_one_patient_is_clipped(make: MakeStep) -> None:
    """A patient whose gradient is four times the clipping norm contributes the clipping norm."""
    total = make(EXACT, bright_pixels([1])).sum()
    assert np.linalg.norm(total) <= noise_plan(EXACT, PIXELS).lattice.sensitivity
    assert np.linalg.norm(total) > 0.99


def check_rate(make: MakeStep) -> None:
    """Patients are drawn as often as accounted for, independently of each other and of other steps."""
    study, patients, steps = promising(epsilon="infinite"), 500, 40
    step = make(study, bright_pixels([1] * patients))
    drawn = np.stack([step.sum()[:patients] > 0.5 for _ in range(steps)])
    rate = study.promise.rate
    assert two_sided(stats.binom, int(drawn.sum()), drawn.size, rate) > FALSE_ALARM
    spread = np.sum((drawn.sum(axis=1) - patients * rate) ** 2) / (patients * rate * (1 - rate))
    assert two_sided(stats.chi2, float(spread), steps) > FALSE_ALARM


def check_images_do_not_count(make: MakeStep) -> None:
    """A patient contributes the clipping norm at most, drawn as often, with 1 image as with 50."""
    images = [1, 2, 4, 10, 25, 50]
    study = promising(epsilon="infinite", rate=1.0, images_per_patient=50)
    total = make(study, bright_pixels(images)).sum()[: len(images)]
    assert np.all(np.abs(total) <= noise_plan(study, PIXELS).lattice.sensitivity)
    assert np.all(total > 0.99)
    study, steps = promising(epsilon="infinite", images_per_patient=50), 400
    step = make(study, bright_pixels([50]))
    drawn = sum(bool(step.sum()[0] > 0) for _ in range(steps))
    assert two_sided(stats.binom, drawn, steps, study.promise.rate) > FALSE_ALARM


def check_denominator(make: MakeStep) -> None:
    """A patient's part of the update is the same whoever else is there."""
    alone = make(EXACT, bright_pixels([1])).mean()[0]
    among = make(EXACT, bright_pixels([1] * 200)).mean()[0]
    assert among == pytest.approx(alone, rel=2 * noise_plan(EXACT, PIXELS).lattice.step)


CHECKS: Final[dict[str, tuple[MakeStep, Callable[[MakeStep], None]]]] = {
    "no noise": (NoNoise, check_noise),
    "seeded noise": (SeededNoise, check_independence),
    "no clip": (NoClip, check_one_patient_is_clipped),
    "wrong rate": (WrongRate, check_rate),
    "image-level clip": (ImageLevel, check_images_do_not_count),
    "private denominator": (PrivateDenominator, check_denominator),
}


def test_all_six_bugs_have_their_check() -> None:
    assert {name: bug for name, (bug, _) in CHECKS.items()} == BUGS
    assert len(CHECKS) == 6


@pytest.mark.parametrize("name", CHECKS)
def test_production_code_passes_the_check(name: str) -> None:
    CHECKS[name][1](Step)


@pytest.mark.parametrize("name", CHECKS)
def test_the_bug_is_caught(name: str) -> None:
    bug, check = CHECKS[name]
    with pytest.raises(AssertionError):
        check(bug)


def equal_draws(make: MakeStep, draws: int) -> int:
    """How many sums equal an earlier one when everything that can be seeded is seeded alike before each."""
    seen = set()
    for _ in range(draws):
        set_determinism(seed=0)
        seen.add(empty_sums(make, 1).tobytes())
    return draws - len(seen)


def test_no_noise_is_drawn_twice_under_set_determinism() -> None:
    assert equal_draws(Step, 1000) == 0
    assert equal_draws(SeededNoise, 20) == 19  # the control: noise that can be seeded is the same every time
