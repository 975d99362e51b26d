"""The studies that were proposed to a hospital, as ``wardround hospital studies`` lists them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wardround.client.plain import one_line, plain
from wardround.client.proposals import is_sent, kept_proposals, newest_decision
from wardround.common.errors import WardroundError
from wardround.common.ids import StudyId

if TYPE_CHECKING:
    from wardround.client.home import Home
    from wardround.client.proposals import Kept
    from wardround.common.consortium.studies import Decision, Proposal


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """One study.

    Attributes:
        study: Its id.
        title: Of the study; None where it cannot be read.
        by: Who asks; None where the file cannot be read.
        at: When it was proposed, seconds since 1970.
        state: ``waiting`` for a decision, ``approved``, ``rejected``, ``withdrawn`` (here or by the consortium), or
            ``unusable``.
        runs_here: Whether messages of it are answered.
        decided_by: Who decided; one or two people.
        decided_at: When.
        told: Whether the coordinator has the decision.
        data: Names of the data sets that it may use, once it is approved.
        problem: Why it is unusable, or what is wrong with its decision.
        called_off: Why the consortium withdrew it, and who; None: it did not.
    """

    study: str
    title: str | None
    by: str | None
    at: int | None
    state: str
    runs_here: bool
    decided_by: tuple[str, ...] = ()
    decided_at: int | None = None
    told: bool | None = None
    data: tuple[str, ...] = ()
    problem: str | None = None
    called_off: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def list_studies(home: Home) -> list[ListedStudy]:
    """Every study that was proposed, oldest first.

    Raises:
        WardroundError: WR-1702, no roster was accepted.
    """
    return [_listed(home, kept) for kept in kept_proposals(home)]


def print_studies(found: list[ListedStudy]) -> None:
    """The list for people."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not found:
        console.print("No study was proposed to this hospital yet.")
        return
    table = Table(box=SIMPLE)
    for heading in ("hash", "study", "asked by", "on", "state"):
        table.add_column(heading, no_wrap=heading in {"hash", "on"}, overflow="fold")
    for entry in found:
        table.add_row(
            entry.study.removeprefix("sha256:")[:12],
            Text(one_line(entry.title or "cannot be read")),
            Text(one_line(entry.by or "unknown")),
            _day(entry.at),
            Text(plain(_state(entry))),
        )
    console.print(table)


def _listed(home: Home, kept: Kept) -> ListedStudy:
    runs = home.is_approved(kept.study)
    if kept.proposal is None:
        return ListedStudy(kept.study, None, None, None, "unusable", runs, problem=_words(kept.problem))
    proposal, title, problem = kept.proposal, None, None
    try:
        title = proposal.read_study().title
    except WardroundError as error:
        problem = _words(error)
    try:
        decision = newest_decision(home, kept.study)
    except WardroundError as error:
        decision, problem = None, _words(error)
    return ListedStudy(
        kept.study,
        title,
        proposal.by,
        proposal.at,
        _verdict(proposal, title, decision),
        runs and not proposal.withdrawn,
        () if decision is None else tuple(filter(None, (decision.by, decision.second))),
        None if decision is None else decision.at,
        None if decision is None else is_sent(home, kept.study),
        _data(home, decision),
        problem,
        f"{proposal.by}: {proposal.why}"
        if proposal.withdrawn and proposal.why
        else proposal.by
        if proposal.withdrawn
        else None,
    )


def _verdict(proposal: Proposal, title: str | None, decision: Decision | None) -> str:
    if title is None:
        return "unusable"
    if proposal.withdrawn:
        return "withdrawn"
    return "waiting" if decision is None else decision.verdict


def _data(home: Home, decision: Decision | None) -> tuple[str, ...]:
    if decision is None or decision.verdict != "approved":
        return ()
    return home.names_of(StudyId(decision.study))


def _state(entry: ListedStudy) -> str:
    if entry.problem is not None:
        return entry.problem
    if entry.called_off is not None:
        return (
            f"withdrawn by the consortium on {_day(entry.at)} ({one_line(entry.called_off)}): nothing is left to decide"
        )
    if entry.state == "waiting":
        return "runs here, and no decision is on record" if entry.runs_here else "waits for your decision"
    told = "" if entry.told else "; the coordinator was not told yet"
    wrong = "; its file is missing or damaged, approve it again"
    lost = wrong if entry.state == "approved" and not entry.runs_here else ""
    return f"{entry.state} by {' and '.join(entry.decided_by)} on {_day(entry.decided_at)}{told}{lost}"


def _words(error: WardroundError | None) -> str | None:
    return None if error is None else f"{error.code}: {error.what}"


def _day(moment: int | None) -> str:
    return "unknown" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
