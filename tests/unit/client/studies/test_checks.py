"""The hospital's own rules beat every study: for each, one that breaks it is not approved, and one that keeps it is."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

import pytest
from fakes.proposals import NOW, PROMISE, SITES, Consortium, open_study, put_data, study_of

from wardround.client.approval import People, approve
from wardround.client.data.registry import register
from wardround.client.home import Home, write_atomically
from wardround.client.open_runs import join_open_run
from wardround.client.policy import POLICY, Policy
from wardround.client.proposals import pending_decisions
from wardround.client.secagg.runs import joining
from wardround.client.studies.checks import checks
from wardround.client.studies.overview import overview
from wardround.client.studies.rules import WORDS
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyRunId
from wardround.common.wire.base import RunContext

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.study import Study

FOUR = (*SITES, "hill")
SEVEN = (*FOUR, "dale", "moor", "coast")
BOTH = People("M. Roth", "A. Okafor")


def private(**fields: Any) -> Study:
    """A private study without a promise, with changes to its secure sum."""
    secure = {"update_rms": 0.01} | fields.pop("secure", {})
    return study_of(
        **{"privacy": None, "aggregation": {"mode": "private", "weights": "equal", "secure": secure}} | fields
    )


def hospital(folder: Path, policy: Policy | None, *, patients: int = 12, sites: tuple[str, ...] = SEVEN) -> Consortium:
    found = Consortium.around(folder / "home", policy=policy, sites=sites)
    register(found.home, put_data(folder / "data", patients=patients))
    return Consortium(found.authority, Home(found.home.path))


def refused(lungs: Consortium, study: Study, people: People = BOTH) -> WardroundError:
    """Nothing is approved, and no decision waits to be sent."""
    with pytest.raises(WardroundError) as error:
        approve(lungs.home, lungs.propose(study), people, now=NOW)
    assert not lungs.home.is_approved(study.id)
    assert pending_decisions(lungs.home) == ()
    return error.value


def approved(lungs: Consortium, study: Study, people: People = BOTH) -> None:
    signed = approve(lungs.home, lungs.propose(study), people, now=NOW)
    assert lungs.home.approved(study.id) == study
    assert lungs.verified(signed).verdict == "approved"
    assert pending_decisions(lungs.home) == (signed,)


CASES: dict[str, tuple[Policy, Study, Study, str]] = {
    "modes": (Policy(without_privacy=True), open_study(), private(), "WR-1712"),
    "strengths": (
        Policy(without_privacy=True),
        private(secure={"strength": "semi-honest"}),
        private(secure={"strength": "active"}),
        "WR-1712",
    ),
    "colluding": (
        Policy(without_privacy=True, colluding=2),
        private(sites=list(SEVEN), secure={"colluding": 1}),
        private(sites=list(SEVEN), secure={"colluding": 2}),
        "WR-1712",
    ),
    "min_sites": (Policy(without_privacy=True, min_sites=4), private(), private(sites=list(FOUR)), "WR-1712"),
    "without_privacy": (Policy(), private(), study_of(), "WR-1809"),
    "models": (
        Policy(models=("scattering",)),
        study_of(),
        study_of(model={"name": "scattering"}, input={"size": [48, 48]}),
        "WR-1712",
    ),
    "max_epsilon": (
        Policy(max_epsilon=2),
        study_of(privacy=PROMISE | {"epsilon": 2.01}),
        study_of(privacy=PROMISE | {"epsilon": 2}),
        "WR-1712",
    ),
}
"""Field of the policy: a policy, a study that breaks it, one that keeps it, the code."""


@pytest.mark.parametrize("field", CASES)
def test_policy_beats_the_study(field: str, tmp_path: Path) -> None:
    policy, wrong, right, code = CASES[field]
    lungs = hospital(tmp_path, policy)
    lungs.home.ledger.set_limit(None, 0.0, admin="M. Roth", reason="test", now=datetime.now(UTC))
    assert refused(lungs, wrong).code == code
    broken = [check for check in checks(lungs.home, wrong, lungs.home.settings.data) if check.error is not None]
    assert [check.rule for check in broken] == [field]
    approved(lungs, right)


def test_min_patients(tmp_path: Path) -> None:
    small, large = (
        hospital(tmp_path / str(patients), Policy(without_privacy=True, min_patients=12), patients=patients)
        for patients in (11, 12)
    )
    error = refused(small, private())
    assert (error.code, "11 patients; it allows 12 or more" in error.what) == ("WR-1712", True)
    approved(large, private())


@pytest.mark.parametrize("people", [People("M. Roth"), People("M. Roth", "m. roth"), People("", "A. Okafor")])
def test_approvers(people: People, tmp_path: Path) -> None:
    lungs = hospital(tmp_path, Policy(without_privacy=True, approvers=2))
    assert refused(lungs, private(), people).code == "WR-1919"
    approved(lungs, private())


def test_one_approver_is_enough_by_default(tmp_path: Path) -> None:
    lungs = hospital(tmp_path, Policy(without_privacy=True))
    assert refused(lungs, private(), People(" ")).code == "WR-1919"
    approved(lungs, private(), People("M. Roth"))


RUN_TIME = {"runs_per_study", "cross_validation", "score_models", "require_witness", "hours"}
"""Rules on what a run does; no study can break or keep them by what stands in it."""


def test_every_field_of_the_policy_has_its_case() -> None:
    assert set(Policy.model_fields) - {"schema_"} == {*CASES, *RUN_TIME, "min_patients", "approvers"}
    assert set(WORDS) == set(Policy.model_fields) - {"schema_"}


@pytest.mark.parametrize("mode", ["open", "private"])
def test_runs_that_are_used_up_are_shown_before_the_next_one_is_refused(mode: str, tmp_path: Path) -> None:
    policy = Policy(modes=("open", "private"), without_privacy=True, runs_per_study=2)
    lungs, study = hospital(tmp_path, policy), open_study() if mode == "open" else private()

    def shown() -> list[tuple[str, bool, bool]]:
        found = checks(lungs.home, study, lungs.home.settings.data)
        return [(row.words, row.error is None, row.certain) for row in found if row.rule == "runs_per_study"]

    def join(name: str) -> None:
        run = StudyRunId(name)
        if mode == "open":
            join_open_run(lungs.home, RunContext(study=study.id, run=run, seed=0))
        else:
            with joining(lungs.home, study.id, run, os.urandom):
                pass

    assert shown() == []
    assert not (lungs.home.path / "secagg").exists()
    join("first")
    words = "runs of this study that this hospital has joined: {}; allowed: 2"
    assert shown() == [(words.format(1), True, True)]
    join("second")
    ((said, holds, certain),) = shown()
    assert said.startswith(words.format(2) + " (runs_per_study): another one is refused (WR-1712)")
    assert (holds, certain) == (True, False)
    with pytest.raises(WardroundError, match="WR-1712"):
        join("third")
    approved(lungs, study)  # a run that is under way goes on only while the study is approved
    found = overview(lungs.home, lungs.propose(study), measure=False)
    assert (found.approvable, found.certain) == (True, False)


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        (("19:00-06:30",), ("19:00", "23:59", "00:00", "06:29"), ("06:30", "12:00", "18:59")),
        (("08:00-12:00", "13:00-17:00"), ("08:00", "11:59", "13:00"), ("07:59", "12:00", "12:59", "17:00")),
        (("08:00-08:00",), ("08:00", "07:59", "20:00"), ()),
        ((), ("03:00",), ()),
    ],
)
def test_hours(hours: tuple[str, ...], inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    policy = Policy(hours=hours)
    for text in inside:
        policy.check_hours(time.fromisoformat(text))
    for text in outside:
        assert not policy.works_at(time.fromisoformat(text))
        with pytest.raises(WardroundError, match=re.escape(f"forbids training at {text}")):
            policy.check_hours(time.fromisoformat(text))


@pytest.mark.parametrize("text", ["24:00-06:00", "7:00-8:00", "07:00", "07:00-08:60", "07:00 - 08:00"])
def test_hours_that_nobody_can_keep_damage_the_policy(text: str, tmp_path: Path) -> None:
    lungs = hospital(tmp_path, Policy(without_privacy=True, hours=("07:00-08:00",)))
    write_atomically(lungs.home.path / POLICY, f'hours = ["{text}"]'.encode())
    assert refused(lungs, private()).code == "WR-1305"


def test_a_study_of_other_hospitals_is_not_approved(tmp_path: Path) -> None:
    lungs = hospital(tmp_path, Policy(without_privacy=True))
    assert refused(lungs, private(sites=["south", "lake", "hill"])).code == "WR-1306"


def test_a_study_with_a_hospital_that_nobody_here_has_accepted_waits_for_the_roster(tmp_path: Path) -> None:
    lungs = hospital(tmp_path, Policy(without_privacy=True), sites=SITES)
    study = private(sites=list(FOUR))
    error = refused(lungs, study)
    assert (error.code, "hill" in error.what) == ("WR-1702", True)
    lungs.accept(FOUR, 2)
    approved(lungs, study)


def test_data_that_do_not_fit_are_not_approved(tmp_path: Path) -> None:
    lungs = hospital(tmp_path, Policy(without_privacy=True))
    other = {"kind": "classification", "target": "binary", "labels": ["effusion"], "dimensions": 2}
    assert refused(lungs, private(task=other)).code == "WR-1116"


def test_a_study_whose_model_or_weights_are_not_here_is_not_approved(tmp_path: Path) -> None:
    lungs = hospital(tmp_path, Policy(without_privacy=True))
    assert refused(lungs, private(model={"name": "absent"})).code == "WR-1201"
    missing = {"name": "small_cnn", "init": "ab" * 32, "init_data": "public", "trained": ["head"]}
    assert refused(lungs, private(model=missing)).code == "WR-1208"


def test_budget(tmp_path: Path) -> None:
    lungs, study = hospital(tmp_path, Policy()), study_of()
    assert refused(lungs, study).code == "WR-1808"
    lungs.home.ledger.set_limit(2.0, 1e-5, admin="M. Roth", reason="test", now=datetime.now(UTC))
    error = refused(lungs, study)
    assert (error.code, "epsilon 2.58" in error.what) == ("WR-1807", True)
    lungs.home.ledger.set_limit(2.6, 1e-5, admin="M. Roth", reason="test", now=datetime.now(UTC))
    approved(lungs, study)


def test_a_study_without_noise_is_refused_where_there_is_a_limit(tmp_path: Path) -> None:
    lungs = hospital(tmp_path, Policy(without_privacy=True))
    lungs.home.ledger.set_limit(9.0, 1e-5, admin="M. Roth", reason="test", now=datetime.now(UTC))
    assert refused(lungs, private()).code == "WR-1809"
    assert refused(lungs, study_of(privacy=PROMISE | {"epsilon": "infinite"})).code == "WR-1809"


def test_what_approval_says_of_the_budget_is_what_the_ledger_does(tmp_path: Path) -> None:
    from wardround.client.ledger.patients import Cohort

    lungs, study = hospital(tmp_path, Policy()), study_of()
    cohort = Cohort.of([lungs.home.patient_key("somebody")])
    for limit, fits in ((2.5, False), (2.6, True)):
        lungs.home.ledger.set_limit(limit, 1e-5, admin="M. Roth", reason="test", now=datetime.now(UTC))
        found = {check.rule: check.error for check in checks(lungs.home, study, lungs.home.settings.data)}
        assert (found["ledger"] is None) == fits
        reserve = {"mechanism": study.promise.step, "steps": 1, "rounds": 3, "now": datetime.now(UTC)}
        if fits:
            lungs.home.ledger.reserve(StudyRunId("run"), study.id, cohort, **reserve)
        else:
            with pytest.raises(WardroundError, match="WR-1807"):
                lungs.home.ledger.reserve(StudyRunId("run"), study.id, cohort, **reserve)
