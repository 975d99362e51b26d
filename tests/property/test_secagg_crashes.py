"""Power failures at every durable write of every machine: nothing is used twice, and the run ends as it should.

The story (:mod:`fakes.secagg_story`) ends every round with the exact sum, at the latest in its fourth attempt, and its
observer holds all that leaves a site against all that left before: no seed masks two vectors, no site signs or opens
two survivor sets, and what is said twice is the same, byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import pytest
from fakes.secagg import Consortium, plain_sum
from fakes.secagg_stores import CrashingStore
from fakes.secagg_story import COORDINATOR, After, Story, Wire, resumed_attempt

from wardround.common.secagg.parameters import Strength
from wardround.common.secagg.site_checks import SiteChecks

if TYPE_CHECKING:
    from wardround.common.secagg.coordinator_attempt import CoordinatorAttempt
    from wardround.common.secagg.ring import RingVector
    from wardround.common.secagg.site_records import AttemptRecord

SIDES: Final[tuple[Literal["before", "after"], ...]] = ("before", "after")


def writes_of(sites: int, victim: str, strength: Strength) -> int:
    """Durable writes of a machine in a story without failures."""
    store = CrashingStore(0, "before")
    Story(sites, victim, store, after=After.REPEAT, strength=strength).tell()
    assert not store.crashed
    return store.writes


def tell_all(sites: int, victim: str, after: After, strength: Strength = Strength.ACTIVE) -> int:
    """The story with a failure at every write, on both sides of it; how often the coordinator tempted the site."""
    tempted = 0
    for write in range(1, writes_of(sites, victim, strength) + 1):
        for side in SIDES:
            store = CrashingStore(write, side)
            story = Story(sites, victim, store, after=after, strength=strength)
            story.tell()
            assert store.crashed, f"write {write} did not take place"
            tempted += story.tempted
    return tempted


@pytest.mark.parametrize(
    ("sites", "after"), [(3, After.REPEAT), (5, After.REPEAT), (4, After.REPEAT), (4, After.GO_ON), (4, After.TEMPT)]
)
def test_a_site_may_fail_at_any_write(sites: int, after: After) -> None:
    assert (tell_all(sites, "s01", after) > 10) is (after is After.TEMPT)


@pytest.mark.parametrize("sites", [3, 4, 5])
@pytest.mark.parametrize("strength", Strength)
def test_the_coordinator_may_fail_at_any_write(sites: int, strength: Strength) -> None:
    assert writes_of(sites, COORDINATOR, strength) >= 6
    tell_all(sites, COORDINATOR, After.REPEAT, strength)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strength", "after"),
    [
        *((Strength.ACTIVE, after) for after in After),
        (Strength.SEMI_HONEST, After.REPEAT),
        (Strength.SEMI_HONEST, After.GO_ON),
    ],
)
@pytest.mark.parametrize("sites", [3, 4, 5])
def test_every_site_may_fail_at_any_write(sites: int, strength: Strength, after: After) -> None:
    for number in range(sites):
        tell_all(sites, f"s{number:02d}", after, strength)


# What the observer would notice


class SignsTwice(SiteChecks):
    """A site without the rule of one signature an attempt."""

    def one_signature(self, statement: bytes, attempt: AttemptRecord) -> None:
        """No rule."""


def test_a_site_that_signs_two_sets_is_noticed() -> None:
    noticed = set()
    for write in range(1, writes_of(4, "s01", Strength.ACTIVE) + 1):
        story = Story(4, "s01", CrashingStore(write, "after"), after=After.TEMPT, checks=SignsTwice())
        try:
            story.tell()
        except AssertionError as error:
            noticed.add(str(error).splitlines()[0])
    assert "s01 sent two different confirmations" in noticed


@pytest.mark.parametrize("begun", [False, True], ids=["before the attempt", "before the update was sealed"])
def test_a_disk_that_goes_back_is_noticed(*, begun: bool) -> None:
    consortium = Consortium(3)
    session, name = consortium.session(), consortium.names[1]
    coordinator = consortium.attempt(session, consortium.context(session))
    store = consortium.stores[name]
    if begun:
        consortium.sites[name].begin(coordinator.request(), coordinator.context.model)
    before = dict(store.records)
    for update in (1, 2):  # the second one is never used: the sealed one is sent again
        consortium.upload(name, coordinator, consortium.update(update))
        consortium.restart(name)
    store.records = before
    consortium.restart(name)
    with pytest.raises(AssertionError, match="a seed masked two different vectors"):
        consortium.upload(name, coordinator, consortium.update(2))


# A coordinator that is killed between two messages


class Killed(Exception):  # noqa: N818  # not an error of the program
    """The coordinator's process ended."""


class Fuse:
    """Kills the coordinator once, before it takes in the given message, from 1."""

    def __init__(self, message: int) -> None:
        self._message = message
        self.heard = 0

    def burn(self) -> None:
        self.heard += 1
        if self.heard == self._message:
            raise Killed


def conduct(consortium: Consortium, coordinator: CoordinatorAttempt, wire: Wire, fuse: Fuse) -> RingVector:
    """One attempt in which everybody answers, from where the coordinator stands."""
    about = coordinator.context.digest
    for name in () if coordinator.uploaded else consortium.names:
        message, masked = consortium.upload(name, coordinator, consortium.update(name))
        wire.left(name, "upload", about, message + masked.tobytes())
        fuse.burn()
        coordinator.receive_upload(name, message, masked)
    for name, request in coordinator.close_uploads().items():
        signed = wire.left(name, "confirmation", about, consortium.sites[name].confirm(request))
        fuse.burn()
        coordinator.receive_confirmation(name, signed)
    for name, request in coordinator.close_confirmations().items():
        opened = wire.left(name, "opening", about, consortium.sites[name].open(request))
        fuse.burn()
        coordinator.receive_opening(name, opened)
    return coordinator.reveal()


def survived(strength: Strength, message: int) -> bool:
    """Whether the fuse burnt down; the sum is exact in any case.

    A coordinator whose survivor set was not durable asks for the same attempt again, and gets the same bytes.
    """
    consortium, fuse = Consortium(4, strength=strength), Fuse(message)
    session, wire = consortium.session(), Wire(consortium.sizes.threshold)
    context = consortium.context(session)
    coordinator = consortium.attempt(session, context)
    try:
        total = conduct(consortium, coordinator, wire, fuse)
    except Killed:
        coordinator = resumed_attempt(consortium, coordinator) or consortium.attempt(session, context)
        total = conduct(consortium, coordinator, wire, fuse)
    assert total.tolist() == plain_sum(map(consortium.update, consortium.names), 16)
    return fuse.heard > message


@pytest.mark.parametrize(("strength", "messages"), [(Strength.ACTIVE, 12), (Strength.SEMI_HONEST, 8)])
def test_a_coordinator_may_be_killed_before_any_message(strength: Strength, messages: int) -> None:
    assert all(survived(strength, message) for message in range(1, messages + 1))
    assert not survived(strength, messages + 1)
