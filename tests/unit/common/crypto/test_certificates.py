"""Certificates of a consortium: whom they name, and that TLS takes them where it should."""

from __future__ import annotations

import os
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from wardround.common.crypto import certificates as made
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId

NOW = int(time.time())
DAY = 86400


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


AUTHORITY_KEY = key()
AUTHORITY = made.make_authority(AUTHORITY_KEY, "Häuser & wards", at=NOW, until=NOW + 3650 * DAY)


def site_certificate(name: str = "oak", own: ec.EllipticCurvePrivateKey | None = None) -> x509.Certificate:
    request = made.read_request(made.make_request(own or key()))
    return made.issue_site(AUTHORITY, AUTHORITY_KEY, request, "Häuser & wards", SiteId(name), at=NOW, until=NOW + DAY)


def test_a_sites_certificate_names_it_and_is_its_authoritys() -> None:
    own = key()
    certificate = site_certificate("oak", own)
    assert made.site_of(certificate) == ("Häuser & wards", "oak")
    assert made.pin_of(certificate) == made.key_pin(own.public_key())
    PolicyBuilder().store(Store([AUTHORITY])).build_client_verifier().verify(certificate, [])
    stranger_key = key()
    stranger = made.make_authority(stranger_key, "Häuser & wards", at=NOW, until=NOW + DAY)
    with pytest.raises(VerificationError):
        PolicyBuilder().store(Store([stranger])).build_client_verifier().verify(certificate, [])


def test_a_server_certificate_is_for_its_names() -> None:
    server = made.issue_server(
        AUTHORITY, AUTHORITY_KEY, key().public_key(), ["wards.example.org", "127.0.0.1"], at=NOW, until=NOW + DAY
    )
    builder = PolicyBuilder().store(Store([AUTHORITY]))
    builder.build_server_verifier(x509.DNSName("wards.example.org")).verify(server, [])
    with pytest.raises(VerificationError):
        builder.build_server_verifier(x509.DNSName("other.example.org")).verify(server, [])
    with pytest.raises(VerificationError):  # a server is no site
        builder.build_client_verifier().verify(server, [])
    with pytest.raises(WardroundError, match="WR-1905"):
        made.site_of(server)


def test_a_request_gets_nothing_that_it_asks_for_and_must_sign_itself() -> None:
    other_curve = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(WardroundError, match="WR-1902"):
        site_certificate("oak", other_curve)
    with pytest.raises(WardroundError, match="WR-1902"):
        made.read_request("no request")
    with pytest.raises(WardroundError, match="WR-1905"):
        made.read_certificate("no certificate")


def test_an_invites_key_is_the_same_on_both_sides_and_nobody_elses() -> None:
    secret = os.urandom(20)
    assert made.invite_key(secret).private_numbers() == made.invite_key(secret).private_numbers()
    assert made.pin_of(made.invite_certificate(made.invite_key(secret))) == made.key_pin(
        made.invite_key(secret).public_key()
    )
    changed = bytes([secret[0] ^ 1]) + secret[1:]
    mine = made.invite_certificate(made.invite_key(secret))
    mine.verify_directly_issued_by(made.invite_authority(made.invite_key(secret)))
    with pytest.raises(ValueError, match="subject"):
        mine.verify_directly_issued_by(made.invite_authority(made.invite_key(changed)))
    assert made.invite_key(secret).private_numbers() != made.invite_key(changed).private_numbers()
    with pytest.raises(ValueError, match="too short"):
        made.invite_key(b"short")


def test_a_certificate_of_two_sites_names_none() -> None:
    names = [x509.UniformResourceIdentifier(f"wardround:63/{site}") for site in ("oak", "elm")]
    own = key()
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(own.public_key())
    builder = builder.serial_number(1).not_valid_before(AUTHORITY.not_valid_before_utc)
    builder = builder.not_valid_after(AUTHORITY.not_valid_after_utc)
    two = builder.add_extension(x509.SubjectAlternativeName(names), critical=True).sign(own, SHA256())
    one = builder.add_extension(x509.SubjectAlternativeName(names[:1]), critical=True).sign(own, SHA256())
    assert made.site_of(one) == ("c", "oak")
    with pytest.raises(WardroundError, match="WR-1905"):
        made.site_of(two)
