"""The calls of ``wardround.Federation`` as the hospital makes them."""

from __future__ import annotations

import queue
import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Self, TypeVar

from cryptography.hazmat.primitives import serialization

from wardround.client.channel import NOT_TAKEN, Way, open_channel, refusals, shown_certificate
from wardround.client.membership import read_membership, site_credentials
from wardround.common.crypto import certificates
from wardround.common.errors import WardroundError
from wardround.common.wire import federation as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    import grpc

    from wardround.common.consortium.enrolment import Admission, InviteCode, SignedEnrolmentRequest
    from wardround.common.consortium.signed import Document
    from wardround.common.consortium.studies import SignedDecision, SignedProposal
    from wardround.common.privacy.witness import Answer, SignedHead
    from wardround.common.roster import SignedRoster

RELEASE: Final = version("wardround")
CALL_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 60.0
"""How long the gateway may say nothing at all on a stream before the connection is taken for dead."""

_NOTHING: Final = wire.Nothing()
D = TypeVar("D", bound="Document")


def _plain(_name: str, document: Document) -> bytes:
    return document.canonical()


def connect(home: Path, serialise: Callable[[str, Document], bytes] = _plain) -> Connection:
    """The hospital's connection; nothing is sent yet.

    Args:
        home: The home folder.
        serialise: Gets a call's full name and its request, and gives the bytes that leave.

    Raises:
        WardroundError: WR-1914, the hospital has not joined, or its files are damaged; WR-1905, its certificate has
            expired; WR-1901, the address of the proxy cannot be read.
    """
    key, certificate, authority = site_credentials(home)
    return Connection(Way(read_membership(home).address, key, certificate, authority), serialise)


def enrol(
    code: InviteCode, request: SignedEnrolmentRequest, serialise: Callable[[str, Document], bytes] = _plain
) -> Admission:
    """Join with an invite code. The same request may be sent again if the answer was lost.

    The server is trusted for its public key, which the code names; no authority is asked.

    Raises:
        WardroundError: WR-1907, the server has another key; WR-1904, the code is not valid any more; WR-1901, the
            server cannot be reached; what else the coordinator refuses a request for.
    """
    own = certificates.invite_key(bytes.fromhex(code.secret))
    certificate = certificates.pem(certificates.invite_certificate(own)).encode()
    unpinned = Way(code.address, certificates.key_pem(own), certificate, b"")
    shown = shown_certificate(unpinned)
    if certificates.pin_of(shown) != code.pin:
        raise WardroundError("WR-1907", f"The server at {code.address} has another key than the invite code names.")
    way = Way(code.address, unpinned.key, certificate, shown.public_bytes(serialization.Encoding.PEM))
    try:
        with Connection(way, serialise) as connection:
            return connection.enrol(request)
    except WardroundError as error:
        if error.what != NOT_TAKEN:
            raise
        what = "The gateway does not take the invite code: it has expired, was used, or was withdrawn."
        raise WardroundError("WR-1904", what) from error


