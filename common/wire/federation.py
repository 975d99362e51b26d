"""The calls of the service ``wardround.Federation``: what passes between agent and gateway besides Flower's messages.

Each call is a gRPC method with one request and one reply (``Watch``: a stream of replies); a message is the canonical
JSON of its class. The gateway takes the site from the certificate, never from a message. A refusal is a gRPC status
whose details begin with the ``WR`` code. Flower's own calls pass under ``/flwr.proto.Fleet/`` as bytes.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from wardround.common.consortium.enrolment import Admission, NodeId, Pem, SignedEnrolmentRequest
from wardround.common.consortium.signed import Document, Moment, Sha256
from wardround.common.consortium.studies import SignedDecision, SignedProposal
from wardround.common.ids import StudyRunId
from wardround.common.privacy.witness import Answer, SignedHead
from wardround.common.roster import SignedRoster

SERVICE: Final = "/wardround.Federation/"
ENROL: Final = SERVICE + "Enrol"
RENEW: Final = SERVICE + "Renew"
GREET: Final = SERVICE + "Greet"
ROSTER: Final = SERVICE + "Roster"
STUDIES: Final = SERVICE + "Studies"
DECIDE: Final = SERVICE + "Decide"
REPORT: Final = SERVICE + "Report"
WITNESS: Final = SERVICE + "Witness"
WATCH: Final = SERVICE + "Watch"

PROTOCOLS: Final = (1,)
"""Versions of this service that this release speaks: its own and the one before."""

BUNDLE: Final = "sha256:c5c658dadc683c574c39546730da38333fda6c450e455929e0c227865e1a507d"
"""Of the Flower app bundle that every run is started with: names of installed apps, no code. Agents take no other."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}$")]


EventKind = Literal["work", "roster", "studies", "superlink", "alive"]


class Nothing(Document):
    """A request or reply without content."""


class Enrol(Document):
    """``Enrol``, under the certificate that is derived from an invite code; answered with an :class:`Admission`."""

    request: SignedEnrolmentRequest


class Enrolled(Document):
    """The answer."""

    admission: Admission


class Renew(Document):
    """``Renew``: a new TLS certificate before the old one ends. The key may be a new one.

    Attributes:
        certificate_request: PKCS #10, PEM.
    """

    certificate_request: Pem


class Renewed(Document):
    """The answer.

    Attributes:
        certificate: PEM.
        certificate_authority: PEM.
    """

    certificate: Pem
    certificate_authority: Pem


class Greet(Document):
    """``Greet``: first call of every connection.

    Attributes:
        release: Version of wardround at the site.
        protocols: Versions of this service that it speaks.
        roster: Version of the roster that its people accepted; 0 for none.
    """

    release: Name
    protocols: Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], Field(min_length=1, max_length=16)]
    roster: Annotated[int, Field(ge=0, lt=2**53)]


class Welcome(Document):
    """The answer.

    Attributes:
        release: Version of wardround at the coordinator.
        protocol: The version that is spoken from now on.
        consortium: Its name.
        site: Whom the gateway takes the caller for.
        node_id: Of the site's Flower node, registered at the present SuperLink.
        incarnation: Of the SuperLink; another one means that the node has to be activated again.
        bundle: SHA-256 of the Flower app bundle of approved runs; its content is never run at the site.
        roster: Version of the newest roster.
        at: The coordinator's clock.
    """

    release: Name
    protocol: Annotated[int, Field(ge=1, le=1000)]
    consortium: Annotated[str, StringConstraints(max_length=100)]
    site: Name
    node_id: NodeId
    incarnation: Name
    bundle: Sha256
    roster: Annotated[int, Field(ge=1, lt=2**53)]
    at: Moment


class NewestRoster(Document):
    """Answer to ``Roster`` (:class:`Nothing`)."""

    roster: SignedRoster


class Proposals(Document):
    """Answer to ``Studies`` (:class:`Nothing`): every study that names this site, newest last."""

    proposals: Annotated[tuple[SignedProposal, ...], Field(max_length=1000)]


class Decide(Document):
    """``Decide``; answered with :class:`Nothing`."""

    decision: SignedDecision


class Report(Document):
    """``Report``, how the agent is, whenever that changes; answered with :class:`Nothing`.

    Attributes:
        state: ``idle``, ``working``, or ``refusing``: it is connected and takes no part, for the reason given.
        run: The study run that it works on.
        what: Kind of the message it works on, ``train``, ``private.upload``, ...
        reason: A ``WR`` code and nothing else; texts stay at the site.
        device: What it trains on: ``cpu``, ``cuda`` or ``none``.
    """

    state: Literal["idle", "working", "refusing"]
    run: Annotated[StudyRunId, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] | None = None
    what: Name | None = None
    reason: Annotated[str, StringConstraints(pattern=r"^WR-[0-9]{4}$")] | None = None
    device: Literal["cpu", "cuda", "none"] = "none"


class Witness(Document):
    """``Witness``: keep the newest head of this site's privacy ledger, and say which was the newest before.

    Attributes:
        head: The head to keep; None only asks.
        nonce: Fresh, 64 hex digits; it is in what the coordinator signs.
    """

    head: SignedHead | None = None
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Witnessed(Document):
    """The answer, signed by the consortium's authority."""

    answer: Answer


class Event(Document):
    """One reply of the stream ``Watch`` (:class:`Nothing`).

    Attributes:
        kind: ``work``: a Flower message waits, with all of its objects; ``roster``; ``studies``; ``superlink``: its
            incarnation changed, greet again; ``alive``: nothing happened, sent so that a dead connection is noticed.
    """

    kind: EventKind
