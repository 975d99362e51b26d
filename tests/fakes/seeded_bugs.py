"""A hospital's step under differential privacy, right as in production, and with six bugs that others have shipped.

Each bug replaces one part of the step by another; nothing is patched. All have what a test needs: one noisy sum, and
the mean that is made of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import torch

from wardround.client.data.prepare import PreparedSet
from wardround.client.train.device import choose_device
from wardround.client.train.noisy import PatientGradients
from wardround.common.privacy.lattice import WIDEST
from wardround.common.privacy.plan import noise_plan
from wardround.common.study import Study, build_study
from wardround.simulations.attacks.leakage.toys import DEFAULT, PIXELS, SIDE, linear_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.privacy.plan import NoisePlan

LARGE: Final = 1e6


def promising(**privacy: Any) -> Study:
    """The toy study with another promise."""
    fields = deepcopy(DEFAULT)
    fields["privacy"] |= privacy
    return build_study(fields)


def bright_pixels(images_of: list[int], brightness: float = 8.0) -> PreparedSet:
    """Patient i has ``images_of[i]`` equal images in which pixel i alone is bright: a gradient of norm 4 each."""
    patients = np.repeat(np.arange(len(images_of)), images_of)
    images = np.zeros((len(patients), PIXELS), np.float32)
    images[np.arange(len(patients)), patients] = brightness
    labels = np.zeros((len(patients), 1), np.uint8)
    names = tuple(f"patient {patient}" for patient in patients)
    rows = tuple(range(2, len(patients) + 2))
    return PreparedSet(images.reshape(-1, 1, SIDE, SIDE), None, labels, names, rows, ())


@dataclass(frozen=True)
class Step:
    """Production: one step of the hospital that has all of ``data``.

    Args:
        study: With a promise.
        data: Its images.
    """

    study: Study
    data: PreparedSet

    @property
    def plan(self) -> NoisePlan:
        return noise_plan(self.study, PIXELS)

    def deviation(self) -> float:
        """Of the lattice's noise, lattice units."""
        return self.plan.deviation

    def seen(self) -> PreparedSet:
        """The images as the step sees them."""
        return self.data

    def drawn_by(self) -> Study:
        """The study whose rate and clipping norm the step uses."""
        return self.study

    def gradients(self) -> PatientGradients:
        seen = self.seen()
        return PatientGradients(
            linear_model(),
            seen,
            np.arange(len(seen.images)),
            self.drawn_by(),
            device=choose_device("cpu"),
            random=os.urandom,
        )

    def sum(self) -> NDArray[np.float64]:
        """The released noisy sum, units of the gradient."""
        lattice = self.plan.lattice
        return lattice.real(self.gradients().noisy_sum(lattice, deviation=self.deviation(), limit=WIDEST).units)

    def mean(self) -> NDArray[np.float64]:
        """What the model is updated with."""
        return self.sum() / self.plan.denominator

    def sums(self, steps: int) -> Iterator[NDArray[np.float64]]:
        """Released sums one after the other, units of the clipping norm."""
        for _ in range(steps):
            yield self.sum() / self.plan.lattice.clip


class NoNoise(Step):
    """Bug 1: the noise is left out."""

    def deviation(self) -> float:
        return 0.0


class SeededNoise(NoNoise):
    """Bug 2: the noise comes from PyTorch's global generator, as in Opacus without its secure mode."""

    def sum(self) -> NDArray[np.float64]:
        noise = torch.normal(0.0, self.plan.deviation, (PIXELS,), dtype=torch.float64).numpy()
        return super().sum() + self.plan.lattice.real(np.rint(noise).astype(np.int64))


class HalfNoise(Step):
    """Not one of the six: the noise is half of what is promised; the power of an audit is measured with it."""

    def deviation(self) -> float:
        return self.plan.deviation / 2


class NoClip(Step):
    """Bug 3: gradients are not clipped; the noise is still that of the clipping norm."""

    def drawn_by(self) -> Study:
        fields = self.study.model_dump(mode="json", by_alias=True)
        fields["privacy"] |= {"clip": LARGE}
        return build_study(fields)


class WrongRate(Step):
    """Bug 4: patients are drawn at one and a half times the rate that is accounted for."""

    def drawn_by(self) -> Study:
        promise = self.study.promise.model_copy(update={"rate": 1.5 * self.study.promise.rate})
        return self.study.model_copy(update={"privacy": promise})


class ImageLevel(Step):
    """Bug 5: every image is drawn and clipped as if it were a patient."""

    def seen(self) -> PreparedSet:
        return replace(self.data, patients=tuple(f"image {row}" for row in self.data.rows))


class PrivateDenominator(Step):
    """Bug 6: the mean is taken over the patients that the hospital has, as Opacus' expected batch size does."""

    def mean(self) -> NDArray[np.float64]:
        return self.sum() / (self.study.promise.rate * len(set(self.data.patients)))


MakeStep: TypeAlias = Callable[[Study, PreparedSet], Step]

BUGS: Final[dict[str, MakeStep]] = {
    "no noise": NoNoise,
    "seeded noise": SeededNoise,
    "no clip": NoClip,
    "wrong rate": WrongRate,
    "image-level clip": ImageLevel,
    "private denominator": PrivateDenominator,
}
