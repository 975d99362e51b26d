"""The weighted sum: right, in a fixed order, and constant in memory."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from wardround.common.ids import SiteId
from wardround.server.rounds.shelf import Shelf
from wardround.server.rounds.total import BLOCK, WeightedTotal, all_within

if TYPE_CHECKING:
    from pathlib import Path

SITES = tuple(map(SiteId, ("a", "b", "c", "d")))


def updates(size: int) -> dict[SiteId, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    generator = np.random.default_rng(1)
    return {site: generator.normal(size=size).astype(np.float32) for site in SITES}


def test_the_sum_is_right_over_block_borders() -> None:
    given = updates(2 * BLOCK + 7)
    total = WeightedTotal(SITES, 2 * BLOCK + 7)
    for weight, (site, update) in enumerate(given.items(), start=1):
        total.add(site, update, weight)
    expected = sum(weight * update.astype(np.float64) for weight, update in enumerate(given.values(), start=1))
    np.testing.assert_allclose(total.vector, expected, atol=1e-5)
    assert total.weight == 10


def test_every_order_of_arrival_gives_the_same_bits() -> None:
    given = updates(100)
    found = set()
    for order in itertools.permutations(SITES):
        total = WeightedTotal(SITES, 100)
        for site in order:
            if site == "c":
                total.skip(site)
            else:
                total.add(site, given[site], 1 + SITES.index(site) / 3)
        found.add(total.vector.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (3, 0, 2, 1), (2, 3, 1, 0)])
def test_what_waits_on_disk_gives_the_same_bits(tmp_path: Path, order: tuple[int, ...]) -> None:
    given, expected, shelf = updates(100), WeightedTotal(SITES, 100), Shelf(tmp_path)
    for site, update in given.items():
        expected.add(site, update, 0.3)
    for _ in range(2):  # a round that ended half way leaves nothing behind
        WeightedTotal(SITES, 100, shelf).add(SITES[3], given[SITES[0]], 1)
        total = WeightedTotal(SITES, 100, shelf)
        for place in order:
            total.add(SITES[place], given[SITES[place]], 0.3)
        assert total.vector.tobytes() == expected.vector.tobytes()
    assert list(tmp_path.iterdir()) == []  # the file has no name


def test_memory_does_not_grow_with_what_waits(tmp_path: Path) -> None:
    sites, size = tuple(SiteId(f"site-{number:02d}") for number in range(40)), 100_000

    def peak(shelf: Shelf) -> int:
        tracemalloc.start()
        total = WeightedTotal(sites, size, shelf)
        for site in reversed(sites):
            total.add(site, np.ones(size, dtype=np.float32), 1)
        assert total.weight == 40
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(Shelf(tmp_path)) < 8 * 4 * size
    assert peak(Shelf()) > 30 * 4 * size  # the control: without a file all of them are in memory


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    shelf, given = Shelf(tmp_path / "missing"), updates(100)
    for site in SITES:
        shelf.put(site, given[site])
    for site in reversed(SITES):
        np.testing.assert_array_equal(shelf.take(site), given[site])


def test_another_order_of_summation_would_differ() -> None:
    """The positive control: floating-point sums do depend on their order."""
    given = updates(1000)
    forwards = sum(given.values(), np.zeros(1000, dtype=np.float32))
    backwards = sum(reversed(given.values()), np.zeros(1000, dtype=np.float32))
    assert forwards.tobytes() != backwards.tobytes()


def test_a_site_answers_once_and_only_if_asked() -> None:
    total = WeightedTotal(SITES[:2], 3)
    total.add(SITES[0], np.ones(3, dtype=np.float32), 1)
    for site in (SITES[0], SITES[3]):
        with pytest.raises(ValueError, match="once"):
            total.add(site, np.ones(3, dtype=np.float32), 1)
    np.testing.assert_array_equal(total.vector, np.ones(3))


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        ([], True),
        ([0.5, -1.0], True),
        ([3.0] * 100, True),  # the norm is 30, beyond the limit; no value is
        ([1e30], False),  # its square overflows float32
        ([3.5, 0.0], False),
        ([0.0, -3.5], False),
        ([0.0, np.nan], False),
        ([np.inf, 0.0], False),
        ([0.0, -np.inf], False),
    ],
)
def test_every_value_is_held_against_the_limit(values: list[float], inside: bool) -> None:  # noqa: FBT001 - a case
    assert all_within(np.array(values, dtype=np.float32), 3.25) is inside


def test_large_values_below_a_large_limit_are_inside() -> None:
    assert all_within(np.full(10, 1e37, dtype=np.float32), 1e38)  # no square of them is a float32
