"""Two processes of one hospital cannot overspend together, and get no less than one would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from fakes.ledger_race import STEPS
from fakes.ledgers import MECHANISM, ledger, limited

from wardround.common.privacy.rdp import ORDERS, budget, rdp

PROGRAM = Path(__file__).parents[2] / "fakes" / "ledger_race.py"
EPSILON = 2.5


def start(folder: Path, name: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(PROGRAM.parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(folder), name]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def race(folder: Path, names: tuple[str, ...]) -> dict[str, int]:
    limited(folder, EPSILON)
    running = {name: start(folder, name) for name in names}
    while not all((folder / f"ready.{name}").exists() for name in names):
        assert all(process.poll() is None for process in running.values())
        time.sleep(0.01)
    (folder / "start").touch()
    answers = {name: process.communicate(timeout=120)[0] for name, process in running.items()}
    assert all(process.returncode == 0 for process in running.values())
    return {name: int(answer) for name, answer in answers.items()}


def test_two_studies_at_the_same_time(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    (tmp_path / "alone").mkdir()
    spent = race(tmp_path / "both", ("one", "two"))
    alone = race(tmp_path / "alone", ("one",))["one"]
    cost, room = rdp(MECHANISM, ORDERS), budget(EPSILON, 1e-5, ORDERS)
    assert min(spent.values()) > 0  # they did run side by side
    assert (sum(spent.values()) * cost <= room).any()  # the patients of both
    assert abs(alone - sum(spent.values())) <= 3 * STEPS
    state = ledger(tmp_path / "both").check()
    assert sum(run.spent_steps for run in state.runs.values()) == sum(spent.values())
    committed = sum(run.committed_steps for run in state.runs.values())
    assert (committed * cost <= room).any()
    assert not ((committed + 4 * STEPS) * cost <= room).any()  # and there was no room left for another
