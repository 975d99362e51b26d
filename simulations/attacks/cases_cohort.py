"""Attacks on the offer of step 1: who is in the cohort, and how many must agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.common.ids import SiteId
from wardround.common.secagg.parameters import Strength
from wardround.simulations.attacks.case import SMALL, Case
from wardround.simulations.attacks.cases_keys import read_everything
from wardround.simulations.attacks.lab import Gain, Setting, roster_of
from wardround.simulations.attacks.weakened import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wardround.common.secagg.context import SessionContext
    from wardround.simulations.attacks.coordinator import View
    from wardround.simulations.attacks.lab import Lab


def sybil_key(lab: Lab) -> Gain:
    """A cohort of the victim and of sites that the coordinator has made up."""
    lab.admit([lab.victim])
    invented = [SiteId(f"sybil_{number:02d}") for number in range(1, lab.setting.sites)]
    keys = {site: lab.admit_impostor(site) for site in invented}
    return read_everything(lab, lab.uploaded(lab.session(lab.context(cohort=(lab.victim, *invented)), keys)))


def stranger_in_the_cohort(lab: Lab) -> Gain:
    """A cohort of the victim and of members of the consortium that are not in the study."""
    lab.admit([lab.victim, *lab.strangers])
    return read_everything(lab, lab.uploaded(lab.session(lab.context(cohort=(lab.victim, *lab.strangers)))))


def roster_not_accepted(lab: Lab) -> Gain:
    """A roster in which everybody else's identity key is the coordinator's."""
    lab.admit([lab.victim])
    keys = {site: lab.admit_impostor(site) for site in lab.others}
    seeds = {site: lab.seed(keys.get(site, site)) for site in lab.sites}
    context = lab.context(roster=roster_of(tuple(seeds.items())).hash)
    return read_everything(lab, lab.uploaded(lab.session(context, keys)))


def lowered_threshold(lab: Lab) -> Gain:
    """t is said to be 1, and the victim alone is to be opened."""
    view = _uploaded_in(lab, lab.context(threshold=1))
    view.open_set(lab.positions([lab.victim]), lab.positions())
    return lab.recovered(view.total(lab.positions([lab.victim])))


def lowered_k(lab: Lab) -> Gain:
    """No site is said to collude, so that half of the sites are enough for an opening, and there are two halves."""
    view = _uploaded_in(lab, lab.context(colluding=0))
    return _two_groups(lab, view, lab.setting.sites // 2 + 1)


def weaker_strength(lab: Lab) -> Gain:
    """The session is said to be semi-honest: nothing is confirmed, and half of the sites are enough."""
    context = lab.context(strength=Strength.SEMI_HONEST)
    return _two_groups(lab, _uploaded_in(lab, context), context.threshold)


def _uploaded_in(lab: Lab, context: SessionContext) -> View:
    lab.admit(lab.sites)
    return lab.uploaded(lab.session(context))


def _two_groups(lab: Lab, view: View, threshold: int) -> Gain:
    """Show one survivor set to one group of sites and another one to another; nobody is asked twice."""
    honest, colluding = lab.positions(lab.honest), lab.positions(lab.colluders)
    needed = threshold - len(colluding)
    view.open_set(lab.positions(), (*colluding, *honest[:needed]))
    view.open_set(lab.positions(lab.others), (*colluding, *honest[-needed:]))
    return lab.recovered(view.total(lab.positions([lab.victim])))


def cohort_of_one(lab: Lab) -> Gain:
    """A secure sum over the victim alone."""
    lab.admit([lab.victim])
    lab.session(lab.context(cohort=[lab.victim], colluding=0))
    return Gain(True, "a session of one is joined (no update: Shamir's scheme does not share with one holder)")


def cohort_below_minimum(lab: Lab) -> Gain:
    """A cohort of the victim and of sites that collude."""
    known = lab.colluders[:2]
    lab.admit([lab.victim, *known])
    view = lab.uploaded(lab.session(lab.context(cohort=(lab.victim, *known), colluding=0)))
    everyone = range(len(known) + 1)
    view.open_set(everyone)
    return lab.recovered(view.total(everyone) - lab.truth(known))


def replayed_offer(lab: Lab) -> Gain:
    """After a newer session the first one is offered again, as if what was done in it could be done once more."""
    first = lab.first_session()
    view = lab.uploaded(first)
    view.open_set(lab.positions(), lab.quorum())
    lab.session(lab.context(2))
    again = lab.uploaded(lab.session(first.context))
    again.open_set(lab.positions(lab.others), lab.quorum())
    return lab.recovered(view.total(lab.positions()) - again.total(lab.positions(lab.others)))


def changed_k_in_a_retry(lab: Lab) -> Gain:
    """A round that was opened is tried again in a session with another k, and opened without the victim."""
    return _again_in(lab, lab.context(2, colluding=lab.setting.colluding + 1), lab.others)


def changed_cohort_in_a_retry(lab: Lab) -> Gain:
    """A round that was opened is tried again in a session without the victim."""
    return _again_in(lab, lab.context(2, cohort=lab.others), lab.others)


def after_a_restart(lab: Lab) -> Gain:
    """All processes end; in a new run of the transport the next round starts on the same model without the victim."""
    cohort = lab.others if lab.setting.sites > 3 else lab.sites
    return _again_in(lab, lab.context(2, cohort=cohort), lab.others, restart=True, number=2)


def _again_in(
    lab: Lab, context: SessionContext, survivors: Iterable[SiteId], *, restart: bool = False, number: int = 1
) -> Gain:
    """Open everybody's sum; then, in another session and on the same model, that of fewer sites."""
    first = lab.uploaded(lab.first_session())
    first.open_set(lab.positions(), lab.quorum())
    if restart:
        for site in lab.sites:
            lab.stage.restart(site)
    second = lab.uploaded(lab.session(context), number, content=first.model)
    rest = second.session.positions(survivors)
    second.open_set(rest)
    return lab.recovered(first.total(lab.positions()) - second.total(rest))


