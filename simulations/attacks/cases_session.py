"""Attacks with more than one session: a session begins anew, or goes on when it should not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.common.ids import StudyRunId
from wardround.common.secagg.context import settings_digest
from wardround.simulations.attacks.case import SMALL, Case
from wardround.simulations.attacks.lab import Gain, Setting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wardround.common.ids import SiteId
    from wardround.common.secagg.context import SessionContext
    from wardround.simulations.attacks.lab import Lab


def another_study_run(lab: Lab) -> Gain:
    """A session of a study run that the sites were not asked about."""
    lab.admit(lab.sites)
    lab.session(lab.context(run=StudyRunId("run-2")))
    return Gain(
        True, "a session of another study run (no update: one model is served once, whatever the run is called)"
    )


def other_settings(lab: Lab) -> Gain:
    """A session for another fold: other patients would train."""
    lab.admit(lab.sites)
    lab.session(lab.context(settings=settings_digest(seed=0, fold=1, folds=5)))
    return Gain(True, "a session for a fold that the messages do not name (no update: settings only bind)")


def roster_replaced(lab: Lab) -> Gain:
    """A site is expelled: all others accept a roster without it; the session on the old one is to go on."""
    session = lab.first_session()
    left = tuple(site for site in lab.sites if site != lab.colluders[0])
    for site in lab.honest:
        lab.stage.send(site, "accept", lab.roster_without(lab.colluders[0]).canonical())
    view = lab.uploaded(session)
    view.open_set(lab.positions(), lab.quorum())
    reached = len(left) < len(view.uploads)
    return Gain(reached, "a sum that a site takes part in which the consortium has expelled")


def after_leaving(lab: Lab) -> Gain:
    """The sites have left the run, and with it their session; the first session is offered again."""
    session = lab.first_session()
    first = lab.uploaded(session)
    first.open_set(lab.positions(), lab.quorum())
    for site in lab.sites:
        lab.stage.send(site, "leave")
    again = lab.uploaded(lab.session(session.context))
    again.open_set(lab.positions(lab.others), lab.quorum())
    return lab.recovered(first.total(lab.positions()) - again.total(lab.positions(lab.others)))


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


def _odd(sites: int) -> Setting:
    return Setting.of(sites, {50: 17}.get(sites, Setting.usual(sites).colluding))


CASES: Final = (
    Case(
        "another-study-run",
        "the session is of another study run than the one that the sites have joined",
        another_study_run,
        "WR-1705",
        ("study_run",),
    ),
    Case(
        "other-settings",
        "the session is for another seed or fold than its messages name",
        other_settings,
        "WR-1705",
        ("study_run",),
    ),
    Case(
        "roster-replaced",
        "a session goes on although the sites have accepted a newer roster, without a site that colludes",
        roster_replaced,
        "WR-1702",
        ("roster", "cohort", "certificate"),
        setting=Setting.with_one,
    ),
    Case(
        "after-leaving",
        "the sites have left the run, and their first session is offered again",
        after_leaving,
        "WR-1706",
        ("not_left", "opened_once"),
        SMALL,
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
