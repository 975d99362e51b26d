"""Hospitals pay before they train, once for each computation, and refuse what their patients cannot pay."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.promised_runs import Promised, promised_scenario
from typer.testing import CliRunner

from wardround.client import noisy
from wardround.client.home import Home
from wardround.client.hospital import Hospital
from wardround.client.ledger.patients import Cohort
from wardround.client.noisy import NoisyRounds
from wardround.client.policy import POLICY, Policy
from wardround.client.run_cost import cost_so_far
from wardround.client.secagg.rounds import PrivateRounds
from wardround.client.spending import settle_run, validations_of
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyRunId
from wardround.common.privacy import pld
from wardround.common.privacy.plan import noise_plan
from wardround.common.wire.messages import Describe, Train, Validate
from wardround.common.wire.noisy import Prepare, Settle, TrainNoisy
from wardround.common.wire.private import ProtocolMessage
from wardround.simulations.cli import app
from wardround.simulations.faults import Fault
from wardround.simulations.grid import InProcessGrid
from wardround.simulations.hospitals import VIRTUAL_POLICY

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SITE = SiteId("site0")


def limited(folder: Path, epsilon: float, *, trust: str = "local", rounds: int = 3) -> Promised:
    """Hospitals of which ``site0`` has a limit; the study costs epsilon 2."""
    promised = Promised.of(promised_scenario(rounds=rounds, trust=trust, epsilon=2.0, rate=0.5), folder)
    set_limit(promised, epsilon)
    return promised


def set_limit(promised: Promised, epsilon: float) -> None:
    home = Home(promised.homes[SITE])
    home.ledger.set_limit(epsilon, 1e-5, admin="A. Admin", reason="a test", now=NOW)


def fields(promised: Promised, run: str = "run") -> dict[str, Any]:
    return {"study": promised.study.id, "run": StudyRunId(run), "seed": 0}


def computations(promised: Promised, run: str = "run") -> dict[int, int]:
    ledger = Home(promised.homes[SITE]).ledger
    rounds = range(1, promised.study.training.rounds + 1)
    return {number: ledger.computations(StudyRunId(run), number) for number in rounds}


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_every_round_is_paid_for_once_and_the_run_is_settled(trust: str, tmp_path: Path) -> None:
    promised = limited(tmp_path, 4.0, trust=trust)
    promised.coordinate()
    assert computations(promised) == {1: 1, 2: 1, 3: 1}
    state = Home(promised.homes[SITE]).ledger.state()
    assert state.runs[StudyRunId("run")].settled


def test_a_retry_masks_the_same_update_and_pays_nothing(tmp_path: Path) -> None:
    promised = limited(tmp_path, 4.0, trust="distributed")
    silent = [Fault(site="site1", round=2, stage="upload", attempts=1)]
    history = promised.coordinate(InProcessGrid(promised.homes, None, silent))
    assert history["rounds"][1]["attempts"] == 2, "the positive control: the round was tried again"
    assert computations(promised) == {1: 1, 2: 1, 3: 1}


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_a_second_study_that_the_patients_cannot_pay_is_not_trained(trust: str, tmp_path: Path) -> None:
    promised = limited(tmp_path, 3.0, trust=trust)
    promised.coordinate()
    with pytest.raises(WardroundError) as refused:
        promised.coordinate(run="again")
    assert "WR-1807" in refused.value.what
    assert computations(promised, "again") == {1: 0, 2: 0, 3: 0}
    set_limit(promised, 9.0)  # the positive control
    promised.coordinate(run="after")
    assert computations(promised, "after") == {1: 1, 2: 1, 3: 1}


def test_a_hospital_that_sees_no_limit_takes_no_part(tmp_path: Path) -> None:
    promised = limited(tmp_path, 4.0)
    for name in ("ledger.sqlite", "ledger.head"):
        (promised.homes[SITE] / name).unlink()
    with pytest.raises(WardroundError) as refused:
        promised.coordinate()
    assert "WR-1808" in refused.value.what


def test_without_noise_a_limit_refuses_the_study(tmp_path: Path) -> None:
    scenario = promised_scenario(trust="local")  # epsilon infinite
    Promised.of(scenario, tmp_path / "free").coordinate()  # the positive control: nothing promised, nothing refused
    promised = Promised.of(scenario, tmp_path / "limited")
    set_limit(promised, 1000.0)
    with pytest.raises(WardroundError) as refused:
        promised.coordinate()
    assert "WR-1809" in refused.value.what


def test_a_hospital_that_restarts_gives_the_same_update_again(tmp_path: Path) -> None:
    """The same also after a restart; only where its disk forgot does it compute, and pay, again."""
    promised = limited(tmp_path, 8.0)
    hospital = NoisyRounds(Hospital(Home(promised.homes[SITE]), {}))
    hospital.prepare(Prepare(**fields(promised)))
    question = TrainNoisy(**fields(promised), layout=promised.layout.hash, round=1)
    _, first = hospital.train(question, promised.initial)
    _, same = hospital.train(question, promised.initial)
    assert first.tobytes() == same.tobytes()
    assert computations(promised)[1] == 1
    _, kept = NoisyRounds(Hospital(Home(promised.homes[SITE]), {})).train(question, promised.initial)
    assert kept.tobytes() == first.tobytes()
    assert computations(promised)[1] == 1
    file = Home(promised.homes[SITE]).run_folder("run") / "newest.round"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WardroundError) as damaged:
        NoisyRounds(Hospital(Home(promised.homes[SITE]), {})).train(question, promised.initial)
    assert damaged.value.code == "WR-1714"
    file.unlink()
    _, fresh = NoisyRounds(Hospital(Home(promised.homes[SITE]), {})).train(question, promised.initial)
    assert np.count_nonzero(fresh == first) < 0.01 * first.size, "the noise is new"
    assert computations(promised)[1] == 2


def test_a_round_that_was_paid_for_and_not_finished_is_checked_and_paid_for_like_every_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed after the payment has no key to the noise of before: what is computed again is a new debit."""
    promised = limited(tmp_path, 8.0)
    home, question = Home(promised.homes[SITE]), TrainNoisy(**fields(promised), layout=promised.layout.hash, round=1)
    NoisyRounds(Hospital(home, {})).prepare(Prepare(**fields(promised)))

    def dies(*_: object) -> None:
        raise MemoryError

    def killed(asked: TrainNoisy) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(noisy.NoisyWork, "train", dies)
            with pytest.raises(MemoryError):
                NoisyRounds(Hospital(home, {})).train(asked, promised.initial)

    killed(question)
    assert computations(promised)[1] == 1, "the positive control: it was paid for"
    NoisyRounds(Hospital(home, {})).train(question, promised.initial)
    assert computations(promised)[1] == 2
    killed(question.model_copy(update={"round": 2}))
    hospital = Hospital(home, {})
    patients = hospital.data(promised.study).prepared.patients
    home.ledger.withdraw(Cohort.of({home.patient_key(patient) for patient in patients}), now=NOW)
    with pytest.raises(WardroundError, match="WR-1810"):
        NoisyRounds(Hospital(home, {})).train(question.model_copy(update={"round": 2}), promised.initial)


