"""What a terminal says below the tables of a run: the promise to patients, and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.client.statement.markdown import PAGE
from wardround.client.statement.overspent import exceeded, in_words, spent_words
from wardround.client.statement.question import number
from wardround.simulations.warned import grouped

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.statement.rows import Privacy
    from wardround.simulations.results import Results

MOST: Final = 10
"""Lines of warnings; the others are counted."""


def ending(results: Results, folder: Path) -> list[str]:
    """Lines for a terminal; none for a run without a promise or a warning.

    Args:
        results: Of the run.
        folder: Where its files lie.
    """
    return [*_promise(results, folder), *_warnings(results)]


def _promise(results: Results, folder: Path) -> list[str]:
    rows = [row for row in results.privacy if row.trust is not None]
    if not rows:
        return []
    page = (folder / PAGE).resolve()
    first = rows[0]
    if first.epsilon is None or first.delta is None:
        return [f"Promise to patients: none; epsilon is infinite, trust model {first.trust}. Statement: {page}"]
    claim = f"epsilon {number(first.epsilon)} at delta {number(first.delta)}, trust model {first.trust}"
    return [f"Promise to patients: {claim}; {_spent(rows)}. Statement: {page}"]


def _spent(rows: list[Privacy]) -> str:
    known = [row for row in rows if row.spent_epsilon is not None]
    if not known:
        return "nothing was spent"
    most = max(known, key=lambda row: row.spent_epsilon or 0.0)
    return f"spent: epsilon {in_words(most) if exceeded(most) else spent_words(most)}"


def _warnings(results: Results) -> list[str]:
    lines = [f"Warning: {words}" for words in grouped(results.warnings)]
    rest = len(lines) - MOST
    return lines if rest <= 0 else [*lines[:MOST], f"and {rest} more in results.json"]
