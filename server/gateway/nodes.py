"""Which Flower node belongs to which member, at the SuperLink that runs now."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.common.ids import SiteId
    from wardround.server.store import Store


class SuperLinkLike(Protocol):
    """What the gateway needs of a SuperLink (:class:`wardround.server.superlink.SuperLink`)."""

    incarnation: str
    fleet_address: str
    root: bytes

    @property
    def running(self) -> bool:
        """Whether it lives."""

    def register_node(self, public_key: bytes) -> int:
        """Register a node; its id."""

    def unregister_node(self, node: int) -> None:
        """Take a node out."""


class Nodes:
    """Registers members' nodes when they are first asked for, and anew at every SuperLink. Any thread may ask.

    Args:
        superlink: The SuperLink.
        store: Has the members' node keys.
    """

    def __init__(self, superlink: SuperLinkLike, store: Store) -> None:
        self._superlink, self._store = superlink, store
        self._lock = threading.Lock()
        self._incarnation = ""
        self._known: dict[SiteId, tuple[bytes, int]] = {}

    def of(self, site: SiteId, public_key: bytes) -> int:
        """The id of a site's node with this public key (PEM).

        Raises:
            WardroundError: WR-1922, the SuperLink does not run.
        """
        with self._lock:
            if self._superlink.incarnation != self._incarnation:
                self._known, self._incarnation = {}, self._superlink.incarnation
            known = self._known.get(site)
            if known is None or known[0] != public_key:
                node = self._superlink.register_node(public_key)
                if known is not None:
                    self._superlink.unregister_node(known[1])
                self._known[site] = known = (public_key, node)
            return known[1]

    def known(self, site: SiteId, public_key: bytes) -> int | None:
        """As :meth:`of`, without waiting for anything; None: it has to be asked for."""
        known = self._known.get(site)
        if self._superlink.incarnation != self._incarnation or known is None or known[0] != public_key:
            return None
        return known[1]

    def all(self) -> dict[SiteId, int]:
        """Every member's node id.

        Raises:
            WardroundError: WR-1922, the SuperLink does not run.
        """
        members = [row for row in self._store.sites() if row.state == "member" and row.node is not None]
        return {row.name: self.of(row.name, bytes.fromhex(row.node or "")) for row in members}

    def site(self, node: int) -> SiteId | None:
        """Whose node this is; None: nobody's at this SuperLink."""
        with self._lock:
            return next((site for site, (_, known) in self._known.items() if known == node), None)

    def forget(self, site: SiteId) -> None:
        """Take a revoked site's node out: what waits for it is answered with an error."""
        with self._lock:
            known = self._known.pop(site, None)
            if known is not None and self._incarnation == self._superlink.incarnation:
                try:
                    self._superlink.unregister_node(known[1])
                except WardroundError:  # the SuperLink ended, and its nodes with it
                    return
