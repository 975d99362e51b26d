"""Who is calling: the certificate of the connection, as the store knows it at this moment."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.common.crypto import certificates
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def identify(properties: Mapping[str, Sequence[bytes]], store: Store, now: int) -> Member | Invited:
    """The caller behind the properties of a connection (gRPC's ``auth_context``).

    The store is asked at every call: a certificate that was revoked a moment ago is refused on a connection that it
    opened before. Names in certificates are not read: one's hash, or its key, was noted when it was issued.

    Raises:
        WardroundError: WR-1905, no certificate, an unknown, revoked or expired one, or an older version of TLS.
    """
    if list(properties.get("ssl_tls_version", ())) != [b"TLSv1.3"]:
        raise WardroundError("WR-1905", "The connection is not TLS 1.3.")
    pem = next(iter(properties.get("x509_pem_cert", ())), None)
    if pem is None:
        raise WardroundError("WR-1905", "The connection has no certificate.")
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))).hexdigest()
    row = store.certificate(digest)
    if row is None:
        return _invited(pem, store, now)
    if row.revoked_at is not None:
        raise WardroundError("WR-1905", "The certificate was revoked.")
    if not row.valid(now):
        raise WardroundError("WR-1905", "The certificate has expired.")
    site = store.site(row.site)
    if site is None or site.state != "member" or site.node is None:
        raise WardroundError("WR-1905", f"{row.site} is not a member.")
    return Member(row.site, digest, bytes.fromhex(site.node))


def _invited(pem: bytes, store: Store, now: int) -> Invited:
    pin = certificates.pin_of(certificates.read_certificate(pem))
    invite = store.invite_by_pin(pin)
    if invite is None or now >= invite.until:
        raise WardroundError("WR-1905", "The certificate is not one that this consortium issued.")
    return Invited(pin)
