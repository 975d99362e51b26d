"""Warnings of a run: how those of a round are written, and how many rounds are told in one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OF_A_ROUND: Final = re.compile(
    r"(?P<arm>.+?), seed (?P<seed>[0-9]+), round (?P<round>[0-9]+): (?P<words>.*)", re.DOTALL
)


def of_round(arm: str, seed: int, number: int, words: str) -> str:
    """A warning about one round; :func:`grouped` reads it."""
    return f"{arm}, seed {seed}, round {number}: {words}"


def grouped(warnings: Iterable[str]) -> list[str]:
    """Every warning, once; what differs by round or seed alone is one, with rounds and seeds as ranges.

    Seeds share a line where they have the same rounds. In the order in which each first appears.
    """
    found: dict[tuple[str, str], dict[int, set[int]]] = {}
    for warning in warnings:
        told = _OF_A_ROUND.fullmatch(warning)
        rounds = found.setdefault((told["arm"], told["words"]) if told else ("", warning), {})
        if told:
            rounds.setdefault(int(told["seed"]), set()).add(int(told["round"]))
    return [line for (arm, words), rounds in found.items() for line in _lines(arm, words, rounds)]


def _lines(arm: str, words: str, rounds: dict[int, set[int]]) -> list[str]:
    if not rounds:
        return [words]
    seeds: dict[tuple[int, ...], list[int]] = {}
    for seed, numbers in rounds.items():
        seeds.setdefault(tuple(sorted(numbers)), []).append(seed)
    return [
        f"{arm}, {_counted('seed', sorted(own))}, {_counted('round', numbers)}: {words}"
        for numbers, own in seeds.items()
    ]


def _counted(what: str, numbers: Sequence[int]) -> str:
    """``round 3``, ``rounds 1-4, 6``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    told = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"{what}{'s' if len(numbers) > 1 else ''} {told}"
