"""Sets of patients and groups of patients with one history."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from fakes.ledgers import cohort, key
from hypothesis import given
from hypothesis import strategies as st

from wardround.client.ledger.patients import Cohort, Histories
from wardround.common.ids import PatientKey


def test_a_cohort_is_a_set_of_keys() -> None:
    patients = cohort([3, 1, 2, 1])
    assert len(patients) == 3
    assert patients.keys() == sorted(key(patient) for patient in (1, 2, 3))
    assert patients.digest == cohort([1, 2, 3]).digest != cohort([1, 2]).digest
    content = b"".join(sorted(bytes.fromhex(key(patient)) for patient in (1, 2, 3)))
    assert patients.digest == hashlib.sha256(b"wardround/1/ledger/cohort\0" + content).hexdigest()
    assert Cohort(content).digest == patients.digest


@pytest.mark.parametrize("bad", ["", "ab", "Z" * 32, "A" * 32, "0" * 31])
def test_what_is_no_patient_key_is_refused(bad: str) -> None:
    assert len(Cohort.of([key(1)])) == 1
    with pytest.raises(ValueError, match="patient key"):
        Cohort.of([key(1), PatientKey(bad)])


@pytest.mark.parametrize("content", [b"", bytes(15), bytes(17), bytes(32), b"\2" * 16 + b"\1" * 16])
def test_what_is_no_set_of_keys_is_refused(content: bytes) -> None:
    assert len(Cohort(b"\1" * 16 + b"\2" * 16)) == 2
    with pytest.raises(ValueError, match="ascending"):
        Cohort(content)


@given(st.lists(st.frozensets(st.integers(0, 12), min_size=1), max_size=8, unique=True))
def test_groups_are_what_patients_one_by_one_would_be(sets: list[frozenset[int]]) -> None:
    histories, costs = Histories(), {}
    for number, patients in enumerate(sets):
        histories.add(cohort(patients))
        costs[cohort(patients).digest] = np.array([2.0**number, 3.0**number])
    everybody = set[int]().union(*sets)
    each = {
        patient: tuple(sum(base**number for number, s in enumerate(sets) if patient in s) for base in (2.0, 3.0))
        for patient in everybody
    }
    assert len(histories) == len(everybody)
    assert histories.in_any(costs.keys()) == len(everybody)
    assert {tuple(row) for row in histories.totals(costs, 2)} == set(each.values())
    for patients in sets:
        found = {tuple(row) for row in histories.totals(costs, 2, cohort(patients))}
        assert found == {each[patient] for patient in patients}
    fresh = cohort([3, 99])  # patient 99 is new, and so is the cohort: what it costs counts for both
    totals = histories.totals({**costs, fresh.digest: np.array([0.5, 0.5])}, 2, fresh)
    if fresh.digest not in costs:
        assert {tuple(row) for row in totals} == {tuple(x + 0.5 for x in each.get(3, (0.0, 0.0))), (0.5, 0.5)}
