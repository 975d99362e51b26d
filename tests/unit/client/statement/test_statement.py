"""The privacy statement: what it says follows from the study, and bounds are rounded up."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from fakes.promised_runs import promised_scenario
from fakes.scenarios import chest_scenario
from hypothesis import given
from hypothesis import strategies as st

from wardround.client.statement import attacker
from wardround.client.statement.caution import promise_warnings
from wardround.client.statement.facts import Facts, model_facts
from wardround.client.statement.markdown import markdown
from wardround.client.statement.question import at_most, share
from wardround.client.statement.rows import Privacy
from wardround.client.statement.statement import Statement, statement
from wardround.common.models.catalogue import build_model
from wardround.common.privacy import pld
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.simulations.privacy.write import write_statement

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.common.study import Study


def study_of(sites: int = 5, **promise: Any) -> Study:
    found: Study = promised_scenario(sites, rounds=20, **({"epsilon": 4.0, "rate": 0.5} | promise)).study
    return found


def fact(found: Statement, question: str, name: str) -> Any:
    answers = {answer.id: answer for chapter in found.chapters for answer in chapter.answers}
    return answers[question].facts[name]


def answer(found: Statement, question: str) -> str:
    return " ".join(" ".join(a.answer) for chapter in found.chapters for a in chapter.answers if a.id == question)


QUESTIONS = {
    *("unit", "two-hospitals", "relation", "parameters", "meaning", "trust", "coordinator", "algorithm", "sampling"),
    *("sensitivity", "noise", "randomness", "implementation", "accounting", "several-studies", "leaves", "stays"),
    *("test-patients", "hyper-parameters", "model", "usefulness", "bias", "side-channels", "access", "collection"),
    *("audit", "not-protected", "validation-patients"),
}


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_every_question_is_answered_once(trust: str) -> None:
    found = statement(study_of(trust=trust, patients=400))
    ids = [a.id for chapter in found.chapters for a in chapter.answers]
    assert sorted(ids) == sorted(QUESTIONS)
    assert all(a.question.endswith("?") and a.answer for chapter in found.chapters for a in chapter.answers)
    assert found.promised
    assert found.warnings == []


def test_shares_of_noise_are_those_of_the_secure_sum() -> None:
    """5 hospitals, 1 may collude, 4 must answer: the noise of 4 - 1 is certain, each adds a third of the variance."""
    study = study_of()
    found = statement(study)
    names = ("hospitals", "colluding", "threshold", "smallest_sum", "certain_hospitals")
    assert [fact(found, "trust", name) for name in names] == [5, 1, 4, 4, 3]
    multiplier = fact(found, "noise", "noise_multiplier")
    weaker = SampledGaussian(0.5, multiplier * math.sqrt(2 / 3))
    assert fact(found, "trust", "epsilon_with_one_more_known") == pytest.approx(pld.epsilon(weaker, 20, 1e-5))
    whole, own = fact(found, "noise", "deviation"), fact(found, "noise", "deviation_of_a_hospital_in_lattice_units")
    assert own * fact(found, "sensitivity", "lattice_step") == pytest.approx(whole / math.sqrt(3))


def test_no_noise_is_certain_beyond_the_last_hospital() -> None:
    facts = Facts(study_of(3), model_facts(study_of(3)))
    assert facts.plan.certain == 2
    assert facts.one_more_gives_away is not None
    colluding = study_of(4).model_dump(by_alias=True)
    colluding["aggregation"] |= {"min_sites": 4}
    colluding["aggregation"]["secure"] |= {"colluding": 2}
    last = type(study_of()).model_validate(colluding | {"privacy": colluding["privacy"] | {"noise_multiplier": None}})
    assert Facts(last, model_facts(last)).plan.certain == 2


def test_trust_local_shares_nothing() -> None:
    study = study_of(trust="local")
    found = statement(study)
    assert "their own hospital alone" in answer(found, "trust")
    assert "smallest_sum" not in json.dumps(found.model_dump())
    assert fact(found, "two-hospitals", "epsilon_of_two_hospitals") == pytest.approx(
        pld.epsilon(study.promise.step, 2 * 20, 1e-5)
    )


def test_numbers_of_the_study_are_in_the_answers() -> None:
    study = study_of(images_per_patient=3, clip=0.7, patients=200)
    found = statement(study)
    assert "3 images at most" in answer(found, "unit")
    assert "clipped to norm 0.7" in answer(found, "sensitivity")
    assert "at most 1 / (10 * 200)" in answer(found, "parameters")
    assert "epsilon 4 at delta 1e-05" in answer(found, "parameters")
    assert "nothing is trained on them: 40% of a hospital's patients" in answer(found, "test-patients")
    assert fact(found, "sampling", "expected_patients") == 100
    assert fact(found, "accounting", "steps") == 20
    assert fact(found, "parameters", "epsilon_accounted") <= 4


def test_size_and_conversions_are_those_of_the_model() -> None:
    study = study_of()
    facts = model_facts(study)
    assert facts.values == sum(parameter.numel() for parameter in build_model(study, seed=0).parameters())
    assert any("ReLU" in words for words in facts.conversions)
    assert str(facts.values) in answer(statement(study), "model")


def test_no_promise_is_called_none() -> None:
    without = statement(chest_scenario().study)
    assert not without.promised
    assert without.chapters == []
    assert "epsilon is unlimited" in without.summary[0]
    assert without.warnings == []
    infinite = statement(study_of(epsilon="infinite"))
    assert not infinite.promised
    assert any("promised nothing" in words for words in infinite.warnings)


@pytest.mark.parametrize(("epsilon", "weak"), [(1.0, False), (10.0, False), (10.5, True)])
def test_a_weak_promise_is_called_weak(epsilon: float, weak: bool) -> None:  # noqa: FBT001 - a parameter of the test
    found = statement(study_of(epsilon=epsilon))
    assert any("weak" in words for words in found.warnings) == weak
    assert ("called weak" in " ".join(found.summary)) == weak


@pytest.mark.parametrize(("patients", "hopeless"), [(40, True), (4000, False)])
def test_a_study_that_will_learn_nothing_is_warned_about(patients: int, hopeless: bool) -> None:  # noqa: FBT001
    study = study_of(patients=patients, epsilon=1.0)
    found = statement(study)
    ratio = fact(found, "usefulness", "noise_over_longest_sum")
    noise = study.promise.step.multiplier * (1 + 2**-9) * math.sqrt(model_facts(study).values)
    assert ratio == pytest.approx(noise / (0.5 * patients))
    assert (ratio > 10) == hopeless
    said = f"the noise is {at_most(ratio, 2)} times as long as the longest sum"
    assert said in answer(found, "usefulness")
    assert any(said in words and "next to nothing" in words for words in found.warnings) == hopeless


def test_more_spent_than_promised_is_said() -> None:
    study = study_of()
    row = Privacy(site="site0", unit="patient", epsilon=4.0, delta=1e-5, spent_steps=20, spent_epsilon=3.99)
    assert promise_warnings(study, [row]) == []
    again = row.model_copy(update={"spent_steps": 30, "spent_epsilon": 5.2})
    assert ["site0" in words and "5.2" in words for words in promise_warnings(study, [again])] == [True]
    paid = row.model_copy(update={"validation_epsilon": 2.0, "validation_spent_epsilon": 2.0})
    assert promise_warnings(study, [paid]) == []
    (words,) = promise_warnings(study, [paid.model_copy(update={"validation_spent_epsilon": 2.61})])
    assert "site0: validations were computed more than once" in words
    assert "epsilon 2.61, more than the 2 promised" in words


def test_where_more_was_spent_that_is_what_holds() -> None:
    study = study_of()
    kept = Privacy(site="site0", unit="patient", epsilon=4.0, delta=1e-5, spent_steps=20, spent_epsilon=3.99)
    dear = pld.epsilon(study.promise.step, 30, 1e-5)
    again = kept.model_copy(update={"site": "site1", "spent_steps": 30, "spent_epsilon": dear})
    plain, found = statement(study, spent=[kept]), statement(study, spent=[kept, again])
    said = f"epsilon {at_most(dear, 4)} at site1, more than the 4 promised, because"
    assert said in " ".join(found.summary)
    assert said in answer(found, "parameters")
    assert "more than the" not in " ".join(plain.summary)
    assert fact(plain, "parameters", "epsilon_that_holds") == 4
    assert fact(found, "parameters", "epsilon_that_holds") == dear > 4
    for name, expected in (
        ("sure_after_even_odds", attacker.posterior(0.5, dear)),
        ("recognised_at_false_alarms", attacker.power(0.01, dear, 1e-5)),
        ("recognised_at_false_alarms_by_noise", attacker.power_of_steps(0.01, study.promise.step, 30)),
        ("right_answers_by_noise", attacker.success_of_steps(study.promise.step, 30)),
    ):
        assert fact(found, "meaning", name) == expected > fact(plain, "meaning", name)
    assert share(attacker.power_of_steps(0.01, study.promise.step, 30)) in " ".join(found.summary)


def test_page_and_table_say_the_same(tmp_path: Path) -> None:
    study = study_of()
    row = Privacy(
        site="site0",
        unit="patient",
        epsilon=4.0,
        delta=1e-5,
        runs=3,
        spent_steps=20,
        spent_rounds=20,
        spent_epsilon=3.99,
        filter_epsilon=4.8,
        all_runs_epsilon=7.7,
    )
    write_statement(tmp_path, study, [row])
    found = Statement.model_validate_json((tmp_path / "privacy.json").read_bytes())
    page = (tmp_path / "privacy.md").read_text(encoding="utf-8")
    assert page == markdown(found)
    for chapter in found.chapters:
        for each in chapter.answers:
            assert f"### {each.question}\n" in page
            assert all(paragraph in page for paragraph in each.answer)
    assert "epsilon 3.99 of 4 promised" in page
    assert "3 study runs" in page
    assert "epsilon 7.7" in page


@given(st.floats(1e-12, 1e6))
def test_a_bound_is_rounded_up_and_stays_close(value: float) -> None:
    assert value <= float(at_most(value)) * (1 + 1e-12)
    assert float(at_most(value)) <= value * 1.011


@given(st.floats(0, 1))
def test_a_share_is_rounded_up_and_certainty_is_not_claimed_too_early(value: float) -> None:
    written = share(value)
    assert re.fullmatch(r"[\d.]+%", written)
    assert value * 100 <= float(written[:-1]) + 1e-9
    assert float(written[:-1]) <= value * 100 + 0.1 + 1e-9
    if 1 - value > 1e-5:
        assert float(written[:-1]) < 100


def test_validation_patients_have_a_promise_of_their_own_where_they_pay() -> None:
    without = statement(study_of())
    assert "nothing about them leaves" in answer(without, "validation-patients")
    assert "validation loss and metrics" in answer(without, "stays")
    paid = statement(study_of(validation={"epsilon": 2.5, "times": 4}))
    assert "promised epsilon 2.5" in answer(paid, "validation-patients")
    assert "mean loss leaves 4 times" in answer(paid, "validation-patients")
    assert "in 4 of the rounds" in answer(paid, "leaves")
    assert "validation loss" not in answer(paid, "stays")
    assert fact(without, "several-studies", "validation_epsilon_in_the_ledger") is None
    assert fact(paid, "several-studies", "validation_epsilon_in_the_ledger") > 2.5
    assert "of a validation patient" in answer(paid, "several-studies")
    assert "epsilon 2.5)" in paid.summary[-1]
    assert without.summary[0].startswith("Every patient of every training hospital is promised epsilon 4 at delta")
    assert "Every training patient of every hospital is promised epsilon 4 over" in paid.summary[0]
    assert "every validation patient, who is another, epsilon 2.5 (4 validations)" in paid.summary[0]
    assert "of validation patients it is at most" in paid.summary[1]
    assert "validation" not in without.summary[1]
    (weak,) = statement(study_of(validation={"epsilon": 12.0, "times": 4})).warnings
    assert "Epsilon 12 of the validation patients is above 10" in weak
    assert paid.warnings == []
    row = Privacy(
        site="site1", unit="patient", epsilon=4.0, delta=1e-5, validation_epsilon=2.5, validation_spent_epsilon=3.0
    )
    over = statement(study_of(validation={"epsilon": 2.5, "times": 4}), spent=[row])
    assert "epsilon 2.5, but 3 was spent at site1" in over.summary[-1]


@pytest.mark.parametrize("trust", ["local", "distributed"])
def test_a_patient_of_two_hospitals_may_be_a_validation_patient_there(trust: str) -> None:
    plain, dear, cheap = (
        Facts(study, model_facts(study)).two_hospitals
        for study in (
            study_of(trust=trust),
            study_of(trust=trust, validation={"epsilon": 8.0, "times": 2}),
            study_of(trust=trust, validation={"epsilon": 0.01, "times": 2}),
        )
    )
    assert dear > 12 > plain, "more than training at one and validation at the other have promised"
    assert plain <= cheap < plain + 1, "the positive control: training is the dearer then"


def test_what_rounded_sums_add_to_delta_is_the_corollary_of_the_proof() -> None:
    """(1 + e^epsilon) T P n e^(-9 d^2), in logarithms: the number itself is no float."""
    study = study_of()
    facts = Facts(study, model_facts(study))
    exact = math.log((1 + math.exp(4.0)) * 20 * facts.model.values * 5) - 9 * facts.plan.deviation**2
    assert facts.added_to_delta == pytest.approx(exact / math.log(10))
    assert "less than 10^-1000 to delta" in answer(statement(study), "implementation")
    assert "to delta" not in answer(statement(study_of(trust="local")), "implementation")


def test_why_the_noise_is_what_it_is_follows_from_the_study() -> None:
    """Solved, chosen by the study's author, or the least that there is."""
    solved = study_of()
    smallest = solved.promise.step.multiplier
    assert "is the smallest that keeps the promise over 20 steps" in answer(statement(solved), "accounting")
    chosen = answer(statement(study_of(noise_multiplier=2 * smallest)), "accounting")
    assert f"sets its noise multiplier, {2 * smallest:g}; {smallest:g} would do" in chosen
    assert "and not 4" in chosen
    least = answer(statement(study_of(epsilon=1000.0, rate=0.2)), "accounting")
    assert "The noise multiplier is 0.1, the smallest that is ever used" in least


@pytest.mark.parametrize(("rate", "drawn"), [(0.5, True), (1.0, False)])
def test_patients_are_drawn_where_they_are(rate: float, drawn: bool) -> None:  # noqa: FBT001
    words = answer(statement(study_of(rate=rate)), "algorithm")
    assert ("drawn at random" in words) == drawn
    assert ("draws nobody" in words) == drawn


@pytest.mark.parametrize(("epsilon", "bounded"), [(40.0, True), (41.0, False)])
def test_what_no_proof_bounds_is_said(epsilon: float, bounded: bool) -> None:  # noqa: FBT001
    words = answer(statement(study_of(epsilon=epsilon)), "implementation")
    assert ("nothing is claimed about it" in words) == (not bounded)
