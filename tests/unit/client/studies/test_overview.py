"""What people see before they decide: every figure is the ledger's, the study's or the roster's own."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from fakes.proposals import NOW, PROMISE, SITES, Consortium, open_study, put_data, study_of

from wardround.client.approval import People, approve
from wardround.client.data.registry import register
from wardround.client.home import Home, RegisteredData
from wardround.client.identity import accepted_roster
from wardround.client.ledger.accounts import accounts
from wardround.client.ledger.patients import Cohort
from wardround.client.policy import POLICY, Policy
from wardround.client.studies.listing import list_studies
from wardround.client.studies.overview import overview
from wardround.client.studies.showing import print_overview
from wardround.client.studies.work import images_a_round
from wardround.common.ids import StudyRunId

if TYPE_CHECKING:
    from pathlib import Path

OPEN = Policy(modes=("open", "private"), without_privacy=True)


@pytest.fixture
def lungs(tmp_path: Path) -> Consortium:
    found = Consortium.around(tmp_path / "home", policy=OPEN)
    register(found.home, put_data(tmp_path / "data", patients=60))
    return Consortium(found.authority, Home(found.home.path))


def limit(lungs: Consortium, epsilon: float) -> None:
    lungs.home.ledger.set_limit(epsilon, 1e-5, admin="A. Okafor", reason="board", now=datetime.now(UTC))


def reserve(lungs: Consortium, run: str) -> None:
    """A run of an earlier study."""
    study = study_of(name="earlier")
    cohort = Cohort.of([lungs.home.patient_key("Doe-1")])
    lungs.home.ledger.reserve(
        StudyRunId(run), study.id, cohort, mechanism=study.promise.step, steps=1, rounds=3, now=datetime.now(UTC)
    )


def write_policy(lungs: Consortium, policy: Policy) -> None:
    (lungs.home.path / POLICY).write_bytes(policy.as_toml())


def printed(lungs: Consortium, study: Any, capsys: pytest.CaptureFixture[str], **proposal: Any) -> str:
    print_overview(overview(lungs.home, lungs.propose(study, **proposal)))
    return capsys.readouterr().out


def test_everything_is_in_the_json(lungs: Consortium) -> None:
    limit(lungs, 4.0)
    study = study_of()
    found = json.loads(json.dumps(overview(lungs.home, lungs.propose(study)).as_json()))
    roster = accepted_roster(lungs.home)
    assert (found["study"], found["plan"]["name"], found["approvable"]) == (study.id, "chests", True)
    assert found["proposal"]["by"] == "Dr. Lindqvist, Umeå"
    assert [item["name"] for item in found["data"]] == ["north"]
    assert found["roster"] == {"version": 1, "fingerprint": roster.fingerprint, "accepted_by": "M. Roth"}
    assert {item["site"]: item["fingerprint"] for item in found["hospitals"]} == {
        site: member.fingerprint for site, member in roster.members.items()
    }
    assert found["statement"]["promised"]
    assert found["size"]["up"]["round"] > found["size"]["down"] == 4 * found["size"]["values"] > 0
    assert all(check["holds"] and check["error"] is None for check in found["checks"])


def test_the_budget_is_what_the_ledger_would_say(lungs: Consortium) -> None:
    limit(lungs, 6.0)
    reserve(lungs, "first")
    before = overview(lungs.home, lungs.propose(study_of()), measure=False).budget
    assert before is not None
    assert before.accounts.committed == pytest.approx(before.study)
    assert before.accounts.spent == 0
    reserve(lungs, "second")
    after = overview(lungs.home, lungs.propose(study_of()), measure=False).budget
    assert after is not None
    assert after.accounts.committed == before.after > before.study


@pytest.mark.parametrize(
    ("epsilon", "history", "verdict"),
    [(2.0, False, "no room"), (2.6, True, "some"), (2.6, False, "room"), (9.0, True, "room")],
)
def test_all_that_is_said_of_the_budget_is_one_verdict(
    *, epsilon: float, history: bool, verdict: str, lungs: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    limit(lungs, 9.0)
    if history:
        reserve(lungs, "first")
    limit(lungs, epsilon)
    found = overview(lungs.home, lungs.propose(study_of()), measure=False)
    print_overview(found)
    text = " ".join(capsys.readouterr().out.split())
    signs = {
        "room": ("has room for every patient", "ok the patients' privacy budget", "Nothing speaks against it"),
        "some": ("not for the one who bears most", "? the patients' privacy budget", "the ledger may refuse it"),
        "no room": ("The ledger refuses the study.", "NO the patients' privacy budget", "It cannot be approved here"),
    }
    for name, words in signs.items():
        assert [word in text for word in words] == [name == verdict] * len(words), name
    assert (found.approvable, found.certain) == (verdict != "no room", verdict != "some")


@pytest.mark.parametrize(
    ("epsilon", "history", "verdict"),
    [(3.0, False, "no room"), (9.5, False, "room"), (9.5, True, "some"), (30.0, True, "room")],
)
def test_validation_patients_have_to_have_room_too(
    *, epsilon: float, history: bool, verdict: str, lungs: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    limit(lungs, 30.0)
    if history:
        reserve(lungs, "first")
    limit(lungs, epsilon)
    plain = study_of()
    study = study_of(privacy=PROMISE | {"validation": {"epsilon": 8.0, "times": 2}})
    found = overview(lungs.home, lungs.propose(study), measure=False)
    without = overview(lungs.home, lungs.propose(plain), measure=False)
    assert (found.approvable, found.certain) == (verdict != "no room", verdict != "some")
    assert without.approvable, "the positive control: training patients have room"
    assert without.certain
    assert found.budget is not None
    assert without.budget is not None
    assert (found.budget.study, without.budget.validation) == (without.budget.study, None)
    cohort = Cohort.of([lungs.home.patient_key("Roe-2")])
    paid = study.promise.validation
    assert paid is not None
    limit(lungs, 30.0)
    lungs.home.ledger.reserve(
        StudyRunId("v"), study.id, cohort, mechanism=paid.step, steps=1, rounds=paid.times, now=datetime.now(UTC)
    )
    committed = accounts(lungs.home.ledger.state()).committed
    assert found.budget.validation == pytest.approx(committed), "what the ledger takes"
    assert found.as_json()["ledger"]["validation"] == found.budget.validation
    print_overview(found)
    text = " ".join(capsys.readouterr().out.split())
    assert f"and epsilon {found.budget.validation:.3g} of a validation patient" in text
    assert "promised epsilon 2 over the whole study (3 rounds of 1 step), and every validation patient" in text


def test_policy_is_asked_about_the_larger_promise(lungs: Consortium) -> None:
    limit(lungs, 30.0)
    write_policy(lungs, Policy(max_epsilon=4.0))
    study = study_of(privacy=PROMISE | {"validation": {"epsilon": 8.0, "times": 2}})
    small = study_of(privacy=PROMISE | {"validation": {"epsilon": 4.0, "times": 2}})
    for asked, allowed in ((study, False), (small, True)):
        checks = {check.rule: check for check in overview(lungs.home, lungs.propose(asked), measure=False).checks}
        assert (checks["max_epsilon"].error is None) == allowed


def test_a_study_without_noise_costs_an_infinite_epsilon(lungs: Consortium, capsys: pytest.CaptureFixture[str]) -> None:
    limit(lungs, 6.0)
    found = overview(lungs.home, lungs.propose(open_study()), measure=False)
    assert not found.approvable
    assert found.budget is not None
    assert (found.budget.study, found.budget.after) == (math.inf, math.inf)
    assert found.as_json()["ledger"]["study"] == "infinite"
    print_overview(found)
    text = " ".join(capsys.readouterr().out.split())
    assert "it takes an infinite epsilon of every patient" in text
    assert "more than the promise of one" not in text


def test_what_cannot_be_approved_is_shown_with_every_reason(
    lungs: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    limit(lungs, 4.0)
    study = study_of(sites=["south", "lake", "brook"], privacy=PROMISE | {"epsilon": 8})
    text = " ".join(printed(lungs, study, capsys).split())
    for words in ("[WR-1306]", "[WR-1702]", "[WR-1807]", "NOT in the roster accepted here", "for 3 reasons"):
        assert words in text
    assert "Nothing speaks against it" not in text


def test_a_study_can_be_looked_at_before_there_are_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lungs = Consortium.around(tmp_path / "empty", policy=OPEN)
    text = " ".join(printed(lungs, open_study(), capsys).split())
    assert "[WR-1920]" in text
    assert "for 1 reason:" in text


@pytest.mark.parametrize("make", [open_study, study_of])
def test_eighty_columns_suffice(
    make: Any, lungs: Consortium, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = printed(lungs, make(claim="word " * 60), capsys)
    assert max(len(line) for line in text.splitlines()) <= 80
    for heading in ("Who asks", "What is trained", "On which images", "promised", "ledger", "leaves", "With whom"):
        assert heading in text


def test_texts_from_outside_cannot_change_what_people_see(
    lungs: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    nasty = "\x1b[2J\x1b[31mfine\x07\r\u202eevil [bold]not markup[/bold]"
    limit(lungs, 4.0)
    text = printed(lungs, study_of(title=nasty, claim=nasty, limits=nasty), capsys)
    assert not any(char in text for char in "\x1b\x07\r\u202e")
    assert " ".join(text.split()).count("[bold]not markup[/bold]") == 3


def test_how_much_work_it_is_follows_from_study_and_data() -> None:
    item = RegisteredData(manifest="d.toml", name="d", patients=100, images=150)  # type: ignore[arg-type]
    split = {"validation": 0.15, "test": 0.25}
    plain = open_study(split=split, training={"rounds": 4, "epochs": 8, "loss": "bce"})
    assert images_a_round(plain, (item,)) == pytest.approx(8 * 150 * 0.6 / 4)
    promised = study_of(split=split, privacy=PROMISE | {"images_per_patient": 2, "augmentations": 3})
    assert images_a_round(promised, (item, item)) == pytest.approx(0.5 * 200 * 0.6 * 1.5 * 3)
    assert images_a_round(plain, (item, RegisteredData(manifest="e.toml"))) is None  # type: ignore[arg-type]
    assert images_a_round(plain, ()) is None


def test_the_list_says_what_was_decided_and_whether_the_coordinator_knows(lungs: Consortium) -> None:
    waiting, decided = lungs.propose(open_study(title="One")), lungs.propose(open_study(title="Two"), at=NOW + 1)
    broken = lungs.propose("{}", at=NOW + 2)
    approve(lungs.home, decided, People("M. Roth", "A. Okafor"), now=NOW + 5)
    first, second, third = list_studies(lungs.home)
    assert (first.study, first.state, first.runs_here, first.told) == (waiting.study_id, "waiting", False, None)
    assert (second.state, second.runs_here, second.told, second.data) == ("approved", True, False, ("north",))
    assert second.decided_by == ("M. Roth", "A. Okafor")
    assert (third.study, third.state) == (broken.study_id, "unusable")
    assert "WR-1906" in (third.problem or "")
    path = lungs.home.path / "studies" / f"{second.study.removeprefix('sha256:')}.json"
    path.unlink()
    assert not list_studies(lungs.home)[1].runs_here


def test_the_list_shows_a_decision_that_was_changed_on_disk(lungs: Consortium) -> None:
    approve(lungs.home, lungs.propose(open_study()), People("M. Roth"), now=NOW)
    path = next((lungs.home.path / "decisions").glob("*.json"))
    path.write_bytes(path.read_bytes().replace(b"M. Roth", b"A. Roth"))
    (found,) = list_studies(lungs.home)
    assert "WR-1903" in (found.problem or "")


def test_all_sites_of_the_study_are_partners(lungs: Consortium) -> None:
    found = overview(lungs.home, lungs.propose(open_study()), measure=False)
    assert [(partner.site, partner.here) for partner in found.partners] == [(site, site == "north") for site in SITES]