def test_nothing_is_trained_that_was_not_reserved_or_is_over(tmp_path: Path) -> None:
    promised = limited(tmp_path, 8.0)
    hospital = NoisyRounds(Hospital(Home(promised.homes[SITE]), {}))
    question = TrainNoisy(**fields(promised), layout=promised.layout.hash, round=1)
    with pytest.raises(WardroundError) as unreserved:
        hospital.train(question, promised.initial)
    hospital.prepare(Prepare(**fields(promised)))
    hospital.train(question, promised.initial)  # the positive control
    hospital.settle(Settle(**fields(promised)))
    with pytest.raises(WardroundError) as settled:
        hospital.train(question.model_copy(update={"round": 2}), promised.initial)
    with pytest.raises(WardroundError) as beyond:
        hospital.train(question.model_copy(update={"round": 4}), promised.initial)
    assert [error.value.code for error in (unreserved, settled, beyond)] == ["WR-1815", "WR-1815", "WR-1301"]


def test_questions_for_numbers_without_noise_are_refused(tmp_path: Path) -> None:
    promised = limited(tmp_path, 8.0)
    hospital, asked = Hospital(Home(promised.homes[SITE]), {}), fields(promised)
    layout, model = promised.layout.hash, promised.initial
    train = Train(**asked, layout=layout, round=1, rounds=3, start=0, samples=4)
    for step in (
        lambda: hospital.describe(Describe(**asked)),
        lambda: hospital.validate(Validate(**asked, layout=layout), model),
        lambda: hospital.train(train, model),
    ):
        with pytest.raises(WardroundError) as refused:
            step()
        assert refused.value.code == "WR-1715"
    assert not computations(promised)[1]


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_validations_are_paid_for_by_the_validation_patients(trust: str, tmp_path: Path) -> None:
    paid = {"epsilon": 1.0, "times": 2}
    scenario = promised_scenario(rounds=4, trust=trust, epsilon=2.0, rate=0.5, validation=paid)
    promised = Promised.of(scenario, tmp_path)
    set_limit(promised, 4.0)
    promised.coordinate()
    ledger = Home(promised.homes[SITE]).ledger
    validations = validations_of(StudyRunId("run"))
    assert computations(promised) == {1: 1, 2: 1, 3: 1, 4: 1}
    assert [ledger.computations(validations, number) for number in (1, 2)] == [1, 1]
    run, checked = ledger.state().runs[StudyRunId("run")], ledger.state().runs[validations]
    assert run.reserved.cohort != checked.reserved.cohort, "other patients"
    assert run.settled
    assert checked.settled


