"""A new certificate before the old one ends, without a restart: for the same key, so that one file changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from wardround.client.enrol import check_certificate
from wardround.client.membership import read_membership, site_credentials, store_certificate
from wardround.common.crypto.certificates import make_request, read_certificate
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from cryptography import x509

    from wardround.client.federation import Connection
    from wardround.client.home import Home

SHARE: Final = 1 / 3
"""Of its life: a certificate with less of it left is renewed."""


def own_certificate(home: Home) -> x509.Certificate:
    """The certificate that this hospital shows.

    Raises:
        WardroundError: WR-1914, there is none; WR-1905, it cannot be read.
    """
    return read_certificate(site_credentials(home.path)[1])


def is_due(certificate: x509.Certificate, now: float) -> bool:
    """Whether a certificate should be renewed.

    Args:
        certificate: The one in use.
        now: Seconds since 1970, UTC.
    """
    begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return end - now < SHARE * (end - begin)


def renew(connection: Connection, home: Home) -> x509.Certificate:
    """Ask for a new certificate and store it; connections from now on show it.

    Raises:
        WardroundError: WR-1905, what came is not this site's certificate; what the coordinator refuses with.
    """
    key = load_pem_private_key(site_credentials(home.path)[0], password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise WardroundError("WR-1914", "The key of this hospital's certificate is not an elliptic curve's.")
    answer = connection.renew(make_request(key))
    authority = site_credentials(home.path)[2].decode()
    consortium = read_membership(home.path).consortium
    found = check_certificate(home, consortium, answer.certificate, authority, key)
    store_certificate(home.path, site_credentials(home.path)[0], answer.certificate, authority)
    return found
