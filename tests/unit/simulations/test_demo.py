"""The demonstration trains what the README says that it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wardround.simulations.demo import demo_scenario
from wardround.simulations.scenario import load_scenario

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("data", [None, "images"])
def test_the_demonstration_leaves_no_hospital_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: str | None
) -> None:
    monkeypatch.delenv("WARDROUND_DATA", raising=False)
    scenario = demo_scenario(None if data is None else tmp_path / data)
    assert {arm.kind for arm in scenario.arms()} == {"federated", "centralised", "local"}
    whole = load_scenario("phantom-cxr", ())
    assert {arm.kind for arm in whole.arms()} == {"federated", "centralised", "local", "leave-one-out"}


@pytest.mark.parametrize(
    ("page", "trained", "left_out"),
    [
        ("README.md", "federated, each alone, pooled", "The demo goes without the fourth way"),
        ("README.zh.md", "联邦、单独、集中三种训练", "演示不包括第四种做法"),
    ],
)
def test_the_readme_says_so(root: Path, page: str, trained: str, left_out: str) -> None:
    text = (root / page).read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("make demo ")]
    assert trained in line
    assert left_out in text
    assert "`wardround simulate phantom-cxr`" in text
