"""The sum of a step: whose gradient counts, how often, and with whose randomness."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

from wardround.client.data.prepare import PreparedSet
from wardround.client.train.device import choose_device
from wardround.client.train.noisy import PatientGradients, clip_factors
from wardround.common.errors import WardroundError
from wardround.common.models.catalogue import build_model
from wardround.common.study import Study, build_study

CPU = choose_device("cpu")
IMAGES = (1, 3, 1, 2, 6, 1)
"""Images of each patient."""


def study(
    *,
    batch_size: int = 4,
    channels: tuple[str, ...] = ("image",),
    parameters: dict[str, Any] | None = None,
    **promise: Any,
) -> Study:
    return build_study(
        {
            "schema": 1,
            "name": "sums",
            "title": "Sums",
            "sites": ["a"],
            "task": {
                "kind": "classification",
                "target": "binary",
                "labels": ["one"],
                "dimensions": 2,
                "channels": list(channels),
            },
            "input": {"size": [16, 16]},
            "model": {"name": "small_cnn", "parameters": {"widths": (8, 8)} | (parameters or {})},
            "training": {"rounds": 2, "epochs": 1, "loss": "bce", "batch_size": batch_size},
            "aggregation": {"weights": "equal"},
            "selection": {"rule": "last"},
            "privacy": {"trust": "local", "epsilon": 8, "patients": 10, "rate": 1.0, "images_per_patient": 6} | promise,
        }
    )


def data(images: tuple[int, ...] = IMAGES, *, broken: int | None = None, channels: int = 1) -> PreparedSet:
    generator = np.random.default_rng(0)
    count = sum(images)
    pixels = generator.normal(size=(count, channels, 16, 16)).astype(np.float32)
    patients = tuple(f"p{place}" for place, number in enumerate(images) for _ in range(number))
    if broken is not None:
        pixels[[name == f"p{broken}" for name in patients]] = np.inf
    targets = generator.integers(0, 2, (count, 1)).astype(np.uint8)
    return PreparedSet(pixels, None, targets, patients, tuple(range(count)), ())


def gradients(of: Study, prepared: PreparedSet) -> PatientGradients:
    indices = np.arange(len(prepared.patients))
    return PatientGradients(build_model(of, seed=1), prepared, indices, of, device=CPU, random=os.urandom)


def everybody(prepared: PreparedSet) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    names = np.array(prepared.patients)
    return [np.flatnonzero(names == name) for name in dict.fromkeys(prepared.patients)]


def plain_sum(of: Study, prepared: PreparedSet, clip: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One patient after the other by plain differentiation in float64."""
    model = build_model(of, seed=1).double()
    total = np.zeros(sum(parameter.numel() for parameter in model.parameters()))
    for own in everybody(prepared):
        model.zero_grad()
        logits = model(torch.from_numpy(prepared.images[own]).double())
        truth = torch.from_numpy(prepared.targets[own]).double()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, truth).backward()
        gradient = np.concatenate([parameter.grad.numpy().ravel() for parameter in model.parameters()])
        total += gradient * min(1.0, clip / float(np.linalg.norm(gradient)))
    return total


def test_places_are_tried_in_the_memory_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """In another layout other kernels may run: patients' places may matter in training and not in the trial."""
    monkeypatch.setattr("wardround.client.train.preflight._alike", {})
    seen, of = [], study(batch_size=64, channels=("a", "b"))
    model = build_model(of, seed=1)
    model.register_forward_pre_hook(lambda _, inputs: seen.append((tuple(inputs[0].shape), inputs[0].stride())))
    prepared = data((1, 1, 1, 1), channels=2)
    PatientGradients(model, prepared, np.arange(4), of, device=CPU, random=os.urandom).clipped_sum(everybody(prepared))
    assert len(seen) > 3, "three draws at least, and the batch itself"
    assert len(set(seen)) == 1


@pytest.mark.parametrize("batch_size", [1, 2, 4, 64])
@pytest.mark.parametrize("clip", [0.05, 50.0])
def test_any_physical_batch_gives_the_same_sum(batch_size: int, clip: float) -> None:
    """With a batch of 1 or 2, or 4, some patients have more images than fit in at once."""
    of, prepared = study(batch_size=batch_size, clip=clip), data()
    found = gradients(of, prepared).clipped_sum(everybody(prepared))
    expected = plain_sum(of, prepared, clip)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("images", [1, 2, 10, 50])
def test_a_patient_adds_the_clipping_norm_at_most_whatever_their_images(images: int) -> None:
    of = study(clip=0.01, images_per_patient=1000)
    prepared = data((images,))
    found = gradients(of, prepared).clipped_sum(everybody(prepared))
    assert np.linalg.norm(found) == pytest.approx(0.01, rel=1e-5)


