"""Before a study with differential privacy spends anything: are its gradients really those of single patients?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wardround.client.train.local import memory_by_patient
from wardround.client.train.losses import make_loss
from wardround.client.train.per_sample.check import check_model
from wardround.client.train.per_sample.places import alike_in_all_places
from wardround.client.train.per_sample.preflight import preflight
from wardround.common.models.catalogue import build_model

if TYPE_CHECKING:
    from wardround.client.train.device import Device
    from wardround.common.study import Study

PATIENTS = 2
"""As many as can influence one another."""


_passed: set[bytes] = set()
_alike: dict[tuple[object, ...], bool] = {}


def check_gradients(study: Study, device: Device) -> None:
    """Take one step's gradients of drawn noise, patient by patient, and compare them with plain differentiation.

    No image is read. In a process the same model, task, input and loss are checked once.

    Raises:
        WardroundError: WR-1803 or WR-1804, the gradients are not those of single patients; WR-12xx, there is no such
            model.
    """
    parts = (study.model, study.task, study.input)
    key = b"".join(part.model_dump_json().encode() for part in parts) + study.training.loss.encode()
    if key not in _passed:
        _check(study, device)
        _passed.add(key)


def _check(study: Study, device: Device) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (PATIENTS, len(study.task.channels), *study.input.size)
    images = torch.randn(shape, generator=generator).to(device.kind)
    targets = _targets(study, generator).to(device.kind)
    loss = make_loss(study.training.loss, None)
    model = build_model(study, seed=0).to(device.kind).train()
    check_model(model)  # dropout, too, which the comparison has to leave out
    preflight(model, images, lambda outputs, rows: loss(outputs, targets[rows]), units=PATIENTS)


def units_without_places(model: torch.nn.Module, study: Study, device: Device, units: int, copies: int) -> int:
    """How many patients may share a batch: ``units`` where each has the same gradient in every place, else 1.

    No image is read. In a process the same model, input, loss and batch are tried once.

    Args:
        model: On its device, in the memory format that it is trained in; only its classes and shapes matter.
        study: With a promise.
        device: Of the model.
        units: Patients of a batch.
        copies: Images of each, augmented copies included.
    """
    parts = (study.model, study.task, study.input)
    key = (b"".join(part.model_dump_json().encode() for part in parts), study.training.loss, str(device.kind))
    asked = (*key, units, copies, torch.get_num_threads())
    if asked not in _alike:
        generator = torch.Generator().manual_seed(0)
        images = torch.zeros(copies, len(study.task.channels), *study.input.size, device=device.kind)
        targets = _targets(study, generator, copies).to(device.kind)
        images = images.contiguous(memory_format=memory_by_patient(images.ndim, device))
        _alike[asked] = alike_in_all_places(model, images, targets, make_loss(study.training.loss, None), units)
    return units if _alike[asked] else 1


def _targets(study: Study, generator: torch.Generator, count: int = PATIENTS) -> torch.Tensor:
    """Class indices of every voxel, or 0/1 for every label, one-hot where exactly one holds."""
    if study.task.kind == "segmentation":
        return torch.randint(study.task.outputs, (count, *study.input.size), generator=generator)
    if study.task.target == "multiclass":
        chosen = torch.randint(study.task.outputs, (count,), generator=generator)
        return torch.nn.functional.one_hot(chosen, study.task.outputs)
    return torch.randint(2, (count, study.task.outputs), generator=generator)