def model_in_two_sessions(lab: Lab) -> Gain:
    """Those who have not opened anything yet are brought together in a session of their own, on the same model.

    U of the first session is these sites, the colluding ones and the victim. It is opened by the victim, the
    colluding ones and honest sites that are outside of it; so nobody in the second session has opened anything.
    """
    session = lab.first_session()
    helpers = lab.honest[: lab.setting.sizes.threshold - lab.setting.corrupt]
    together = tuple(site for site in lab.sites if site not in helpers)
    first = lab.uploaded(session)
    survivors = lab.positions((lab.victim, *together))
    first.open_set(survivors, lab.positions((*helpers, *lab.colluders)))
    second = lab.uploaded(lab.session(lab.context(2, cohort=together)))
    everyone = range(len(together))
    second.open_set(everyone)
    return lab.recovered(first.total(survivors) - second.total(everyone))


def _below_minimum(sites: int) -> Setting:
    colluding = {3: 1, 5: 2}.get(sites, Setting.usual(sites).colluding)
    return Setting(sites, colluding, colluding, smallest_cohort=sites)


def _odd(sites: int) -> Setting:
    return Setting.of(sites, {50: 17}.get(sites, Setting.usual(sites).colluding))


CASES: Final = (
    Case(
        "sybil-key",
        "all others in the cohort are sites that the coordinator has made up",
        sybil_key,
        "WR-1702",
        ("cohort", "advert_signature"),
    ),
    Case(
        "stranger-in-the-cohort",
        "all others in the cohort are members of the consortium that are not in the study",
        stranger_in_the_cohort,
        "WR-1704",
        ("cohort",),
    ),
    Case(
        "roster-not-accepted",
        "the session rests on a roster in which all other identity keys are the coordinator's",
        roster_not_accepted,
        "WR-1702",
        ("roster", "advert_signature"),
    ),
    Case(
        "lowered-threshold",
        "t is said to be 1",
        lowered_threshold,
        "WR-1704",
        ("sizes", "enough_survivors"),
    ),
    Case(
        "lowered-k",
        "k is said to be 0, and two halves of the cohort are shown different survivors",
        lowered_k,
        "WR-1704",
        ("sizes",),
        SMALL,
        setting=Setting.with_one,
    ),
    Case(
        "weaker-strength",
        "the session is said to be semi-honest, and two halves of the cohort are shown different survivors",
        weaker_strength,
        "WR-1704",
        ("sizes",),
        SMALL,
        setting=Setting.with_one,
    ),
    Case(
        "cohort-of-one",
        "the cohort is the victim",
        cohort_of_one,
        "WR-1704",
        ("sizes",),
    ),
    Case(
        "cohort-below-minimum",
        "the cohort is the victim and one or two sites that collude, fewer than site policy asks for",
        cohort_below_minimum,
        "WR-1712",
        ("sizes",),
        {3: (LIMITS, "enough_survivors")},
        {3: "WR-1704"},
        setting=_below_minimum,
    ),
    Case(
        "replayed-offer",
        "after a newer session an earlier one is offered again",
        replayed_offer,
        "WR-1706",
        ("newer_session", "opened_once"),
        SMALL,
    ),
    Case(
        "changed-k-in-a-retry",
        "a round is tried again with another k",
        changed_k_in_a_retry,
        "WR-1707",
        ("model_once", "opened_once"),
        SMALL,
    ),
    Case(
        "changed-cohort-in-a-retry",
        "a round is tried again with a cohort without the victim",
        changed_cohort_in_a_retry,
        "WR-1707",
        ("model_once", "opened_once"),
        senseless={3: "two sites are no cohort (cohort-below-minimum)"},
    ),
    Case(
        "same-model-after-a-restart",
        "after a restart of everybody, the next round starts on the same model without the victim",
        after_a_restart,
        "WR-1707",
        ("model_once", "opened_once"),
        SMALL,
    ),
    Case(
        "model-in-two-sessions",
        "sites that have uploaded but opened nothing do it again in a session of their own",
        model_in_two_sessions,
        "WR-1707",
        ("model_once",),
        setting=_odd,
        senseless=dict.fromkeys((3, 5), "fewer than three sites are left that have opened nothing"),
    ),
)
