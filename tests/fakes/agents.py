"""Hospitals with drawn chests and an approved study, and their agents as real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fakes.scenarios import chest_scenario

from wardround.client.agent.status import read_status
from wardround.client.egress import Gate
from wardround.client.enrol import join_by_code
from wardround.client.identity import accepted_authority, accepted_roster
from wardround.client.offer import accept_offer, keep_offer, offered
from wardround.client.proposals import keep_decision, keep_proposal, mark_sent
from wardround.common.consortium.studies import Decision, Proposal, SignedProposal
from wardround.simulations.hospitals import build_hospitals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fakes.federated import Federated

    from wardround.client.agent.status import Status
    from wardround.client.home import Home
    from wardround.common.study import Study


def hospitals(folder: Path, scenario: Any) -> dict[str, Home]:
    """Every training hospital of a scenario; its study is approved there."""
    found = build_hospitals(scenario, None, folder, device="cpu", threads=1, progress=lambda _: None)
    for site in scenario.study.site_ids:
        found[site].home.approve(scenario.study)
    return {site: found[site].home for site in scenario.study.site_ids}


def one_hospital(folder: Path, **sections: Any) -> tuple[Home, Study]:
    """A hospital, ``north``, that has approved a small open study of three."""
    scenario = chest_scenario(**sections)
    return hospitals(folder, scenario)["north"], scenario.study


def change_settings(home: Home, old: str, new: str) -> None:
    """Write a hospital's settings anew with a line replaced."""
    path = home.path / "hospital.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def join_all(stand: Federated, homes: Mapping[str, Home]) -> None:
    """Let hospitals join a real consortium by code, and accept the roster that has all of them."""
    for site, home in homes.items():
        (home.path / "roster.json").unlink(missing_ok=True)  # of the virtual consortium
        admission = join_by_code(home, stand.invite(site), "", Gate(home, _no_layout).request)
        move(home, admission.address, stand.address)
    newest = stand.consortium.store.newest_roster()
    assert newest is not None
    for home in homes.values():
        keep_offer(home, newest)
        waiting = offered(home)
        assert waiting is not None
        accept_offer(home, waiting.roster.fingerprint, "A. Tester")


def decide(stand: Federated, homes: Iterable[Home], *studies: Study) -> None:
    """Let people at hospitals that have accepted the roster approve studies which the consortium's authority proposes.

    The coordinator is not told: what it makes of decisions is not what is tested with this.
    """
    for home in homes:
        for study in studies:
            name = accepted_roster(home).consortium
            proposal = Proposal(consortium=name, study=study.canonical().decode(), by="A. Tester", at=1)
            keep_proposal(home, SignedProposal.sign(proposal, stand.consortium.authority))
            fields = {"consortium": name, "authority": accepted_authority(home), "site": home.site, "study": study.id}
            mark_sent(home, keep_decision(home, Decision(**fields, verdict="approved", by="A. Tester", at=1)))


def move(home: Home, old: str, new: str) -> None:
    """Let a hospital call the gateway on the port on which the test's one really listens."""
    path = home.path / "membership.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def _no_layout(_: object) -> Any:
    raise AssertionError("a request has no vector")


class Agents:
    """Agents as processes, ``wardround hospital serve``.

    Args:
        homes: Of the hospitals.
        before: Python that their processes run before anything else.
        environment: Theirs; None: ours.
        folder: Where they are started; None: here.
        worker: The command of their workers; None: the program's own, by the program's own command line.
    """

    def __init__(
        self,
        homes: Iterable[Home],
        before: str = "",
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        worker: Sequence[str] | None = None,
    ) -> None:
        self.homes, self.before, self.environment, self.folder = list(homes), before, environment, folder
        self.worker = worker
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, home: Home) -> subprocess.Popen[bytes]:
        """Start one; what it prints goes to a file beside its home."""
        program = f"{self.before}\n{self._program(home)}"
        out = home.path.with_suffix(".out").open("ab")
        command = [sys.executable, "-c", program, "hospital", "serve", "--home", str(home.path)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment, cwd=self.folder
        )
        out.close()
        self.processes[home.site] = process
        return process

    def _program(self, home: Home) -> str:
        if self.worker is None:
            return "from wardround.simulations.cli import main; main()"
        imports = "from pathlib import Path\nfrom wardround.client.agent.serve import serve\n"
        return f"{imports}serve(Path({str(home.path)!r}), {tuple(self.worker)!r})"

    def stop(self) -> None:
        """End all, as a service manager does."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(30)


@contextmanager
def agents(homes: Iterable[Home], **how: Any) -> Iterator[Agents]:
    """Agents that run, and are connected when the block begins; further arguments are those of :class:`Agents`."""
    found = Agents(homes, **how)
    try:
        for home in found.homes:
            found.start(home)
        for home in found.homes:
            process = found.processes[home.site].pid
            until(home, lambda status, process=process: (status.state, status.process) == ("idle", process))
        yield found
    finally:
        found.stop()


def until(home: Home, holds: Callable[[Status], bool], seconds: float = 120.0) -> Status:
    """Wait for something in ``status.json``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = read_status(home.path)
        if status is not None and holds(status):
            return status
        time.sleep(0.05)
    log = (home.path / "agent.log").read_text() if (home.path / "agent.log").exists() else "no log"
    raise AssertionError(f"it did not come to that: {read_status(home.path)}\n{log}")
