"""What happened to a hospital's privacy budget: the ledger's events, in words that outlive the program.

An event says what happened, never what it costs; costs are computed from it (:mod:`wardround.client.ledger.cost`).
Its content is RFC 8785 JSON. Each event's digest is SHA-256 over the digest before it and its content, so that the last
digest stands for all events.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from wardround.common.errors import WardroundError
from wardround.common.ids import StudyId, StudyRunId
from wardround.common.privacy.mechanism import SampledGaussian
from wardround.common.privacy.witness import Bound, Digest, Head, Incarnation
from wardround.common.roster import Site, Text

if TYPE_CHECKING:
    from wardround.client.ledger.patients import Cohort

START: Final = bytes(32)
"""The digest before the first event."""

_DOMAIN: Final = b"wardround/1/ledger/event\0"

Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Number = Annotated[int, Field(ge=1, lt=2**31)]
Person = Annotated[Text, StringConstraints(min_length=1)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^\S[^\x00-\x1f\x7f]*$")]
RunName = Annotated[StudyRunId, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
StudyHash = Annotated[StudyId, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Event(BaseModel):
    """What all events have.

    Attributes:
        at: When, UTC, by the hospital's clock. Nothing is decided by it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    at: Time

    def canonical(self) -> bytes:
        """The content that is stored and hashed."""
        return rfc8785.dumps(self.model_dump(mode="json"))


class Opened(_Event):
    """The ledger was made.

    Attributes:
        site: Whose it is.
        secret: Fingerprint of the secret that patient keys are made with.
        incarnation: Its random name.
        orders: Rényi orders of the filter, fixed for good.
    """

    kind: Literal["opened"] = "opened"
    site: Site
    secret: Digest
    incarnation: Incarnation
    orders: Annotated[tuple[Annotated[float, Field(gt=1, le=1024)], ...], Field(min_length=1, max_length=64)]


class LimitSet(_Event):
    """A named person said what each patient may bear, over all studies together.

    Attributes:
        limit: The limit; replaces the one before.
        admin: Who.
        reason: Why.
    """

    kind: Literal["limit_set"] = "limit_set"
    limit: Bound
    admin: Person
    reason: Reason


class CohortSeen(_Event):
    """A set of patients whose keys are kept beside the events.

    Attributes:
        cohort: Digest of the keys.
        patients: How many.
    """

    kind: Literal["cohort"] = "cohort"
    cohort: Digest
    patients: Number


class Mechanism(BaseModel):
    """One step, as :class:`~wardround.common.privacy.mechanism.SampledGaussian`.

    Attributes:
        rate: Probability of a patient to be in a step.
        multiplier: Standard deviation of the noise over the sensitivity.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rate: Annotated[float, Field(gt=0, le=1)]
    multiplier: Annotated[float, Field(gt=0, le=1e6)]

    @property
    def step(self) -> SampledGaussian:
        """What accounting takes."""
        return SampledGaussian(rate=self.rate, multiplier=self.multiplier)


class Reserved(_Event):
    """A study run may spend this much on a cohort.

    Attributes:
        run: The study run.
        study: Hash of its study.
        cohort: Digest of the keys of all patients that it may train on.
        mechanism: One step; None: no noise, epsilon is infinite.
        steps: Steps in a round.
        rounds: Rounds.
    """

    kind: Literal["reserved"] = "reserved"
    run: RunName
    study: StudyHash
    cohort: Digest
    mechanism: Mechanism | None
    steps: Number
    rounds: Number


class Spent(_Event):
    """The training of a round was about to begin; its steps count from here on, whatever became of them.

    Attributes:
        run: The study run.
        round: Which round.
        computation: 1, or more if the round was computed again after a crash.
    """

    kind: Literal["spent"] = "spent"
    run: RunName
    round: Number
    computation: Number


class Settled(_Event):
    """A study run ended here; rounds that never began are free again.

    Attributes:
        run: The study run.
    """

    kind: Literal["settled"] = "settled"
    run: RunName


class Withdrawn(_Event):
    """Patients who take part in no study from now on. What was spent on them stays spent.

    Attributes:
        cohort: Digest of their keys.
        patients: How many.
    """

    kind: Literal["withdrawn"] = "withdrawn"
    cohort: Digest
    patients: Number


class Restored(_Event):
    """A backup took the ledger's place; every reservation in it that was open counts as spent.

    Attributes:
        incarnation: The ledger's new random name.
        admin: Who.
        reason: Why.
        replaced: The newest head that was known; None: none was.
        lost: What each patient may have borne by events that the backup lacks: None where none of them can have been
            more than a draw on an open reservation.
    """

    kind: Literal["restored"] = "restored"
    incarnation: Incarnation
    admin: Person
    reason: Reason
    replaced: Head | None
    lost: Bound | None


Event = Annotated[
    Opened | LimitSet | CohortSeen | Reserved | Spent | Settled | Withdrawn | Restored, Field(discriminator="kind")
]
_EVENTS: Final = TypeAdapter[Event](Event)


def parse_event(content: bytes) -> Event:
    """The event of a stored content.

    Raises:
        WardroundError: WR-1811, it is none.
    """
    try:
        return _EVENTS.validate_json(content)
    except ValidationError:
        raise WardroundError("WR-1811", "The ledger holds something that is no event.") from None


def chained(before: bytes, content: bytes) -> bytes:
    """The digest of an event, 32 bytes."""
    return hashlib.sha256(_DOMAIN + before + content).digest()


def moment(now: datetime) -> str:
    """A time as events have it: UTC, whole seconds.

    Raises:
        ValueError: ``now`` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError("a time without a time zone")
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seen(cohort: Cohort, at: str) -> CohortSeen:
    """The event that makes a cohort known."""
    return CohortSeen(cohort=cohort.digest, patients=len(cohort), at=at)
