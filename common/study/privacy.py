"""The section of a study that promises patients differential privacy.

Unit: the patient, whatever their number of images. Relation: a patient's data are there or not (add/remove).
Everything here is public and fixed before the first round; nothing is computed from the data. Numbers are numbers: true
and "150" are refused, for a promise rests on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from wardround.common.errors import WardroundError
from wardround.common.study.fields import Section

if TYPE_CHECKING:
    from wardround.common.privacy.mechanism import SampledGaussian

_LARGEST: Final = 1000

Epsilon = Annotated[float, Field(strict=True, gt=0, le=_LARGEST, allow_inf_nan=False)]


class PaidValidation(Section):
    """Validation losses that leave while a study runs, paid for by the validation patients.

    Their budget is their own: no validation patient is trained on, so the two promises do not add up. Each patient's
    mean loss counts up to ``loss_cap``; the sum over the patients leaves with noise, as updates do.

    Attributes:
        epsilon: Privacy loss that all validations together may cost a validation patient; delta is the study's.
        times: How many models are validated, spread evenly: the model that round ``ceil(i * rounds / times)`` begins
            with, for i from 1.
        loss_cap: Largest loss of a patient.
        noise_multiplier: As that of the whole promise: absent in the file, and filled in when the study is built.
    """

    epsilon: Epsilon
    times: Annotated[int, Field(strict=True, ge=1, le=1000)] = 3
    loss_cap: Annotated[float, Field(strict=True, ge=1e-3, le=1e3)] = 2.0
    noise_multiplier: Annotated[float, Field(strict=True, ge=0, le=1000)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _unseeded(cls, fields: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        return _without_seed(fields, "privacy.validation")

    def place(self, number: int, rounds: int) -> int | None:
        """Which validation round ``number`` begins with, from 1; None for none."""
        place = number * self.times // rounds
        return place if place >= 1 and -(-place * rounds // self.times) == number else None

    @property
    def step(self) -> SampledGaussian:
        """One validation, as accounting knows it: every patient takes part.

        Raises:
            RuntimeError: The noise multiplier is not filled in.
        """
        return _step(1.0, self.noise_multiplier)

    def resolved(self, delta: float) -> PaidValidation:
        """The same with the noise multiplier filled in; one that is given must keep the promise.

        Raises:
            WardroundError: WR-1801, no noise or not the given one keeps it.
        """
        found = _solved(1.0, self.times, self.epsilon, delta, given=self.noise_multiplier, table="privacy.validation")
        return self.model_copy(update={"noise_multiplier": found})


class Privacy(Section):
    """Patient-level differential privacy; a study without this table has none.

    In every step each training patient is drawn with probability ``rate``; a drawn patient gives one gradient, of
    norm ``clip`` at most; Gaussian noise covers any one of them.

    Attributes:
        trust: Whom a patient has to trust. ``local``: their own hospital alone, each update that leaves is private
            by itself. ``distributed``: the noise of all hospitals adds up inside the secure sum, so the promise
            also rests on it; needs mode ``private``, one step a round, and gives a better model.
        epsilon: Privacy loss that all rounds together may cost a patient. ``infinite`` draws and clips without
            noise: for experiments, and refused wherever a limit is set.
        delta: Probability with which epsilon may be exceeded: at most 1e-5 and 1 / (10 * ``patients``).
        patients: Training patients of all sites together, a rounded number that may be published. Denominators are
            made from it, never from the data.
        rate: Probability with which a patient is drawn in a step.
        local_steps: Steps of a site in a round; every one is charged. 1 for ``distributed``.
        clip: Largest norm of a patient's gradient.
        images_per_patient: A drawn patient gives their gradient over at most this many of their images.
        augmentations: Copies of each of these images, each augmented anew; their gradients are averaged.
        noise_multiplier: Standard deviation of the noise over the sensitivity of a step. None in the file: the
            smallest that keeps the promise is filled in when the study is built, and hashed with it.
        validation: Validation losses with a budget of their own; None: none leaves.
    """

    trust: Literal["local", "distributed"]
    epsilon: Epsilon | Literal["infinite"]
    delta: Annotated[float, Field(strict=True, ge=1e-9, le=1e-5)] = 1e-5
    patients: Annotated[int, Field(strict=True, ge=1, le=10_000_000)]
    rate: Annotated[float, Field(strict=True, gt=0, le=1)]
    local_steps: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    clip: Annotated[float, Field(strict=True, ge=1e-6, le=1e6)] = 1.0
    images_per_patient: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    augmentations: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    noise_multiplier: Annotated[float, Field(strict=True, ge=0, le=1000)] | None = None
    validation: PaidValidation | None = None

    @model_validator(mode="before")
    @classmethod
    def _unseeded(cls, fields: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        return _without_seed(fields, "privacy")

    @field_validator("epsilon", mode="before")
    @classmethod
    def _known(cls, epsilon: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        number = isinstance(epsilon, int | float) and not isinstance(epsilon, bool) and 0 < epsilon <= _LARGEST
        if not number and epsilon != "infinite":
            raise ValueError(f'it is a number above 0 and at most {_LARGEST}, or "infinite"')
        return epsilon

    @model_validator(mode="after")
    def _bounds(self) -> Privacy:
        most = 1 / (10 * self.patients)
        if self.delta > most:
            raise ValueError(f"delta {self.delta:g} is larger than 1 / (10 * patients) = {most:g}")
        if self.epsilon == "infinite" and self.noise_multiplier:
            raise ValueError('epsilon "infinite" adds no noise: leave out noise_multiplier')
        if self.trust == "distributed" and self.local_steps != 1:
            raise ValueError("trust 'distributed' takes one step a round: leave out local_steps and raise rounds")
        return self

    @property
    def noisy(self) -> bool:
        """Whether there is noise at all."""
        return self.epsilon != "infinite"

    @property
    def promised(self) -> float | None:
        """Epsilon as a number; None for ``infinite``."""
        return None if isinstance(self.epsilon, str) else self.epsilon

    @property
    def largest(self) -> float | None:
        """The largest epsilon of those that training and validation patients are promised; None for ``infinite``."""
        if self.promised is None or self.validation is None:
            return self.promised
        return max(self.promised, self.validation.epsilon)

    @property
    def expected(self) -> float:
        """Patients that all sites together expect in a step, q N: a public number."""
        return self.rate * self.patients

    @property
    def step(self) -> SampledGaussian:
        """One step, as accounting knows it.

        Raises:
            RuntimeError: The noise multiplier is not filled in.
        """
        return _step(self.rate, self.noise_multiplier)

    def resolved(self, rounds: int) -> Privacy:
        """The same with the noise multipliers filled in; those that are given must keep the promises.

        Args:
            rounds: Of the study.

        Raises:
            WardroundError: WR-1801, no noise or not the given one keeps a promise.
            ValueError: There are more validations than rounds.
        """
        changes: dict[str, Any] = {"noise_multiplier": 0.0}
        if self.promised is not None:
            steps = rounds * self.local_steps
            changes["noise_multiplier"] = _solved(
                self.rate, steps, self.promised, self.delta, given=self.noise_multiplier, table="privacy"
            )
        if self.validation is not None:
            if self.validation.times > rounds:
                raise ValueError(f"validation.times {self.validation.times} is more than the {rounds} rounds")
            changes["validation"] = self.validation.resolved(self.delta)
        return self.model_copy(update=changes)

    def check_sites(self, sites: int) -> None:
        """Refuse a rate at which a site expects fewer than one patient in a step.

        Raises:
            WardroundError: WR-1802.
        """
        expected = self.rate * self.patients / sites
        if expected < 1:
            raise WardroundError(
                "WR-1802", f"Each of {sites} sites expects {expected:.2g} patients in a step at rate {self.rate:g}."
            )


def _without_seed(fields: Any, table: str) -> Any:  # noqa: ANN401 - whatever the file holds
    if isinstance(fields, dict):
        seeds = sorted(str(name) for name in fields if "seed" in str(name).lower())
        if seeds:
            raise WardroundError("WR-1806", f"The study sets {table}.{seeds[0]}.")
    return fields


def _step(rate: float, multiplier: float | None) -> SampledGaussian:
    from wardround.common.privacy.mechanism import SampledGaussian

    if multiplier is None:
        raise RuntimeError("the study was built without a noise multiplier")
    return SampledGaussian(rate, multiplier)


def _solved(rate: float, steps: int, epsilon: float, delta: float, *, given: float | None, table: str) -> float:
    """The smallest noise multiplier that keeps a promise, or the given one if it does."""
    from wardround.common.privacy import pld
    from wardround.common.privacy.calibration import multiplier_for

    if given is None:
        return multiplier_for(rate, steps, epsilon, delta)
    found = pld.epsilon(_step(rate, given), steps, delta)
    if found > epsilon:
        raise WardroundError(
            "WR-1801",
            f"{steps} steps with {table}.noise_multiplier {given:g} cost epsilon {_above(found, epsilon)} at delta "
            f"{delta:g}, more than the {epsilon:g} promised.",
            fix=f"Leave out {table}.noise_multiplier: it is then solved from epsilon.",
        )
    return given


def _above(found: float, promised: float) -> str:
    """A number in as few digits as show that it is larger than another; four at least."""
    return next((text for digits in range(4, 18) if float(text := f"{found:.{digits}g}") > promised), repr(found))
