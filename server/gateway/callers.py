"""Who is calling: the certificate of the connection, as the store knows it at this moment."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.common.crypto import certificates
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wardround.common.ids import SiteId
    from wardround.server.store import Store


@dataclass(frozen=True, slots=True)
class Member:
    """A member's agent.

    Attributes:
        site: The site that the certificate was issued to.
        certificate: The certificate's hash.
        node_key: Public key of the site's Flower node, PEM.
    """

    site: SiteId
    certificate: str
    node_key: bytes

    @property
    def name(self) -> str:
        """What quotas count by."""
        return f"site {self.site}"


@dataclass(frozen=True, slots=True)
class Invited:
    """Somebody with an invite code.

    Attributes:
        pin: Of the invite's key.
    """

    pin: str

    @property
    def name(self) -> str:
        """What quotas count by."""
        return f"invite {self.pin}"


class Callers:
    """Knows callers by the certificates of their connections. Any thread may ask.

    The store is asked at every call: a certificate that was revoked a moment ago is refused on a connection that it
    opened before. While the store's version stays the same, what was found for a certificate holds.

    Names in certificates are not read: one's hash, or the pin of its key, was noted when it was issued.

    Args:
        store: Of the consortium.
        clock: Seconds since 1970.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._version = -1
        self._found: dict[bytes, tuple[Member | Invited, int]] = {}

    def identify(self, properties: Mapping[str, Sequence[bytes]]) -> Member | Invited:
        """The caller behind the properties of a connection (gRPC's ``auth_context``).

        Raises:
            WardroundError: WR-1905, no certificate, an unknown, revoked or expired one, or an older version of TLS;
                WR-1904, an invite that has expired.
        """
        if list(properties.get("ssl_tls_version", ())) != [b"TLSv1.3"]:
            raise WardroundError("WR-1905", "The connection is not TLS 1.3.")
        pem = next(iter(properties.get("x509_pem_cert", ())), None)
        if pem is None:
            raise WardroundError("WR-1905", "The connection has no certificate.")
        with self._lock:
            version = self._store.version()
            if version != self._version:
                self._found, self._version = {}, version
            if pem not in self._found:
                self._found[pem] = self._find(pem)
            caller, until = self._found[pem]
        if self._clock() >= until:
            if isinstance(caller, Invited):
                raise WardroundError("WR-1904", "The invite code has expired.")
            raise WardroundError("WR-1905", "The certificate has expired.")
        return caller

    def _find(self, pem: bytes) -> tuple[Member | Invited, int]:
        certificate = certificates.read_certificate(pem)
        row = self._store.certificate(certificates.certificate_hash(certificate))
        if row is None:
            return self._invited(certificates.pin_of(certificate))
        if row.revoked_at is not None:
            raise WardroundError("WR-1905", "The certificate was revoked.")
        site = self._store.site(row.site)
        if site is None or site.state != "member" or site.node is None:
            raise WardroundError("WR-1905", f"{row.site} is not a member.")
        return Member(row.site, row.hash, bytes.fromhex(site.node)), row.until

    def _invited(self, pin: str) -> tuple[Invited, int]:
        invite = self._store.invite_by_pin(pin)
        if invite is None:
            raise WardroundError("WR-1905", "The certificate is not one that this consortium issued.")
        return Invited(pin), invite.until
