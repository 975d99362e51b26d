"""A step of DP-SGD over patients: clipped gradients of the drawn ones, summed, and noise.

Abadi et al., Deep Learning with Differential Privacy, CCS 2016, algorithm 1, with patients for examples; several images
and augmentations of one patient: De, Berrada, Hayes, Smith, Balle, Unlocking High-Accuracy Differentially Private Image
Classification through Scale, 2022, section 3.

1. each patient is drawn with probability q, by the operating system's randomness
2. at most m images of a drawn patient, K augmented copies of each; every patient has randomness of their own
3. micro-batches of whole patients, as large as ``training.batch_size`` images, filled up where there are fewer
4. one gradient a patient, of the mean loss over their copies; clipped to norm C; one that is not finite counts as 0
5. the sum, in float64
6. on the lattice, with noise (:mod:`wardround.common.privacy.lattice`); an empty draw has noise as well

Denominators are public (:mod:`wardround.common.privacy.plan`): no number of this site's patients is in the result.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from wardround.client.train.augment import augment
from wardround.client.train.device import gpu_memory_errors
from wardround.client.train.local import load_batch, memory_by_patient, place_model
from wardround.client.train.losses import make_loss
from wardround.client.train.optimizer import export_state, import_state, make_optimizer
from wardround.client.train.per_sample import PerSample
from wardround.client.train.per_sample.places import loss_of_units
from wardround.client.train.preflight import units_without_places
from wardround.common.crypto.randomness import draw
from wardround.common.errors import WardroundError
from wardround.common.models.initial import trained_parameters
from wardround.common.models.state import state_arrays
from wardround.common.privacy.noise import poisson_sample
from wardround.common.rounds.schedule import learning_rate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from wardround.client.data.prepare import PreparedSet
    from wardround.client.train.device import Device
    from wardround.client.train.per_sample.recorder import Sums
    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.privacy.lattice import Lattice
    from wardround.common.privacy.plan import NoisePlan
    from wardround.common.study import Study

    Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NoisySum:
    """What a step may give away.

    Args:
        units: The noisy sum on the lattice, ``[P]``.
        clipped: Coordinates that were beyond the ring's limit; this number stays at the site.
    """

    units: NDArray[np.int64]
    clipped: int


class PatientGradients:
    """The training patients of a site, and their gradients of a study's loss.

    Args:
        model: Of the catalogue, ready for privacy; its trained parameters are all that travels of it.
        data: The site's prepared images.
        indices: The training images.
        study: With a promise to patients.
        device: Where to train.
        random: The operating system's randomness; tests may give another source.

    Raises:
        WardroundError: WR-1803 or WR-1804, the model has no gradient patient by patient, or its state holds more than
            trained parameters.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        data: PreparedSet,
        indices: Indices,
        study: Study,
        *,
        device: Device,
        random: RandomSource,
    ) -> None:
        self._model = model
        self._data = data
        self._study = study
        self._device = device
        self._random = random
        self._recorder = PerSample(model)
        _check_state(model, study)
        images: dict[str, list[int]] = defaultdict(list)
        for index in indices:
            images[data.patients[index]].append(int(index))
        self._images = [np.array(own, dtype=np.int64) for own in images.values()]

    def place(self) -> None:
        """Put the model where its gradients are taken, and as its weights lie in memory there."""
        place_model(self._model, self._device, by_patient=True)

    def noisy_sum(self, lattice: Lattice, *, deviation: float, limit: int) -> NoisySum:
        """One step, from the draw to the noise; the arguments are those of :meth:`Lattice.privatise`."""
        total = self.clipped_sum(self._drawn())
        return NoisySum(*lattice.privatise(total, deviation=deviation, limit=limit, random=self._random))

    def noisy_mean(self, lattice: Lattice, *, deviation: float, denominator: float) -> NDArray[np.float32]:
        """The same as a gradient, float32 ``[P]``: the noisy sum over a public denominator."""
        return lattice.privatise_real(
            self.clipped_sum(self._drawn()), deviation=deviation, denominator=denominator, random=self._random
        )

    def _drawn(self) -> list[Indices]:
        """Steps 1 and 2: the images of each drawn patient."""
        promise = self._study.promise
        chosen = np.flatnonzero(poisson_sample(len(self._images), promise.rate, self._random))
        return [self._some(self._images[patient]) for patient in chosen]

    def _some(self, own: Indices) -> Indices:
        """At most m of a patient's images; the patient's own randomness decides."""
        most = self._study.promise.images_per_patient
        if len(own) <= most:
            return own
        return np.sort(np.random.default_rng(list(draw(self._random, 32))).choice(own, most, replace=False))

    def clipped_sum(self, drawn: Sequence[Indices]) -> NDArray[np.float64]:
        """Steps 3 to 5: the sum of one clipped gradient for each patient.

        Args:
            drawn: Images of each drawn patient.

        Returns:
            ``[P]``, in the order of the model's state.
        """
        with gpu_memory_errors():
            self.place()
            self._model.train()
            sums = None
            for patients, units in self._micro_batches(drawn):
                sums = self._add_clipped(patients, units, sums)
            return (sums or self._recorder.zeros()).whole.cpu().numpy()

    def _micro_batches(self, drawn: Sequence[Indices]) -> Iterator[tuple[list[Indices], int]]:
        """Patients with equally many images, and of how many units their batch is to be.

        For one number of images that is always the same, and 1 where a patient's place in the batch matters: what a
        kernel computes for a patient must not depend on who else was drawn.
        """
        same: dict[int, list[Indices]] = defaultdict(list)
        for own in drawn:
            same[len(own)].append(own)
        promise, size = self._study.promise, self._study.training.batch_size
        usual = max(1, round(2 * promise.expected / len(self._study.sites)))  # public, as every shape has to be
        for images, patients in sorted(same.items()):
            units = min(usual, max(1, size // (images * promise.augmentations)))
            units = self._without_places(units, images * promise.augmentations)
            for first in range(0, len(patients), units):
                yield patients[first : first + units], units

    def _without_places(self, units: int, copies: int) -> int:
        """``units`` where every place of a batch gives a patient the same bits, else 1; asked once in a process."""
        return units_without_places(self._model, self._study, self._device, units, copies)

    def _add_clipped(self, patients: list[Indices], units: int, sums: Sums | None) -> Sums:
        """Step 4 for one micro-batch, and step 5: its patients' clipped gradients, added to ``sums`` if there are."""
        copies = len(patients[0]) * self._study.promise.augmentations
        filled = [*patients, *[patients[0]] * (units - len(patients))]  # these take no part in the sum
        batch = np.repeat(np.concatenate(filled), self._study.promise.augmentations)
        if copies > self._study.training.batch_size:
            return self._add_clipped_in_parts(batch, sums)
        self._record(batch, units, 1.0)
        factors = clip_factors(self._recorder.norms(), self._study.promise.clip)
        factors[len(patients) :] = 0
        return self._recorder.weighted_sum(factors, sums)

    def _add_clipped_in_parts(self, batch: Indices, sums: Sums | None) -> Sums:
        """The same for one patient whose copies are more than the physical batch holds."""
        size, whole = self._study.training.batch_size, torch.ones(1, dtype=torch.float64, device=self._device.kind)
        sums, gradient = sums or self._recorder.zeros(), self._recorder.zeros()
        for part in np.split(batch, range(size, len(batch), size)):
            self._record(part, 1, len(part) / len(batch))
            self._recorder.weighted_sum(whole, gradient)
        norm = torch.linalg.vector_norm(gradient.whole).reshape(1)
        factor = clip_factors(norm, self._study.promise.clip)[0]
        if factor != 0:
            sums.whole.add_(gradient.whole * factor)
        return sums

    def _record(self, batch: Indices, units: int, share: float) -> None:
        """Forward and backward; a unit's loss is the mean over its copies, times ``share``."""
        images, masks, targets = self._augmented(batch, units)
        loss = make_loss(self._study.training.loss, None)
        # In float32 on every device: half precision could move other patients' gradients by more than the float slack.
        with self._recorder.recording(units):
            logits = self._model(images.contiguous(memory_format=memory_by_patient(images.ndim, self._device)))
            value = loss_of_units(loss, logits, targets if masks is None else masks, units)
            torch.autograd.backward(value * share)

    def _augmented(self, batch: Indices, units: int) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Images, masks and targets; every patient's are augmented with randomness of their own.

        From one generator for all, a patient's draws would depend on how many others came first.
        """
        images, masks, targets = load_batch(self._data, batch, self._device)
        names = self._study.training.augmentation
        if not names:
            return images, masks, targets
        copies = len(batch) // units
        parts = [
            augment(
                images[first : first + copies],
                None if masks is None else masks[first : first + copies],
                names,
                torch.Generator().manual_seed(int.from_bytes(draw(self._random, 8), "big") >> 1),
            )
            for first in range(0, len(batch), copies)
        ]
        moved = [mask for _, mask in parts if mask is not None]
        return torch.cat([image for image, _ in parts]), torch.cat(moved) if moved else None, targets


def _check_state(model: torch.nn.Module, study: Study) -> None:
    """Refuse a model that would send what no noise covers, or noise for what is not trained."""
    trained = list(trained_parameters(model))
    travels = list(state_arrays(model, study.model.travels))
    if trained != travels:
        other = sorted(set(travels) ^ set(trained))
        raise WardroundError(
            "WR-1803", f"The model's state holds more than trained parameters, for example {other[0]}."
        )


def clip_factors(norms: torch.Tensor, clip: float) -> torch.Tensor:
    """``min(1, C / norm)`` of each unit, ``[units]``; 0 for a gradient that is not finite."""
    factors = (clip / norms).clamp(max=1.0)
    return torch.where(torch.isfinite(norms), factors, torch.zeros_like(factors))


def train_noisily(
    gradients: PatientGradients,
    model: torch.nn.Module,
    study: Study,
    plan: NoisePlan,
    *,
    progress: float,
    optimizer_state: Mapping[str, NDArray[np.float32]] | None,
) -> dict[str, NDArray[np.float32]]:
    """The local steps of a round under trust model ``local``; the model is trained in place.

    Args:
        gradients: Of the site's patients, by this model.
        model: On its device.
        study: Says how; its promise names the number of steps.
        plan: Lattice, noise and denominator.
        progress: Completed share of the study's rounds, in [0, 1).
        optimizer_state: After the round before, or None to start afresh. It knows noisy gradients alone.

    Returns:
        The optimizer's state; empty if the study resets it.
    """
    gradients.place()  # before the optimizer's state is laid out as the weights are
    trained = list(trained_parameters(model).values())
    optimizer = make_optimizer(study.training, trained, learning_rate(study.training, progress))
    import_state(optimizer, optimizer_state or {})
    for _ in range(study.promise.local_steps):
        mean = gradients.noisy_mean(plan.lattice, deviation=plan.deviation, denominator=plan.denominator)
        put_gradient(trained, mean)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return export_state(optimizer) if study.training.optimizer_state == "keep" else {}


def put_gradient(trained: Collection[torch.nn.Parameter], found: NDArray[np.float32]) -> None:
    """Give every trained parameter its part of a gradient.

    Args:
        trained: They get gradients.
        found: ``[P]``, in the order of the trained parameters; the gradients may be views of it.
    """
    parts = torch.split(torch.from_numpy(found), [parameter.numel() for parameter in trained])
    for parameter, flat in zip(trained, parts, strict=True):
        part = flat.view(parameter.shape)
        # Like the weight also in memory: fused optimizers go through both in the order of memory.
        alike = (part.device, part.dtype, part.stride()) == (parameter.device, parameter.dtype, parameter.stride())
        parameter.grad = part if alike else torch.empty_like(parameter).copy_(part)
