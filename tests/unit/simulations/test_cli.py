"""``wardround simulate --resume`` takes no option that it would not heed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.command_lines import in_this_process

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def wardround(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Exit code and complaint, on a terminal wide enough for one line."""
    monkeypatch.setenv("COLUMNS", "300")
    call = in_this_process(monkeypatch, capsys)

    def run(*words: str) -> tuple[int, str]:
        code, _, complaint = call("simulate", *words)
        return code, complaint

    return run


@pytest.mark.parametrize(
    "given",
    [
        ("--seeds", "2"),
        ("--seeds", "1"),
        ("--folds", "5"),
        ("--threads", "2"),
        ("--device", "cpu"),
        ("--data", "elsewhere"),
        ("--out", "elsewhere"),
        ("--set", "training.rounds=2"),
    ],
)
def test_an_option_of_a_new_run_is_refused(wardround: Callable[..., tuple[int, str]], given: tuple[str, str]) -> None:
    code, complaint = wardround("--resume", "no-such-run", *given)
    assert code == 2
    assert f"{given[0]}: only for a new run" in complaint


def test_every_refused_option_is_named(wardround: Callable[..., tuple[int, str]]) -> None:
    _, complaint = wardround("--resume", "no-such-run", "--folds", "5", "--seeds", "2")
    assert "--seeds, --folds: only for a new run" in complaint


def test_what_is_heeded_is_not_refused(wardround: Callable[..., tuple[int, str]]) -> None:
    """The positive control: the folder itself is looked at."""
    words = ("--workers", "2", "--init", "weights.safetensors", "--write-bounds", "bounds.toml")
    code, complaint = wardround("--resume", "no-such-run", *words)
    assert code == 1
    assert "WR-1502" in complaint


def test_a_study_beside_resume_is_refused(wardround: Callable[..., tuple[int, str]]) -> None:
    code, complaint = wardround("phantom-cxr", "--resume", "no-such-run")
    assert code == 2
    assert "give either a study or --resume RUN" in complaint
