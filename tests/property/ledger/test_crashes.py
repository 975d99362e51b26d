"""A hospital that is killed at any point pays for every step, and for none twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "fakes" / "ledger_crashes.py"


def outcome(folder: Path, kills: int, seed: int, *more: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), str(kills), str(seed), *more],
        env=os.environ | {"PYTHONPATH": str(PROGRAM.parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def check(answer: dict[str, Any], kills: int) -> None:
    assert answer["killed"] == kills
    assert set(answer["wrong"].values()) == {0}, answer["wrong"]
    assert answer["receipts"] > 0
    assert answer["kinds"]["spent"] >= answer["receipts"]


def test_a_few_deaths(tmp_path: Path) -> None:
    check(outcome(tmp_path, 12, 1), 12)


def test_paying_too_late_is_found_out(tmp_path: Path) -> None:
    for seed in range(1, 6):  # where a kill falls is chance: on a busy machine eight may all miss the gap
        (folder := tmp_path / str(seed)).mkdir()
        if outcome(folder, 8, seed, "late")["wrong"]["unpaid steps"] > 0:
            return
    pytest.fail("forty kills found no step that was not paid for")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 10))
def test_many_deaths(tmp_path: Path, seed: int) -> None:
    check(outcome(tmp_path, 50, seed), 50)
