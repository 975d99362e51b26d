"""FedAvg against hand-computed numbers."""

from __future__ import annotations

import numpy as np
import pytest

from wardround.common.algorithms import fedavg


def f32(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_one_round_by_hand() -> None:
    model = f32(1, 1)
    first = fedavg.site_update(f32(2, 3), model)  # (1, 2), 30 patients
    second = fedavg.site_update(f32(0, 1), model)  # (-1, 0), 10 patients
    total = 30 * first + 10 * second  # (20, 60)
    np.testing.assert_array_equal(fedavg.server_step(model, total, 40, 1.0), f32(1.5, 2.5))


def test_with_server_rate_one_the_models_are_averaged() -> None:
    generator = np.random.default_rng(0)
    model = generator.normal(size=50).astype(np.float32)
    locals_ = generator.normal(size=(3, 50)).astype(np.float32)
    weights = np.array([5, 1, 4])
    total = sum(
        np.float32(weight) * fedavg.site_update(local.copy(), model)
        for weight, local in zip(weights, locals_, strict=True)
    )
    averaged = np.average(locals_.astype(np.float64), axis=0, weights=weights)
    stepped = fedavg.server_step(model.copy(), np.asarray(total, dtype=np.float32), 10, 1.0)
    np.testing.assert_allclose(stepped, averaged, atol=1e-6)


def test_the_server_rate_scales_the_step() -> None:
    np.testing.assert_array_equal(fedavg.server_step(f32(1, 1), f32(4, 8), 4, 0.5), f32(1.5, 2))


def test_weights_are_patients_or_equal() -> None:
    assert fedavg.site_weight("patients", 17) == 17
    assert fedavg.site_weight("equal", 17) == 1


def test_no_weight_no_step() -> None:
    with pytest.raises(ValueError, match="above 0"):
        fedavg.server_step(f32(1), f32(1), 0, 1.0)
