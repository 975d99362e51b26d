"""Measurements run in fresh processes with one thread each: ``python -m wardround.simulations.bench.child``.

The parent passes settings as JSON and reads the answer, JSON too, from a file: what the measured
libraries print does not matter. ``started`` among the settings is the time (seconds since the
epoch) just before the process was made, so that start-up counts from there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wardround.common.errors import WardroundError
from wardround.simulations.bench.machine import THREADS

if TYPE_CHECKING:
    from collections.abc import Mapping

SIDES: Final = {
    "aggregation": "wardround.simulations.bench.aggregation_sides",
    "deployment-flower": "wardround.simulations.bench.deployment_flower",
    "deployment-ours": "wardround.simulations.bench.deployment_ours",
    "dp": "wardround.simulations.bench.dp_sides",
    "secagg": "wardround.simulations.bench.secagg_sides",
    "simulation-ours": "wardround.simulations.bench.simulation_ours",
    "simulation-flower": "wardround.simulations.bench.simulation_flower",
}
"""Modules whose ``measure(settings)`` is run."""

QUIET: Final = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
LONGEST_SECONDS: Final = 1800


def measure_in_child(side: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Run a side's measurement in a process of its own.

    Raises:
        WardroundError: WR-1521, the process failed or took longer than half an hour.
    """
    with tempfile.TemporaryDirectory(prefix="wardround-bench-") as folder:
        answer = Path(folder) / "answer.json"
        asked = json.dumps({**settings, "started": time.time()})
        command = [sys.executable, "-m", __name__, side, asked, str(answer)]
        environment = {**os.environ, **THREADS, **QUIET}
        try:
            # The command is this module.
            done = subprocess.run(  # noqa: S603
                command, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise WardroundError("WR-1521", f"The process {side} took longer than {LONGEST_SECONDS} s.") from None
        if done.returncode != 0 or not answer.exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise WardroundError("WR-1521", f"The process {side} ended with {done.returncode}: {last[:300]}")
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def main() -> None:
    """Measure what the command line names."""
    side, asked, answer = sys.argv[1:]
    found = import_module(SIDES[side]).measure(json.loads(asked))
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
