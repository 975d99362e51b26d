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
    from collections.abc import Mapping, Sequence

    from wardround.client.home import Home
    from wardround.client.ledger.patients import Totals
    from wardround.client.ledger.state import State
    from wardround.common.privacy.mechanism import SampledGaussian
    from wardround.common.study import Study


@dataclass(frozen=True, slots=True)
class _Part:
    """What one group of patients would pay for a study: nobody is in two.

    Attributes:
        name: ``training`` or ``validation``.
        mechanism: One step; None: no noise.
        added: Rényi cost of all steps, ``[1, orders]``.
        together: On top of everything, ``[groups, orders]``.
    """

    name: str
    mechanism: Mechanism | None
    added: Totals
    together: Totals


@dataclass(frozen=True, slots=True)
class Budget:
    """What the study does to the privacy budget of this hospital's patients; epsilons as the ledger enforces them.

    Attributes:
        accounts: The ledger as it is.
        study: Epsilon that the study takes of a training patient without history; inf: it has no noise.
        validation: Of a validation patient without history; None: the study pays for no validation.
        after: Of the most burdened patient of all, when the study is reserved on top of everything.
        words: The verdict, one sentence or two.
        refusal: Why no training patient, or no validation patient, can pay for it; None: some of both can.
        certain: Whether every patient can pay, or none; which patients take part is known when the study runs.
    """

    accounts: Accounts
    study: float
    validation: float | None
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
            "validation": None if self.validation is None else _finite(self.validation),
            "after": _finite(self.after),
            "verdict": self.words,
            "certain": self.certain,
        }


def budget_of(home: Home, study: Study) -> Budget | None:
    """What the ledger would say to a study: it has room only where training and validation patients both can pay.

    Returns:
        None where this hospital has no ledger and the study promises nothing: there is nothing to keep.

    Raises:
        WardroundError: WR-1811 to WR-1814, the ledger is not usable.
    """
    if study.privacy is None and not home.ledger.exists:
        return None
    state = home.ledger.state()
    known, parts = accounts(state), _parts(state, study)
    limited = state.limit is not None and math.isfinite(state.limit.number)
    at = state.limit if state.limit is not None and limited else Bound(epsilon=1.0, delta=known.delta)
    needed = {part.name: enforced_epsilon(part.added, at, None, state.orders) for part in parts}
    reached = {part.name: enforced_epsilon(part.together, at, state.lost, state.orders) for part in parts}
    figures = (known, needed["training"], needed.get("validation"), max(reached.values()))
    try:
        limit = check_allowed(state)
        for part in parts:
            check_noise(part.mechanism, limit)
            if not fits(part.added, limit, state.lost, state.orders):
                _refuse(state, part.name, needed[part.name], limit)
    except WardroundError as error:
        return Budget(*figures, f"{error.what} The ledger refuses the study.", error, certain=True)
    narrow = [part.name for part in parts if not fits(part.together, limit, state.lost, state.orders)]
    return Budget(*figures, _words(reached, limit, narrow), None, certain=not narrow)


def _parts(state: State, study: Study) -> tuple[_Part, ...]:
    """Those who would pay, and what: as a run reserves it (:meth:`wardround.client.spending.Spending.reserve`).

    Whether this hospital has a validation patient shows when its data are read; here it is taken to have one.
    """
    totals = state.totals(lambda run: run.committed_steps)

    def part(name: str, mechanism: Mechanism | None, steps: int) -> _Part:
        added = cost(mechanism, steps, state.orders).reshape(1, -1)
        return _Part(name, mechanism, added, totals + added if len(totals) else added)

    promise, rounds = study.privacy, study.training.rounds
    if promise is None:
        return (part("training", None, rounds),)
    training = part("training", _mechanism(promise.step), rounds * promise.local_steps)
    paid = promise.validation
    return (training,) if paid is None else (training, part("validation", _mechanism(paid.step), paid.times))


def _mechanism(step: SampledGaussian) -> Mechanism | None:
    """One step, as the ledger knows it; None: no noise."""
    return Mechanism(rate=step.rate, multiplier=step.multiplier) if step.multiplier else None


def _refuse(state: State, name: str, needed: float, limit: Bound) -> None:
    lost = "" if state.lost is None else ", besides what a restore may have lost"
    taken = f"The study takes epsilon {in_words(needed, '.3g')} of each {name} patient{lost}"
    raise WardroundError("WR-1807", f"{taken}, and the limit is {limit.number:g}.")


def _words(reached: Mapping[str, float], limit: Bound, narrow: Sequence[str]) -> str:
    if math.isinf(limit.number):
        return "The ledger has room for every patient, because there is no limit."
    if not narrow:
        left = max(0.0, limit.number - max(reached.values()))
        taken = " and ".join(f"epsilon {epsilon:.3g} of a {name} patient" for name, epsilon in reached.items())
        return (
            f"The ledger has room for every patient: afterwards {taken} is taken at most, and epsilon {left:.3g} left "
            "for other studies."
        )
    after, drawn = max(reached[name] for name in narrow), " or for ".join(narrow)
    return (
        "The ledger has room for patients without history, and not for the one who bears most: with this study they "
        f"would come to epsilon {in_words(after, '.3g')}, and the limit is {limit.number:g}. If they are drawn for "
        f"{drawn}, the ledger refuses the study before anything is trained."
    )


def _finite(value: float) -> float | str:
    return INFINITE if math.isinf(value) else value
