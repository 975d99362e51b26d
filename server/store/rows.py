"""What the store holds, row by row. Moments are seconds since 1970, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from wardround.common.consortium.studies import Proposal

if TYPE_CHECKING:
    from wardround.common.consortium.studies import SignedDecision, SignedProposal
    from wardround.common.ids import SiteId, StudyId, StudyRunId
    from wardround.common.wire.federation import Report

SiteState = Literal["invited", "member", "revoked"]
RunState = Literal["waiting", "running", "completed", "completed_with_losses", "failed", "stopped"]
Verdict = Literal["approved", "rejected", "withdrawn"]

OPEN_RUNS: Final[tuple[RunState, ...]] = ("waiting", "running")
COMPLETED_RUNS: Final[tuple[RunState, ...]] = ("completed", "completed_with_losses")
"""States of runs that are not over."""


@dataclass(frozen=True, slots=True)
class SiteRow:
    """A hospital.

    Attributes:
        name: The name it was invited under.
        label: What people call it; may be empty.
        state: ``invited`` until it joins, ``member``, or ``revoked``.
        identity: Its Ed25519 public key, hex; None before it joins.
        node: Public key of its Flower node as Flower writes it, hex; None before it joins.
        joined_at: When it got these keys.
        revoked_at: When it was revoked last.
        reason: Why it was revoked, for people.
        heard_at: When it was last heard.
        release: Version of wardround at the site.
        roster: Version of the roster that its people accepted.
        report: How its agent was when it last said so.
    """

    name: SiteId
    label: str
    state: SiteState
    identity: str | None
    node: str | None
    joined_at: int | None
    revoked_at: int | None
    reason: str
    heard_at: int | None
    release: str | None
    roster: int | None
    report: Report | None


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A TLS certificate that the consortium issued to a site.

    Attributes:
        hash: SHA-256 of its DER form, hex.
        site: To whom.
        pin: SHA-256 of its public key, hex.
        pem: The certificate.
        request: Hash of the enrolment request that it answers; None for a renewal.
        issued_at: When.
        until: When it ends.
        revoked_at: When it was revoked; None: it was not.
    """

    hash: str
    site: SiteId
    pin: str
    pem: str
    request: str | None
    issued_at: int
    until: int
    revoked_at: int | None = None

    def valid(self, now: int) -> bool:
        """Whether it was not revoked and has not ended."""
        return self.revoked_at is None and now < self.until


@dataclass(frozen=True, slots=True)
class InviteRow:
    """An invite. Its secret is not kept: the public key that the secret stands for is enough.

    Attributes:
        pin: SHA-256 of that public key, hex.
        site: For whom.
        certificate: Self-signed certificate of that key, PEM.
        made_at: When.
        until: When it ends.
        used_at: When it was used or withdrawn; None: it is open.
        request: Hash of the enrolment request that used it; None while it is open, and when it was withdrawn.
    """

    pin: str
    site: SiteId
    certificate: str
    made_at: int
    until: int
    used_at: int | None = None
    request: str | None = None

    def open(self, now: int) -> bool:
        """Whether it may still be used."""
        return self.used_at is None and now < self.until


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A proposed study.

    Attributes:
        id: Its hash.
        name: Its short name.
        title: One line for people.
        sites: The hospitals that train.
        by: The person who asks.
        why: What it is for.
        proposed_at: When.
        signed: The proposal; of a study that was withdrawn, the withdrawal.
    """

    id: StudyId
    name: str
    title: str
    sites: tuple[SiteId, ...]
    by: str
    why: str
    proposed_at: int
    signed: SignedProposal

    @property
    def withdrawn(self) -> bool:
        """Whether it was withdrawn."""
        return Proposal.from_canonical(self.signed.content.encode(), code="WR-1915").withdrawn


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """What a hospital decided about a study.

    Attributes:
        study: The study's hash.
        site: Whose decision.
        verdict: ``approved``, ``rejected`` or ``withdrawn``.
        by: The person.
        second: The second person, if there was one.
        reason: For people.
        decided_at: By the hospital's clock.
        signed: The decision.
    """

    study: StudyId
    site: SiteId
    verdict: Verdict
    by: str
    second: str | None
    reason: str
    decided_at: int
    signed: SignedDecision


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run of a study.

    Attributes:
        id: wardround's own id, durable.
        study: The study's hash.
        state: Where it is.
        by: The person who started it.
        seed: Of the run.
        without: Sites of the study that do not take part.
        committed: The last committed round; 0 before the first.
        words: What happened last, for people.
        created_at: When it was started.
        changed_at: When this row changed last.
    """

    id: StudyRunId
    study: StudyId
    state: RunState
    by: str
    seed: int
    without: tuple[SiteId, ...]
    committed: int
    words: str
    created_at: int
    changed_at: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """What happened, in the order in which it happened.

    Attributes:
        number: Grows with every event; numbers may be left out.
        at: When.
        kind: For example ``site.joined`` or ``study.proposed``.
        site: Whom it is about.
        study: What it is about.
        run: What it is about.
        words: For people.
    """

    number: int
    at: int
    kind: str
    site: SiteId | None
    study: StudyId | None
    run: StudyRunId | None
    words: str
