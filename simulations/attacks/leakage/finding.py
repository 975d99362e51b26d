"""What an attack found out, and whether a promise excludes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wardround.simulations.attacks.leakage.bounds import refutes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.simulations.attacks.leakage.bounds import Errors, Promise


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """How far one attack got.

    Args:
        n: Canaries, patients or victims.
        errors: For the comparison with the whole trade-off curve, wrong with probability 1e-6 at most.
        any_epsilon: Lower bound on epsilon that holds for any mechanism, 99.9%.
        words: For people.
        record: What is written down, JSON.
        telling: Of an attack that is too weak to exceed a claim even without noise: whether it did better than chance,
            99.9%; None for all others.
    """

    n: int
    errors: Errors
    any_epsilon: float
    words: str
    record: Mapping[str, Any]
    telling: bool | None = None


def within(finding: Finding, promise: Promise) -> bool:
    """Whether nothing was found that the promise excludes."""
    return finding.any_epsilon <= promise.epsilon and not refutes(finding.errors, promise.step, promise.steps)


def succeeds(control: Finding, promise: Promise) -> bool:
    """Whether a control shows that its attack is a real one: it exceeds the claim, or, if it is weak, beats chance."""
    return not within(control, promise) if control.telling is None else control.telling
