"""The round engine against hand-computed rounds, hostile replies and missing sites."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyRunId
from wardround.common.rounds.work import is_validated
from wardround.common.study import Study, build_study
from wardround.common.vector import Entry, Layout
from wardround.common.wire.base import RunContext
from wardround.common.wire.messages import Trained, Validated
from wardround.server.rounds.committed import Committed
from wardround.server.rounds.engine import RoundEngine

A, B = SiteId("a"), SiteId("b")
LAYOUT = Layout((Entry("weight", (2,)),))
PATIENTS = {A: 3, B: 1}
WORK = {A: 15, B: 5}
"""Samples of each site in each of two rounds of 40 samples in all."""


def study(**sections: Any) -> Study:
    training = {"rounds": 2, "epochs": 2, "loss": "bce"} | sections.pop("training", {})
    return build_study(
        {
            "schema": 1,
            "name": "small",
            "title": "Small",
            "sites": ["a", "b"],
            "task": {"kind": "classification", "target": "binary", "labels": ["x"], "dimensions": 2},
            "input": {"size": [64, 64]},
            "model": {"name": "small_cnn"},
            "training": training,
            "selection": {"rule": "last"},
            **sections,
        }
    )


def engine(plan: Study, total: int = 40) -> RoundEngine:
    context = RunContext(study=plan.id, run=StudyRunId("run"), seed=0)
    return RoundEngine(
        plan,
        context=context,
        layout=LAYOUT,
        committed=Committed(plan, np.array([1, 1], dtype=np.float32)),
        samples={B: 10, A: 30},
        patients=PATIENTS,
        total=total,
    )


def trained(site: SiteId, number: int = 1, **more: Any) -> Trained:
    fields: dict[str, Any] = {"loss": 0.5, "train_seconds": 0.1, "seconds": 0.2}
    fields |= {"patients": PATIENTS[site], "samples": WORK[site]} | more
    return Trained(site=site, round=number, **fields)


def f32(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


def test_work_is_divided_over_sites_and_rounds() -> None:
    run = engine(study())
    first = run.open_round()
    assert {site: (ask.start, ask.samples) for site, ask in first.items()} == {A: (0, 15), B: (0, 5)}
    for site in first:
        run.receive(site, trained(site), f32(0, 0))
    run.close_round(1.0)
    assert {site: (ask.start, ask.samples) for site, ask in run.open_round().items()} == {A: (15, 15), B: (5, 5)}


def test_a_round_weighted_by_patients() -> None:
    run = engine(study())
    run.open_round()
    run.receive(B, trained(B, loss=1.0), f32(-1, 0))
    run.receive(A, trained(A, loss=0.0), f32(1, 2))
    record = run.close_round(2.5)
    np.testing.assert_array_equal(run.model, f32(1.5, 2.5))
    assert (record.sites, record.samples, record.train_loss, record.seconds) == ((A, B), 20, 0.25, 2.5)


def test_a_round_with_equal_weights() -> None:
    run = engine(study(aggregation={"weights": "equal"}))
    run.open_round()
    run.receive(A, trained(A), f32(1, 2))
    run.receive(B, trained(B), f32(-1, 0))
    run.close_round(1.0)
    np.testing.assert_array_equal(run.model, f32(1, 2))


@pytest.mark.parametrize(
    ("reply", "update", "reason"),
    [
        (trained(B), f32(1, 1), "another site"),
        (trained(A, number=2), f32(1, 1), "round 2"),
        (trained(A), f32(1, np.nan), "not finite"),
        (trained(A), f32(-np.inf, 0), "not finite"),
        (trained(A), f32(3e38, 0), "too large"),
        (trained(A), f32(0, -3e38), "too large"),
        (trained(A, patients=0), f32(1, 1), "no training patient"),
        (trained(A, patients=2**53), f32(1, 1), "described 3 training patients"),
        (trained(A, samples=14), f32(1, 1), "14 samples instead of 15"),
        (trained(A, samples=10**9), f32(1, 1), "instead of 15"),
    ],
)
def test_unusable_updates_leave_their_site_out(reply: Trained, update: Any, reason: str) -> None:
    run = engine(study())
    run.open_round()
    run.receive(A, reply, update)
    run.receive(B, trained(B), f32(2, 4))
    record = run.close_round(1.0)
    assert reason in record.dropped[A]
    assert record.sites == (B,)
    np.testing.assert_array_equal(run.model, f32(3, 5))


def test_a_site_missing_in_the_last_validation_is_a_loss() -> None:
    run = engine(study(training={"rounds": 1}), total=20)
    run.open_round()
    for site in (A, B):
        run.receive(site, trained(site), f32(0, 0))
    run.close_round(1.0)
    run.validated({A: Validated(site=A, loss=0.5)})
    assert not run.history.rounds[-1].dropped
    run.validated({A: Validated(site=A, loss=0.5)}, {B: "WR-1304: not approved"})
    assert "WR-1304" in run.history.rounds[-1].dropped[B]


def test_rounds_without_work_are_refused_before_training() -> None:
    assert engine(study(training={"rounds": 30}), total=40).open_round()
    with pytest.raises(WardroundError) as refused:
        engine(study(training={"rounds": 50}), total=40)
    assert refused.value.code == "WR-1308"


def test_without_any_validation_no_model_is_chosen() -> None:
    chosen = two_rounds(study(selection={"rule": "validation"}), (0.1, 0.2))
    assert chosen.chosen().round == 1
    run = engine(study(selection={"rule": "validation"}, training={"rounds": 1}), total=20)
    run.open_round()
    for site in (A, B):
        run.receive(site, trained(site), f32(0, 0))
    run.close_round(1.0)
    with pytest.raises(WardroundError) as refused:
        run.chosen()
    assert refused.value.code == "WR-1307"


def test_too_few_sites_stop_the_round_and_keep_the_model() -> None:
    run = engine(study(aggregation={"min_sites": 2}))
    run.open_round()
    run.receive(A, trained(A), f32(2, 4))
    run.drop(B, "WR-1203: the loss is not finite")
    with pytest.raises(WardroundError, match="the loss is not finite") as refused:
        run.close_round(1.0)
    assert refused.value.code == "WR-1303"
    np.testing.assert_array_equal(run.model, f32(1, 1))


def test_rounds_cannot_overlap_or_go_on_for_ever() -> None:
    run = engine(study(training={"rounds": 1}), total=20)
    run.open_round()
    with pytest.raises(RuntimeError):
        run.open_round()
    for site in (A, B):
        run.receive(site, trained(site), f32(0, 0))
    run.close_round(1.0)
    assert run.finished
    with pytest.raises(RuntimeError):
        run.open_round()


def two_rounds(plan: Study, losses: tuple[float, float]) -> RoundEngine:
    """The model is (2, 2) after round 1 and (3, 3) after round 2, with these validation losses."""
    run = engine(plan)
    for number, before in ((1, 9.0), (2, losses[0])):
        run.open_round()
        for site in (A, B):
            run.receive(site, trained(site, number, validation_loss=before, validation_metric=0.5), f32(1, 1))
        run.close_round(1.0)
    run.validated({site: Validated(site=site, loss=losses[1]) for site in (A, B)})
    return run


@pytest.mark.parametrize(("losses", "value", "number"), [((0.1, 0.2), 2, 1), ((0.2, 0.1), 3, 2), ((0.1, 0.1), 2, 1)])
def test_validation_chooses_the_round_with_the_lowest_loss(
    losses: tuple[float, float], value: float, number: int
) -> None:
    chosen = two_rounds(study(selection={"rule": "validation"}), losses).chosen()
    assert (chosen.model[0], chosen.round) == (value, number)


def test_last_and_moving_average() -> None:
    assert two_rounds(study(), (0.1, 0.2)).chosen().model[0] == 3
    average = two_rounds(study(selection={"rule": "ema", "ema_decay": 0.75}), (0.1, 0.2)).chosen()
    assert average.model[0] == pytest.approx(0.75 * 2 + 0.25 * 3)


@pytest.mark.parametrize(
    ("rule", "rounds", "expected"),
    [("validation", 45, 45), ("ema", 45, 9), ("last", 10, 10), ("last", 16, 8), ("ema", 2, 2)],
)
def test_validation_is_as_frequent_as_the_rule_needs(rule: str, rounds: int, expected: int) -> None:
    plan = study(selection={"rule": rule}, training={"rounds": rounds})
    assert sum(is_validated(plan, number) for number in range(1, rounds + 1)) == expected
    assert engine(plan, total=4000).open_round()[A].validate_first


def test_validation_belongs_to_the_model_that_was_received() -> None:
    history = two_rounds(study(), (0.1, 0.2)).history
    assert [(item.round, item.mean_loss) for item in history.validations] == [(0, 9.0), (1, 0.1), (2, 0.2)]
