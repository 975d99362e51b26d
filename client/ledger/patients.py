"""Sets of patients, and which patients have the same history.

A patient is a key (:meth:`wardround.client.home.Home.patient_key`): the same person in two data sets, or in a data set
that was imported again under another name, is one key and has one budget.

Patients that were in the same cohorts have borne the same. So a ledger of many studies on one data set has few groups,
and what it costs to check a study does not grow with the number of patients.
"""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from wardround.common.ids import PatientKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

KEY_BYTES: Final = 16
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_DOMAIN: Final = b"wardround/1/ledger/cohort\0"


class Cohort:
    """A set of patients.

    Args:
        content: Their keys, 16 bytes each, in ascending order, each once; at least one.

    Raises:
        ValueError: ``content`` is not that.
    """

    __slots__ = ("content", "digest")

    def __init__(self, content: bytes) -> None:
        keys = _cut(content)
        if not keys or len(content) % KEY_BYTES or any(a >= b for a, b in pairwise(keys)):
            raise ValueError("a cohort is one or more patient keys in ascending order")
        self.content = content
        self.digest = hashlib.sha256(_DOMAIN + content).hexdigest()
        """64 hex digits."""

    @classmethod
    def of(cls, keys: Iterable[PatientKey]) -> Self:
        """The set of some patients' keys; a key that comes twice is one patient.

        Raises:
            ValueError: There is none, or one is not 32 lower-case hex digits.
        """
        chosen = set(keys)
        if not all(_KEY.fullmatch(key) for key in chosen):
            raise ValueError("a patient key is 32 lower-case hex digits")
        return cls(bytes.fromhex("".join(sorted(chosen))))

    def __len__(self) -> int:
        return len(self.content) // KEY_BYTES

    def __iter__(self) -> Iterator[bytes]:
        return iter(_cut(self.content))

    def keys(self) -> list[PatientKey]:
        """The keys as :class:`~wardround.client.home.Home` makes them."""
        return [PatientKey(key.hex()) for key in self]


class Histories:
    """Which patients were in which cohorts."""

    def __init__(self) -> None:
        self._group: dict[bytes, int] = {}
        self._cohorts: dict[int, tuple[str, ...]] = {}
        self._sizes: dict[int, int] = {}
        self._added: list[str] = []
        self._places: dict[str, NDArray[np.intp]] | None = None
        self._made = 0

    def __len__(self) -> int:
        """Number of patients."""
        return len(self._group)

    def in_any(self, cohorts: Collection[str]) -> int:
        """How many patients were in one or more of these cohorts."""
        return sum(
            self._sizes[group] for group, held in self._cohorts.items() if any(digest in cohorts for digest in held)
        )

    def cohorts_of(self, key: bytes) -> tuple[str, ...]:
        """The cohorts that a patient was in, oldest first."""
        group = self._group.get(key)
        return () if group is None else self._cohorts[group]

    def add(self, cohort: Cohort) -> None:
        """Take note of a cohort that is new: its patients' history differs from now on from that of all others."""
        self._added.append(cohort.digest)
        self._places = None
        moved: dict[int | None, int] = {}
        for key in cohort:
            before = self._group.get(key)
            after = moved.get(before)
            if after is None:
                after = moved[before] = self._new_group(before, cohort.digest)
            self._group[key] = after
            self._sizes[after] += 1
            if before is not None:
                self._sizes[before] -= 1
        for before in moved:
            if before is not None and self._sizes[before] == 0:
                del self._sizes[before], self._cohorts[before]

    def totals(self, costs: Mapping[str, NDArray[np.float64]], orders: int, cohort: Cohort | None = None) -> Totals:
        """What each group has borne.

        Args:
            costs: For each cohort the cost of everything that was done to it, ``[orders]``; others cost nothing.
            orders: Number of Rényi orders.
            cohort: Only groups of patients in this cohort, which need not have been added yet; None: all groups.

        Returns:
            ``[groups, orders]``. Costs are added cohort by cohort in the order in which these were added, so that a
            total never falls, not even by rounding, when a cost rises.
        """
        rows = self._members()
        totals = np.zeros((len(self._cohorts), orders))
        for digest, members in rows.items():
            if digest in costs:
                totals[members] += costs[digest]
        if cohort is None:
            return totals
        if cohort.digest in rows:
            return totals[rows[cohort.digest]]
        return self._with_strangers(totals, cohort) + costs.get(cohort.digest, 0.0)

    def _with_strangers(self, totals: Totals, cohort: Cohort) -> Totals:
        """The groups of a cohort that was not added yet; patients without history have borne nothing."""
        places = {group: place for place, group in enumerate(self._cohorts)}
        groups = {self._group.get(key) for key in cohort}
        known = totals[np.array([places[group] for group in groups if group is not None], dtype=np.intp)]
        return np.concatenate([known, np.zeros((int(None in groups), totals.shape[1]))])

    def _members(self) -> dict[str, NDArray[np.intp]]:
        """For each cohort the places of its groups, cohorts in the order in which they were added."""
        if self._places is None:
            found: dict[str, list[int]] = {digest: [] for digest in self._added}
            for place, held in enumerate(self._cohorts.values()):
                for digest in held:
                    found[digest].append(place)
            self._places = {digest: np.array(places, dtype=np.intp) for digest, places in found.items()}
        return self._places

    def _new_group(self, before: int | None, digest: str) -> int:
        self._made += 1
        held = () if before is None else self._cohorts[before]
        self._cohorts[self._made] = (*held, digest)
        self._sizes[self._made] = 0
        return self._made


Totals = np.ndarray[tuple[int, int], np.dtype[np.float64]]
"""Rényi costs, ``[groups, orders]``."""


def _cut(content: bytes) -> list[bytes]:
    return [content[start : start + KEY_BYTES] for start in range(0, len(content), KEY_BYTES)]
