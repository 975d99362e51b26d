"""How a hospital's people decide about a study: what has to hold before they may approve it, and what they sign.

1. Everything that may speak against it is looked at (:mod:`wardround.client.studies.checks`): the hospital's policy,
   ledger and roster beat any study.
2. A named person approves, and a second one where policy says so. From then on, and not before, the study runs here.
3. The decision is signed with the site's identity key and waits in the outbox (:mod:`wardround.client.proposals`).

An approval is of one hash: a study that was changed by a byte is another study.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from wardround.client.data.registry import choose_data
from wardround.client.identity import accepted_authority, accepted_roster
from wardround.client.proposals import keep_decision
from wardround.client.studies.checks import checks
from wardround.common.consortium.studies import Decision
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.client.home import Home
    from wardround.common.consortium.studies import Proposal, SignedDecision
    from wardround.common.ids import StudyId


@dataclass(frozen=True, slots=True)
class People:
    """Who decides.

    Attributes:
        by: The person.
        second: A second person; None: there is none.
        reason: Why, for people at the coordinator's; may be empty.
    """

    by: str
    second: str | None = None
    reason: str = ""


def approve(home: Home, proposal: Proposal, people: People, *, data: Sequence[str] = (), now: int) -> SignedDecision:
    """Approve a study: it may run here when this returns, and the decision waits in the outbox.

    Args:
        home: The hospital's home.
        proposal: The study, as the consortium's authority proposed it.
        people: Who approves.
        data: Names of the data sets that it may use; none: the only one that is registered.
        now: Seconds since 1970, UTC.

    Raises:
        WardroundError: WR-1919, a person is missing; WR-1938, it was withdrawn; WR-1920, no or several data sets could
            be meant; WR-1906, this release does not know the study; else the first error that the checks found.
            Nothing is approved then.
    """
    check_people(home, people)
    check_asked(proposal)
    study, chosen = proposal.read_study(), choose_data(home.settings, data)
    for check in checks(home, study, chosen):
        if check.error is not None:
            raise check.error
    decision = _decision(home, proposal.study_id, "approved", people, now)
    home.approve(study, [item.name for item in chosen if item.name is not None])
    return keep_decision(home, decision)


def reject(home: Home, study: StudyId, people: People, *, now: int) -> SignedDecision:
    """Reject a study, or withdraw its approval: it may not run here from now on. One person is enough.

    Raises:
        WardroundError: WR-1919, the name or the reason is not one.
    """
    verdict = "withdrawn" if home.is_approved(study) else "rejected"
    decision = _decision(home, study, verdict, people, now)
    home.withdraw(study)
    return keep_decision(home, decision)


def check_asked(proposal: Proposal) -> None:
    """Refuse a study that the consortium has withdrawn.

    Raises:
        WardroundError: WR-1938.
    """
    if proposal.withdrawn:
        raise WardroundError("WR-1938", f"{proposal.by} has withdrawn study {proposal.study_id[:19]}….")


def check_people(home: Home, people: People) -> None:
    """Refuse an approval by fewer people than the hospital's policy asks for.

    Raises:
        WardroundError: WR-1919.
    """
    if home.policy.approvers > 1 and people.second is None:
        raise WardroundError("WR-1919", f"This site's policy asks for {home.policy.approvers} people to approve.")


def _decision(home: Home, study: StudyId, verdict: str, people: People, now: int) -> Decision:
    fields = {
        "consortium": accepted_roster(home).consortium,
        "authority": accepted_authority(home),
        "site": home.site,
        "study": study,
        "verdict": verdict,
        "by": people.by,
        "second": people.second,
        "reason": people.reason,
        "at": now,
    }
    try:
        return Decision.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise WardroundError("WR-1919", f"{place + ': ' if place else ''}{reason}.") from None
