"""An independent split: no patient's part depends on anybody else, whatever is added or taken away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.client.data.split import Parts, split_patients
from wardround.common.study import Split

NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=60, unique=True)


def parts_of(names: list[str], split: Split, fold: int | None, folds: int, images: int = 2) -> dict[str, str]:
    """Which part each patient is in; the labels say something else for everyone, and must not matter."""
    patients = [name for name in names for _ in range(images)]
    strata = [(hash(name) % 2,) for name in patients]
    found: Parts = split_patients(patients, strata, split, fold=fold, folds=folds)
    return {patients[index]: part for part, indices in found.named() for index in indices}


@settings(deadline=None, max_examples=80)
@given(NAMES, st.integers(0, 10), st.sampled_from([(None, 1), (0, 2), (1, 2), (3, 5)]), st.integers(0, 2**20))
def test_one_patient_more_moves_nobody(
    names: list[str], seed: int, folds: tuple[int | None, int], newcomer: int
) -> None:
    split = Split(seed=seed, independent=True)
    before = parts_of(names, split, *folds)
    after = parts_of([f"new {newcomer}", *names], split, *folds)
    assert {name: after[name] for name in names} == before


def test_an_ordered_split_moves_others() -> None:
    """The positive control: this is why a promise to patients asks for the independent one."""
    names = [f"patient {number}" for number in range(200)]
    before = parts_of(names, Split(), None, 1)
    moved = [
        sum(parts_of([*names, f"new {number}"], Split(), None, 1)[name] != part for name, part in before.items())
        for number in range(20)
    ]
    assert max(moved) > 20


@pytest.mark.parametrize(("fold", "folds"), [(None, 1), (2, 5)])
def test_parts_have_their_shares(fold: int | None, folds: int) -> None:
    names = [f"patient {number}" for number in range(20_000)]
    found = parts_of(names, Split(validation=0.15, test=0.25, independent=True), fold, folds, images=1)
    counts = {part: sum(one == part for one in found.values()) for part in ("train", "validation", "test")}
    test = 0.25 if fold is None else 1 / folds
    # A share of 20,000 has a standard deviation of 62 at most; six of them are 1e-9.
    assert abs(counts["test"] - test * 20_000) < 375
    assert abs(counts["validation"] - 0.15 * 20_000) < 375


def test_every_patient_is_tested_in_exactly_one_fold() -> None:
    names = [f"patient {number}" for number in range(500)]
    split = Split(independent=True)
    tested = [name for fold in range(4) for name, part in parts_of(names, split, fold, 4).items() if part == "test"]
    assert sorted(tested) == sorted(names)


def test_seeds_give_other_parts() -> None:
    names = [f"patient {number}" for number in range(500)]
    first, second = (parts_of(names, Split(seed=seed, independent=True), None, 1) for seed in (0, 1))
    assert np.mean([first[name] == second[name] for name in names]) < 0.7
