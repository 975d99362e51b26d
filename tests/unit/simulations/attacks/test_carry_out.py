"""A suite says so when an attack is not refused, a control fails or leaves out too much, or a replay differs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from wardround.common.errors import WardroundError
from wardround.simulations.attacks.carry_out import carry_out, needless
from wardround.simulations.attacks.command import run_attack
from wardround.simulations.attacks.lab import Gain, Lab
from wardround.simulations.attacks.results import AttackReport
from wardround.simulations.attacks.secagg import CASES, attack_secagg
from wardround.simulations.attacks.show import show_attack

if TYPE_CHECKING:
    from pathlib import Path

SINGLE = CASES["single-survivor"]
OVERLAP = CASES["overlapping-lists"]


def test_another_refusal_than_expected_does_not_count(tmp_path: Path) -> None:
    result = carry_out(replace(SINGLE, code="WR-1702"), 5, tmp_path)
    assert not result.refused
    assert result.reason == "WR-1708"
    assert not result.holds


def test_an_attack_that_nobody_refuses_does_not_count(tmp_path: Path) -> None:
    def without_any_rule(lab: Lab) -> Gain:  # the hospitals of a control, taken for the real ones
        return OVERLAP.script(Lab(lab.setting, OVERLAP.rules(5)))

    result = carry_out(replace(OVERLAP, script=without_any_rule, checks=()), 5, tmp_path)
    assert result.reason is None
    assert not result.refused
    assert not result.holds


def test_a_control_that_is_refused_does_not_count(tmp_path: Path) -> None:
    result = carry_out(replace(OVERLAP, checks=("one_signature",)), 5, tmp_path)
    assert result.refused
    assert not result.control_succeeds
    assert not result.holds


def test_a_control_without_more_rules_than_it_has_to_does_not_count(tmp_path: Path) -> None:
    generous = replace(SINGLE, checks=("enough_survivors", "certificate"))
    assert needless(generous, 5) == ("certificate",)
    assert needless(SINGLE, 5) == ()
    assert not carry_out(generous, 5, tmp_path).control_succeeds


def test_a_report_holds_only_if_every_case_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = carry_out(SINGLE, 3, tmp_path)
    bad = carry_out(replace(SINGLE, code="WR-1702"), 5, tmp_path)
    assert AttackReport(attack="secagg", cases=(good,), folder="f").holds
    report = AttackReport(attack="secagg", cases=(good, bad), folder="f", senseless=("x at n = 3: because",))
    assert not report.holds
    show_attack(report)
    shown = " ".join(capsys.readouterr().out.split())
    assert "single-survivor at n = 5: not refused as expected (WR-1708)" in shown
    assert "1 of 2 hold" in shown
    assert "Not carried out: x at n = 3: because" in shown


def test_chosen_attacks_in_order_and_told_as_they_are_done(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    report = attack_secagg(
        tmp_path,
        names=["one-drop-of-three", "single-survivor"],
        sites=[5, 3],
        watch=lambda done, total: told.append((done, total)),
    )
    assert [(result.case, result.n) for result in report.cases] == [
        ("single-survivor", 3),
        ("single-survivor", 5),
        ("one-drop-of-three", 3),
    ]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert report.senseless == ("one-drop-of-three at n = 5: " + CASES["one-drop-of-three"].senseless[5],)


@pytest.mark.parametrize(
    ("name", "cases", "sites"),
    [("leakage-of-peers", [], []), ("secagg", ["no-such-attack"], []), ("secagg", [], [4])],
)
def test_what_is_not_there_is_refused(name: str, cases: list[str], sites: list[int], tmp_path: Path) -> None:
    with pytest.raises(WardroundError) as refused:
        run_attack(name, tmp_path / "out", cases, sites, quiet=True)
    assert refused.value.code == "WR-1522"
    assert run_attack("secagg", tmp_path / "out", ["single-survivor"], [3], quiet=True).holds
