"""Checks of what a site sends before it is a member, all without the database."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import TypeAdapter, ValidationError

from wardround.common.crypto import certificates
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.common.roster import Site, Text
from wardround.common.study import RESERVED

if TYPE_CHECKING:
    from cryptography import x509

    from wardround.common.consortium.enrolment import EnrolmentRequest, SignedEnrolmentRequest

DAY: Final = 86_400
OLDEST: Final = 30 * DAY
"""A request of more seconds ago is refused."""

AHEAD: Final = 2 * DAY
"""How far a site's clock may be ahead, seconds."""

COORDINATOR: Final = SiteId("coordinator")
"""Who the coordinator is as a witness; no site may be called so."""

T = TypeVar("T")
_SITE: Final[TypeAdapter[SiteId]] = TypeAdapter(Site)
_TEXT: Final[TypeAdapter[str]] = TypeAdapter(Text)


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """An enrolment request that is well formed and signed by its own key.

    Attributes:
        content: What it asks.
        csr: Its certificate request; the signature holds.
        keys: Kind and hash of each of its public keys.
    """

    content: EnrolmentRequest
    csr: x509.CertificateSigningRequest
    keys: tuple[str, ...]


def checked_request(signed: SignedEnrolmentRequest, now: int) -> CheckedRequest:
    """Check a request.

    Raises:
        WardroundError: WR-1902, it is malformed, or its moment is not about now; WR-1903, its own key did not sign it.
    """
    request = signed.verified()
    if not now - OLDEST <= request.at <= now + AHEAD:
        raise WardroundError(
            "WR-1902", "The request was not made in the last 30 days.", fix="Make a new request; check both clocks."
        )
    csr = checked_csr(request.certificate_request)
    node = bytes.fromhex(request.node)
    _check_node(node)
    keys = (f"identity {request.identity}", f"node {hashlib.sha256(node).hexdigest()}", tls_key(csr))
    return CheckedRequest(request, csr, keys)


def checked_csr(pem: str) -> x509.CertificateSigningRequest:
    """A certificate request whose own P-256 key signed it.

    Raises:
        WardroundError: WR-1902, it is none.
    """
    refusal = WardroundError("WR-1902", "The certificate request has no P-256 key, or its key did not sign it.")
    csr = certificates.read_request(pem)
    try:
        public, genuine = csr.public_key(), csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        raise refusal from None
    if not genuine or not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise refusal
    return csr


def tls_key(csr: x509.CertificateSigningRequest) -> str:
    """Kind and hash of a certificate request's key."""
    public = csr.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise TypeError("the request was not checked")
    return f"tls {certificates.key_pin(public)}"


def _check_node(key: bytes) -> None:
    try:
        public = load_pem_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP384R1):
        raise WardroundError("WR-1902", "The node's key is not a P-384 public key.")


def site_name(name: str) -> SiteId:
    """A name that a site may have.

    Raises:
        WardroundError: WR-1931, it may not.
    """
    site = _read(_SITE, name, "A site's name is 1 to 64 lower case letters, digits, '_', '.' or '-'.")
    if site in RESERVED | {COORDINATOR}:
        raise WardroundError("WR-1931", f"No site may be called {site}.")
    return site


def words(text: str, what: str, *, empty: bool = False) -> str:
    """A line for people: at most 100 printable characters.

    Raises:
        WardroundError: WR-1931, it is not.
    """
    refusal = f"{what} is one line of at most 100 printable characters."
    found = _read(_TEXT, text, refusal)
    if not (found or empty):
        raise WardroundError("WR-1931", refusal)
    return found


def _read(adapter: TypeAdapter[T], value: object, refusal: str) -> T:
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError:
        raise WardroundError("WR-1931", refusal) from None
