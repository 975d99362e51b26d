"""The learning rate's schedule by hand."""

from __future__ import annotations

import pytest

from wardround.common.rounds.schedule import learning_rate
from wardround.common.study import Training


def training(schedule: str) -> Training:
    fields = {"rounds": 4, "epochs": 1, "loss": "bce", "learning_rate": 0.1, "schedule": schedule}
    return Training.model_validate(fields)


def test_schedule() -> None:
    assert learning_rate(training("constant"), 0.9) == 0.1
    cosine = training("cosine")
    assert learning_rate(cosine, 0.0) == pytest.approx(0.1)
    assert learning_rate(cosine, 0.5) == pytest.approx(0.05)
    assert learning_rate(cosine, 0.75) == pytest.approx(0.1 * 0.14644660940672624)
    with pytest.raises(ValueError, match="progress"):
        learning_rate(cosine, 1.0)
