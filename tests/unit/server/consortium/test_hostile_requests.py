"""Requests that somebody made to do harm: each gets a code, and nothing is changed or lost."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fakes.joining import DAY, NOW, Hospital, pem_of, pin

from wardround.common.consortium.enrolment import SignedEnrolmentRequest
from wardround.common.crypto.certificates import read_certificate, site_of
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId
from wardround.server.consortium import Consortium, create_consortium

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MALLORY = Hospital("mallory")


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    """With one member, ``oak``, and an open invite for ``mallory``."""
    with create_consortium(tmp_path / "wards", "wards", "localhost:443", now=NOW) as made:
        Hospital("oak").join(made)
        yield made


def csr(key: Any, subject: str = "wardround") -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest).public_bytes(Encoding.PEM).decode()
    )


def broken_csr() -> str:
    """A genuine request with one bit of its signature turned."""
    request = x509.load_pem_x509_csr(MALLORY.csr.encode())
    der = bytearray(request.public_bytes(Encoding.DER))
    der[-1] ^= 1
    body = base64.encodebytes(bytes(der)).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


def refused(consortium: Consortium, request: SignedEnrolmentRequest, code: str) -> None:
    """By the invite and by hand; what was there is there; the invite still serves who it is for."""
    invite = consortium.invite("mallory", now=NOW)
    for by in (pin(invite), None):
        before = consortium.store.sites(), consortium.store.rosters(), consortium.store.invites()
        with pytest.raises(WardroundError, match=code):
            consortium.enrol(request, now=NOW, invite_pin=by)
        assert (consortium.store.sites(), consortium.store.rosters(), consortium.store.invites()) == before
    assert Hospital("mallory").join(consortium, code=invite).roster.roster.version == 2


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "no request",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        MALLORY.csr[:200],
        csr(ec.generate_private_key(ec.SECP384R1())),
        csr(rsa.generate_private_key(65537, 2048)),
        csr(ed25519.Ed25519PrivateKey.generate()),
        broken_csr(),
    ],
    ids=["empty", "words", "der", "cut", "p384", "rsa", "ed25519", "signature"],
)
def test_certificate_requests(consortium: Consortium, wrong: str) -> None:
    refused(consortium, MALLORY.request(certificate_request=wrong), "WR-1902")


@pytest.mark.parametrize(
    "key",
    [
        b"\0",
        b"no key",
        pem_of(ec.generate_private_key(ec.SECP256R1()).public_key()),
        pem_of(ed25519.Ed25519PrivateKey.generate().public_key()),
        b"x" * 500_000,
    ],
    ids=["zero", "words", "p256", "ed25519", "long"],
)
def test_node_keys(consortium: Consortium, key: bytes) -> None:
    refused(consortium, MALLORY.request(node=key.hex()), "WR-1902")


@pytest.mark.parametrize("at", [0, NOW - 31 * DAY, NOW + 3 * DAY, 2**40 - 1])
def test_moments_that_are_not_now(consortium: Consortium, at: int) -> None:
    refused(consortium, MALLORY.request(at), "WR-1902")


@pytest.mark.parametrize("site", ["federated", "coordinator"])
def test_names_that_mean_something_else(consortium: Consortium, site: str) -> None:
    refused(consortium, MALLORY.request(site=site), "WR-1931")


@pytest.mark.parametrize(
    "name", ["", "Oak", "o k", "../oak", "oak/elm", "oak\n", "oak\0", "öak", "-oak", "o" * 65, "oak%2f", "oak\u202e"]
)
def test_names_with_odd_characters(consortium: Consortium, name: str) -> None:
    with pytest.raises(WardroundError, match="WR-1931"):
        consortium.invite(name, now=NOW)
    known = MALLORY.request()
    content = known.content.replace('"site":"mallory"', f'"site":"{name}"')
    signature = MALLORY.identity.sign("enrolment", content.encode()).hex()
    request = known.model_copy(update={"content": content, "signature": signature})
    refused(consortium, request, "WR-1902")


def test_labels_that_hide_something(consortium: Consortium) -> None:
    for label in ("two\nlines", "\u202eflipped", " space", "x" * 101, "\0"):
        with pytest.raises(WardroundError, match="WR-1931"):
            consortium.invite("elm", label, now=NOW)
    consortium.invite("elm", "Clínica 杉", now=NOW)


def test_signatures_of_others(consortium: Consortium) -> None:
    other = Hospital("mallory")
    request = MALLORY.request()
    forged = SignedEnrolmentRequest(
        content=request.content,
        signer=other.identity.public.hex(),
        signature=other.identity.sign("enrolment", request.content.encode()).hex(),
    )
    refused(consortium, forged, "WR-1903")
    assert consortium.store.site(SiteId("mallory")) is not None


def test_signatures_for_another_purpose(consortium: Consortium) -> None:
    request = MALLORY.request()
    signature = MALLORY.identity.sign("decision", request.content.encode()).hex()
    refused(consortium, request.model_copy(update={"signature": signature}), "WR-1903")


@pytest.mark.parametrize("field", ["identity", "tls", "node"])
def test_a_key_that_another_site_has(consortium: Consortium, field: str) -> None:
    oak = Hospital("ash")
    oak.join(consortium)
    copy = Hospital("mallory", **{field: getattr(oak, field)})
    invite = consortium.invite("mallory", now=NOW)
    before = consortium.store.sites(), consortium.store.rosters(), consortium.store.invites()
    with pytest.raises(WardroundError, match="WR-1931"):
        copy.join(consortium, code=invite)
    assert (consortium.store.sites(), consortium.store.rosters(), consortium.store.invites()) == before
    assert Hospital("mallory").join(consortium, code=invite)


@pytest.mark.parametrize("field", ["identity", "tls", "node"])
def test_a_key_that_another_site_had_before(consortium: Consortium, field: str) -> None:
    old = Hospital("ash")
    old.join(consortium)
    Hospital("ash").join(consortium, code=consortium.rekey("ash", now=NOW))
    consortium.revoke("ash", "", now=NOW)
    with pytest.raises(WardroundError, match="WR-1931"):
        Hospital("mallory", **{field: getattr(old, field)}).join(consortium)


def test_a_renewal_with_another_sites_key(consortium: Consortium) -> None:
    ash = Hospital("ash")
    ash.join(consortium)
    with pytest.raises(WardroundError, match="WR-1931"):
        consortium.renew(SiteId("oak"), ash.csr, now=NOW)
    consortium.renew(SiteId("ash"), ash.csr, now=NOW)


def test_the_authoritys_key_as_a_sites(consortium: Consortium) -> None:
    twin = Hospital("mallory", identity=consortium.authority)
    with pytest.raises(WardroundError, match="WR-1931"):
        twin.join(consortium)


def test_what_a_certificate_request_asks_for_is_not_given(consortium: Consortium) -> None:
    key = MALLORY.tls
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "oak")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier("wardround:wards/oak")]), critical=False
        )
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )
    admission = consortium.enrol(MALLORY.request(certificate_request=greedy), now=NOW, invite_pin=None)
    certificate = read_certificate(admission.certificate)
    assert site_of(certificate) == ("wards", "mallory")
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "oak" not in certificate.subject.rfc4514_string()


def test_the_certificate_of_an_invite_is_no_sites(consortium: Consortium) -> None:
    """Its holder can issue any name under it; the gateway knows sites by hash, which only the store gives."""
    consortium.invite("mallory", now=NOW)
    roots = x509.load_pem_x509_certificates(consortium.trusted_roots(NOW))
    assert all(consortium.store.certificate(root.fingerprint(hashes.SHA256()).hex()) is None for root in roots)
