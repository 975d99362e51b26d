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
    from wardround.common.secagg.context import SessionContext
    from wardround.simulations.attacks.coordinator import View
    from wardround.simulations.attacks.lab import Lab


def sybil_key(lab: Lab) -> Gain:
    """A cohort of the victim and of sites that the coordinator has made up."""
    lab.admit([lab.victim])
    invented = [SiteId(f"sybil_{number:02d}") for number in range(1, lab.setting.sites)]
    keys = {site: lab.admit_impostor(site) for site in invented}
    cohort = (lab.victim, *invented)
    members = roster_of(tuple((site, lab.seed(keys.get(site, site))) for site in cohort)).entries_hash(cohort)
    return read_everything(lab, lab.uploaded(lab.session(lab.context(cohort=cohort, members=members), keys)))


def stranger_in_the_cohort(lab: Lab) -> Gain:
    """A cohort of the victim and of members of the consortium that are not in the study."""
    lab.admit([lab.victim, *lab.strangers])
    return read_everything(lab, lab.uploaded(lab.session(lab.context(cohort=(lab.victim, *lab.strangers)))))


def roster_not_accepted(lab: Lab) -> Gain:
    """A roster in which everybody else's identity key is the coordinator's."""
    lab.admit([lab.victim])
    keys = {site: lab.admit_impostor(site) for site in lab.others}
    seeds = {site: lab.seed(keys.get(site, site)) for site in lab.sites}
    context = lab.context(members=roster_of(tuple(seeds.items())).entries_hash(lab.sites))
    return read_everything(lab, lab.uploaded(lab.session(context, keys)))


def lowered_threshold(lab: Lab) -> Gain:
    """T is said to be 1, and the victim alone is to be opened."""
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
    return Gain(True, "a session of one site (no update: Shamir's scheme does not share with one holder)")


def cohort_below_minimum(lab: Lab) -> Gain:
    """A cohort of the victim and of sites that collude."""
    known = lab.colluders[:2]
    lab.admit([lab.victim, *known])
    view = lab.uploaded(lab.session(lab.context(cohort=(lab.victim, *known), colluding=0)))
    everyone = range(len(known) + 1)
    view.open_set(everyone)
    return lab.recovered(view.total(everyone) - lab.truth(known))


def _below_minimum(sites: int) -> Setting:
    colluding = {3: 1, 5: 2}.get(sites, Setting.usual(sites).colluding)
    return Setting(sites, colluding, colluding, smallest_cohort=sites)


CASES: Final = (
    Case(
        "sybil-key",
        "all others in the cohort are sites that the coordinator has made up",
        sybil_key,
        "WR-1702",
        ("cohort", "roster", "advert_signature"),
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
)
