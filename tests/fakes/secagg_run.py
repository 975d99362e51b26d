"""An honest run of one round of four sites, every message of which can be recorded, or changed on its way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from fakes.secagg import Consortium, plain_sum

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.secagg.messages import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardround.common.secagg.coordinator_attempt import CoordinatorAttempt
    from wardround.common.secagg.coordinator_session import CoordinatorSession
    from wardround.common.secagg.ring import RingVector

Found = TypeVar("Found")
SITES: Final = 4
VICTIM: Final = SiteId("s01")
STEPS: Final = (
    "offer",
    "advert",
    "adverts",
    "joined",
    "request",
    "upload",
    "confirm",
    "confirmation",
    "open",
    "opening",
    "ended",
)
"""Of the messages; those to a site and those from it take turns."""


def new_consortium() -> Consortium:
    """The same one every time: its sites draw the same randomness."""
    return Consortium(SITES, size=9)


class HonestRun:
    """A run in which everybody is honest, and one message is changed when it first reaches or leaves the victim.

    Args:
        step: Of :data:`STEPS`.
        change: Gives what is delivered in place of the message; None for an honest run.

    Attributes:
        messages: By step and site.
        masked: The masked vectors of the first attempt.
        taken: Whether the changed message was taken.
        code: The code of its refusal.
    """

    def __init__(self, step: str = "", change: Callable[[bytes], bytes] | None = None) -> None:
        self.consortium = new_consortium()
        self._step, self._change = step, change
        self.messages: dict[tuple[str, SiteId], bytes] = {}
        self.masked: dict[SiteId, RingVector] = {}
        self.code: str | None = None
        self.taken = False

    def total(self) -> RingVector | None:
        """The sum of the first attempt, or None if a message that was taken spoilt it: then a second one was exact."""
        session = self.joined()
        coordinator = self.consortium.attempt(session, self.consortium.context(session))
        try:
            return self.opened(coordinator)
        except WardroundError:
            assert self.taken, "an honest attempt failed though nothing bad was taken"
        retry = self.consortium.attempt(session, self.consortium.context(session, attempt=2))
        total = self.opened(retry).tolist()
        assert total == plain_sum(map(self.consortium.update, retry.uploaded), 16)
        return None

    def joined(self) -> CoordinatorSession:
        """Steps 1 and 2."""
        session = self.consortium.offered()
        for name, site in self.consortium.sites.items():
            advert = self.deliver("offer", name, site.advertise, session.offer())
            self.deliver("advert", name, partial(session.receive_advert, name), advert)
        for name, site in self.consortium.sites.items():
            joined = self.deliver("adverts", name, site.join, session.adverts())
            self.deliver("joined", name, partial(session.receive_joined, name), joined)
        return session

    def opened(self, coordinator: CoordinatorAttempt) -> RingVector:
        """Steps 3 to 5."""
        for name in self.consortium.names:
            self._uploaded(coordinator, name)
        for name, request in coordinator.close_uploads().items():
            signed = self.deliver("confirm", name, self.consortium.sites[name].confirm, request)
            self.deliver("confirmation", name, partial(coordinator.receive_confirmation, name), signed)
        for name, request in coordinator.close_confirmations().items():
            shares = self.deliver("open", name, self.consortium.sites[name].open, request)
            self.deliver("opening", name, partial(coordinator.receive_opening, name), shares)
        return coordinator.reveal()

    def _uploaded(self, coordinator: CoordinatorAttempt, name: SiteId) -> None:
        site, model = self.consortium.sites[name], coordinator.context.model
        self.deliver("request", name, partial(site.begin, model=model), coordinator.request())
        message, masked = self.consortium.upload(name, coordinator, self.consortium.update(name))
        self.masked.setdefault(name, masked)
        self.deliver("upload", name, partial(coordinator.receive_upload, name, values=masked), message)
        self.deliver("ended", name, site.ended, coordinator.ended(Stage.UPLOAD))

    def deliver(self, step: str, name: SiteId, take: Callable[[bytes], Found], message: bytes | None) -> Found | None:
        """Deliver the changed message first, where this is its place; then the honest one.

        None where a changed message was taken and the honest one is refused for it, and whatever follows from that.
        """
        if message is None:
            return None
        self.messages.setdefault((step, name), message)
        if self._change is None or (step, name) != (self._step, VICTIM):
            return take(message)
        self._meddle(name, take, message, self._change)
        try:
            return take(message)
        except WardroundError:
            assert self.taken, "after a refusal the honest message is refused, too"
            return None

    def _meddle(
        self, name: SiteId, take: Callable[[bytes], Found], message: bytes, change: Callable[[bytes], bytes]
    ) -> None:
        self._change = None
        before = dict(self.consortium.stores[name].records)
        try:
            take(change(message))
        except WardroundError as error:
            self.code = error.code
            assert self.consortium.stores[name].records == before, "a refused message changed the site's state"
        else:
            self.taken = True
