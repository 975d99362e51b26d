"""How much a study makes this hospital compute, and about how long that takes on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from wardround.common.study import Study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.client.home import HospitalSettings, RegisteredData
    from wardround.common.vector import Layout

PATIENT_BY_PATIENT: Final = 3.0
"""How many times as long a gradient of single patients is taken to need: the models of the catalogue need 1 to 4."""


@dataclass(frozen=True, slots=True)
class Work:
    """What this hospital would compute.

    Attributes:
        rounds: Of the study.
        images_a_round: Images that the model is trained on in a round, on average, repetitions and copies counted;
            None: the data sets' sizes are not known.
        seconds_an_image: Measured on drawn images, on this machine.
    """

    rounds: int
    images_a_round: float | None
    seconds_an_image: float

    @property
    def seconds(self) -> float | None:
        """Of all rounds together; waiting for others, validation and transfer come on top."""
        return None if self.images_a_round is None else self.rounds * self.images_a_round * self.seconds_an_image


def work_of(study: Study, data: Sequence[RegisteredData], settings: HospitalSettings) -> Work:
    """The work of a study, with one image measured.

    Args:
        study: The study.
        data: The data sets that it would use.
        settings: Device and threads.

    Raises:
        WardroundError: WR-12xx, its model cannot be built; WR-16xx, there is no such device.
    """
    return Work(study.training.rounds, images_a_round(study, data), _seconds_an_image(study, settings))


def images_a_round(study: Study, data: Sequence[RegisteredData]) -> float | None:
    """Images of these data sets that are trained on in a round, on average; None: their sizes are not known."""
    training = 1 - study.split.validation - study.split.test
    if not data or any(item.images is None or item.patients is None for item in data):
        return None
    images, patients = sum(item.images or 0 for item in data), sum(item.patients or 0 for item in data)
    promise = study.privacy
    if promise is None:
        return study.training.epochs * images * training / study.training.rounds
    each = min(images / patients, promise.images_per_patient) * promise.augmentations
    return promise.rate * patients * training * each * promise.local_steps


def layout_of(study: Study) -> Layout:
    """Layout of what travels of a study's model.

    Raises:
        WardroundError: WR-12xx, it cannot be built.
    """
    return _layout(study.canonical())


@lru_cache(maxsize=16)
def _layout(content: bytes) -> Layout:
    from wardround.common.models.catalogue import build_model
    from wardround.common.models.state import state_arrays
    from wardround.common.vector import Layout

    study = Study.model_validate_json(content)
    return Layout.of(state_arrays(build_model(study, seed=0), study.model.travels))


def _seconds_an_image(study: Study, settings: HospitalSettings) -> float:
    """One step on one drawn image, the second time that it is taken."""
    import torch

    from wardround.client.train.device import choose_device, set_threads
    from wardround.common.models.catalogue import build_model

    set_threads(settings.threads)
    device = choose_device(settings.device)
    model = build_model(study.model_copy(update={"privacy": None}), seed=0).to(device.kind).eval()
    image = torch.zeros((1, len(study.task.channels), *study.input.size), device=device.kind)
    for _ in range(2):
        begin = time.perf_counter()
        total = model(image).sum()
        if total.requires_grad:
            total.backward()
        total.item()  # waits for a GPU
        seconds = time.perf_counter() - begin
    return seconds * (1.0 if study.privacy is None else PATIENT_BY_PATIENT)
