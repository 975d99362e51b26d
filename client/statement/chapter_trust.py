"""The trust model: who sees what before the noise is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardround.client.statement.question import Question, at_most, count
from wardround.client.statement.summary import trusted

if TYPE_CHECKING:
    from wardround.client.statement.facts import Facts


def questions(facts: Facts) -> tuple[Question, ...]:
    """Of a study with a finite epsilon."""
    return (_model(facts), _coordinator(facts))


def _model(facts: Facts) -> Question:
    more, numbers = _shares(facts) if facts.study.distributed else ((), {})
    return Question(
        "trust",
        "Whom does a patient have to trust?",
        (
            trusted(facts),
            *more,
            (
                "In either case the hospital's own machine, its administrators, the randomness of its operating system "
                "and the installed release are trusted."
            ),
        ),
        {"trust": facts.promise.trust, "hospitals": len(facts.study.sites), **numbers},
    )


def _shares(facts: Facts) -> tuple[tuple[str, ...], dict[str, Any]]:
    study, threshold, certain = facts.study, facts.threshold.threshold, facts.plan.certain
    smallest, worse = study.aggregation.min_sites, facts.one_more_gives_away
    then = "no noise would be certain" if worse is None else f"epsilon would be {at_most(worse)}"
    words = (
        (
            f"A hospital's own share is not enough by itself: each adds 1 / {certain} of the noise's variance. The "
            f"smallest sum has {count(smallest, 'hospital')}; {facts.known_noise} may know their own noise and take it "
            f"off, which leaves {certain}. If {facts.known_noise + 1} hospitals gave their noise away, {then}."
        ),
        f"A sum opens when {count(threshold, 'hospital')} have signed over which hospitals it goes.",
    )
    return words, {
        "colluding": study.colluding,
        "threshold": threshold,
        "smallest_sum": smallest,
        "certain_hospitals": certain,
        "epsilon_with_one_more_known": worse,
    }


def _coordinator(facts: Facts) -> Question:
    study = facts.study
    if not study.private:
        seen = (
            "It sees the update of every hospital, which is private by itself, and may do with it whatever it likes: "
            "processing does not weaken the promise."
        )
    elif study.secure.strength == "active":
        seen = (
            "It may lie: drop, replay, delay, show different things to different hospitals, send crafted models. The "
            "secure sum either gives the sum that the hospitals agreed on or nothing. A crafted model is bounded by "
            "the noise as any other, and by nothing else."
        )
    else:
        seen = (
            "It is assumed to follow the protocol of the secure sum (semi-honest); a coordinator that lies could see "
            "more. Hospitals' policies refuse this unless they are told otherwise."
        )
    hospitals = count(len(study.sites), "hospital")
    return Question(
        "coordinator",
        "What may the coordinator do?",
        (f"The coordinator brings {hospitals} together and is not trusted with images. {seen}",),
        {"mode": study.aggregation.mode},
    )
