"""How a hospital's people decide about a study: what has to hold before they may approve it, and what they sign.

1. Everything that speaks against it is looked for: :func:`objections`. The hospital's policy beats any study.
2. A named person approves, and a second one where policy says so. From then on, and not before, the study runs here.
3. The decision is signed with the site's identity key and waits in the outbox (:mod:`wardround.client.proposals`).

An approval is of one hash: a study that was changed by a byte is another study.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from wardround.client.home import registered
from wardround.client.identity import accepted_roster
from wardround.client.proposals import keep_decision
from wardround.common.consortium.studies import Decision
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wardround.client.home import Home, RegisteredData
    from wardround.common.consortium.studies import Proposal, SignedDecision
    from wardround.common.ids import StudyId
    from wardround.common.study import Study


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
        WardroundError: WR-1919, a person is missing; WR-1920, no or several data sets could be meant; else the first
            of :func:`objections`. Nothing is approved then.
    """
    check_people(home, people)
    study, chosen = proposal.read_study(), choose_data(home, data)
    for error in objections(home, study, chosen):
        raise error
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


def check_people(home: Home, people: People) -> None:
    """Refuse an approval by fewer people than the hospital's policy asks for.

    Raises:
        WardroundError: WR-1919.
    """
    if home.policy.approvers > 1 and people.second is None:
        raise WardroundError("WR-1919", f"This site's policy asks for {home.policy.approvers} people to approve.")


def choose_data(home: Home, names: Sequence[str]) -> tuple[RegisteredData, ...]:
    """The data sets that a study is to use.

    Args:
        home: The hospital's home.
        names: As people chose; none: the only one.

    Raises:
        WardroundError: WR-1920, there is none, none of such a name, or more than one to choose from.
    """
    found = registered(home.settings, names)
    if names or len(found) == 1:
        return found
    listed = ", ".join(item.name or "one without a name" for item in found)
    fix = "Say which one the study may use: --data NAME, more than once for several."
    raise WardroundError("WR-1920", f"{home.site} has {len(found)} data sets: {listed}.", fix=fix)


def objections(home: Home, study: Study, data: Sequence[RegisteredData]) -> Iterator[WardroundError]:
    """Everything that speaks against a study here, found without opening an image.

    Args:
        home: The hospital's home.
        study: The study.
        data: The data sets that it would use.

    Yields:
        WR-1306, it does not name this site; WR-1702, it names sites that are not in the accepted roster; WR-1712 or
        WR-1809, the hospital's policy forbids it.
    """
    for check in (*_membership(home, study), *_policy(home, study, data)):
        try:
            check()
        except WardroundError as error:
            yield error


def _membership(home: Home, study: Study) -> Iterator[Callable[[], None]]:
    def named() -> None:
        if home.site not in study.sites:
            raise WardroundError("WR-1306", f"{home.site} is not one of the study's training sites.")

    def known() -> None:
        members = accepted_roster(home).members
        strangers = [site for site in study.sites if site not in members]
        if strangers:
            fix = "Accept the newest roster first (wardround hospital roster), after comparing fingerprints."
            what = f"The study's sites {', '.join(strangers[:5])} are not in the roster that was accepted here."
            raise WardroundError("WR-1702", what, fix=fix)

    yield named
    yield known


def _policy(home: Home, study: Study, data: Sequence[RegisteredData]) -> Iterator[Callable[[], None]]:
    policy, promise, sites = home.policy, study.privacy, len(study.sites)
    yield lambda: policy.check_mode(study.aggregation.mode)
    yield lambda: policy.check_model(study.model.name)
    yield lambda: policy.check_privacy(noisy=promise is not None and promise.noisy)
    yield lambda: policy.check_epsilon(None if promise is None else promise.promised)
    if study.private:
        yield lambda: policy.check_strength(study.secure.strength)
        yield lambda: policy.check_sites(sites)
        yield lambda: policy.check_colluding(study.colluding, sites=sites)
    if all(item.patients is not None for item in data):
        yield lambda: policy.check_patients(sum(item.patients or 0 for item in data))


def _decision(home: Home, study: StudyId, verdict: str, people: People, now: int) -> Decision:
    fields = {
        "consortium": accepted_roster(home).consortium,
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
