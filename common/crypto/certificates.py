"""X.509 certificates of a consortium: its authority, its server, its sites, and whoever holds an invite code.

All keys are ECDSA over P-256, which every TLS 1.3 library takes. A site's certificate names it once, in the URI
``wardround:<consortium in hex>/<site>`` of its subject alternative names; the common name is for people. Times are
seconds since 1970; nothing here reads a clock.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wardround.common.crypto.kdf import derive
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId

if TYPE_CHECKING:
    from collections.abc import Sequence

    PrivateKey = ec.EllipticCurvePrivateKey

SCHEME: Final = "wardround:"
SLACK: Final = 3600
"""How long before it was made a certificate is valid, seconds: clocks differ."""

_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of the base point of P-256 (NIST SP 800-186, section 3.2.1.3)."""

_FOREVER: Final = 253402300799  # RFC 5280, section 4.1.2.5: the last moment that a certificate can name


def make_authority(key: PrivateKey, consortium: str, *, at: int, until: int) -> x509.Certificate:
    """The self-signed certificate of a consortium's certificate authority."""
    name = _name(f"{consortium}: wardround consortium"[:64])
    builder = _builder(name, name, key.public_key(), at, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(_usage(authority=True), critical=True).sign(key, hashes.SHA256())


def issue_server(
    authority: x509.Certificate,
    key: PrivateKey,
    public: ec.EllipticCurvePublicKey,
    names: Sequence[str],
    *,
    at: int,
    until: int,
) -> x509.Certificate:
    """A certificate for the gateway, or for what listens on loopback.

    Args:
        authority: The authority's certificate.
        key: The authority's private key.
        public: The server's.
        names: Host names and addresses under which it is called, at least one.
        at: Now.
        until: When it ends.
    """
    builder = _builder(_name(names[0][:64]), authority.subject, public, at, until)
    builder = builder.add_extension(x509.SubjectAlternativeName([_host(name) for name in names]), critical=False)
    return _leaf(builder, authority, ExtendedKeyUsageOID.SERVER_AUTH).sign(key, hashes.SHA256())


def issue_site(
    authority: x509.Certificate,
    key: PrivateKey,
    request: x509.CertificateSigningRequest,
    consortium: str,
    site: SiteId,
    *,
    at: int,
    until: int,
) -> x509.Certificate:
    """A certificate for the key of a request, in the name of a site; what the request asks for is not read.

    Raises:
        WardroundError: WR-1902, the request is not signed by its own key, or that is not over P-256.
    """
    public = request.public_key()
    if not request.is_signature_valid or not isinstance(public, ec.EllipticCurvePublicKey) or not _on_p256(public):
        raise WardroundError("WR-1902", "The certificate request has no P-256 key, or its key did not sign it.")
    builder = _builder(_name(str(site)), authority.subject, public, at, until)
    name = x509.UniformResourceIdentifier(f"{SCHEME}{consortium.encode().hex()}/{site}")
    builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
    return _leaf(builder, authority, ExtendedKeyUsageOID.CLIENT_AUTH).sign(key, hashes.SHA256())


def make_request(key: PrivateKey) -> str:
    """A PKCS #10 request for a key, PEM."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_name("wardround")).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def read_request(pem: str) -> x509.CertificateSigningRequest:
    """Read a PKCS #10 request.

    Raises:
        WardroundError: WR-1902, it is none.
    """
    try:
        return x509.load_pem_x509_csr(pem.encode())
    except ValueError:
        raise WardroundError("WR-1902", "The certificate request cannot be read.") from None


def read_certificate(pem: str | bytes) -> x509.Certificate:
    """Read the first certificate of a PEM text.

    Raises:
        WardroundError: WR-1905, there is none.
    """
    try:
        return x509.load_pem_x509_certificate(pem.encode() if isinstance(pem, str) else pem)
    except ValueError:
        raise WardroundError("WR-1905", "A certificate cannot be read.") from None


def site_of(certificate: x509.Certificate) -> tuple[str, SiteId]:
    """Consortium and site that a certificate names.

    Raises:
        WardroundError: WR-1905, it is no site's.
    """
    refusal = WardroundError("WR-1905", "The certificate names no site.")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        raise refusal from None
    found = [name for name in names.get_values_for_type(x509.UniformResourceIdentifier) if name.startswith(SCHEME)]
    consortium, slash, site = found[0].removeprefix(SCHEME).rpartition("/") if len(found) == 1 else ("", "", "")
    if not (consortium and slash and site):
        raise refusal
    return _unhex(consortium), SiteId(site)


def _unhex(name: str) -> str:
    try:
        return bytes.fromhex(name).decode()
    except ValueError:
        raise WardroundError("WR-1905", "The certificate names no site.") from None


def certificate_hash(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER form, 64 hex digits: what the coordinator knows a certificate by."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def pin_of(certificate: x509.Certificate) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo, DER), 64 hex digits; the same in renewed certificates."""
    return key_pin(certificate.public_key())  # type: ignore[arg-type]


def key_pin(public: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of a public key (SubjectPublicKeyInfo, DER), 64 hex digits."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(public.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def invite_key(secret: bytes) -> PrivateKey:
    """The key that an invite's secret stands for, on both sides; it is used for one connection.

    Args:
        secret: Random bytes of the invite code, 16 or more.

    Raises:
        ValueError: The secret is shorter.
    """
    wide = derive(secret, salt=b"wardround/1/invite", info=b"tls", length=48)  # 128 bits more than the order: no bias
    return ec.derive_private_key(int.from_bytes(wide, "big") % (_ORDER - 1) + 1, ec.SECP256R1())


def invite_authority(key: PrivateKey) -> x509.Certificate:
    """What the gateway trusts while an invite is open: with it, :func:`invite_certificate` verifies.

    Its name holds the key's pin, so that many invites are told apart.
    """
    name = _name(f"wardround invite {key_pin(key.public_key())[:32]}")
    builder = _builder(name, name, key.public_key(), SLACK, _FOREVER)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(_usage(authority=True), critical=True).sign(key, hashes.SHA256())


def invite_certificate(key: PrivateKey) -> x509.Certificate:
    """The certificate that the holder of an invite connects with, issued by the invite's own key.

    Whoever holds an invite can issue others in any name: the gateway tells holders of invites apart by the pin of the
    key, and sites by the hash of the certificate, never by a name.
    """
    authority = invite_authority(key)
    builder = _builder(_name("wardround invited"), authority.subject, key.public_key(), SLACK, _FOREVER)
    return _leaf(builder, authority, ExtendedKeyUsageOID.CLIENT_AUTH).sign(key, hashes.SHA256())


def pem(certificate: x509.Certificate) -> str:
    """The certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: PrivateKey) -> bytes:
    """The private key as PKCS #8 PEM, not encrypted: for a file that only the owner reads."""
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain)


def _leaf(
    builder: x509.CertificateBuilder, authority: x509.Certificate, use: x509.ObjectIdentifier
) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, at: int, until: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(_moment(at - SLACK)).not_valid_after(_moment(until))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _on_p256(public: ec.EllipticCurvePublicKey) -> bool:
    return isinstance(public.curve, ec.SECP256R1)
