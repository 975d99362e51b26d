"""What steps cost, and whether it fits a limit: a Rényi filter.

The cost of a step is its Rényi divergence at some orders, which a ledger fixes when it is made; costs add up,
also when a later study is chosen by what earlier ones gave away, as long as whether to go on is decided by a filter
(Feldman and Zrnic 2021, Individual privacy accounting via a Rényi filter; Lécuyer 2021, Practical privacy filters and
odometers with Rényi differential privacy). Add/remove neighbours throughout.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from wardround.common.privacy.rdp import ORDERS, budget, rdp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.client.ledger.events import Mechanism
    from wardround.client.ledger.patients import Totals
    from wardround.common.privacy.witness import Bound

    Cost = NDArray[np.float64]


@lru_cache(maxsize=4096)
def step_cost(mechanism: Mechanism | None, orders: tuple[float, ...]) -> Cost:
    """Rényi cost of one step, ``[orders]``; infinite without noise."""
    if mechanism is None:
        return np.full(len(orders), np.inf)
    return np.asarray(rdp(mechanism.step, orders), dtype=np.float64)


def cost(mechanism: Mechanism | None, steps: int, orders: tuple[float, ...] = ORDERS) -> Cost:
    """Rényi cost of so many steps, ``[orders]``."""
    return steps * step_cost(mechanism, orders) if steps else np.zeros(len(orders))


def allowance(limit: Bound, lost: Bound | None) -> tuple[float, float] | None:
    """The (epsilon, delta) of a limit that is left for what the ledger knows; None: nothing is.

    What was lost with a restored backup composes with the rest by adding both numbers (Dwork and Roth 2014,
    Theorem 3.16).

    Args:
        limit: The limit in force; not infinite.
        lost: What may have been borne besides.
    """
    if lost is None:
        return limit.number, limit.delta
    epsilon, delta = limit.number - lost.number, limit.delta - lost.delta
    return (epsilon, delta) if epsilon > 0 and delta > 0 else None


def fits(totals: Totals, limit: Bound, lost: Bound | None, orders: tuple[float, ...] = ORDERS) -> bool:
    """Whether every group stays within the limit at some order.

    Args:
        totals: What each group would have borne, ``[groups, orders]``.
        limit: The limit.
        lost: What may have been borne besides.
        orders: Of the filter.
    """
    if math.isinf(limit.number):
        return True
    allowed = allowance(limit, lost)
    if allowed is None:
        return False
    return bool((totals <= budget(*allowed, orders)).any(axis=1).all())


def enforced_epsilon(
    totals: Totals, limit: Bound, lost: Bound | None = None, orders: tuple[float, ...] = ORDERS
) -> float:
    """The smallest epsilon at the limit's delta with which the filter would let the most burdened group pass.

    0 where nothing was borne, inf where a group has borne steps without noise or nothing is left of the delta.

    Args:
        totals: ``[groups, orders]``.
        limit: Its delta, and an epsilon about which to compare.
        lost: What may have been borne besides; its epsilon is part of the answer.
        orders: Of the filter.
    """
    base = 0.0 if lost is None else lost.number
    delta = limit.delta - (0.0 if lost is None else lost.delta)
    if not totals.size or not totals.any():
        return base
    if delta <= 0:
        return math.inf
    room = budget(1.0, delta, orders)
    return base + max(0.0, float((1.0 + (totals - room).min(axis=1)).max()))


def in_words(epsilon: float, form: str = "g") -> str:
    """An epsilon as people read it; ``form`` is the format of a finite one."""
    return "infinite" if math.isinf(epsilon) else format(epsilon, form)
