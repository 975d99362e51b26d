"""A whole federation on this machine: a coordinator and hospitals with folders and processes of their own.

Everything that people decide is decided by commands, in the order of the handbooks. The folder holds::

    coordinator/          as wardround coordinator init makes it
    hospitals/<site>/     as wardround hospital join makes it
    log/                  what the processes print
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wardround.client.agent.status import read_status
from wardround.client.proposals import PROPOSALS
from wardround.common.errors import WardroundError
from wardround.server.consortium import Consortium
from wardround.simulations.deployed.commands import PROGRAM, Commands
from wardround.simulations.deployed.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from wardround.client.policy import Policy
    from wardround.common.ids import SiteId
    from wardround.common.study import Study
    from wardround.server.store import RunRow
    from wardround.simulations.deployed.commands import Told
    from wardround.simulations.deployed.processes import Process, Processes
    from wardround.simulations.sites.materialise import SiteSource

START_SECONDS: Final = 120.0
CONSORTIUM: Final = "this machine"
PERSON: Final = "Nobody, on this machine"
"""Who decides: there is nobody else here."""

OVER: Final = frozenset({"completed", "completed_with_losses", "failed", "stopped"})

_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Budget:
    """What a hospital's people allow.

    Attributes:
        epsilon: Limit of the privacy ledger; None: none is set.
        delta: Of the limit.
        policy: What ``policy.toml`` says; None: the strict defaults.
    """

    epsilon: float | None = None
    delta: float = 1e-5
    policy: Policy | None = None


class Federation:
    """Coordinator and hospitals.

    Args:
        folder: Where their folders are made; new or empty.
        processes: Starts and ends what runs.
        told: Is told every command before it runs.
        threads: Processor threads of each process.
    """

    def __init__(self, folder: Path, processes: Processes, told: Told, *, threads: int = 1) -> None:
        self.folder = folder
        self.coordinator = folder / "coordinator"
        self._processes = processes
        self._commands = Commands(_environment(threads), told)
        self._port = free_port()
        self.agents: dict[SiteId, Process] = {}
        self.serving: Process | None = None

    def home(self, site: SiteId) -> Path:
        """A hospital's home folder."""
        return self.folder / "hospitals" / site

    def found(self) -> None:
        """Make the consortium, and run its coordinator."""
        address = f"127.0.0.1:{self._port}"
        self._coordinate("init", CONSORTIUM, "--address", address, "--listen", address)
        serve = ("coordinator", "serve", "--dir", str(self.coordinator), "--metrics-port", "0")
        self.serving = self._start("coordinator", serve)
        status = self.coordinator / "status.json"
        self._processes.wait_until(lambda: True if status.exists() else None, "The coordinator", START_SECONDS)

    def admit(self, sites: Iterable[SiteId]) -> None:
        """Invite hospitals and let them join, one after the other; each makes its own keys."""
        for site in sites:
            code = self._coordinate("invite", site)["code"]
            self._commands.run("hospital", "join", code, "--site", site, "--home", str(self.home(site)))

    def prepare(self, sources: Mapping[SiteId, SiteSource], budget: Budget) -> None:
        """Register the hospitals' images, and set limits and policies; all hospitals at the same time."""
        self._at_each(sources, lambda site: self._prepare(site, sources[site], budget))

    def serve_hospitals(self, sites: Sequence[SiteId]) -> None:
        """Run the hospitals' agents, and accept the newest roster at each."""
        for site in sites:
            self.agents[site] = self._start(site, ("hospital", "serve", "--home", str(self.home(site))))
        listed = self._coordinate("sites", "list")
        digits = listed["fingerprint"].replace(" ", "")
        for site in sites:
            self._processes.wait_until(
                partial(self._offered, site, listed["roster"]), f"The roster at {site}", START_SECONDS
            )
            accept = ("hospital", "roster", "accept", digits, "--by", PERSON, "--home", str(self.home(site)))
            self._commands.run(*accept)
        for site in sites:
            self._processes.wait_until(partial(self._ready, site), f"The agent of {site}", START_SECONDS)

    def agree(self, study: Study, file: Path, why: str) -> None:
        """Propose a study and approve it at every hospital."""
        self._coordinate("propose", str(file), "--by", PERSON, "--why", why)
        for site in study.site_ids:
            self._processes.wait_until(partial(self._proposed, study, site), f"The proposal at {site}", START_SECONDS)
        approve = ("hospital", "approve", study.id, "--by", PERSON, "--yes")
        self._at_each(study.site_ids, lambda site: self._commands.run(*approve, "--home", str(self.home(site))))
        self._processes.wait_until(lambda: self._approved(study), "The approvals", START_SECONDS)

    def start(self, study: Study, seed: int = 0, *, again: bool = False) -> str:
        """Start a study, also one that was completed; the id of its run."""
        more = ("--again",) if again else ()
        run: str = self._coordinate("start", study.id, "--by", PERSON, "--seed", str(seed), *more)["run"]
        return run

    def wait(self, run: str, seconds: float, told: Callable[[int], None] = lambda _: None) -> RunRow:
        """Wait until a run is over; is told the number of committed rounds.

        Raises:
            WardroundError: WR-1523, it failed, or takes longer.
        """
        with Consortium(self.coordinator) as consortium:

            def over() -> RunRow | None:
                row = next(row for row in consortium.store.runs() if row.id == run)
                told(row.committed)
                return row if row.state in OVER else None

            row = self._processes.wait_until(over, f"The run {run}", seconds)
        if row.state in {"failed", "stopped"}:
            raise WardroundError("WR-1523", f"The run {run} {row.state}: {row.words}")
        return row

    def run_folder(self, run: str) -> Path:
        """The coordinator's folder of a run."""
        return self.coordinator / "runs" / run

    def report(self, run: str, out: Path) -> None:
        """Write the coordinator's report."""
        self._coordinate("report", run, "--out", str(out))

    def own_reports(self, run: str, sites: Sequence[SiteId]) -> dict[SiteId, Path]:
        """Hand the model to the hospitals, and let each write its own report."""
        found = {site: self.home(site) / "reports" / run for site in sites}
        model = str(self.run_folder(run) / "model")

        def write(site: SiteId) -> None:
            found[site].parent.mkdir(mode=0o700, exist_ok=True)
            out = ("--out", str(found[site]), "--home", str(self.home(site)))
            self._commands.run("hospital", "report", model, *out)

        self._at_each(sites, write)
        return found

    def _at_each(self, sites: Iterable[SiteId], act: Callable[[SiteId], object]) -> None:
        """Let people at all hospitals act at the same time, as many at once as this machine has cores."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(act, sites))

    def _prepare(self, site: SiteId, source: SiteSource, budget: Budget) -> None:
        home = ("--home", str(self.home(site)))
        self._commands.run("hospital", "data", "add", str(source.manifest), "--root", str(source.root), *home)
        if budget.policy is not None:
            (self.home(site) / "policy.toml").write_bytes(budget.policy.as_toml())
        if budget.epsilon is not None:
            limit = ("--epsilon", str(budget.epsilon), "--delta", str(budget.delta))
            reason = ("--admin", PERSON, "--reason", "a demonstration")
            self._commands.quietly("hospital", "ledger", "limit", *limit, *reason, *home)

    def _offered(self, site: SiteId, version: int) -> bool | None:
        status = read_status(self.home(site))
        return True if status is not None and version in {status.offered, status.roster} else None

    def _ready(self, site: SiteId) -> bool | None:
        status = read_status(self.home(site))
        return True if status is not None and status.state == "idle" and status.roster else None

    def _proposed(self, study: Study, site: SiteId) -> bool | None:
        name = study.id.removeprefix("sha256:") + ".json"
        return True if (self.home(site) / PROPOSALS / name).exists() else None

    def _approved(self, study: Study) -> bool | None:
        with Consortium(self.coordinator) as consortium:
            decided = {row.site: row.verdict for row in consortium.store.decisions(study.id)}
        return True if all(decided.get(site) == "approved" for site in study.site_ids) else None

    def _coordinate(self, *words: str) -> Any:  # noqa: ANN401 - the command's JSON document
        return self._commands.run("coordinator", *words, "--dir", str(self.coordinator))

    def _start(self, name: str, words: Sequence[str]) -> Process:
        return self._processes.start(name, (*PROGRAM, *words), self._commands.environment)


def _environment(threads: int) -> dict[str, str]:
    """What every process of the federation sees: nothing of this one that is not needed."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "WARDROUND_HOME": "",
    }
