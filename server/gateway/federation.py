"""The service ``wardround.Federation``: each call reads its request, asks the consortium, and writes the reply."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, TypeVar

from wardround.common.consortium.signed import Document
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.wire import federation as wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from concurrent.futures import Executor

    import grpc

    from wardround.common.roster import SignedRoster
    from wardround.server.consortium import Consortium
    from wardround.server.gateway.callers import Invited, Member
    from wardround.server.gateway.calls import Guard, Metadata
    from wardround.server.gateway.hub import Hub
    from wardround.server.gateway.nodes import Nodes, SuperLinkLike

    Answering = Callable[["Member", "D"], Document]

D = TypeVar("D", bound=Document)

RELEASE: Final = version("wardround")
NOTHING: Final = wire.Nothing()

_LARGEST: Final = 1 << 20
"""Bytes of a request; a hospital's largest, Enrol, has at most 64 kB."""


class Federation:
    """Answers for the consortium. Handlers come from :meth:`handlers`; :meth:`speaks` is asked before Fleet calls.

    Args:
        consortium: Who answers.
        superlink: The SuperLink, for what agents have to know of it.
        nodes: Members' nodes.
        hub: Streams.
        bundle: SHA-256 of the bundle that runs are started with, hex.
        clock: Seconds since 1970.
        blocking: Runs what waits for the database.
    """

    def __init__(
        self,
        *,
        consortium: Consortium,
        superlink: SuperLinkLike,
        nodes: Nodes,
        hub: Hub,
        bundle: str,
        clock: Callable[[], float],
        blocking: Executor,
    ) -> None:
        self._consortium, self._superlink, self._nodes, self._hub = consortium, superlink, nodes, hub
        self._bundle, self._clock, self._blocking = bundle, clock, blocking
        self._foreign: set[SiteId] = set()

    def handlers(self, guard: Guard) -> dict[str, grpc.RpcMethodHandler]:
        """By full name of the method."""
        answered = {
            wire.RENEW: self._member(wire.Renew, self.renew),
            wire.GREET: self._member(wire.Greet, self.greet),
            wire.ROSTER: self._member(wire.Nothing, self.roster),
            wire.STUDIES: self._member(wire.Nothing, self.studies),
            wire.DECIDE: self._member(wire.Decide, self.decide),
            wire.REPORT: self._member(wire.Report, self.report),
            wire.WITNESS: self._member(wire.Witness, self.witness),
        }
        handlers = {name: guard.member(work, _LARGEST) for name, work in answered.items()}
        handlers[wire.ENROL] = guard.invited(self._enrol, _LARGEST)
        handlers[wire.WATCH] = guard.stream(self._watch, len(NOTHING.canonical()))
        return handlers

    def speaks(self, site: SiteId) -> None:
        """Refuse a site whose release was told that it does not work with this one.

        Raises:
            WardroundError: WR-1908.
        """
        if site in self._foreign:
            raise WardroundError("WR-1908", f"Release {RELEASE} and that of {site} speak no common protocol.")

    def enrol(self, pin: str, asked: wire.Enrol) -> wire.Enrolled:
        """Make the holder of an invite a member."""
        admission = self._consortium.enrol(asked.request, now=self._now(), invite_pin=pin)
        key = bytes.fromhex(asked.request.verified().node)
        node = self._nodes.of(SiteId(admission.site), key)
        return wire.Enrolled(admission=admission.model_copy(update={"node_id": node}))

    def renew(self, caller: Member, asked: wire.Renew) -> wire.Renewed:
        """A new certificate."""
        return self._consortium.renew(caller.site, asked.certificate_request, now=self._now())

    def greet(self, caller: Member, asked: wire.Greet) -> wire.Welcome:
        """Agree on a protocol, and say what the agent has to know."""
        common = set(asked.protocols) & set(wire.PROTOCOLS)
        if not common:
            self._foreign.add(caller.site)
            self.speaks(caller.site)
        self._foreign.discard(caller.site)
        now, newest = self._now(), self._roster().roster.version
        accepted = asked.roster if asked.roster <= newest else 0  # one that was never signed is none
        self._consortium.store.heard(caller.site, now, release=asked.release, roster=accepted)
        return wire.Welcome(
            release=RELEASE,
            protocol=max(common),
            consortium=self._consortium.name,
            site=caller.site,
            node_id=self._nodes.of(caller.site, caller.node_key),
            incarnation=self._superlink.incarnation,
            bundle=f"sha256:{self._bundle}",
            roster=newest,
            at=now,
        )

    def roster(self, _caller: Member, _asked: wire.Nothing) -> wire.NewestRoster:
        """The newest roster."""
        return wire.NewestRoster(roster=self._roster())

    def studies(self, caller: Member, _asked: wire.Nothing) -> wire.Proposals:
        """Every study that names the caller."""
        return wire.Proposals(proposals=self._consortium.proposals_for(caller.site))

    def decide(self, caller: Member, asked: wire.Decide) -> wire.Nothing:
        """Take a decision."""
        self._consortium.decide(caller.site, asked.decision, now=self._now())
        return NOTHING

    def report(self, caller: Member, asked: wire.Report) -> wire.Nothing:
        """Note how an agent is."""
        self._consortium.store.heard(caller.site, self._now(), report=asked)
        return NOTHING

    def witness(self, caller: Member, asked: wire.Witness) -> wire.Witnessed:
        """Keep the head of a ledger, and say which was the newest before."""
        return wire.Witnessed(answer=self._consortium.witness(caller.site, asked.head, asked.nonce))

    async def _enrol(self, caller: Invited, body: bytes) -> bytes:
        asked = wire.Enrol.from_canonical(body)
        return (await self._run(self.enrol, caller.pin, asked)).canonical()

    def _watch(self, caller: Member) -> AsyncIterator[bytes | None]:
        self.speaks(caller.site)
        return self._hub.follow(caller.site)

    def _member(self, kind: type[D], answer: Answering[D]) -> Callable[[Member, bytes, Metadata], Awaitable[bytes]]:
        async def work(caller: Member, body: bytes, _metadata: Metadata) -> bytes:
            return (await self._run(answer, caller, kind.from_canonical(body))).canonical()

        return work

    async def _run(self, work: Callable[..., Document], *arguments: object) -> Document:
        return await asyncio.get_running_loop().run_in_executor(self._blocking, work, *arguments)

    def _roster(self) -> SignedRoster:
        found = self._consortium.store.newest_roster()
        if found is None:
            raise RuntimeError("a member without a roster")
        return found

    def _now(self) -> int:
        return int(self._clock())
