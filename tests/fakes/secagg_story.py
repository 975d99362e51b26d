"""A story that is told again and again with a failure in it, and an observer on the wire.

Three rounds of a secure sum with drops and retries. One store fails around one of its writes; the machine is dropped,
made again from what is durable, and the coordinator repeats its message, goes on without the answer, or tries to
profit from the failure. Training never gives the same update twice, so a second one would show.
"""

from __future__ import annotations

from collections import defaultdict
from enum import Enum
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import pytest
from fakes.secagg import HEAD, Consortium, model_of, plain_sum
from fakes.secagg_stores import Crash

from wardround.common.errors import WardroundError
from wardround.common.secagg.coordinator_attempt import RECORD, CoordinatorAttempt
from wardround.common.secagg.coordinator_record import CoordinatorRecord
from wardround.common.secagg.messages import ConfirmRequest, OpenRequest, Survivors
from wardround.common.secagg.parameters import Strength

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fakes.secagg_stores import CrashingStore

    from wardround.common.ids import SiteId
    from wardround.common.secagg.ring import RingVector
    from wardround.common.secagg.site_checks import SiteChecks

Found = TypeVar("Found")
ROUNDS: Final = 3
COORDINATOR: Final = "coordinator"
MOST_ATTEMPTS: Final = 4


class After(Enum):
    """What the coordinator does once a site has failed."""

    REPEAT = "it repeats its message"
    GO_ON = "it goes on without the site's answer"
    TEMPT = "it tries another survivor set first"


class Wire:
    """Holds what leaves a site against what left before."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._sent: dict[tuple[SiteId, str, bytes], bytes] = {}
        self._opened: dict[tuple[SiteId, bytes], tuple[int, ...]] = {}
        self._givers: dict[tuple[bytes, tuple[int, ...]], set[SiteId]] = defaultdict(set)

    def left(self, site: SiteId, kind: str, about: bytes, content: bytes) -> bytes:
        """Whatever a site says twice about one thing is the same."""
        assert self._sent.setdefault((site, kind, about), content) == content, f"{site} sent two different {kind}s"
        return content

    def opened(self, site: SiteId, model: bytes, survivors: tuple[int, ...]) -> None:
        """A site opens one survivor set of a model, and so does the consortium."""
        assert self._opened.setdefault((site, model), survivors) == survivors, "a site opened two survivor sets"
        self._givers[model, survivors].add(site)
        enough = [sites for (of, _), sites in self._givers.items() if of == model and len(sites) >= self._threshold]
        assert len(enough) <= 1, "two survivor sets of one model are open"


class Story:
    """One run of three rounds in which one store fails once.

    Args:
        sites: n.
        victim: Who has the store that fails: a site, or the coordinator.
        store: That store.
        after: What the coordinator does once a site has failed.
        strength: Of the study.
        checks: Other rules than the sites' own, to see what they are good for.
    """

    def __init__(
        self,
        sites: int,
        victim: str,
        store: CrashingStore,
        *,
        after: After,
        strength: Strength = Strength.ACTIVE,
        checks: SiteChecks | None = None,
    ) -> None:
        self.after = after
        self.consortium = Consortium(sites, strength=strength, size=9, checks=checks)
        self.wire = Wire(self.consortium.sizes.threshold)
        if victim == COORDINATOR:
            self.consortium.coordinator_store = store
        for name in self.consortium.names:
            if name == victim:
                self.consortium.stores[name] = store
                self.consortium.restart(name)
        self.session = self.consortium.offered()
        self.trained = count()
        self.sealed: dict[tuple[SiteId, int], list[int]] = {}
        self.tempted = 0

    def tell(self) -> None:
        """The whole run. Every round ends with the exact sum, at the latest in its fourth attempt."""
        self._join()
        for number in range(1, ROUNDS + 1):
            pinned: tuple[SiteId, ...] | None = None
            for attempt in range(1, MOST_ATTEMPTS + 1):
                tried = Try(self, number, attempt, pinned)
                total = tried.total()
                if total is not None:
                    assert total.tolist() == plain_sum(tried.inputs(), 16)
                    break
                pinned = tried.asked_to_open or pinned
            else:
                pytest.fail(f"round {number} did not end")

    def _join(self) -> None:
        for name in self.consortium.names:
            advert = self.ask(name, partial(self._advertise, name), patient=True)
            assert advert is not None
            self.session.receive_advert(name, advert)
        for name in self.consortium.names:
            joined = self.ask(name, partial(self._joined, name), patient=True)
            assert joined is not None
            self.session.receive_joined(name, joined)

    def _advertise(self, name: SiteId) -> bytes:
        advert = self.consortium.sites[name].advertise(self.session.offer())
        return self.wire.left(name, "advert", self.session.context.digest, advert)

    def _joined(self, name: SiteId) -> bytes:
        joined = self.consortium.sites[name].join(self.session.adverts())
        return self.wire.left(name, "joined", self.session.context.digest, joined)

    def ask(
        self,
        name: SiteId,
        step: Callable[[], Found],
        *,
        patient: bool = False,
        temptation: Callable[[], None] | None = None,
    ) -> Found | None:
        """A site's answer; None if it failed and the coordinator goes on without it, or if it refuses."""
        try:
            return step()
        except Crash:
            self.consortium.restart(name)
        if self.after is After.GO_ON and not patient:
            return None
        if self.after is After.TEMPT and temptation is not None:
            temptation()
            self.tempted += 1
        try:
            return step()
        except WardroundError:
            assert self.after is After.TEMPT  # a site that fell for it refuses the honest set: an honest one never does
            return None


