"""``wardround compare`` says when the runs are not of one study."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.command_lines import in_this_process
from fakes.run_folder import build_classification, classification_study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    return in_this_process(monkeypatch, capsys, "compare")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return build_classification(tmp_path / "first")


def test_runs_of_different_studies_are_named_in_one_line(
    compare: Callable[..., tuple[int, str, str]], first: Path, tmp_path: Path
) -> None:
    second = build_classification(tmp_path / "second", study=classification_study(name="other-cxr"))
    code, out, err = compare(str(first), str(second))
    assert (code, err) == (0, "")
    line = out.splitlines()[-1]
    assert line.startswith("These runs are of different studies (first: fake-cxr, second: other-cxr): ")


def test_other_settings_are_said_too(compare: Callable[..., tuple[int, str, str]], first: Path, tmp_path: Path) -> None:
    second = build_classification(tmp_path / "second", study=classification_study(claim="Another."))
    _, out, _ = compare(str(first), str(second))
    assert "These runs are of the study fake-cxr with different settings: " in out.splitlines()[-1]


def test_one_study_needs_no_words(compare: Callable[..., tuple[int, str, str]], first: Path, tmp_path: Path) -> None:
    """The positive control."""
    second = build_classification(tmp_path / "second", seeds=2)
    _, out, err = compare(str(first), str(second))
    assert "These runs" not in out + err


def test_a_json_document_stays_one(compare: Callable[..., tuple[int, str, str]], first: Path, tmp_path: Path) -> None:
    second = build_classification(tmp_path / "second", study=classification_study(name="other-cxr"))
    _, out, err = compare(str(first), str(second), "--json")
    assert json.loads(out)[0]["metric"] == "auroc"
    assert err.startswith("These runs are of different studies")