class Connection:
    """Typed calls to the gateway; any thread may call.

    Every one may raise WardroundError: what the gateway refuses with, and WR-1901, WR-1905, WR-1907, WR-1908 and
    WR-1910 as :func:`wardround.client.channel.refusals` says.

    Args:
        way: Where, and with which credentials.
        serialise: See :func:`connect`.
    """

    def __init__(self, way: Way, serialise: Callable[[str, Document], bytes] = _plain) -> None:
        self.way = way
        self.channel: grpc.Channel = open_channel(way)
        self._serialise = serialise
        self._ahead = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all calls and the connection."""
        self.channel.close()

    def clock(self) -> float:
        """The coordinator's clock as the last greeting told it, seconds since 1970; ours before the first."""
        return time.time() + self._ahead

    def greet(self, roster: int) -> wire.Welcome:
        """First call of every connection, and after the event ``superlink``.

        Args:
            roster: Version of the roster that people here accepted; 0 for none.
        """
        welcome = self._call(
            wire.GREET, wire.Greet(release=RELEASE, protocols=wire.PROTOCOLS, roster=roster), wire.Welcome
        )
        if welcome.protocol not in wire.PROTOCOLS:
            raise WardroundError("WR-1908", f"The coordinator speaks protocol {welcome.protocol}.")
        self._ahead = welcome.at - time.time()
        return welcome

    def enrol(self, request: SignedEnrolmentRequest) -> Admission:
        """Join; under the certificate of an invite only."""
        return self._call(wire.ENROL, wire.Enrol(request=request), wire.Enrolled).admission

    def renew(self, certificate_request: str) -> wire.Renewed:
        """A new certificate for the key of a PKCS #10 request (PEM)."""
        return self._call(wire.RENEW, wire.Renew(certificate_request=certificate_request), wire.Renewed)

    def roster(self) -> SignedRoster:
        """The newest roster; its signature is the caller's to check."""
        return self._call(wire.ROSTER, _NOTHING, wire.NewestRoster).roster

    def studies(self) -> tuple[SignedProposal, ...]:
        """Every study that names this site, newest last; signatures are the caller's to check."""
        return self._call(wire.STUDIES, _NOTHING, wire.Proposals).proposals

    def decide(self, decision: SignedDecision) -> None:
        """Say what people here decided about a study; again changes nothing."""
        self._call(wire.DECIDE, wire.Decide(decision=decision), wire.Nothing)

    def report(self, report: wire.Report) -> None:
        """Say how this agent is."""
        self._call(wire.REPORT, report, wire.Nothing)

    def witness(self, head: SignedHead | None, nonce: str) -> Answer:
        """Have the newest head of this site's ledger kept, and ask for the one before."""
        return self._call(wire.WITNESS, wire.Witness(head=head, nonce=nonce), wire.Witnessed).answer

    def watch(self, silence: float = SILENCE_SECONDS) -> Watch:
        """The stream of events; one at a time for a site: a new one ends the one before.

        Args:
            silence: See :data:`SILENCE_SECONDS`.
        """
        call = self.channel.unary_stream(wire.WATCH)(self._serialise(wire.WATCH, _NOTHING))
        return Watch(call, self.way, silence)

    def _call(self, name: str, request: Document, kind: type[D]) -> D:
        body = self._serialise(name, request)
        with refusals(self.way):
            answer: bytes = self.channel.unary_unary(name)(body, timeout=CALL_SECONDS)
        return kind.from_canonical(answer)


class Watch:
    """Events as they come.

    Args:
        call: The stream.
        way: For saying why it ended.
        silence: Seconds without any event after which it is taken for dead.
    """

    def __init__(self, call: grpc.Call, way: Way, silence: float) -> None:
        self._call, self._way, self._silence = call, way, silence
        self._events: queue.SimpleQueue[wire.EventKind | WardroundError] = queue.SimpleQueue()
        self._heard = time.monotonic()
        threading.Thread(target=self._read, name="watch", daemon=True).start()

    def wait(self, seconds: float) -> wire.EventKind | None:
        """The next event; None: there was none for so many seconds.

        Raises:
            WardroundError: The stream ended, for the reason that it says; WR-1901, nothing was heard for too long.
        """
        end = time.monotonic() + seconds
        while True:
            dead = self._heard + self._silence
            try:
                event = self._events.get(timeout=max(0.0, min(end, dead) - time.monotonic()))
            except queue.Empty:
                if time.monotonic() >= self._heard + self._silence:
                    self.close()
                    raise WardroundError("WR-1901", "The gateway was not heard for too long.") from None
                if time.monotonic() >= end:
                    return None
                continue
            if isinstance(event, WardroundError):
                self._events.put(event)  # also for whoever asks next
                raise event
            return event

    def close(self) -> None:
        """End the stream."""
        self._call.cancel()

    def __iter__(self) -> Iterator[wire.EventKind]:
        """All events until the stream ends, which is an error as in :meth:`wait`."""
        while True:
            event = self.wait(self._silence)
            if event is not None:
                yield event

    def _read(self) -> None:
        ended = WardroundError("WR-1901", "The gateway ended the stream of events.")
        try:
            with refusals(self._way):
                for content in self._call:
                    self._heard = time.monotonic()
                    self._events.put(wire.Event.from_canonical(content).kind)
        except WardroundError as error:
            ended = error
        self._events.put(ended)
