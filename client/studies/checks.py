"""What has to hold before people may approve a study here. No image is opened.

Each check says what it looks at and what it found, so that people see what was checked, not only what failed.
The hospital's policy, its ledger and its accepted roster beat any study.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from wardround.client.data.checks import check_fit
from wardround.client.data.manifest import load_manifest
from wardround.client.data.registry import check_unchanged
from wardround.client.identity import accepted_by, accepted_roster
from wardround.client.open_runs import joined_open_runs
from wardround.client.secagg.runs import counting_runs
from wardround.client.spending import paid_runs
from wardround.client.studies.budget import budget_of
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wardround.client.home import Home, RegisteredData
    from wardround.common.ids import SiteId
    from wardround.common.study import Study


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        rule: Stable name: a field of the policy, or ``site``, ``roster``, ``ledger``, ``data``, ``weights``, ``model``.
        words: What was looked at, what the study has and what is allowed.
        error: Why the study cannot be approved; None: nothing wrong with this.
        certain: Whether that holds whatever patients are drawn for training, and whatever run is asked for.
    """

    rule: str
    words: str
    error: WardroundError | None = None
    certain: bool = True


def checks(home: Home, study: Study, data: Sequence[RegisteredData]) -> tuple[Check, ...]:
    """All checks of a study.

    Args:
        home: The hospital's home.
        study: The study.
        data: The data sets that it would use.

    Raises:
        WardroundError: WR-1305, ``policy.toml`` is damaged; WR-1702, no roster was accepted; WR-1811 to WR-1814, the
            ledger is not usable.
    """
    before = (_carried_out(*rule) for rule in (*_membership(home, study), *_policy(home, study, data)))
    return (
        *before,
        _budget(home, study),
        *_runs(home, study),
        *(_carried_out(*rule) for rule in _work(home, study, data)),
    )


Rule = tuple[str, str, "Callable[[], object]"]


def _carried_out(rule: str, words: str, check: Callable[[], object]) -> Check:
    try:
        check()
    except WardroundError as error:
        return Check(rule, words, error)
    return Check(rule, words)


def _membership(home: Home, study: Study) -> Iterator[Rule]:
    roster = accepted_roster(home)

    def named() -> None:
        if home.site not in study.sites:
            raise WardroundError("WR-1306", f"{home.site} is not one of the study's training sites.")

    def known() -> None:
        strangers = [site for site in study.sites if site not in roster.members]
        if strangers:
            fix = "Accept the newest roster first (wardround hospital roster), after comparing fingerprints."
            what = f"The study's sites {', '.join(strangers[:5])} are not in the roster that was accepted here."
            raise WardroundError("WR-1702", what, fix=fix)

    yield "site", f"the study names this hospital ({home.site})", named
    yield "roster", f"its hospitals are in the roster that {accepted_by(home)} accepted", known


def _policy(home: Home, study: Study, data: Sequence[RegisteredData]) -> Iterator[Rule]:
    policy, promise, sites = home.policy, study.privacy, len(study.sites)
    epsilon = None if promise is None else promise.largest
    allowed = "any model" if policy.models is None else " or ".join(policy.models)
    most = "no limit for one study" if policy.max_epsilon is None else f"{policy.max_epsilon:g} or less"
    asked = "none" if epsilon is None else f"epsilon {epsilon:g}"
    mode = study.aggregation.mode
    yield "modes", f"mode {mode}; allowed: {' or '.join(policy.modes)}", lambda: policy.check_mode(mode)
    yield "models", f"model {study.model.name}; allowed: {allowed}", lambda: policy.check_model(study.model.name)
    needed = "not needed" if policy.without_privacy else "needed"
    noisy = promise is not None and promise.noisy
    yield "without_privacy", f"promise to patients: {asked}; {needed}", lambda: policy.check_privacy(noisy=noisy)
    yield "max_epsilon", f"strength of the promise: {asked}; allowed: {most}", lambda: policy.check_epsilon(epsilon)
    if study.private:
        strength, k, least = study.secure.strength, study.colluding, policy.least_colluding(sites)
        words = f"secure sum: {strength}; allowed: {' or '.join(policy.strengths)}"
        yield "strengths", words, lambda: policy.check_strength(strength)
        words = f"hospitals in the sum: {sites}; allowed: {policy.min_sites} or more"
        yield "min_sites", words, lambda: policy.check_sites(sites)
        words = f"hospitals that may work with the coordinator: {k}; to be withstood: {least} or more"
        yield "colluding", words, lambda: policy.check_colluding(k, sites=sites)
    if data and all(item.patients is not None for item in data):
        patients = sum(item.patients or 0 for item in data)
        words = f"patients from here: {patients}; allowed: {policy.min_patients} or more"
        yield "min_patients", words, lambda: policy.check_patients(patients)


def _work(home: Home, study: Study, data: Sequence[RegisteredData]) -> Iterator[Rule]:
    for item in data:
        name = item.name or "the hospital's"
        yield "data", f"data set {name} has what the study needs", partial(_check_data, item, study)
    if study.model.freezes and study.model.init is not None:
        yield "weights", "the file of initial weights is here", lambda: home.weights(study.model.init or "")
    yield "model", f"model {study.model.name} can be built here", lambda: _check_model(study, home.site)


def _budget(home: Home, study: Study) -> Check:
    """What the privacy ledger says, in its own words (:mod:`wardround.client.studies.budget`)."""
    found = budget_of(home, study)
    if found is None:
        return Check("ledger", "the study promises nothing, and this hospital keeps no ledger")
    if found.refusal is not None:
        return Check("ledger", "the patients' privacy budget has no room for the study", found.refusal)
    if found.certain:
        return Check("ledger", "the patients' privacy budget has room for the study")
    words = "the patients' privacy budget has room for the study only if the patient who bears most is not drawn"
    return Check("ledger", words, certain=False)


def _runs(home: Home, study: Study) -> tuple[Check, ...]:
    """Whether policy leaves room for another run; of a study that has not run here there is nothing to say.

    An approval is of use without it: the run that is under way goes on.
    """
    rule, allowed = "runs_per_study", home.policy.runs_per_study
    try:
        paid = paid_runs(home, study.id) if home.ledger.exists else set()
        joined = counting_runs(home, study.id) | paid | set(joined_open_runs(home, study.id))
    except WardroundError as error:
        return (Check(rule, "the list of this study's earlier runs here", error),)
    if not joined:
        return ()
    words = f"runs of this study that this hospital has joined: {len(joined)}; allowed: {allowed}"
    if len(joined) < allowed:
        return (Check(rule, words),)
    unless = "nothing was sent in one of these or the policy allows more" if study.private else "the policy allows more"
    return (Check(rule, f"{words} ({rule}): another one is refused (WR-1712) unless {unless}", certain=False),)


def _check_data(item: RegisteredData, study: Study) -> None:
    check_unchanged(item)
    check_fit(load_manifest(item.manifest), study)


def _check_model(study: Study, site: SiteId) -> None:
    from wardround.client.studies.leaving import leaving
    from wardround.client.studies.work import layout_of

    leaving(study, layout_of(study), site)
