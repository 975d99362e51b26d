"""All that a study asks of this hospital, as data: what ``hospital approve`` shows, and prints with ``--json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardround.client.data.registry import choose_data
from wardround.client.identity import accepted_by, accepted_roster
from wardround.client.studies.budget import Budget, budget_of
from wardround.client.studies.checks import Check, checks
from wardround.client.studies.leaving import FLOAT32_BYTES, Amounts, Leaving, amounts, calls, leaving
from wardround.client.studies.work import Work, layout_of, work_of
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.client.home import Home, RegisteredData
    from wardround.client.statement.statement import Statement
    from wardround.common.consortium.studies import Proposal
    from wardround.common.study import Study
    from wardround.common.vector import Layout


@dataclass(frozen=True, slots=True)
class Partner:
    """A hospital of the study.

    Attributes:
        site: Its name.
        label: What people call it; None: it is not in the accepted roster.
        fingerprint: Of its identity key.
        here: Whether it is this hospital.
    """

    site: str
    label: str | None
    fingerprint: str | None
    here: bool


@dataclass(frozen=True, slots=True)
class Size:
    """What travels.

    Attributes:
        values: Numbers of the model that are trained, and travel.
        down: Bytes of the model that arrive in a round.
        up: What leaves at most.
    """

    values: int
    down: int
    up: Amounts

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"values": self.values, "down": self.down, "up": self.up.as_json()}


@dataclass(frozen=True, slots=True)
class Overview:
    """A study before people decide.

    Attributes:
        proposal: Who asks, and what for.
        study: The study.
        data: The data sets that it would use.
        checks: What was looked at.
        partners: All its hospitals.
        roster: Version and fingerprint of the accepted roster, and who accepted it.
        statement: What patients are promised; None: the model cannot be built.
        messages: What leaves; empty: the model cannot be built.
        size: Of what travels; None likewise.
        work: How long it takes; None likewise, or it was not asked for.
        budget: What it costs the patients, and whether they can pay; None: there is no ledger and no promise.
        approvers: People whom the policy asks for.
    """

    proposal: Proposal
    study: Study
    data: tuple[RegisteredData, ...]
    checks: tuple[Check, ...]
    partners: tuple[Partner, ...]
    roster: tuple[int, str, str]
    statement: Statement | None
    messages: tuple[Leaving, ...]
    size: Size | None
    work: Work | None
    budget: Budget | None
    approvers: int

    @property
    def approvable(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.proposal.withdrawn and all(check.error is None for check in self.checks)

    @property
    def certain(self) -> bool:
        """Whether what was found holds whatever patients are drawn, and whatever run is asked for."""
        return all(check.certain for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        version, fingerprint, by = self.roster
        return {
            "study": self.study.id,
            "plan": self.study.model_dump(mode="json", by_alias=True),
            "proposal": self.proposal.model_dump(mode="json", by_alias=True, exclude={"study"}),
            "data": [item.model_dump(mode="json") for item in self.data],
            "leaves": [message.as_json() for message in self.messages],
            "size": None if self.size is None else self.size.as_json(),
            "work": None if self.work is None else {**_fields(self.work), "seconds": self.work.seconds},
            "statement": None if self.statement is None else self.statement.model_dump(mode="json", by_alias=True),
            "ledger": None if self.budget is None else self.budget.as_json(),
            "hospitals": [_fields(partner) for partner in self.partners],
            "roster": {"version": version, "fingerprint": fingerprint, "accepted_by": by},
            "checks": [_check_json(check) for check in self.checks],
            "approvers": self.approvers,
            "approvable": self.approvable,
        }


def overview(home: Home, proposal: Proposal, names: Sequence[str] = (), *, measure: bool = True) -> Overview:
    """What a study asks for. Nothing is decided, and no image is opened.

    Args:
        home: The hospital's home.
        proposal: The study, as it was proposed.
        names: Of the data sets that it would use; none: the only one that is registered.
        measure: Whether to measure how long an image takes.

    Raises:
        WardroundError: WR-1906, this release does not know the study; WR-1702, no roster was accepted; WR-1305;
            WR-1811 to WR-1814.
    """
    study = proposal.read_study()
    data, missing = _data(home, names)
    found, roster = (*checks(home, study, data), *missing), accepted_roster(home)
    built = all(check.error is None for check in found if check.rule == "model")
    layout = layout_of(study) if built else None
    values = 0 if layout is None else layout.size
    return Overview(
        proposal,
        study,
        data,
        found,
        tuple(_partner(home, site) for site in study.sites),
        (roster.version, roster.fingerprint, accepted_by(home)),
        _statement(study, values) if built else None,
        *_sent(home, study, layout),
        work_of(study, data, home.settings) if built and measure else None,
        budget_of(home, study),
        home.policy.approvers,
    )


def _sent(home: Home, study: Study, layout: Layout | None) -> tuple[tuple[Leaving, ...], Size | None]:
    """What leaves, and how much travels."""
    if layout is None:
        return (), None
    consortium = accepted_roster(home).consortium
    messages = leaving(study, layout, home.site, scored=home.policy.score_models)
    most = amounts(study, messages, home.site, consortium)
    size = Size(layout.size, layout.size * FLOAT32_BYTES, most)
    return (*messages, *calls(home.site, consortium)), size


def _data(home: Home, names: Sequence[str]) -> tuple[tuple[RegisteredData, ...], tuple[Check, ...]]:
    """The data sets, or why it cannot be said which."""
    try:
        return choose_data(home.settings, names), ()
    except WardroundError as error:
        return (), (Check("data", "which data set the study may use", error),)


def _partner(home: Home, site: str) -> Partner:
    members = {str(name): member for name, member in accepted_roster(home).members.items()}
    if (member := members.get(site)) is None:
        return Partner(site, None, None, site == home.site)
    return Partner(site, member.label, member.fingerprint, site == home.site)


def _statement(study: Study, values: int) -> Statement:
    """Without a promise, the model need not be one that can be trained patient by patient."""
    from wardround.client.statement.facts import ModelFacts
    from wardround.client.statement.statement import statement

    return statement(study, ModelFacts(values, ()) if study.privacy is None else None)


def _check_json(check: Check) -> dict[str, Any]:
    found: dict[str, Any] = {"rule": check.rule, "words": check.words, "holds": check.error is None, "error": None}
    found["certain"] = check.certain
    if check.error is not None:
        found["error"] = {"code": check.error.code, "what": check.error.what, "fix": check.error.fix}
    return found


def _fields(row: Any) -> dict[str, Any]:  # noqa: ANN401 - one of the frozen rows above
    return {name: getattr(row, name) for name in row.__slots__}
