"""What a benchmark prints: one row a quantity, ours beside the peer's, and whether the goal holds.

Where less is better, ``ratio`` is peer / ours: how many times faster or smaller we are. A quantity
with ``_vs_`` in its name compares us with a reference instead, and its ``ratio`` is ours / reference.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Row(BaseModel):
    """One quantity.

    Attributes:
        quantity: Its name, the same from release to release.
        ours: Median of our measurements.
        peer: Median of the peer's, or the reference; None where the peer is not installed.
        peer_name: Who the peer is, or what the reference is.
        unit: Of both.
        ratio: See the module; None without a peer.
        goal: In words.
        holds: Whether the goal is met; None where that needs the peer and it is missing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: str
    ours: float
    peer: float | None
    peer_name: str
    unit: str
    ratio: float | None
    goal: str
    holds: bool | None


class BenchReport(BaseModel):
    """A whole benchmark.

    Attributes:
        bench: Its name.
        machine: The machine, versions of what was measured, ``settings`` and ``remarks``.
        rows: The quantities.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bench: str
    machine: dict[str, Any]
    rows: tuple[Row, ...]


def times_less(quantity: str, ours: float, peer: float | None, *, peer_name: str, unit: str, at_least: float) -> Row:
    """A row whose goal is that we need ``at_least`` times less than the peer."""
    ratio = _ratio(peer, ours)
    holds = None if ratio is None else ratio >= at_least
    return Row(
        quantity=quantity,
        ours=ours,
        peer=peer,
        peer_name=peer_name,
        unit=unit,
        ratio=ratio,
        goal=f">= {at_least:g}x",
        holds=holds,
    )


def below(quantity: str, ours: float, peer: float | None, *, peer_name: str, unit: str, limit: float) -> Row:
    """A row whose goal is ours alone, under ``limit``; the peer stands beside it."""
    return Row(
        quantity=quantity,
        ours=ours,
        peer=peer,
        peer_name=peer_name,
        unit=unit,
        ratio=_ratio(peer, ours),
        goal=f"< {limit:g} {unit}",
        holds=ours < limit,
    )


def against_reference(quantity: str, ours: float, reference: float, *, name: str, unit: str, at_most: float) -> Row:
    """A ``_vs_`` row: the goal is at most ``at_most`` times the reference."""
    ratio = ours / reference
    return Row(
        quantity=quantity,
        ours=ours,
        peer=reference,
        peer_name=name,
        unit=unit,
        ratio=ratio,
        goal=f"<= {at_most:g}x",
        holds=ratio <= at_most,
    )


def _ratio(peer: float | None, ours: float) -> float | None:
    if peer is None:
        return None
    if not ours > 0:
        raise ValueError("a measurement is above 0")
    return peer / ours
