"""Thresholds against a table worked out by hand, and the inequalities that the argument rests on, for every cohort."""

import pytest

from wardround.common.errors import WardroundError
from wardround.common.secagg.parameters import LARGEST_COHORT, Strength, Threshold, default_colluding

COHORTS = [(sites, colluding) for sites in range(3, LARGEST_COHORT + 1) for colluding in range(sites - 1)]


@pytest.mark.parametrize(
    ("sites", "colluding", "threshold", "least"),
    [(3, 0, 2, 3), (4, 1, 3, 3), (5, 1, 4, 4), (7, 2, 5, 5), (10, 3, 7, 7), (50, 16, 34, 34), (128, 42, 86, 86)],
)
def test_with_the_default_number_of_colluding_sites(sites: int, colluding: int, threshold: int, least: int) -> None:
    assert default_colluding(sites) == colluding
    sizes = Threshold(sites, colluding, Strength.ACTIVE)
    assert (sizes.threshold, sizes.minimum_sum) == (threshold, least)


@pytest.mark.parametrize(
    ("sites", "colluding", "threshold", "least"),
    [(3, 0, 2, 3), (3, 1, 2, 3), (4, 0, 3, 3), (5, 1, 3, 3), (5, 3, 4, 5), (10, 3, 6, 6), (50, 16, 26, 26)],
)
def test_semi_honest(sites: int, colluding: int, threshold: int, least: int) -> None:
    sizes = Threshold(sites, colluding, Strength.SEMI_HONEST)
    assert (sizes.threshold, sizes.minimum_sum) == (threshold, least)


@pytest.mark.parametrize(
    ("sites", "colluding", "threshold", "least"), [(3, 1, 3, 3), (4, 2, 4, 4), (5, 0, 3, 3), (5, 3, 5, 5), (6, 0, 4, 4)]
)
def test_active_with_other_numbers_of_colluding_sites(sites: int, colluding: int, threshold: int, least: int) -> None:
    sizes = Threshold(sites, colluding, Strength.ACTIVE)
    assert (sizes.threshold, sizes.minimum_sum) == (threshold, least)


@pytest.mark.parametrize("strength", Strength)
def test_what_the_argument_needs_holds_for_every_cohort(strength: Strength) -> None:
    for sites, colluding in COHORTS:
        sizes = Threshold(sites, colluding, strength)
        t, least = sizes.threshold, sizes.minimum_sum
        assert colluding < t <= sites, "colluding sites open nothing alone; all sites together can"
        assert t <= least <= sites, "whoever is in the sum can open it; all sites together may be summed"
        assert least - colluding >= 2, "two honest updates or more are added together"
        assert least >= 3
        if strength is Strength.ACTIVE:
            assert 2 * t > sites + colluding, "two sets cannot both be confirmed"
            assert 2 * (t - 1) <= sites + colluding, "one fewer would not do"
        else:
            assert 2 * t > sites, "two halves cannot both open"


@pytest.mark.parametrize("sites", [-1, 0, 1, 2, LARGEST_COHORT + 1])
def test_a_cohort_of_another_size_has_no_secure_sum(sites: int) -> None:
    with pytest.raises(WardroundError, match=rf"WR-1704.*{sites}"):
        Threshold(sites, 0, Strength.ACTIVE)


@pytest.mark.parametrize("colluding", [-1, 4, 5, 6])
def test_so_many_colluding_sites_have_no_secure_sum(colluding: int) -> None:
    Threshold(5, 3, Strength.ACTIVE)
    with pytest.raises(WardroundError, match="WR-1704"):
        Threshold(5, colluding, Strength.ACTIVE)
