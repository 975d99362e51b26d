"""A real consortium on loopback: SuperLink, gateway, hospitals that joined by invite code."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from wardround.client.federation import connect, enrol
from wardround.client.link import Link, public_key
from wardround.client.membership import node_key, store_membership
from wardround.common.consortium.enrolment import EnrolmentRequest, SignedEnrolmentRequest
from wardround.common.crypto import certificates
from wardround.common.crypto.signing import SigningKey
from wardround.common.wire.federation import REPORT, Report
from wardround.server.consortium import create_consortium
from wardround.server.flower import RuntimeGrid, bundle
from wardround.server.gateway import Gateway
from wardround.server.superlink import SuperLink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardround.client.federation import Connection, Watch
    from wardround.common.consortium.enrolment import InviteCode
    from wardround.server.consortium import Consortium
    from wardround.server.consortium.settings import GatewaySettings


@dataclass
class Replies:
    """What the gateway tells the coordinator's process."""

    grid: RuntimeGrid | None = None
    seen: list[tuple[str, int]] = field(default_factory=list)

    def replied(self, site: str, node: int) -> None:
        self.seen.append((site, node))
        if self.grid is not None:
            self.grid.replied(node)


@dataclass
class Federated:
    """What :func:`federated` has started."""

    folder: Path
    consortium: Consortium
    superlink: SuperLink
    gateway: Gateway
    replies: Replies
    identities: dict[str, SigningKey] = field(default_factory=dict)

    def identity(self, site: str) -> SigningKey:
        """The identity key with which a site joined last."""
        return self.identities[site]

    @property
    def address(self) -> str:
        return f"localhost:{self.gateway.port}"

    def invite(self, site: str) -> InviteCode:
        """A code with the port on which the gateway really listens."""
        code = self.consortium.invite(site, now=int(time.time()), again=self.is_member(site))
        return code.model_copy(update={"address": self.address})

    def is_member(self, site: str) -> bool:
        found = self.consortium.store.site(site)
        return found is not None and found.state == "member"

    def join(self, site: str) -> Path:
        """A hospital's home folder with what joining brings."""
        home = self.folder / f"home-{site}-{time.monotonic_ns()}"
        home.mkdir()
        request, tls, node = enrolment(site, identities=self.identities)
        admission = enrol(self.invite(site), request)
        moved = admission.model_copy(update={"address": self.address})
        store_membership(home, moved, certificates.key_pem(tls), certificates.key_pem(node))
        return home

    def link(self, home: Path) -> tuple[Connection, Link]:
        """A connection that has greeted, and the link of its node, online."""
        connection = connect(home)
        link = Link(connection, node_key(home), connection.greet(0).node_id)
        assert link.heartbeat()
        return connection, link

    @contextmanager
    def locked_database(self) -> Iterator[None]:
        """Nobody else writes to the database while the block lasts."""
        held, over = threading.Event(), threading.Event()

        def hold() -> None:
            with self.consortium.store.transaction():
                held.set()
                over.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def waiting_call(self, connection: Connection) -> Iterator[None]:
        """A call of this connection that goes on while the block lasts."""
        with self.locked_database():
            before = self.gateway.counts().get("calls", 0)
            call = connection.channel.unary_unary(REPORT).future(Report(state="idle").canonical(), timeout=60)
            while self.gateway.counts().get("calls", 0) == before:
                time.sleep(0.01)
            yield
        call.result()

    def grid(self, patience: float = 1.0) -> RuntimeGrid:
        """A run that was started and taken up."""
        self.superlink.start_run(bundle())
        task = self.superlink.acquire()
        assert task is not None
        place, gateway = (self.superlink.address, self.superlink.root), self.gateway
        grid = RuntimeGrid(*place, task[1], gateway.wake, patience, taken=gateway.taken)
        grid.begin()
        self.replies.grid = grid
        return grid


def enrolment(
    site: str, *, at: int | None = None, identities: dict[str, SigningKey] | None = None
) -> tuple[SignedEnrolmentRequest, ec.EllipticCurvePrivateKey, ec.EllipticCurvePrivateKey]:
    """A request with new keys; TLS key and node key."""
    identity = SigningKey.generate(os.urandom)
    if identities is not None:
        identities[site] = identity
    tls, node = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    request = EnrolmentRequest(
        site=site,
        identity=identity.public.hex(),
        certificate_request=certificates.make_request(tls),
        node=public_key(node.public_key()).hex(),
        at=int(time.time()) if at is None else at,
    )
    return SignedEnrolmentRequest.sign(request, identity), tls, node


@contextmanager
def federated(folder: Path, alive: float = 15.0, settings: GatewaySettings | None = None) -> Iterator[Federated]:
    """Start a SuperLink and a gateway; both end with the block."""
    path = folder / "coordinator"
    consortium = create_consortium(path, "Test consortium", "localhost:8443", names=("127.0.0.1",))
    if settings is not None:
        consortium.settings = consortium.settings.model_copy(update={"gateway": settings})
    superlink, replies = SuperLink(path), Replies()
    superlink.start()
    gateway = Gateway(consortium, superlink, replies, listen="127.0.0.1:0", alive=alive)
    try:
        gateway.start()
        yield Federated(folder, consortium, superlink, gateway, replies)
    finally:
        gateway.stop()
        superlink.stop()
        consortium.close()


def until_alive(watch: Watch) -> None:
    """Wait until the stream lives; events of sites that joined before it was opened may come first."""
    while (event := watch.wait(10)) != "alive":
        assert event is not None, "the stream said nothing for 10 s"


@contextmanager
def echo(connection: Connection, link: Link) -> Iterator[None]:
    """An agent in a thread that answers every message with its own content until the block ends."""
    from flwr.app import Message

    over = threading.Event()
    watch = connection.watch()

    def serve() -> None:
        while not over.is_set():
            while (message := link.receive()) is not None:
                link.send(Message(message.content, reply_to=message))
            if watch.wait(0.2) is None:
                continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        watch.close()
