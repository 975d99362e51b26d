"""Every attack is refused, its control succeeds and needs all that it is given, and both transcripts replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardround.common.errors import REGISTRY
from wardround.simulations.attacks.carry_out import carry_out
from wardround.simulations.attacks.case import SITES
from wardround.simulations.attacks.secagg import CASES
from wardround.simulations.attacks.weakened import CHECKS, RULES

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.simulations.attacks.case import Case

ALL = [(case, n) for case in CASES.values() for n in SITES if n not in case.senseless]
SMALL = [pytest.param(case, n, id=f"{case.name}-{n}") for case, n in ALL if n <= 5]
LARGE = [pytest.param(case, n, id=f"{case.name}-{n}") for case, n in ALL if n > 5]

PLANNED = {
    "overlapping-lists",
    "split-views",
    "sybil-key",
    "swapped-key",
    "roster-not-accepted",
    "swapped-share",
    "replayed-offer",
    "replayed-adverts",
    "replayed-open",
    "message-of-an-old-attempt",
    "confirmation-of-an-old-attempt",
    "lowered-threshold",
    "lowered-k",
    "changed-k-in-a-retry",
    "changed-cohort-in-a-retry",
    "cohort-of-one",
    "cohort-below-minimum",
    "another-model-to-one-site",
    "changed-clip",
    "changed-modulus",
    "second-opening",
    "next-round-same-model",
    "same-model-after-a-restart",
    "stripped-signatures",
    "signatures-over-another-head",
    "not-finite-input",
    "out-of-range-input",
    "delayed-upload",
    "model-in-two-sessions",
}
"""What the threat model asks for."""


@pytest.mark.parametrize(("case", "n"), SMALL)
def test_refused_and_the_control_succeeds(case: Case, n: int, tmp_path: Path) -> None:
    _check(case, n, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "n"), LARGE)
def test_refused_and_the_control_succeeds_with_many_sites(case: Case, n: int, tmp_path: Path) -> None:
    _check(case, n, tmp_path)


def _check(case: Case, n: int, folder: Path) -> None:
    result = carry_out(case, n, folder)
    assert result.refused, (result.reason, result.words)
    assert result.control_succeeds, result.gain
    assert result.replays
    assert result.words
    assert (result.reason or "") == case.codes.get(n, case.code)


def test_every_attack_of_the_threat_model_is_there() -> None:
    assert CASES.keys() >= PLANNED


def test_every_rule_of_a_site_is_what_stops_some_attack() -> None:
    stopping = {rule for case, n in ALL for rule in case.rules(n)}
    assert stopping >= set(CHECKS)
    assert stopping <= set(RULES)


def test_every_case_has_a_reason_and_none_is_left_out_everywhere() -> None:
    for case in CASES.values():
        assert case.words
        assert bool(case.code) != bool(case.harmless), case.name
        assert {case.code, *case.codes.values()} - {""} <= REGISTRY.keys()
        assert set(case.senseless) < set(SITES)
