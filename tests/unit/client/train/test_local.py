"""A round of local training: learns, repeats bit for bit, continues where it stopped, refuses what it must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from wardround.client.data.prepare import PreparedSet
from wardround.client.train.device import choose_device
from wardround.client.train.local import TrainResult, place_model, train
from wardround.common.errors import WardroundError
from wardround.common.models.catalogue import build_model
from wardround.common.models.state import state_arrays
from wardround.common.study import Study, build_study

CPU = choose_device("cpu")


def study(kind: str = "classification", *, norm: str = "group", **training: Any) -> Study:
    segmentation = kind == "segmentation"
    task = {"kind": kind, "labels": ["lesion"], "dimensions": 2} | ({} if segmentation else {"target": "binary"})
    parameters = {"channels": (8, 16), "strides": (2,)} if segmentation else {"widths": (8, 16), "norm": norm}
    return build_study(
        {
            "schema": 1,
            "name": "study",
            "title": "Study",
            "sites": ["one"],
            "task": task,
            "input": {"size": (16, 16)},
            "model": {"name": "unet" if segmentation else "small_cnn", "parameters": parameters},
            "training": {"rounds": 4, "epochs": 4, "batch_size": 4, "loss": "dice_ce" if segmentation else "bce"}
            | training,
        }
    )


def bright_discs(count: int = 24, *, masks: bool = False) -> PreparedSet:
    """Noise; in every second image a bright disc somewhere."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(count, 1, 16, 16)).astype(np.float32)
    rows, columns = np.indices((16, 16))
    truth = np.zeros((count, 16, 16), np.uint8)
    for index in range(0, count, 2):
        row, column = generator.integers(4, 12, size=2)
        truth[index] = np.hypot(rows - row, columns - column) < 3
    images[:, 0] += 4 * truth
    targets = np.zeros((count, 0), np.uint8) if masks else np.asarray(truth.any(axis=(1, 2)), np.uint8).reshape(-1, 1)
    patients = tuple(f"patient {index}" for index in range(count))
    return PreparedSet(images, truth if masks else None, targets, patients, tuple(range(2, count + 2)), ())


def run(
    plan: Study, model: torch.nn.Module, data: PreparedSet, *, start: int = 0, samples: int = 24, **more: Any
) -> TrainResult:
    arguments: dict[str, Any] = {"progress": 0.0, "seed": 1, "device": CPU, "optimizer_state": None} | more
    return train(model, data, np.arange(len(data.images)), plan, start=start, samples=samples, **arguments)


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_loss_falls(kind: str) -> None:
    plan, data = study(kind, learning_rate=0.01), bright_discs(masks=kind == "segmentation")
    model = build_model(plan, seed=0)
    first = run(plan, model, data)
    state = first.optimizer_state
    for number in range(1, 12):
        last = run(plan, model, data, start=24 * number, optimizer_state=state)
        state = last.optimizer_state
    assert first.samples == 24
    assert first.steps == 6
    assert first.seconds > 0
    assert last.loss < 0.5 * first.loss


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_the_same_arguments_give_the_same_bytes(kind: str) -> None:
    plan = study(kind, augmentation=["flip_lr", "rotate", "shift", "scale", "intensity", "gamma", "noise"])
    data = bright_discs(masks=kind == "segmentation")
    results = []
    for noise in (0, 99):
        torch.manual_seed(noise)  # must not matter
        model = build_model(plan, seed=0)
        before = torch.random.get_rng_state()
        outcome = run(plan, model, data, samples=30)
        assert torch.equal(before, torch.random.get_rng_state())
        state = b"".join(array.tobytes() for array in state_arrays(model).values())
        results.append((state, outcome.loss, {key: value.tobytes() for key, value in outcome.optimizer_state.items()}))
    assert results[0] == results[1]
    other = build_model(plan, seed=0)
    run(plan, other, data, samples=30, seed=2)
    assert b"".join(array.tobytes() for array in state_arrays(other).values()) != results[0][0]


def test_a_fresh_process_continues_exactly_from_the_stored_state() -> None:
    plan, data = study(), bright_discs()
    whole, resumed = build_model(plan, seed=0), build_model(plan, seed=0)
    state = None
    for start in (0, 8, 16):
        state = run(plan, whole, data, start=start, samples=8, optimizer_state=state).optimizer_state
    stored = run(plan, resumed, data, samples=8).optimizer_state
    copied = build_model(plan, seed=5)
    copied.load_state_dict(resumed.state_dict())
    for start in (8, 16):
        stored = run(plan, copied, data, start=start, samples=8, optimizer_state=stored).optimizer_state
    for name, array in state_arrays(whole).items():
        np.testing.assert_array_equal(array, state_arrays(copied)[name])


