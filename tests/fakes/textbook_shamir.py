"""Shamir's scheme as his paper writes it down, one Python integer at a time: slow, an oracle for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def evaluate(coefficients: Sequence[int], x: int, prime: int) -> int:
    """The polynomial with these coefficients, lowest first, at x."""
    return sum(coefficient * x**power for power, coefficient in enumerate(coefficients)) % prime


def interpolate(points: Mapping[int, int], x: int, prime: int) -> int:
    """Lagrange's formula: the polynomial of least degree through the points, at x."""
    total = 0
    for here, value in points.items():
        term = value
        for other in points:
            if other != here:
                term = term * (x - other) * pow(here - other, -1, prime) % prime
        total += term
    return total % prime
