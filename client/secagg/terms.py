"""What a site holds a private study run against: its approved study and its own policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.rounds.encodings import encoding_of
from wardround.common.secagg.context import digest_bytes, settings_digest
from wardround.common.secagg.site_checks import Terms

if TYPE_CHECKING:
    from wardround.client.policy import Policy
    from wardround.common.secagg.context import SessionContext
    from wardround.common.study import Study
    from wardround.common.vector import Layout
    from wardround.common.wire.base import RunContext


def check_policy(study: Study, policy: Policy) -> None:
    """Refuse a study whose mode, model, strength of secure sum, or promise the site's policy does not allow.

    Raises:
        WardroundError: WR-1712; WR-1809.
    """
    policy.check_mode(study.aggregation.mode)
    policy.check_model(study.model.name)
    policy.check_privacy(noisy=study.privacy is not None and study.privacy.noisy)
    policy.check_epsilon(None if study.privacy is None else study.privacy.largest)
    if study.private:
        policy.check_strength(study.secure.strength)
    if study.distributed:  # its noise is shared among the sites that do not collude by the study's own k
        policy.check_colluding(study.colluding, sites=len(study.sites))


def check_private(study: Study) -> None:
    """Refuse a message of the secure sum for an open study.

    Raises:
        WardroundError: WR-1705.
    """
    if not study.private:
        raise WardroundError("WR-1705", "The approved study is open: it has no secure sum.")


def check_open(study: Study) -> None:
    """Refuse a question of open mode for a private study.

    Raises:
        WardroundError: WR-1715.
    """
    if study.private:
        raise WardroundError("WR-1715", "The approved study is private: single sites are not asked for numbers.")


def check_unpromised(study: Study) -> None:
    """Refuse a question for counts, losses or an update without noise where patients were promised privacy.

    Raises:
        WardroundError: WR-1715.
    """
    if study.privacy is not None:
        raise WardroundError("WR-1715", "The approved study has differential privacy: nothing leaves without noise.")


def check_folds(study: Study, question: RunContext, policy: Policy) -> None:
    """Refuse folds that a coordinator chose for a study with a promise: test patients of the study would be trained on.

    Raises:
        WardroundError: WR-1712.
    """
    if study.privacy is not None:
        policy.check_folds(question.folds)


def check_session(context: SessionContext, policy: Policy) -> None:
    """Refuse a cohort that is too small, or assumes fewer colluding sites than the site's policy.

    Raises:
        WardroundError: WR-1712.
    """
    policy.check_sites(len(context.cohort))
    policy.check_colluding(context.colluding, sites=len(context.cohort))


def terms(study: Study, question: RunContext, policy: Policy, layout: Layout, number: int) -> Terms:
    """What messages about round ``number`` are held against.

    The last validation counts as one round more than the study has; with differential privacy there is none.

    Args:
        study: The approved study, private.
        question: The message at hand: its run, seed and fold.
        policy: The site's policy.
        layout: Layout of the study's model, built here.
        number: The round, from 1.
    """
    encoding = encoding_of(study, layout, number)
    return Terms(
        study=study.id,
        run=question.run,
        sites=frozenset(study.site_ids),
        rounds=study.training.rounds + (1 if study.privacy is None else 0),
        colluding=max(study.colluding, policy.least_colluding(len(study.sites))),
        strength=study.secure.strength,
        smallest_cohort=policy.min_sites,
        layout=digest_bytes(layout.hash),
        encoding=encoding.digest,
        ring_bits=study.ring_bits,
        weight_cap=study.aggregation.weight_cap,
        settings=settings_digest(question.seed, question.fold, question.folds),
        smallest_sum=study.aggregation.min_sites,
    )