def test_a_run_that_is_left_gives_back_what_it_never_spent(tmp_path: Path) -> None:
    """A site is asked to leave a run of which one round was trained: the other two are free for another study."""
    promised = limited(tmp_path, 3.0, trust="distributed")
    silent = [Fault(site="site1", round=2, stage="upload")]
    with pytest.raises(WardroundError, match="WR-1711"):
        promised.coordinate(InProcessGrid(promised.homes, None, silent))
    home = Home(promised.homes[SITE])
    ledger = home.ledger
    assert ledger.state().runs[StudyRunId("run")].open_rounds == 1, "two rounds were trained, of three"
    left = CliRunner().invoke(app, ["hospital", "leave", "run", "--home", str(home.path)])
    assert left.exit_code == 0, left.output
    assert "free again" in left.output
    assert ledger.state().runs[StudyRunId("run")].open_rounds == 0


def test_a_run_without_secure_sum_is_left_in_the_same_way(tmp_path: Path) -> None:
    promised = limited(tmp_path, 9.0, trust="local")
    home = Home(promised.homes[SITE])
    study = promised.study
    cohort = Cohort.of([home.patient_key("somebody")])
    home.ledger.reserve(StudyRunId("other"), study.id, cohort, mechanism=study.promise.step, steps=1, rounds=3, now=NOW)
    runner, place = CliRunner(), ["--home", str(home.path), "--json"]
    left = runner.invoke(app, ["hospital", "leave", "other", *place])
    assert json.loads(left.stdout) == {"run": "other", "erased": False, "settled": ["other"]}
    assert home.ledger.state().runs[StudyRunId("other")].settled
    again = runner.invoke(app, ["hospital", "leave", "other", *place])
    assert again.exception.code == "WR-1941"  # type: ignore[union-attr]


