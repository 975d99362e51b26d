"""A coordinator as a process of its own, and hospitals whose agents are threads of the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Message, RecordDict

from wardround.client.agent.news import roster_version
from wardround.client.app import HOME_KEY
from wardround.client.app import app as hospital_app
from wardround.client.federation import connect, enrol
from wardround.client.identity import ROSTER, accept_roster, site_key
from wardround.client.link import Link, public_key
from wardround.client.membership import node_key, store_membership
from wardround.common.consortium.enrolment import EnrolmentRequest, SignedEnrolmentRequest
from wardround.common.consortium.studies import Decision, SignedDecision
from wardround.common.crypto import certificates
from wardround.common.errors import WardroundError
from wardround.server.consortium import Consortium, create_consortium
from wardround.server.lock import STATUS
from wardround.server.runs import orders
from wardround.simulations.hospitals import build_hospitals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wardround.common.ids import SiteId
    from wardround.common.study import Study
    from wardround.server.store import RunRow
    from wardround.simulations.hospitals import VirtualHospital

WAIT = 180.0


def wait_for(condition: Callable[[], Any], seconds: float = WAIT) -> Any:
    """What the condition gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


@dataclass
class Agent:
    """A hospital's agent in a thread: it calls, works on messages with the installed app, and answers.

    ``before`` is called with each message before it is worked on.
    """

    hospital: VirtualHospital
    before: Callable[[Message], None] = lambda _: None
    handled: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> Agent:
        self._over.clear()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def leave(self) -> None:
        """It ends as soon as it can; any thread may call."""
        self._over.set()

    def stop(self) -> None:
        """It is silent from now on."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                self._connected()
            except WardroundError as error:  # the coordinator is not there: try again
                self.errors.append(str(error))
                self._over.wait(0.2)

    def _connected(self) -> None:
        """One connection, until it breaks, or the node is not known any more."""
        connection, lost = connect(self.hospital.home.path), threading.Event()
        try:
            welcome = connection.greet(roster_version(self.hospital.home))
            link = Link(connection, node_key(self.hospital.home.path), welcome.node_id)
            threading.Thread(target=self._beat, args=(link, lost), daemon=True).start()
            while not self._over.is_set() and not lost.is_set():
                if (message := link.receive()) is None:
                    self._over.wait(0.02)
                else:
                    self._answer(link, message)
        finally:
            lost.set()
            connection.close()

    def _beat(self, link: Link, lost: threading.Event) -> None:
        try:
            while link.heartbeat() and not self._over.is_set():
                if lost.wait(0.5):
                    return
        except (WardroundError, ValueError):  # the connection is closed
            pass
        lost.set()

    def _answer(self, link: Link, message: Message) -> None:
        self.before(message)
        if self._over.is_set():
            return
        node = message.metadata.dst_node_id
        context = Context(1, node, {HOME_KEY: str(self.hospital.home.path)}, RecordDict(), {})
        with _ONE:
            reply = hospital_app(message, context)
        self.handled.append(f"{message.metadata.message_type} {message.metadata.group_id}")
        try:
            link.send(reply)
        except WardroundError as error:
            if error.code != "WR-1923":
                raise


_ONE = threading.Lock()
"""Virtual hospitals of one process share resident models."""


@dataclass
class Serving:
    """A consortium with its hospitals; the coordinator's process is started and killed at will."""

    folder: Path
    consortium: Consortium
    hospitals: dict[SiteId, VirtualHospital]
    agents: dict[SiteId, Agent] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    @property
    def path(self) -> Path:
        return self.consortium.path

    def serve(self) -> dict[str, Any]:
        """Start the coordinator's process; its status."""
        (self.path / STATUS).unlink(missing_ok=True)
        program = Path(sys.executable).with_name("wardround")
        command = [str(program), "coordinator", "serve", "--dir", str(self.path)]
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--listen", f"127.0.0.1:{self.port}", "--metrics-port", "0"], stdout=log, stderr=log
            )
        process = self.process
        wait_for(lambda: (self.path / STATUS).exists() or process.poll() is not None)
        assert process.poll() is None, (self.folder / "serve.log").read_text()
        status: dict[str, Any] = json.loads((self.path / STATUS).read_bytes())
        self.port = status["gateway_port"]
        return status

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End the coordinator's process; its exit status."""
        assert self.process is not None
        os.kill(self.process.pid, number)
        return self.process.wait(60)

    def children(self, program: str = "") -> list[int]:
        """Processes that the coordinator has started, whose command line holds ``program``."""
        assert self.process is not None
        return [pid for pid, parent, command in processes() if parent == self.process.pid and program in command]

    def join(self) -> None:
        """Every hospital joins by an invite code and accepts the roster with all of them."""
        for site, hospital in self.hospitals.items():
            home = hospital.home
            (home.path / ROSTER).unlink()  # that of the simulation
            tls, node = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
            request = EnrolmentRequest(
                site=site,
                identity=site_key(home).public.hex(),
                certificate_request=certificates.make_request(tls),
                node=public_key(node.public_key()).hex(),
                at=int(time.time()),
            )
            code = self.consortium.invite(site, now=int(time.time()))
            address = f"localhost:{self.port}"
            signed = SignedEnrolmentRequest.sign(request, site_key(home))
            admission = enrol(code.model_copy(update={"address": address}), signed)
            moved = admission.model_copy(update={"address": address})
            store_membership(home.path, moved, certificates.key_pem(tls), certificates.key_pem(node))
        roster = self.consortium.store.newest_roster()
        assert roster is not None
        for hospital in self.hospitals.values():
            accept_roster(hospital.home, roster, by="Dr. Test")
            self.consortium.store.heard(hospital.home.site, int(time.time()), roster=roster.roster.version)

    def propose(self, study: Study) -> None:
        """The study is proposed, and approved everywhere."""
        now = int(time.time())
        self.consortium.propose(study, "Dr. Test", now=now)
        for site in study.site_ids:
            self.decide(study, site, "approved")

    def decide(self, study: Study, site: SiteId, verdict: Any) -> None:
        home, now = self.hospitals[site].home, int(time.time())
        if verdict == "approved":
            home.approve(study)
        decision = Decision(
            consortium=self.consortium.name, site=site, study=study.id, verdict=verdict, by="Dr. Local", at=now
        )
        self.consortium.decide(site, SignedDecision.sign(decision, site_key(home)), now=now)

    def begin_agents(self) -> None:
        for site, hospital in self.hospitals.items():
            self.agents[site] = Agent(hospital).start()

    def start(self, study: Any, **changes: Any) -> RunRow:
        return orders.start(self.consortium, study.name, by="Dr. Test", again=True, **changes)

    def run(self, run: str) -> RunRow:
        return next(row for row in self.consortium.store.runs() if row.id == run)

    def ended(self, run: str, seconds: float = WAIT) -> RunRow:
        wait_for(lambda: self.run(run).state not in {"waiting", "running"}, seconds)
        return self.run(run)


