"""The private engine: numbers never given twice, a log that names every commit, rounds that come back whole."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from wardround.common.crypto.signing import SigningKey
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyRunId
from wardround.common.roster import Member, Roster
from wardround.common.rounds.encodings import encoding_of
from wardround.common.secagg.coordinator_attempt import RECORD
from wardround.common.secagg.coordinator_record import CoordinatorRecord
from wardround.common.secagg.coordinator_session import offer
from wardround.common.secagg.encoding import DecodedSum
from wardround.common.secagg.masks import add_masks
from wardround.common.secagg.messages import Survivors, packet_bytes
from wardround.common.secagg.parameters import Threshold
from wardround.common.study import build_study
from wardround.common.vector import Entry, Layout
from wardround.server.private.attempt import Opened
from wardround.server.private.engine import PrivateEngine, Travelled
from wardround.server.private.records import JoinedSession, RunRecords
from wardround.server.private.store import FolderStore

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.study import Study

LAYOUT = Layout((Entry("weight", (2,)),))
SITES = tuple(SiteId(name) for name in ("a", "b", "c", "d"))
COST = Travelled(1.5, 100, 200)


def study(rule: str = "validation", **aggregation: Any) -> Study:
    return build_study(
        {
            "schema": 1,
            "name": "small",
            "title": "Small",
            "sites": list(SITES),
            "task": {"kind": "classification", "target": "binary", "labels": ["x"], "dimensions": 2},
            "input": {"size": [64, 64]},
            "model": {"name": "small_cnn"},
            "training": {"rounds": 2, "epochs": 2, "loss": "bce"},
            "aggregation": {"mode": "private", "secure": {"update_rms": 0.01}} | aggregation,
            "selection": {"rule": rule},
        }
    )


def engine(folder: Path, plan: Study) -> PrivateEngine:
    keys = {site: SigningKey(bytes([place]) * 32).public.hex() for place, site in enumerate(SITES)}
    roster = Roster(consortium="clinics", version=1, members={s: Member(key=k) for s, k in keys.items()})
    sizes = Threshold(3, 1, plan.secure.strength)
    run = StudyRunId("run")
    context = offer(roster, plan.id, run, settings=bytes(32), session=1, cohort=SITES[:3], sizes=sizes)
    return PrivateEngine(
        plan,
        layout=LAYOUT,
        model=np.array([1, 1], dtype=np.float32),
        session=JoinedSession(context, bytes(32)),
        outside={SITES[3]: "not connected"},
        roster=roster,
        records=RunRecords(FolderStore(folder), plan),
        unmask=add_masks,
    )


def opened(total: tuple[float, float], weight: int, loss: float = 0.5, **changes: Any) -> Opened:
    """A sum over three sites; each gave both losses."""
    scalars = {"training_loss": 1.5, "validation_loss": 3 * loss}
    counts = {"training_loss": 3, "validation_loss": 3} | changes
    decoded = DecodedSum(np.array(total, dtype=np.float32), weight, scalars, counts)
    return Opened(decoded, SITES[:3], {}, {SITES[0]: "no answer"})


def test_a_round_steps_by_the_weighted_mean_and_is_recorded(tmp_path: Path) -> None:
    run = engine(tmp_path, study())
    attempt = run.begin()
    record = run.commit(attempt.context, opened((0.3, -0.6), 300), ("too few",), COST)
    np.testing.assert_allclose(run.committed.model, [1 + 0.3 / 0.3, 1 - 0.6 / 0.3], rtol=1e-6)
    assert (record.samples, record.train_loss, record.train_seconds) == (None, 0.5, None)
    assert (record.seconds, record.bytes_up, record.bytes_down) == (1.5, 100, 200)
    assert record.dropped == {"d": "not in the session: not connected"}
    assert (record.sites, record.silent, record.failed) == (SITES[:3], {"a": "no answer"}, ("too few",))
    (validation,) = run.committed.history.validations
    assert (validation.round, validation.mean_loss) == (0, 0.5)
    assert validation.mean is not None
    assert validation.mean.sites == 3


def test_equal_weights_have_a_cap_of_one(tmp_path: Path) -> None:
    run = engine(tmp_path, study(weights="equal"))
    run.commit(run.begin().context, opened((0.3, -0.6), 3), (), COST)
    np.testing.assert_allclose(run.committed.model, [1.1, 0.8], rtol=1e-6)


def test_a_sum_without_weight_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    run = engine(tmp_path, study())
    with pytest.raises(WardroundError) as refused:
        run.commit(run.begin().context, opened((0.0, 0.0), 0), (), COST)
    assert refused.value.code == "WR-1713"
    assert (run.next_round, run.committed.history.validations) == (1, ())
    run.commit(run.begin().context, opened((0.0, 0.0), 1), (), COST)
    assert run.next_round == 2


def test_numbers_of_attempts_are_never_given_twice(tmp_path: Path) -> None:
    plan = study()
    numbers = []
    for _ in range(3):
        run = engine(tmp_path, plan)  # a restart
        numbers += [run.begin().context.attempt, run.begin().context.attempt]
    assert numbers == [1, 2, 3, 4, 5, 6]
    run.commit(run.begin().context, opened((0.1, 0.1), 100), (), COST)
    assert engine(tmp_path, plan).begin().context.attempt == 1
    records = RunRecords(FolderStore(tmp_path), plan)
    assert [records.next_session(), RunRecords(FolderStore(tmp_path), plan).next_session()] == [1, 2]


def test_the_context_of_a_round_names_model_layout_and_encoding(tmp_path: Path) -> None:
    plan = study()
    run = engine(tmp_path, plan)
    first = run.begin().context
    assert (first.round, first.encoding) == (1, encoding_of(plan, LAYOUT, 1).digest)
    run.commit(first, opened((0.1, 0.1), 100), (), COST)
    second = run.begin().context
    assert (second.round, second.layout, second.model != first.model) == (2, first.layout, True)
    run.commit(second, opened((0.1, 0.1), 100), (), COST)
    last = run.begin().context
    assert (last.round, last.encoding) == (3, encoding_of(plan, LAYOUT, 3).digest)
    assert last.encoding != first.encoding


@pytest.mark.parametrize("rule", ["validation", "ema", "last"])
def test_a_restart_goes_on_with_what_was_committed(rule: str, tmp_path: Path) -> None:
    plan = study(rule)
    straight, broken = engine(tmp_path / "straight", plan), tmp_path / "broken"
    for number, loss in ((1, 0.9), (2, 0.2)):
        for run in (straight, engine(broken, plan)):
            run.commit(run.begin().context, opened((0.1 * number, 0.3), 200, loss), ("x",), COST)
    for run in (straight, resumed := engine(broken, plan)):
        run.commit_validation(run.begin().context, opened((0.0, 0.0), 0, 0.7))
    again = engine(broken, plan).committed
    assert resumed._head == straight._head
    assert again.history == straight.committed.history == resumed.committed.history
    assert again.finished
    found, expected = again.chosen(), straight.committed.chosen()
    assert (found.round, found.rule) == (expected.round, expected.rule)
    assert found.model.tobytes() == expected.model.tobytes()
    assert again.model.tobytes() == straight.committed.model.tobytes()


def test_the_head_of_the_log_covers_model_survivors_and_order(tmp_path: Path) -> None:
    heads = set()
    for place, (total, sites) in enumerate((((0.1, 0.1), 3), ((0.2, 0.1), 3), ((0.1, 0.1), 2))):
        run = engine(tmp_path / str(place), study())
        before = run._head
        found = opened(total, 100)
        run.commit(run.begin().context, Opened(found.decoded, SITES[:sites], {}, {}), (), COST)
        heads |= {before, run._head}
    assert len(heads) == 4
    assert all(len(head) == 32 for head in heads)


def test_sites_missing_in_the_last_validation_are_noted(tmp_path: Path) -> None:
    run = engine(tmp_path, study())
    for _ in range(2):
        run.commit(run.begin().context, opened((0.1, 0.1), 100), (), COST)
    found = opened((0.0, 0.0), 0, 0.25)
    run.commit_validation(run.begin().context, Opened(found.decoded, SITES[:2], {SITES[2]: "gone"}, {}))
    newest = run.committed.history.rounds[-1]
    assert newest.dropped[SITES[2]] == "not in the last validation: gone"
    assert run.committed.history.validations[-1].round == 2
    assert run.committed.chosen().round == 2


def test_a_validation_that_no_site_could_make_is_not_noted(tmp_path: Path) -> None:
    run = engine(tmp_path, study())
    run.commit(run.begin().context, opened((0.1, 0.1), 100, validation_loss=0), (), COST)
    assert run.committed.history.validations == ()
    run.commit(run.begin().context, opened((0.1, 0.1), 100), (), COST)
    (found,) = run.committed.history.validations
    assert found.mean_loss < math.inf


def test_a_round_stays_bound_to_the_sites_that_were_asked_for_shares(tmp_path: Path) -> None:
    run = engine(tmp_path, study())
    run.begin()
    assert run.asked == run.cohort
    run.bind(SITES[:3])
    restarted = engine(tmp_path, study())
    assert restarted.asked == SITES[:3]
    restarted.commit(restarted.begin().context, opened((0.1, 0.1), 100), (), COST)
    assert restarted.asked == restarted.cohort


def test_a_failure_while_a_later_attempt_is_fixed_does_not_stop_the_run(tmp_path: Path) -> None:
    """Its sum replaces the earlier attempt's before its record does."""
    run = engine(tmp_path, study())
    first = run.begin()
    sums = np.zeros(run.encoding.size, dtype=run.encoding.ring.dtype)
    packets = {1: bytes(packet_bytes(3)), 2: bytes(packet_bytes(3))}
    survivors = Survivors(first.context.digest, (0,), bytes(32))
    record = CoordinatorRecord(first.context, survivors, {0: (bytes(32),) * 3}, {0: packets})
    store = FolderStore(tmp_path)
    store.keep_sum(first.context.digest.hex(), sums)
    store.commit({RECORD: record.encode()})
    assert engine(tmp_path, study()).pending() is not None  # it could be gone on with
    second = engine(tmp_path, study()).begin()
    FolderStore(tmp_path).keep_sum(second.context.digest.hex(), sums)
    assert engine(tmp_path, study()).pending() is None


def test_damaged_records_are_refused(tmp_path: Path) -> None:
    plan = study()
    run = engine(tmp_path, plan)
    run.commit(run.begin().context, opened((0.1, 0.1), 100), (), COST)
    engine(tmp_path, plan)
    model = tmp_path / f"{hashlib.sha256(run.committed.model.tobytes()).hexdigest()}.f32"
    model.write_bytes(model.read_bytes()[:-4] + bytes(4))
    with pytest.raises(WardroundError) as refused:
        engine(tmp_path, plan)
    assert refused.value.code == "WR-1714"
