"""What the ledger refuses, one rule a function; none of them changes anything."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

from wardround.client.ledger.cost import allowance, enforced_epsilon, fits
from wardround.common.errors import WardroundError
from wardround.common.privacy.witness import INFINITE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wardround.client.ledger.events import Mechanism, Reserved
    from wardround.client.ledger.patients import Cohort, Totals
    from wardround.client.ledger.state import Run, State
    from wardround.common.ids import StudyRunId
    from wardround.common.privacy.witness import Bound, Head, SignedHead


def check_allowed(state: State) -> Bound:
    """Refuse everything until a limit is set; give the limit.

    Raises:
        WardroundError: WR-1808.
    """
    if state.limit is None:
        raise WardroundError("WR-1808", "No limit on epsilon is set at this hospital.")
    return state.limit


def check_noise(mechanism: Mechanism | None, limit: Bound) -> None:
    """Refuse steps without noise where there is a limit.

    Raises:
        WardroundError: WR-1809.
    """
    if mechanism is None and math.isfinite(limit.number):
        raise WardroundError(
            "WR-1809", f"The study adds no noise, and this hospital's limit is epsilon {limit.number:g}."
        )


def check_same(known: Run | None, asked: Reserved) -> None:
    """Refuse a second reservation of a run that differs from its first, or comes after its end.

    Raises:
        WardroundError: WR-1810, other patients; WR-1815, anything else.
    """
    if known is None:
        return
    if known.settled:
        raise WardroundError("WR-1815", f"The study run {asked.run} has been settled here.")
    if known.reserved.cohort != asked.cohort:
        raise WardroundError("WR-1810", f"The study run {asked.run} was reserved for other patients.")
    if known.reserved.model_copy(update={"at": asked.at}) != asked:
        raise WardroundError(
            "WR-1815", f"The study run {asked.run} has reserved another study, noise or number of steps."
        )


def check_open(state: State, run: StudyRunId, number: int, cohort: Cohort) -> Run:
    """Refuse a round that was not reserved, or not for these patients; give the run.

    Raises:
        WardroundError: WR-1810, WR-1815.
    """
    known = state.runs.get(run)
    if known is None:
        raise WardroundError("WR-1815", f"The study run {run} has reserved nothing here.")
    if known.settled:
        raise WardroundError("WR-1815", f"The study run {run} has been settled here.")
    if number > known.reserved.rounds:
        raise WardroundError("WR-1815", f"Round {number} was not reserved: the run has {known.reserved.rounds}.")
    if known.reserved.cohort != cohort.digest:
        raise WardroundError("WR-1810", f"The study run {run} was reserved for other patients than there are now.")
    return known


def check_turn(paid: int, computation: int) -> None:
    """Refuse to pay for a computation twice, or for one before its turn: a caller's mistake.

    Raises:
        ValueError: It is not the next one.
    """
    if computation != paid + 1:
        raise ValueError(f"computation {computation} is paid for after {paid}")


def check_present(state: State, cohort: Cohort) -> None:
    """Refuse a cohort with patients who have withdrawn.

    Raises:
        WardroundError: WR-1810.
    """
    known = cohort.digest in state.cohorts
    if cohort.digest in state.touched or not (known or state.withdrawn.isdisjoint(cohort)):
        count = len(state.withdrawn.intersection(cohort))
        raise WardroundError(
            "WR-1810",
            f"{count} of the patients have withdrawn from research.",
            fix="Take their images out of the data sets, settle the run (wardround hospital ledger settle RUN --home "
            "HOME), and start a new one without them.",
        )


def check_fits(state: State, totals: Totals) -> None:
    """Refuse what some patient's budget has no room for.

    Args:
        state: With the limit in force.
        totals: What each group would have borne, ``[groups, orders]``.

    Raises:
        WardroundError: WR-1807; WR-1808, there is no limit.
    """
    limit = check_allowed(state)
    if fits(totals, limit, state.lost, state.orders):
        return
    if allowance(limit, state.lost) is None:
        what = "Events were lost when the ledger was restored, and may have used the whole limit."
    else:
        needed = enforced_epsilon(totals, limit, state.lost, state.orders)
        reached = f"an {INFINITE} epsilon" if math.isinf(needed) else f"epsilon {needed:.4g}"
        what = f"Some patients would reach {reached}; the limit is {limit.number:g} at delta {limit.delta:g}."
    raise WardroundError("WR-1807", what)


def check_witnesses(
    state: State, heads: Sequence[SignedHead | None], keys: Sequence[bytes], digest: Callable[[int], bytes | None]
) -> None:
    """Refuse a ledger that lacks what its site has signed.

    Args:
        state: What the ledger says.
        heads: What witnesses have; None from one that has nothing.
        keys: The site's own public keys.
        digest: Gives the digest of an event by its number.

    Raises:
        WardroundError: WR-1812; WR-1816, the site did not sign it.
    """
    for signed in heads:
        if signed is None:
            continue
        check_own(signed, keys)
        if not covers(state, signed.head, digest):
            what = f"A witness knows a head after {signed.head.sequence} events that this ledger does not contain."
            raise WardroundError("WR-1812", what)


def check_own(signed: SignedHead, keys: Sequence[bytes]) -> None:
    """Refuse a head that none of a site's keys has signed.

    Raises:
        WardroundError: WR-1816.
    """
    for key in keys[1:]:
        with suppress(WardroundError):
            signed.verify(key)
            return
    signed.verify(keys[0])


def covers(state: State, head: Head, digest: Callable[[int], bytes | None]) -> bool:
    """Whether everything that happened up to a head is in the ledger, or was charged when it was restored.

    1. The head is one of the ledger's own; else a restore has to account for what came after the backup:
    2. nothing came but draws on reservations, which were charged in full, or
    3. every patient was charged the highest limit that there had been.
    """
    if head.site != (state.opened and state.opened.site):
        return False
    if (found := digest(head.sequence)) is not None and found.hex() == head.digest:
        return True
    return any(
        head.committed == committed.hex() or (event.lost is not None and event.lost.covers(head.ceiling))
        for committed, event in state.restores
    )
