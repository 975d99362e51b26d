"""Who a certificate stands for, with a clock of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.federated import enrolment

from wardround.common.crypto import certificates
from wardround.common.errors import WardroundError
from wardround.server.consortium import create_consortium
from wardround.server.gateway.callers import Callers, Invited, Member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wardround.server.consortium import Consortium

NOW = 1_760_000_000
DAY = 86_400


class Scene:
    """A consortium with one member, and callers by a clock that is set."""

    def __init__(self, consortium: Consortium) -> None:
        self.consortium, self.now = consortium, NOW
        self.callers = Callers(consortium.store, lambda: self.now)
        self.code = consortium.invite("north", now=NOW)
        key = certificates.invite_key(bytes.fromhex(self.code.secret))
        self.invited = certificates.pem(certificates.invite_certificate(key)).encode()
        request, _, _ = enrolment("north", at=NOW)
        self.pin = certificates.key_pin(key.public_key())
        admission = consortium.enrol(request, now=NOW, invite_pin=self.pin)
        self.certificate = admission.certificate.encode()

    def identified(self, pem: bytes | None, version: bytes = b"TLSv1.3") -> Member | Invited:
        properties = {"ssl_tls_version": [version]} | ({} if pem is None else {"x509_pem_cert": [pem]})
        return self.callers.identify(properties)

    def refused(self, pem: bytes | None, version: bytes = b"TLSv1.3") -> str:
        with pytest.raises(WardroundError, match="WR-1905") as refused:
            self.identified(pem, version)
        return refused.value.what


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with create_consortium(tmp_path / "c", "Test", "localhost:1", now=NOW) as consortium:
        yield Scene(consortium)


def test_a_member(scene: Scene) -> None:
    caller = scene.identified(scene.certificate)
    assert isinstance(caller, Member)
    assert (caller.site, caller.name) == ("north", "site north")


def test_older_tls_is_refused_even_where_its_handshake_succeeded(scene: Scene) -> None:
    assert "TLS 1.3" in scene.refused(scene.certificate, b"TLSv1.2")
    assert scene.identified(scene.certificate)


def test_no_certificate(scene: Scene) -> None:
    assert "no certificate" in scene.refused(None)


def test_a_certificate_that_ends_while_its_connection_is_open(scene: Scene) -> None:
    days = scene.consortium.settings.certificates.days
    scene.now = NOW + days * DAY - 1
    assert scene.identified(scene.certificate)
    scene.now += 1
    assert "expired" in scene.refused(scene.certificate)


def test_a_revocation_holds_at_the_next_call(scene: Scene) -> None:
    assert scene.identified(scene.certificate)
    scene.consortium.revoke("north", "", now=NOW)
    assert "revoked" in scene.refused(scene.certificate)


def test_an_invite_until_it_ends(scene: Scene) -> None:
    caller = scene.identified(scene.invited)
    assert caller == Invited(scene.pin)
    scene.now = NOW + 7 * DAY
    with pytest.raises(WardroundError, match=r"WR-1904.*invite code has expired"):
        scene.identified(scene.invited)


def test_a_certificate_that_was_never_noted(scene: Scene) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    stranger = certificates.make_authority(key, "Test", at=NOW, until=NOW + DAY)
    assert "not one that" in scene.refused(certificates.pem(stranger).encode())
