"""Small studies that make the promise of the study under attack, and the models and patients of their one hospital.

A toy takes over everything of a study that its promise rests on: trust model, rate, noise, clipping norm, rounds,
sites, ring. Images are 32 x 32, and the models are **not of the catalogue**: attackers' choices, in which one
patient's gradient is known to the last digit.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from wardround.client.data.prepare import PreparedSet
from wardround.common.errors import WardroundError
from wardround.common.study import Study, build_study
from wardround.simulations.attacks.leakage.bounds import Promise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE: Final = 32
"""Rows and columns of a toy's images."""

PIXELS: Final = SIDE * SIDE

REFERENCE: Final = 8.0
"""Epsilon that attacks are judged by where a study names none (``infinite``)."""

DEFAULT: Final[dict[str, Any]] = {
    "schema": 1,
    "name": "toy",
    "title": "A toy for attacks",
    "sites": ["one"],
    "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
    "input": {"size": (SIDE, SIDE)},
    "model": {"name": "small_cnn", "parameters": {"widths": (64, 64)}},
    "training": {"rounds": 40, "epochs": 1, "batch_size": 32, "optimizer": "sgd", "momentum": 0.0, "loss": "bce"},
    "privacy": {"trust": "local", "epsilon": 3.0, "patients": 1000, "rate": 0.25},
    "aggregation": {"weights": "equal"},
    "selection": {"rule": "last"},
    "split": {"validation": 0},
}
"""What is attacked when no study is named: epsilon 3."""

_TAKEN_OVER: Final = ("sites", "privacy", "aggregation")


def toy_study(study: Study | None = None, *, noise: bool = True) -> Study:
    """The toy that makes the promise of ``study``, or of :data:`DEFAULT`.

    Args:
        study: With a promise to patients.
        noise: False takes the noise away and leaves everything else: a control.

    Raises:
        WardroundError: WR-1809, the study promises nothing that an attack could break.
    """
    fields = deepcopy(DEFAULT)
    if study is not None:
        if study.privacy is None:
            raise WardroundError("WR-1809", "The study has no [privacy] table: there is no promise to attack.")
        given = study.model_dump(mode="json", by_alias=True)
        fields |= {name: given[name] for name in _TAKEN_OVER}
        fields["training"] |= {"rounds": study.training.rounds}
        fields["privacy"] |= {"images_per_patient": 1, "augmentations": 1, "validation": None}
    toy = build_study(fields)
    return toy if noise else without_noise(toy)


def without_noise(study: Study) -> Study:
    """The same study with patients drawn and gradients clipped, no noise, and nothing else that is paid for."""
    fields = study.model_dump(mode="json", by_alias=True)
    fields["privacy"] |= {"epsilon": "infinite", "noise_multiplier": None, "validation": None}
    return build_study(fields)


def promise_of(study: Study) -> Promise:
    """What attacks on a study are measured by."""
    made = study if study.promise.noisy else _with_reference(study)
    promise = made.promise
    if promise.promised is None:
        raise RuntimeError("the reference promises a number")
    return Promise(promise.step, made.training.rounds * promise.local_steps, promise.promised, promise.delta)


def _with_reference(study: Study) -> Study:
    fields = study.model_dump(mode="json", by_alias=True)
    fields["privacy"] |= {"epsilon": REFERENCE, "noise_multiplier": None, "validation": None}
    return build_study(fields)


def linear_model(*, bias: bool = False) -> nn.Module:
    """One logit of all pixels, weights 0: the gradient of a patient is half of their image, plus or minus."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 1, bias=bias))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    return model


def patients_of(images: NDArray[np.float32], labels: NDArray[np.uint8]) -> PreparedSet:
    """A hospital's data with one image a patient: ``[N, C, *size]`` and 0/1 ``[N]``."""
    count = len(images)
    names = tuple(f"patient {index}" for index in range(count))
    return PreparedSet(images, None, labels.reshape(-1, 1), names, tuple(range(2, count + 2)), ())
