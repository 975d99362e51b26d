"""What rides in a round's secure sum follows from the study, and holds the numbers that rounds have."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest

from wardround.common.rounds.encodings import (
    TRAINING_LOSS,
    VALIDATION_LOSS,
    encoding_of,
    training_encoding,
    validation_encoding,
)
from wardround.common.rounds.work import consumed_before, own_total, samples_in
from wardround.common.study import Study, build_study
from wardround.common.vector import Entry, Layout
from wardround.server.rounds.work import site_totals

LAYOUT = Layout((Entry("first", (3, 2)), Entry("second", (4,))))


def study(sites: int = 5, rounds: int = 7, epochs: float = 3, **aggregation: Any) -> Study:
    secure = {"update_rms": 0.01, "update_rms_of": {"second": 0.5}, "clip_factor": 4.0, "weight_cap": 50}
    return build_study(
        {
            "schema": 1,
            "name": "small",
            "title": "Small",
            "sites": [f"site{number}" for number in range(sites)],
            "task": {"kind": "classification", "target": "binary", "labels": ["x"], "dimensions": 2},
            "input": {"size": [64, 64]},
            "model": {"name": "small_cnn"},
            "training": {"rounds": rounds, "epochs": epochs, "loss": "bce"},
            "aggregation": {"mode": "private", "secure": secure} | aggregation,
        }
    )


def test_bounds_ring_and_weights_are_the_studys() -> None:
    encoding = training_encoding(study(), LAYOUT)
    assert encoding.tensors == ((6, 0.04), (4, 2.0))
    assert (encoding.sites, encoding.weight_cap, encoding.parameters) == (5, 50, 10)
    assert training_encoding(study(weights="equal"), LAYOUT).weight_cap == 1


def test_every_change_of_the_study_is_another_encoding() -> None:
    plans = [study(), study(sites=6), study(weights="equal")]
    digests = {training_encoding(plan, LAYOUT).digest for plan in plans}
    digests |= {validation_encoding(plan).digest for plan in plans}
    assert len(digests) == 6
    assert encoding_of(study(), LAYOUT, 7) == training_encoding(study(), LAYOUT)
    assert encoding_of(study(), LAYOUT, 8) == validation_encoding(study())


@pytest.mark.parametrize(("loss", "counted"), [(0.4, 0.4), (1024.0, 1024.0), (5000.0, 1024.0), (math.inf, 1024.0)])
def test_numbers_of_a_round_come_back(loss: float, counted: float) -> None:
    encoding = training_encoding(study(), LAYOUT)
    given = {TRAINING_LOSS: loss, VALIDATION_LOSS: 0.123456789}
    update = np.zeros(10, dtype=np.float32)
    encoded = [encoding.encode(update, weight=3, scalars=given, random=os.urandom).values for _ in range(5)]
    total = np.sum(encoded, axis=0, dtype=encoding.ring.dtype)
    found = encoding.decode(total, 5)
    assert found.weight == 15
    assert found.counts == dict.fromkeys(given, 5)
    assert found.scalars[TRAINING_LOSS] == pytest.approx(5 * counted, abs=5 * 2**-33)
    assert found.scalars[VALIDATION_LOSS] == pytest.approx(5 * given[VALIDATION_LOSS], abs=5 * 2**-33)


def test_whole_epochs_are_the_work_of_open_mode() -> None:
    samples = {f"site{number}": count for number, count in enumerate((7, 30, 100, 13, 250))}
    plan = study(rounds=7, epochs=3)
    opened = site_totals(samples, 3 * sum(samples.values()))
    assert {site: own_total(plan, count) for site, count in samples.items()} == opened


@pytest.mark.parametrize(("epochs", "samples"), [(0.01, 5), (1, 1), (2.4999, 17), (100, 3)])
def test_no_round_is_without_work(epochs: float, samples: int) -> None:
    plan = study(rounds=11, epochs=epochs)
    total = own_total(plan, samples)
    work = [samples_in(total, 11, number) for number in range(1, 12)]
    assert min(work) >= 1
    assert sum(work) == total
    assert [consumed_before(total, 11, number) for number in range(1, 12)] == np.cumsum([0, *work[:-1]]).tolist()