@contextmanager
def serving(folder: Path, scenario: Any, **runs: Any) -> Iterator[Serving]:
    """A coordinator that serves, with the hospitals of a scenario as members whose agents call; all end with the block.

    Args:
        folder: For everything.
        scenario: Its study is proposed and approved.
        runs: Settings of the table ``runs``.
    """
    path = folder / "coordinator"
    create_consortium(path, "Test consortium", "localhost:8443", names=("127.0.0.1",)).close()
    settings = path / "coordinator.toml"
    fields = tomllib.loads(settings.read_text())
    fields["runs"] |= {"silent_seconds": 5.0, "grace_seconds": 10.0} | runs
    settings.write_text(tomli_w.dumps(fields))
    hospitals = build_hospitals(scenario, None, folder / "sites", device="cpu", threads=1, progress=lambda _: None)
    members = {site: hospitals[site] for site in scenario.study.site_ids}
    with Consortium(path) as consortium:
        stand = Serving(folder, consortium, members)
        try:
            stand.serve()
            stand.join()
            stand.propose(scenario.study)
            stand.begin_agents()
            yield stand
        finally:
            for agent in stand.agents.values():
                agent.stop()
            if stand.process is not None and stand.process.poll() is None:
                stand.kill()


def processes() -> list[tuple[int, int, str]]:
    """Process id, parent and command line of every process."""
    found = []
    for task in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (task / "stat").read_text(), (task / "cmdline").read_bytes()
        except OSError:
            continue
        fields = status.rsplit(")", 1)[1].split()
        if fields[0] != "Z":
            found.append((int(task.name), int(fields[1]), command.replace(b"\0", b" ").decode()))
    return found


def alive(pid: int) -> bool:
    return any(pid == found for found, _, _ in processes())
