"""Our side of ``bench deployment``: coordinator, gateway and agents as hospitals run them, with a real study.

Everything up to the hospitals' approvals is made before; what is measured begins when coordinator and agents start.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any, Final

from wardround.client.policy import Policy
from wardround.common.errors import WardroundError
from wardround.server.consortium import Consortium
from wardround.server.logs import LOG
from wardround.simulations.bench.deployment_study import Task, study_of
from wardround.simulations.bench.machine import pin
from wardround.simulations.deployed.commands import PROGRAM, Commands
from wardround.simulations.deployed.prepared import PERSON, prepare
from wardround.simulations.deployed.processes import Processes, free_port
from wardround.simulations.deployed.usage import family, resident_mb, watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.study import Study
    from wardround.simulations.deployed.processes import Process

START_SECONDS: Final = 300.0
ROUND_SECONDS: Final = 120.0
SETTLE_SECONDS: Final = 3.0
"""Between the end of the rounds and the look at idle processes."""

LOOK_SECONDS: Final = 0.2

OVER: Final = frozenset({"completed", "completed_with_losses", "failed", "stopped"})
POLICY: Final = Policy(modes=("open", "private"), without_privacy=True)


class PeakMemory:
    """The most that a process and those below it were seen to have, each at its own time.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._pid, self._found, self._looked = pid, dict[int, tuple[str, float]](), 0.0

    def look(self) -> None:
        """Look, but not more often than some times a second."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        for pid in family(self._pid):
            with suppress(FileNotFoundError, ValueError):  # it ends at this moment
                self._found[pid] = (_part(pid), resident_mb(pid, "VmHWM"))

    @property
    def by_part(self) -> dict[str, float]:
        """``gateway``, ``superlink`` and ``run`` to MB."""
        found = dict.fromkeys(("gateway", "superlink", "run"), 0.0)
        for part, peak in self._found.values():
            found[part] += peak
        return found

    @property
    def together_mb(self) -> float:
        """Of all processes that were seen."""
        return sum(peak for _, peak in self._found.values())


def measure(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare a federation, start its processes, run the study, and look at the idle agents afterwards.

    Args:
        settings: ``sites``, ``rounds``, ``widths`` and ``private`` of the study, ``light`` hospitals a process (0: an
            agent with its worker each), ``cores`` to run on, and ``idle_seconds`` to watch for.

    Returns:
        ``start_seconds`` from process start until the first round was committed; ``round_seconds``, likewise of the
        first round and then from one commit to the next, by the coordinator's log;
        ``idle_cpu`` (percent of a core) and ``idle_rss_mb`` of an agent without its worker, ``worker_rss_mb``, means
        over the agents; ``server_peak_mb`` of the coordinator's processes, each at its own peak, and
        ``server_peaks_mb`` one by one; ``sites`` in the last round.

    Raises:
        WardroundError: WR-1523, a process failed, or it took too long.
    """
    pin(settings["cores"])
    task = Task(settings["sites"], settings["rounds"], tuple(settings["widths"]), private=settings["private"])
    study = study_of(task).study
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="wardround-bench-") as name, Processes(Path(name) / "log") as processes:
        folder = Path(name)
        homes = [str(home) for home in prepare(folder, study_of(task), f"127.0.0.1:{port}", POLICY).values()]
        begin = time.time()
        server, agents = _start(processes, folder, homes, settings["light"])
        peak = PeakMemory(server.pid)
        run = _run(processes, folder, study, peak)
        time.sleep(SETTLE_SECONDS)
        idle = watch([[agent.pid] for agent in agents], settings["idle_seconds"])
        history = json.loads((folder / "coordinator" / "runs" / run / "history.json").read_text(encoding="utf-8"))
        marks = [begin, *_commits(folder / "coordinator", run)]
        return {
            "start_seconds": marks[1] - begin,
            "round_seconds": [after - before for before, after in pairwise(marks)],
            "idle_cpu": mean(use.cpu_percent for use in idle),
            "idle_rss_mb": mean(use.resident_mb for use in idle),
            "worker_rss_mb": mean(_below(agent) for agent in agents),
            "server_peak_mb": peak.together_mb,
            "server_peaks_mb": peak.by_part,
            "sites": len(history["rounds"][-1]["sites"]),
        }


def _start(processes: Processes, folder: Path, homes: list[str], light: int) -> tuple[Process, list[Process]]:
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    serve = (*PROGRAM, "coordinator", "serve", "--dir", str(folder / "coordinator"), "--metrics-port", "0")
    server = processes.start("coordinator", serve, environment)
    if light:
        groups = [homes[place : place + light] for place in range(0, len(homes), light)]
        command = (sys.executable, "-m", "wardround.simulations.deployed.light")
        started = [
            processes.start(f"light{number}", (*command, *group), environment) for number, group in enumerate(groups)
        ]
        return server, started
    agent = (*PROGRAM, "hospital", "serve", "--home")
    return server, [processes.start(Path(home).name, (*agent, home), environment) for home in homes]


def _run(processes: Processes, folder: Path, study: Study, peak: PeakMemory) -> str:
    """Start the study as soon as all have approved, and wait until it is over; the run's id."""
    place = folder / "coordinator"
    commands = Commands(os.environ, lambda _: None)
    with Consortium(place) as consortium:
        store = consortium.store

        def approved() -> bool | None:
            return True if len(store.decisions(study.id)) == len(study.sites) else None

        processes.wait_until(approved, "The approvals", START_SECONDS)
        run = commands.run("coordinator", "start", study.id, "--by", PERSON, "--dir", str(place))["run"]

        def over() -> str | None:
            peak.look()
            row = next(row for row in store.runs() if row.id == run)
            return row.state if row.state in OVER else None

        longest = START_SECONDS + ROUND_SECONDS * study.training.rounds
        state = processes.wait_until(over, "The rounds", longest)
        if state != "completed":
            raise WardroundError("WR-1523", f"The run ended as {state}.")
    return str(run)


def _commits(place: Path, run: str) -> list[float]:
    """When each round of a run was committed, seconds since 1970: it is on disk before the line is written."""
    with (place / "log" / LOG).open(encoding="utf-8") as lines:
        found = [line for line in map(json.loads, lines) if line.get("event") == "round" and line.get("run") == run]
    return [datetime.fromisoformat(line["at"]).timestamp() for line in found]


def _part(pid: int) -> str:
    """What of a coordinator a process is."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    if b"wardround.server.runs.child" in command:
        return "run"
    return "gateway" if b"wardround.simulations.cli" in command else "superlink"


def _below(agent: Process) -> float:
    """Resident memory of the processes below an agent."""
    return sum(resident_mb(pid) for pid in family(agent.pid) if pid != agent.pid)
