"""What the coordinator's process and the process of a run tell each other: one JSON document a line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from wardround.common.ids import SiteId

PresenceState = Literal["heard", "expected", "silent"]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def line(self) -> bytes:
        """For the pipe."""
        return self.model_dump_json().encode() + b"\n"


class Presence(_Line):
    """Whether a site is there.

    Attributes:
        state: ``heard``; ``expected``: not yet, and the coordinator has only just begun to listen; ``silent``.
        words: Why it is silent, for people.
    """

    state: PresenceState
    words: str = ""


class Order(_Line):
    """The first line, when the process is ready: what to run, and where.

    Attributes:
        address: ``host:port`` of the SuperLink.
        root: What its certificate is signed with, PEM.
        token: Of the Flower run.
        run: Flower's id of it.
        plan: The plan's file.
        sites: Flower node id of every site.
        presence: Of every site of the study.
    """

    address: str
    root: str
    token: str
    run: int
    plan: Path
    sites: dict[SiteId, int]
    presence: dict[SiteId, Presence]


class Ready(_Line):
    """The process has loaded what it needs and waits for its order."""

    kind: Literal["ready"] = "ready"


class Replied(_Line):
    """A reply of a node lies at the SuperLink."""

    kind: Literal["replied"] = "replied"
    node: int


class Changed(_Line):
    """Sites fell silent, or are heard again."""

    kind: Literal["changed"] = "changed"
    presence: dict[SiteId, Presence]


class Pushed(_Line):
    """Messages for these nodes lie at the SuperLink."""

    kind: Literal["pushed"] = "pushed"
    nodes: tuple[int, ...]


class Taken(_Line):
    """The reply of a node was fetched from the SuperLink, or is waited for no more."""

    kind: Literal["taken"] = "taken"
    node: int


class Opened(_Line):
    """A round, or the validation after the last one, begins or is tried again."""

    kind: Literal["opened"] = "opened"
    round: int


class Gathering(_Line):
    """The run waits until at least ``needed`` sites are heard; these are not."""

    kind: Literal["gathering"] = "gathering"
    missing: tuple[SiteId, ...]
    needed: int


class RoundCommitted(_Line):
    """A round is durable.

    Attributes:
        round: Its number.
        sites: In the sum.
        dropped: Left out, with the reason.
        silent: In the sum, and silent afterwards.
        attempts: How often it was tried.
        seconds: Wall-clock time.
        bytes_up: From the sites.
        bytes_down: To the sites.
    """

    kind: Literal["committed"] = "committed"
    round: int
    sites: tuple[SiteId, ...]
    dropped: dict[SiteId, str]
    silent: dict[SiteId, str]
    attempts: int
    seconds: float
    bytes_up: int
    bytes_down: int


class Ended(_Line):
    """The run is complete; its model is written."""

    kind: Literal["ended"] = "ended"


class Failed(_Line):
    """The run was refused or failed with a code."""

    kind: Literal["failed"] = "failed"
    code: str
    what: str


ToChild = Replied | Changed
FromChild = Ready | Pushed | Taken | Opened | Gathering | RoundCommitted | Ended | Failed

TO_CHILD: Final[TypeAdapter[ToChild]] = TypeAdapter(Annotated[ToChild, Field(discriminator="kind")])
FROM_CHILD: Final[TypeAdapter[FromChild]] = TypeAdapter(Annotated[FromChild, Field(discriminator="kind")])