@pytest.mark.parametrize("broken", [0, 4])
@pytest.mark.parametrize("batch_size", [2, 64])
def test_a_gradient_that_is_not_finite_counts_as_nothing_and_spreads_to_nobody(broken: int, batch_size: int) -> None:
    of, prepared = study(batch_size=batch_size, clip=0.05), data(broken=broken)
    found = gradients(of, prepared).clipped_sum(everybody(prepared))
    whole = everybody(prepared)
    others = gradients(of, prepared).clipped_sum([own for place, own in enumerate(whole) if place != broken])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, others, rtol=0, atol=1e-6 * np.abs(others).max())


def test_factors_clip_and_drop() -> None:
    norms = torch.tensor([0.0, 0.5, 2.0, float("inf"), float("nan")], dtype=torch.float64)
    assert clip_factors(norms, 1.0).tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]


def test_an_empty_draw_is_a_sum_of_nothing() -> None:
    of, prepared = study(), data()
    found = gradients(of, prepared).clipped_sum([])
    assert found.shape == plain_sum(of, prepared, 1.0).shape
    assert not found.any()


def test_a_model_with_dropout_is_refused() -> None:
    """Its masks come from one generator: who can guess the seed could tell how many patients came before."""
    gradients(study(parameters={"dropout": 0.0}), data())  # the positive control
    with pytest.raises(WardroundError) as refused:
        gradients(study(parameters={"dropout": 0.5}), data())
    assert refused.value.code == "WR-1803"
    assert "dropout" in refused.value.what


@pytest.mark.parametrize("batch_size", [2, 8, 64])
def test_one_patient_more_changes_nobody_else_s_gradient(batch_size: int) -> None:
    """The sums of neighbours differ by the clipping norm at most."""
    of, prepared = study(batch_size=batch_size, clip=0.05), data()
    everyone = everybody(prepared)
    still = gradients(of, prepared)
    whole = still.clipped_sum(everyone)
    for place in range(len(everyone)):
        others = [own for number, own in enumerate(everyone) if number != place]
        assert np.linalg.norm(whole - still.clipped_sum(others)) <= 0.05 * (1 + 2.0**-10)


def test_every_patient_s_augmentation_has_a_seed_of_its_own() -> None:
    """As many fresh draws as patients, none of them shared: a patient more leaves the others' as they are."""
    asked: list[int] = []

    def source(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    of, prepared = study(batch_size=64), data((1, 1, 1, 1, 1))
    augmented = of.model_copy(update={"training": of.training.model_copy(update={"augmentation": ("flip_lr",)})})
    indices = np.arange(5)
    found = PatientGradients(build_model(of, seed=1), prepared, indices, augmented, device=CPU, random=source)
    for drawn in (2, 5):
        asked.clear()
        found.clipped_sum(everybody(prepared)[:drawn])
        assert asked == [8] * 20, "a seed for each place in the batch, twice the 10 that are expected, filled or not"


def test_batches_have_one_shape_whoever_is_drawn() -> None:
    seen: list[tuple[int, ...]] = []

    class Watched(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.features, self.dropout, self.head = inner.features, inner.dropout, inner.head

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(images.shape))
            logits: torch.Tensor = self.head(self.dropout(self.features(images).flatten(2).mean(2)))
            return logits

    of, prepared = study(batch_size=6), data()
    model = Watched(build_model(of, seed=1))
    found = PatientGradients(model, prepared, np.arange(len(prepared.patients)), of, device=CPU, random=os.urandom)
    whole = everybody(prepared)
    found.clipped_sum(whole)
    assert {shape[0] for shape in seen} == {6}, "6 patients with 1 image, 3 with 2, 2 with 3, 1 with 6"
    one = sum(found.clipped_sum([own]) for own in whole)
    np.testing.assert_allclose(found.clipped_sum(whole), one, rtol=0, atol=1e-6 * np.abs(one).max())


@pytest.mark.parametrize("most", [1, 2, 4])
def test_no_more_images_of_a_patient_than_the_study_allows(most: int) -> None:
    of, prepared = study(images_per_patient=most), data()
    drawn = gradients(of, prepared)._drawn()
    assert sorted(map(len, drawn)) == sorted(min(most, number) for number in IMAGES)
    assert all(len(set(own)) == len(own) for own in drawn)
    chosen = {tuple(gradients(of, prepared)._drawn()[4]) for _ in range(20)}
    assert len(chosen) > 1, "which ones is drawn anew"
