"""Quotas by a clock of the test."""

from __future__ import annotations

import pytest

from wardround.common.errors import WardroundError
from wardround.server.consortium.settings import GatewaySettings
from wardround.server.gateway.quotas import MOST_BURST, MOST_CALLERS, Quotas


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def used(quotas: Quotas, name: str, size: int = 0) -> bool:
    try:
        with quotas.use(name):
            quotas.take(name, size)
            return True
    except WardroundError as error:
        return error.code != "WR-1910"


def test_calls_on_average_and_at_once() -> None:
    clock = Clock()
    quotas = Quotas(GatewaySettings(calls_per_second=2), clock)
    assert sum(used(quotas, "north") for _ in range(30)) == 20  # ten seconds' worth at once
    assert used(quotas, "south")
    clock.now += 1.0
    assert sum(used(quotas, "north") for _ in range(30)) == 2
    clock.now += 1_000.0
    assert sum(used(quotas, "north") for _ in range(30)) == 20  # never more than that


def test_bytes_on_average_and_at_once() -> None:
    clock = Clock()
    quotas = Quotas(GatewaySettings(megabytes_per_minute=6, max_message_mb=8), clock)
    assert used(quotas, "north", 60 << 20)  # ten minutes' worth
    assert not used(quotas, "north", 1 << 20)
    clock.now += 10.0
    assert used(quotas, "north", 1 << 20)
    assert not used(quotas, "north", 1 << 20)


def test_the_largest_message_fits_into_every_quota() -> None:
    quotas = Quotas(GatewaySettings(megabytes_per_minute=0.01, max_message_mb=8), Clock())
    assert used(quotas, "north", 8 << 20)
    assert not used(quotas, "north", 1)


def test_what_comes_at_once_has_a_bound_however_large_the_average_is() -> None:
    quotas = Quotas(GatewaySettings(megabytes_per_minute=20_000), Clock())
    pieces = [used(quotas, "north", 8 << 20) for _ in range(100)]
    assert sum(pieces) == MOST_BURST // (8 << 20)


def test_a_caller_whose_bytes_are_used_up_is_refused_before_its_body_is_read() -> None:
    clock = Clock()
    quotas = Quotas(GatewaySettings(megabytes_per_minute=6, max_message_mb=8), clock)
    with quotas.use("north"):
        quotas.take("north", 59 << 20)
    with quotas.use("north"), pytest.raises(WardroundError):  # one is left, so it is read
        quotas.take("north", 3 << 20)
    clock.now += 19.0
    with pytest.raises(WardroundError), quotas.use("north"):  # what came beyond the quota is owed
        pytest.fail("its body would be read")
    clock.now += 2.0
    with quotas.use("north"):
        pass


def test_open_calls_may_be_fewer_than_the_settings_say() -> None:
    quotas = Quotas(GatewaySettings(streams=4), Clock())
    with quotas.use("invite", at_once=1):
        with pytest.raises(WardroundError), quotas.use("invite", at_once=1):
            pytest.fail("a second one is open")
        with quotas.use("invite"):  # the control: the settings allow four
            pass
    with quotas.use("invite", at_once=1):
        pass


def test_open_calls() -> None:
    quotas = Quotas(GatewaySettings(streams=2), Clock())
    with quotas.use("north"), quotas.use("north"):
        assert not used(quotas, "north")
        assert used(quotas, "south")
    assert used(quotas, "north")


def test_a_call_that_fails_is_not_open_any_more() -> None:
    quotas = Quotas(GatewaySettings(streams=2), Clock())
    for _ in range(5):
        with pytest.raises(RuntimeError), quotas.use("north"):
            raise RuntimeError
    assert used(quotas, "north")


def test_callers_are_forgotten_oldest_first_and_never_with_a_call_open() -> None:
    quotas = Quotas(GatewaySettings(calls_per_second=0.1, streams=2), Clock())
    assert [used(quotas, "idle") for _ in range(2)] == [True, False]
    with quotas.use("open"):
        for number in range(MOST_CALLERS):
            assert used(quotas, f"invite {number}")
        assert used(quotas, "idle")  # it begins anew
        assert not used(quotas, "open")
