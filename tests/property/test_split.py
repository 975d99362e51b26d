"""The split keeps patients together, keeps proportions, and depends on nothing but patients, strata and seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.client.data.split import split_patients
from wardround.common.study import Split

if TYPE_CHECKING:
    from random import Random

    from wardround.client.data.split import Parts

Samples = list[tuple[str, tuple[int, int]]]

SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 60).map(lambda number: f"patient {number}"), st.tuples(st.integers(0, 1), st.integers(0, 1))
    ),
    min_size=1,
    max_size=150,
)
SPLITS = st.builds(
    Split, validation=st.sampled_from([0.0, 0.15, 0.3]), test=st.sampled_from([0.0, 0.25, 0.4]), seed=st.integers(0, 9)
)


def split(samples: Samples, wanted: Split, fold: int | None = None, folds: int = 1) -> Parts:
    return split_patients(
        [one for one, _ in samples], [labels for _, labels in samples], wanted, fold=fold, folds=folds
    )


def people(samples: Samples, indices: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> set[str]:
    return {samples[index][0] for index in indices}


def strata(samples: Samples) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for patient, (one, other) in samples:
        found[patient] = (max(found[patient][0], one), max(found[patient][1], other))
    return found


@given(SAMPLES, SPLITS)
def test_every_sample_once_and_no_patient_in_two_parts(samples: Samples, wanted: Split) -> None:
    parts = split(samples, wanted)
    assert sorted(np.concatenate([indices for _, indices in parts.named()])) == list(range(len(samples)))
    groups = [people(samples, indices) for _, indices in parts.named()]
    assert sum(len(group) for group in groups) == len(set().union(*groups))
    assert all(indices.dtype == np.int64 and (np.diff(indices) > 0).all() for _, indices in parts.named())


@given(SAMPLES, SPLITS, st.randoms(use_true_random=False))
def test_order_of_the_table_does_not_matter(samples: Samples, wanted: Split, random: Random) -> None:
    shuffled = samples.copy()
    random.shuffle(shuffled)
    for (_, one), (_, other) in zip(split(samples, wanted).named(), split(shuffled, wanted).named(), strict=True):
        assert people(samples, one) == people(shuffled, other)


@given(SAMPLES, SPLITS)
def test_sizes_and_strata_keep_their_proportions(samples: Samples, wanted: Split) -> None:
    parts, stratum = split(samples, wanted), strata(samples)
    test = people(samples, parts.test)
    assert abs(len(test) - wanted.test * len(stratum)) <= 0.5 + 1e-9
    validation = people(samples, parts.validation)
    assert abs(len(validation) - wanted.validation * len(stratum)) <= 0.5 + 1e-9
    for labels, members in Counter(stratum.values()).items():
        taken = sum(stratum[patient] == labels for patient in test)
        assert abs(taken - members * len(test) / len(stratum)) < 1


@given(SAMPLES, SPLITS, st.integers(2, 6))
def test_folds_test_every_patient_once(samples: Samples, wanted: Split, folds: int) -> None:
    every = [split(samples, wanted, fold, folds) for fold in range(folds)]
    tested = Counter(patient for parts in every for patient in people(samples, parts.test))
    stratum = strata(samples)
    assert tested == Counter(dict.fromkeys(stratum, 1))
    for parts in every:
        groups = [people(samples, indices) for _, indices in parts.named()]
        assert sum(len(group) for group in groups) == len(stratum)
    for labels, members in Counter(stratum.values()).items():
        sizes = [sum(stratum[one] == labels for one in people(samples, parts.test)) for parts in every]
        assert max(sizes) - min(sizes) <= 1
        assert sum(sizes) == members


@given(SAMPLES, SPLITS)
def test_another_image_of_a_known_patient_moves_nobody(samples: Samples, wanted: Split) -> None:
    more = [*samples, (samples[0][0], strata(samples)[samples[0][0]])]
    for (_, one), (_, other) in zip(split(samples, wanted).named(), split(more, wanted).named(), strict=True):
        assert people(samples, one) == people(more, other)


def test_seed_changes_the_split_and_the_same_seed_does_not() -> None:
    samples: Samples = [(f"patient {number}", (number % 2, 0)) for number in range(40)]
    tests = {seed: tuple(split(samples, Split(seed=seed)).test) for seed in range(5)}
    assert len(set(tests.values())) == 5
    assert tuple(split(samples, Split(seed=3)).test) == tests[3]


def test_known_split() -> None:
    """Written down once: a change would silently move test patients of running studies into training."""
    samples: Samples = [(f"patient {number}", (number % 2, 0)) for number in range(12)]
    parts = split(samples, Split(validation=0.25, test=0.25, seed=0))
    assert {name: indices.tolist() for name, indices in parts.named()} == {
        "train": [0, 1, 2, 8, 9, 10],
        "validation": [6, 7, 11],
        "test": [3, 4, 5],
    }


@pytest.mark.parametrize(("fold", "folds"), [(None, 2), (0, 1), (2, 2), (-1, 2)])
def test_contradictions_are_bugs(fold: int | None, folds: int) -> None:
    with pytest.raises(ValueError, match="fold"):
        split([("a", (0, 0))], Split(), fold, folds)
