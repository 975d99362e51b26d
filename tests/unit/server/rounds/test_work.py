"""Equal work: parts add up exactly, whatever the numbers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.common.ids import SiteId
from wardround.common.rounds.work import consumed_before
from wardround.server.rounds.work import site_totals

COHORTS = st.dictionaries(st.sampled_from([SiteId(name) for name in "abcdefgh"]), st.integers(1, 10_000), min_size=1)


@given(COHORTS, st.integers(1, 10**9))
def test_parts_add_up_and_are_proportional(samples: dict[SiteId, int], total: int) -> None:
    parts = site_totals(samples, total)
    assert sum(parts.values()) == total
    for site, part in parts.items():
        assert abs(part - total * samples[site] / sum(samples.values())) < 1 + 1e-6 * total


@given(st.integers(0, 10**9), st.integers(1, 500))
def test_rounds_add_up_and_are_even(total: int, rounds: int) -> None:
    cuts = [consumed_before(total, rounds, number) for number in range(1, rounds + 2)]
    shares = [after - before for before, after in itertools.pairwise(cuts)]
    assert cuts[0] == 0
    assert cuts[-1] == total
    assert max(shares) - min(shares) <= 1


def test_a_site_without_data_gets_no_work() -> None:
    assert site_totals({SiteId("a"): 0, SiteId("b"): 3}, 10) == {"a": 0, "b": 10}
    with pytest.raises(ValueError, match="no site"):
        site_totals({SiteId("a"): 0}, 10)
