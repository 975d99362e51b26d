"""Whether the privacy ledger has room for a study: one function decides, and everything that is shown comes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardround.client.ledger.accounts import Accounts, accounts
from wardround.client.ledger.cost import cost, enforced_epsilon, fits, in_words
from wardround.client.ledger.events import Mechanism
from wardround.client.ledger.rules import check_allowed, check_noise
from wardround.common.errors import WardroundError
from wardround.common.privacy.witness import INFINITE, Bound

if TYPE_CHECKING:
    from wardround.client.home import Home
    from wardround.client.ledger.state import State
    from wardround.common.study import Study


@dataclass(frozen=True, slots=True)
class Budget:
    """What the study does to the privacy budget of this hospital's patients; epsilons as the ledger enforces them.

    Attributes:
        accounts: The ledger as it is.
        study: Epsilon that the study takes of a patient without history; inf: it has no noise.
        after: Of the most burdened patient of all, when the study is reserved on top of everything.
        words: The verdict, one sentence or two.
        refusal: Why no patient at all can pay for it; None: some can.
        certain: Whether every patient can pay, or none; which patients take part is known when the study runs.
    """

    accounts: Accounts
    study: float
    after: float
    words: str
    refusal: WardroundError | None
    certain: bool

    def as_json(self) -> dict[str, Any]:
        """For ``--json``: infinite numbers are the text ``infinite``."""
        known = self.accounts.as_json()
        return {
            **{name: known[name] for name in ("limit", "delta", "spent", "committed", "left")},
            "study": _finite(self.study),
            "after": _finite(self.after),
            "verdict": self.words,
            "certain": self.certain,
        }


def budget_of(home: Home, study: Study) -> Budget | None:
    """What the ledger would say to a study.

    Returns:
        None where this hospital has no ledger and the study promises nothing: there is nothing to keep.

    Raises:
        WardroundError: WR-1811 to WR-1814, the ledger is not usable.
    """
    if study.privacy is None and not home.ledger.exists:
        return None
    state = home.ledger.state()
    known, mechanism = accounts(state), mechanism_of(study)
    limited = state.limit is not None and math.isfinite(state.limit.number)
    at = state.limit if state.limit is not None and limited else Bound(epsilon=1.0, delta=known.delta)
    added = cost(mechanism, steps_of(study), state.orders)
    alone = added.reshape(1, -1)
    totals = state.totals(lambda run: run.committed_steps)
    together = totals + added if len(totals) else alone
    needed = enforced_epsilon(alone, at, None, state.orders)
    after = enforced_epsilon(together, at, state.lost, state.orders)
    try:
        limit = check_allowed(state)
        check_noise(mechanism, limit)
        if not fits(alone, limit, state.lost, state.orders):
            _refuse(state, needed, limit)
    except WardroundError as error:
        return Budget(known, needed, after, f"{error.what} The ledger refuses the study.", error, certain=True)
    everybody = fits(together, limit, state.lost, state.orders)
    return Budget(known, needed, after, _words(after, limit, everybody=everybody), None, certain=everybody)


def _refuse(state: State, needed: float, limit: Bound) -> None:
    lost = "" if state.lost is None else ", besides what a restore may have lost"
    taken = f"The study takes epsilon {in_words(needed, '.3g')} of each patient{lost}"
    raise WardroundError("WR-1807", f"{taken}, and the limit is {limit.number:g}.")


def _words(after: float, limit: Bound, *, everybody: bool) -> str:
    if math.isinf(limit.number):
        return "The ledger has room for every patient, because there is no limit."
    if everybody:
        left = max(0.0, limit.number - after)
        return (
            f"The ledger has room for every patient: afterwards epsilon {after:.3g} is taken at most, and epsilon "
            f"{left:.3g} left for other studies."
        )
    return (
        "The ledger has room for patients without history, and not for the one who bears most: with this study they "
        f"would come to epsilon {in_words(after, '.3g')}, and the limit is {limit.number:g}. If they are drawn for "
        "training, the ledger refuses the study before anything is trained."
    )


def mechanism_of(study: Study) -> Mechanism | None:
    """One step of a study, as the ledger knows it; None: no noise."""
    promise = study.privacy
    if promise is None or not promise.noisy:
        return None
    return Mechanism(rate=promise.step.rate, multiplier=promise.step.multiplier)


def steps_of(study: Study) -> int:
    """Steps of a whole study that are paid for."""
    return study.training.rounds * (1 if study.privacy is None else study.privacy.local_steps)


def _finite(value: float) -> float | str:
    return INFINITE if math.isinf(value) else value
