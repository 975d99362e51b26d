"""Partitions put every patient at exactly one site, whatever the order of the rows."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.simulations.partition.by_column import by_column
from wardround.simulations.partition.by_share import by_share
from wardround.simulations.partition.dirichlet import dirichlet
from wardround.simulations.partition.order import hashed_order

unhurried = settings(deadline=None)

patient_lists = st.lists(st.text("abcdef0123456789", min_size=1, max_size=6), max_size=60)
site_names = st.lists(st.sampled_from([SiteId(name) for name in "ABCDEFG"]), min_size=1, max_size=7, unique=True)
shares_of_sites = st.dictionaries(
    st.sampled_from([SiteId(name) for name in "ABCDEFG"]), st.floats(0.01, 100), min_size=1, max_size=7
)
seeds = st.integers(0, 1000)


@unhurried
@given(patient_lists, shares_of_sites, seeds, st.randoms())
def test_by_share_gives_every_patient_one_site_whatever_the_order(
    patients: list[str], shares: dict[SiteId, float], seed: int, random: Random
) -> None:
    sites = by_share(patients, shares, seed=seed)
    shuffled = [*patients, *patients[:3]]
    random.shuffle(shuffled)
    assert set(sites) == set(patients)
    assert set(sites.values()) <= set(shares)
    assert by_share(shuffled, shares, seed=seed) == sites


@unhurried
@given(patient_lists, shares_of_sites, seeds)
def test_by_share_counts_differ_from_the_exact_part_by_less_than_one(
    patients: list[str], shares: dict[SiteId, float], seed: int
) -> None:
    counts = Counter(by_share(patients, shares, seed=seed).values())
    for site, share in shares.items():
        exact = len(set(patients)) * share / sum(shares.values())
        assert abs(counts[site] - exact) <= 1


def test_equal_shares_of_nine_patients_are_three_each_and_the_seed_moves_patients() -> None:
    patients = [f"p{number}" for number in range(9)]
    shares = dict.fromkeys((SiteId("a"), SiteId("b"), SiteId("c")), 1.0)
    assert Counter(by_share(patients, shares).values()) == {"a": 3, "b": 3, "c": 3}
    assert by_share(patients, shares, seed=0) != by_share(patients, shares, seed=1)


@pytest.mark.parametrize("shares", [{}, {SiteId("a"): 0.0}, {SiteId("a"): 1.0, SiteId("b"): -1.0}])
def test_shares_that_mean_nothing_are_a_bug(shares: dict[SiteId, float]) -> None:
    assert by_share(["p"], {SiteId("a"): 1.0}) == {"p": "a"}
    with pytest.raises(ValueError, match="shares"):
        by_share(["p"], shares)


@unhurried
@given(patient_lists, seeds, st.text("abc", min_size=1, max_size=3))
def test_one_more_patient_does_not_change_the_order_of_the_others(
    patients: list[str], seed: int, newcomer: str
) -> None:
    with_newcomer = [patient for patient in hashed_order([*patients, newcomer], seed) if patient != newcomer]
    assert with_newcomer == [patient for patient in hashed_order(patients, seed) if patient != newcomer]


classes_of_patients = st.dictionaries(
    st.text("abcdef0123456789", min_size=1, max_size=6), st.sampled_from(["x", "y", "z"]), max_size=60
)


@unhurried
@given(classes_of_patients, site_names, st.floats(0.001, 1000), seeds)
def test_dirichlet_gives_every_patient_one_site_whatever_the_order(
    classes: dict[str, str], sites: list[SiteId], alpha: float, seed: int
) -> None:
    assigned = dirichlet(classes, sites, alpha=alpha, seed=seed)
    assert set(assigned) == set(classes)
    assert set(assigned.values()) <= set(sites)
    assert dirichlet(dict(reversed(classes.items())), sites, alpha=alpha, seed=seed) == assigned


def test_large_alpha_makes_sites_alike_and_small_alpha_puts_classes_at_few_sites() -> None:
    classes = {f"p{number}": "xy"[number % 2] for number in range(2000)}
    sites = [SiteId(name) for name in "ABCD"]
    even = Counter((site, classes[patient]) for patient, site in dirichlet(classes, sites, alpha=1e6).items())
    assert all(240 <= even[site, name] <= 260 for site in sites for name in "xy")
    skewed = Counter((site, classes[patient]) for patient, site in dirichlet(classes, sites, alpha=1e-3).items())
    assert all(max(skewed[site, name] for site in sites) > 990 for name in "xy")


def test_dirichlet_without_sites_or_concentration_is_a_bug() -> None:
    assert dirichlet({"p": "x"}, [SiteId("a")], alpha=1) == {"p": "a"}
    with pytest.raises(ValueError, match="dirichlet"):
        dirichlet({"p": "x"}, [], alpha=1)
    with pytest.raises(ValueError, match="dirichlet"):
        dirichlet({"p": "x"}, [SiteId("a")], alpha=0)


def test_by_column_follows_the_table() -> None:
    assert by_column(["p", "q", "p"], ["a", "b", "a"]) == {"p": "a", "q": "b"}


def test_by_column_refuses_a_patient_at_two_sites_and_names_the_row_only() -> None:
    with pytest.raises(WardroundError) as caught:
        by_column(["secret", "q", "secret"], ["a", "b", "b"])
    assert caught.value.code == "WR-1012"
    assert "row 4" in caught.value.what
    assert "secret" not in str(caught.value)