def test_an_interrupted_run_goes_on_with_the_coordinator_s_optimizer_and_pays_nothing_twice(tmp_path: Path) -> None:
    """Without noise an interrupted run ends with the model of one that was not: momentum is kept as well."""
    fields = {"rounds": 3, "optimizer": "sgd", "momentum": 0.9}
    calm, broken = (
        Promised.of(promised_scenario(rounds=3, training=fields), tmp_path / name) for name in ("calm", "broken")
    )
    calm.coordinate()
    silent = [Fault(site="site1", round=2, stage="upload")]
    with pytest.raises(WardroundError, match="WR-1711"):
        broken.coordinate(InProcessGrid(broken.homes, None, silent))
    history = broken.coordinate()
    assert [record["round"] for record in history["rounds"]] == [1, 2, 3]
    assert computations(broken) == {1: 1, 2: 1, 3: 1}
    lattice = noise_plan(broken.study, broken.layout.size).lattice
    np.testing.assert_allclose(broken.model(), calm.model(), rtol=0, atol=40 * lattice.step / 40)
    assert np.abs(calm.model() - calm.initial).max() > 400 * lattice.step / 40, "the positive control: it moved"


def test_a_run_with_the_longest_name_has_validations_too() -> None:
    longest, other = StudyRunId("r" * 128), StudyRunId("r" * 127 + "s")
    assert len(validations_of(longest)) <= 128
    assert validations_of(longest) != validations_of(other)
    assert validations_of(StudyRunId("run")) == "run.validation"


def test_no_name_makes_a_run_look_like_the_validations_of_another(tmp_path: Path) -> None:
    promised = limited(tmp_path, 100.0)
    policy(promised, runs_per_study=2)
    said = {}
    for name in ("run", "run.validation", "run.validation.validation", "x" * 110 + ".validation", "next", "third"):
        hospital = NoisyRounds(Hospital(Home(promised.homes[SITE]), {}))
        try:
            hospital.prepare(Prepare(**fields(promised, name)))
        except WardroundError as error:
            said[name[-30:]] = error.code
        else:
            said[name[-30:]] = "reserved"
    assert list(said.values()) == ["reserved", "WR-1301", "WR-1301", "WR-1301", "reserved", "WR-1712"]


def test_what_a_line_says_is_the_larger_cost_of_training_and_validation_patients(tmp_path: Path) -> None:
    """Where validations are dear it is their figure, where they are cheap that of training."""
    told = {}
    for name, epsilon in (("dear", 8.0), ("cheap", 0.1)):
        scenario = promised_scenario(
            rounds=3, trust="local", epsilon=1.0, rate=0.5, validation={"epsilon": epsilon, "times": 2}
        )
        promised = Promised.of(scenario, tmp_path / name)
        set_limit(promised, 30.0)
        home = Home(promised.homes[SITE])
        hospital = NoisyRounds(Hospital(home, {}))
        hospital.prepare(Prepare(**fields(promised)))
        before = cost_so_far(home, promised.study, StudyRunId("run"))
        for number in (1, 2):  # the first validation is of the model that round 2 begins with
            hospital.train(TrainNoisy(**fields(promised), layout=promised.layout.hash, round=number), promised.initial)
        promise = promised.study.promise
        assert promise.validation is not None
        training, validation = pld.epsilon(promise.step, 2, 1e-5), pld.epsilon(promise.validation.step, 1, 1e-5)
        told[name] = (before, cost_so_far(home, promised.study, StudyRunId("run")), training, validation)
    assert [told[name][0] for name in told] == [0.0, 0.0]
    assert told["dear"][1] == told["dear"][3] > told["dear"][2]
    assert told["cheap"][1] == told["cheap"][2] > told["cheap"][3], "the positive control"