class Try:
    """One attempt of the story.

    In the first attempt of round 1 a site falls silent before its upload, of round 2 all but one before confirming; in
    round 3 one site never hears of the round. Once a set was asked to open, later attempts keep to it.
    """

    def __init__(self, story: Story, number: int, attempt: int, pinned: tuple[SiteId, ...] | None) -> None:
        self._story, self._consortium = story, story.consortium
        self._number, self._attempt = number, attempt
        self._context = story.consortium.context(story.session, number, attempt, model=number)
        self._coordinator = story.consortium.attempt(story.session, self._context)
        self._pinned = pinned
        self.asked_to_open: tuple[SiteId, ...] | None = None

    def total(self) -> RingVector | None:
        """The sum, or None if the attempt ends unopened."""
        try:
            self._upload()
            asked = self._close_uploads()
            if asked is None:
                return None
            self._confirm(asked)
            self._open(self._coordinator.close_confirmations())
            return self._coordinator.reveal()
        except WardroundError as error:
            if error.code != "WR-1711":
                raise
            return None

    def inputs(self) -> list[RingVector]:
        """The sealed updates of U."""
        values = (self._story.sealed[name, self._number] for name in self._coordinator.uploaded)
        return [np.array(sealed, dtype=np.uint16) for sealed in values]

    def _members(self) -> Iterator[SiteId]:
        names = self._consortium.names
        spare = len(names) - self._consortium.sizes.minimum_sum
        if self._pinned is not None:
            yield from self._pinned
        elif self._number == 3:
            yield from names[: len(names) - (spare > 0)]
        else:
            yield from names

    def _upload(self) -> None:
        for name in self._members():
            if (self._number, self._attempt) == (1, 1) and name == self._consortium.names[0]:
                self._story.ask(name, partial(self._begun, name))
                continue
            sent = self._story.ask(name, partial(self._uploaded, name))
            if sent is not None:
                self._coordinator.receive_upload(name, *sent)

    def _begun(self, name: SiteId) -> bool:
        self._consortium.sites[name].begin(self._coordinator.request(), model_of(self._number))
        return True

    def _uploaded(self, name: SiteId) -> tuple[bytes, RingVector]:
        """Training is never the same twice, so a second one would show."""
        update = self._consortium.update(("training", next(self._story.trained)))
        message, masked = self._consortium.upload(name, self._coordinator, update)
        sealed = np.empty(self._consortium.size, dtype=np.uint16)
        self._consortium.sites[name].kept(sealed)
        before = self._story.sealed.setdefault((name, self._number), sealed.tolist())
        assert before == sealed.tolist(), "a round's update was computed twice"
        self._story.wire.left(name, "vector", self._context.digest, masked.tobytes())
        return self._story.wire.left(name, "upload", self._context.digest, message), masked

    def _close_uploads(self) -> dict[SiteId, bytes] | None:
        try:
            return self._coordinator.close_uploads()
        except Crash:
            resumed = resumed_attempt(self._consortium, self._coordinator)
        if resumed is None:
            return None
        self._coordinator = resumed
        return resumed.close_uploads()

    def _confirm(self, asked: dict[SiteId, bytes]) -> None:
        for name, request in asked.items():
            if (self._number, self._attempt) == (2, 1) and name != self._consortium.names[0]:
                continue
            signed = self._story.ask(
                name,
                partial(self._confirmed, name, request),
                temptation=partial(self._tempt_to_confirm, name, request),
            )
            if signed is not None:
                self._coordinator.receive_confirmation(name, signed)

    def _confirmed(self, name: SiteId, request: bytes) -> bytes:
        signed = self._consortium.sites[name].confirm(request)
        return self._story.wire.left(name, "confirmation", self._context.digest, signed)

    def _tempt_to_confirm(self, name: SiteId, request: bytes) -> None:
        """Another set than that of the honest request: a site may sign it only if it signed none before."""
        sites = len(self._consortium.names)
        asked = ConfirmRequest.decode(request, sites)
        own = self._consortium.names.index(name)
        left_out = next((position for position in reversed(asked.survivors.sites) if position != own), own)
        other = tuple(position for position in asked.survivors.sites if position != left_out)
        packets = {position: packet for position, packet in asked.packets.items() if position != left_out}
        tempting = ConfirmRequest(Survivors(self._context.digest, other, HEAD), packets).encode(sites)
        try:
            self._confirmed(name, tempting)
        except WardroundError as error:
            if error.code != "WR-1708":
                raise

    def _open(self, asked: dict[SiteId, bytes]) -> None:
        self.asked_to_open = self._coordinator.uploaded
        for name, request in asked.items():
            opened = self._story.ask(
                name,
                partial(self._opened, name, request),
                temptation=partial(self._tempt_to_open, name, request),
            )
            if opened is not None:
                self._coordinator.receive_opening(name, opened)

    def _opened(self, name: SiteId, request: bytes) -> bytes:
        opened = self._consortium.sites[name].open(request)
        survivors = OpenRequest.decode(request, len(self._consortium.names)).survivors.sites
        self._story.wire.opened(name, self._context.model, survivors)
        return self._story.wire.left(name, "opening", self._context.digest, opened)

    def _tempt_to_open(self, name: SiteId, request: bytes) -> None:
        """The honest signatures, under another set."""
        sites = len(self._consortium.names)
        asked = OpenRequest.decode(request, sites)
        survivors = Survivors(self._context.digest, asked.survivors.sites[1:], HEAD)
        packets = {position: packet for position, packet in asked.packets.items() if position in survivors.sites}
        with pytest.raises(WardroundError, match=r"WR-170[89]"):
            self._opened(name, OpenRequest(survivors, asked.signatures, packets).encode(sites))


def resumed_attempt(consortium: Consortium, lost: CoordinatorAttempt) -> CoordinatorAttempt | None:
    """The attempt as a restarted coordinator finds it; None if its survivor set was not durable."""
    stored = consortium.coordinator_store.get(RECORD)
    record = None if stored is None else CoordinatorRecord.decode(stored)
    if record is None or record.context != lost.context:
        return None
    return CoordinatorAttempt(
        lost.session,
        lost.context,
        roster=consortium.roster,
        size=consortium.size,
        head=bytes(32),  # of a log that went on; the set that was fixed keeps its own
        store=consortium.coordinator_store,
        resumed=record,
    )