@pytest.mark.parametrize(
    "optimizer", [{"optimizer": "adamw"}, {"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.9}]
)
@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_rounds_with_a_kept_state_are_one_training(kind: str, optimizer: dict[str, Any]) -> None:
    """Weights lie in channels-last memory and a stored state does not: its values must meet their own weights again."""
    plan, data = study(kind, learning_rate=0.01, **optimizer), bright_discs(masks=kind == "segmentation")
    whole, cut, fresh = (build_model(plan, seed=0) for _ in range(3))
    run(plan, whole, data, samples=48)
    state = run(plan, cut, data, samples=24).optimizer_state
    fresh.load_state_dict(cut.state_dict())
    run(plan, cut, data, start=24, samples=24, optimizer_state=state)
    run(plan, fresh, data, start=24, samples=24)
    expected, found, forgot = (state_arrays(model) for model in (whole, cut, fresh))
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found[name])
    assert any(not np.array_equal(array, forgot[name]) for name, array in expected.items()), "the state matters"


def test_reset_returns_no_optimizer_state() -> None:
    plan, data = study(optimizer_state="reset"), bright_discs()
    assert run(plan, build_model(plan, seed=0), data, samples=4).optimizer_state == {}


def test_cosine_schedule_shrinks_the_step() -> None:
    plan, data = study(schedule="cosine", optimizer="sgd"), bright_discs()
    moved = []
    for progress in (0.0, 0.9):
        model = build_model(plan, seed=0)
        before = state_arrays(model)
        run(plan, model, data, samples=4, progress=progress)
        moved.append(sum(float(np.abs(array - before[name]).sum()) for name, array in state_arrays(model).items()))
    assert moved[1] == pytest.approx(0.0245 * moved[0], rel=0.05)


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_class_weights_change_the_training(kind: str) -> None:
    data = bright_discs(masks=kind == "segmentation")
    data.targets[: len(data.targets) // 2] = 0
    losses = []
    for weight in ("none", "inverse_frequency"):
        plan = study(kind, class_weight=weight)
        losses.append(run(plan, build_model(plan, seed=0), data, samples=8).loss)
    assert losses[0] != losses[1]


def test_divergence_is_refused() -> None:
    data = bright_discs()
    plan = study(learning_rate=1e18, optimizer="sgd")
    with pytest.raises(WardroundError) as refused:
        run(plan, build_model(plan, seed=0), data)
    assert refused.value.code == "WR-1203"
    assert "patient" not in str(refused.value)
    plan = study(learning_rate=1e-3, optimizer="sgd")
    assert np.isfinite(run(plan, build_model(plan, seed=0), data).loss)


def test_one_image_and_batch_normalisation_is_refused() -> None:
    data = bright_discs()
    plan = study(norm="batch")
    with pytest.raises(WardroundError) as refused:
        run(plan, build_model(plan, seed=0), data, samples=1)
    assert refused.value.code == "WR-1204"
    assert run(plan, build_model(plan, seed=0), data, samples=5).steps == 2
    plan = study(norm="group")
    assert run(plan, build_model(plan, seed=0), data, samples=1).steps == 1


def test_no_samples_is_a_bug() -> None:
    plan = study()
    with pytest.raises(ValueError, match="at least one image"):
        run(plan, build_model(plan, seed=0), bright_discs(), samples=0)


def test_placing_a_model_twice_moves_nothing() -> None:
    model = build_model(study("segmentation"), seed=0)
    place_model(model, CPU)
    places = [parameter.data_ptr() for parameter in model.parameters()]
    place_model(model, CPU)
    assert places == [parameter.data_ptr() for parameter in model.parameters()]
    assert any(parameter.ndim == 4 and not parameter.is_contiguous() for parameter in model.parameters())


def test_weights_of_images_and_of_volumes_lie_in_memory_as_each_is_used() -> None:
    model = torch.nn.ModuleList([torch.nn.Conv2d(2, 3, 3), torch.nn.Conv3d(2, 3, 3), torch.nn.Linear(2, 3)])
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for by_patient in (False, True, False):
        place_model(model, CPU, by_patient=by_patient)
        assert model[0].weight.is_contiguous() is by_patient
        assert model[0].weight.is_contiguous(memory_format=torch.channels_last) is not by_patient
        assert model[1].weight.is_contiguous() is by_patient
        assert model[1].weight.is_contiguous(memory_format=torch.channels_last_3d) is not by_patient
        assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


@pytest.mark.gpu
def test_a_gpu_comes_near_the_cpu() -> None:
    plan, data = study(), bright_discs()
    losses = []
    for name in ("cpu", "cuda"):
        model = build_model(plan, seed=0)
        losses.append(run(plan, model, data, device=choose_device(name)).loss)
    assert losses[1] == pytest.approx(losses[0], abs=0.02)