def test_a_round_that_is_over_is_not_computed_again(tmp_path: Path) -> None:
    """Asked for rounds 1, 2, 1, 2, …, each answer would be a fresh release of the same gradients."""
    promised = limited(tmp_path, 100.0)
    policy(promised, runs_per_study=1)
    hospital = NoisyRounds(Hospital(Home(promised.homes[SITE]), {}))
    hospital.prepare(Prepare(**fields(promised)))
    first, second = (TrainNoisy(**fields(promised), layout=promised.layout.hash, round=number) for number in (1, 2))
    hospital.train(first, promised.initial)
    hospital.train(second, promised.initial)
    with pytest.raises(WardroundError) as over:
        hospital.train(first, promised.initial)
    assert over.value.code == "WR-1301"
    hospital.train(second, promised.initial)  # the positive control: the same bytes again
    assert computations(promised) == {1: 1, 2: 1, 3: 0}
    policy(promised, runs_per_study=2)  # such a site lets an interrupted run begin anew
    hospital.train(first, promised.initial)
    assert computations(promised) == {1: 2, 2: 1, 3: 0}


def policy(promised: Promised, **changes: Any) -> None:
    fields = VIRTUAL_POLICY.model_dump(by_alias=True) | changes
    (promised.homes[SITE] / POLICY).write_bytes(Policy.model_validate(fields).as_toml())


def test_policy_limits_the_runs_of_a_study_in_open_mode_too(tmp_path: Path) -> None:
    promised = limited(tmp_path, 100.0)
    policy(promised, runs_per_study=1)
    hospital = NoisyRounds(Hospital(Home(promised.homes[SITE]), {}))
    hospital.prepare(Prepare(**fields(promised, "first")))
    hospital.prepare(Prepare(**fields(promised, "first")))  # the positive control
    with pytest.raises(WardroundError) as refused:
        hospital.prepare(Prepare(**fields(promised, "second")))
    assert refused.value.code == "WR-1712"


def test_a_run_that_was_settled_before_it_trained_does_not_count(tmp_path: Path) -> None:
    promised = limited(tmp_path, 100.0)
    policy(promised, runs_per_study=1)
    home = Home(promised.homes[SITE])
    hospital = NoisyRounds(Hospital(home, {}))
    hospital.prepare(Prepare(**fields(promised, "first")))
    settle_run(home, StudyRunId("first"))
    hospital.prepare(Prepare(**fields(promised, "second")))
    hospital.train(TrainNoisy(**fields(promised, "second"), layout=promised.layout.hash, round=1), promised.initial)
    settle_run(home, StudyRunId("second"))
    for run in ("first", "third"):
        with pytest.raises(WardroundError) as refused:
            hospital.prepare(Prepare(**fields(promised, run)))
        assert refused.value.code == "WR-1712"


def test_a_coordinator_does_not_choose_folds(tmp_path: Path) -> None:
    promised = limited(tmp_path, 100.0)
    folds = fields(promised) | {"fold": 0, "folds": 2}
    policy(promised, cross_validation=False)
    hospital = NoisyRounds(Hospital(Home(promised.homes[SITE]), {}))
    with pytest.raises(WardroundError, match="2 folds") as refused:
        hospital.prepare(Prepare(**folds))
    assert refused.value.code == "WR-1712"
    policy(promised, cross_validation=True)  # the positive control
    hospital.prepare(Prepare(**folds))


def test_a_coordinator_of_a_private_study_does_not_choose_folds_either(tmp_path: Path) -> None:
    promised = limited(tmp_path, 100.0, trust="distributed")
    folds = fields(promised) | {"fold": 0, "folds": 2}
    rounds = PrivateRounds(Hospital(Home(promised.homes[SITE]), {}))
    with pytest.raises(WardroundError) as allowed:  # the positive control: it is refused for another reason
        rounds.join(ProtocolMessage(**folds, content=b""))
    policy(promised, cross_validation=False)
    with pytest.raises(WardroundError) as refused:
        rounds.join(ProtocolMessage(**folds, content=b""))
    assert [error.value.code for error in (allowed, refused)] == ["WR-1706", "WR-1712"]
