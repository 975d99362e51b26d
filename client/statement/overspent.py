"""Where more was spent than was promised: what was spent is what holds then, and every page says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.client.statement.question import at_most, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.client.statement.rows import Privacy

BECAUSE: Final = "because rounds were computed more than once there"
"""How it comes about: a crash, after which a round's noisy sum may already have left."""

_DIGITS: Final = 4


def exceeded(row: Privacy) -> bool:
    """Whether a site's patients paid more than they were promised."""
    return row.epsilon is not None and row.spent_epsilon is not None and row.spent_epsilon > row.epsilon


def dearest(rows: Sequence[Privacy]) -> Privacy | None:
    """The site whose patients paid most, if that is more than they were promised."""
    return max(filter(exceeded, rows), key=lambda row: row.spent_epsilon or 0.0, default=None)


def spent_words(row: Privacy) -> str:
    """What the patients of a site paid."""
    return at_most(row.spent_epsilon or 0.0, _DIGITS)


def in_words(row: Privacy) -> str:
    """``8.12 at north, more than the 8 promised, because …``: of :func:`dearest`."""
    return f"{spent_words(row)} at {row.site}, more than the {number(row.epsilon or 0.0)} promised, {BECAUSE}"
