"""Certificates, handshakes and invites: what is refused before a call means anything, each with its control."""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from fakes.callers import NO_CONNECTION, Case, Shown, call, check, handshake, issued, other_authority, own_shown
from fakes.federated import enrolment, until_alive

from wardround.client.membership import site_credentials
from wardround.common.crypto import certificates
from wardround.common.wire import federation as wire
from wardround.server.consortium import folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.federated import Federated

    from wardround.common.consortium.enrolment import InviteCode

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
GREET = wire.Greet(release="0.1.0", protocols=wire.PROTOCOLS, roster=0).canonical()
NOTHING = wire.Nothing().canonical()
REFUSED = "UNAUTHENTICATED WR-1905"


def authority(stand: Federated) -> bytes:
    return certificates.pem(stand.consortium.certificate_authority).encode()


def shown(home: Path) -> Shown:
    key, certificate, _ = site_credentials(home)
    return Shown(key, certificate)


def of_invite(code: InviteCode) -> Shown:
    key = certificates.invite_key(bytes.fromhex(code.secret))
    return own_shown(certificates.invite_certificate(key), key)


def in_the_name_of_an_invite(code: InviteCode, site: str) -> Shown:
    """A certificate in a site's name, signed with the key of an invite, which the gateway trusts for handshakes."""
    key = certificates.invite_key(bytes.fromhex(code.secret))
    made = issued((certificates.invite_authority(key), key), site)
    return Shown(made.key, made.certificate + certificates.pem(certificates.invite_authority(key)).encode())


class Scene:
    """Calls of the stand with what somebody shows."""

    def __init__(self, stand: Federated) -> None:
        self.stand = stand
        self.north = shown(stand.join("north"))

    def greets(self, caller: Shown | None, trusted: bytes | None = None) -> Callable[[], bytes]:
        root = authority(self.stand) if trusted is None else trusted
        return partial(call, self.stand.address, root, caller, wire.GREET, GREET)

    def shakes(self, caller: Shown | None, version: ssl.TLSVersion) -> Callable[[], bytes]:
        return partial(handshake, self.stand, caller, version, version)

    def enrols(self, caller: Shown, site: str) -> Callable[[], bytes]:
        request, _, _ = enrolment(site)
        body = wire.Enrol(request=request).canonical()
        return partial(call, self.stand.address, authority(self.stand), caller, wire.ENROL, body)

    def consortium_key(self) -> tuple:
        path = self.stand.consortium.path
        return folder.read_pem(path / folder.CA), folder.read_key(path / folder.CA_KEY)


def no_certificate(scene: Scene) -> Case:
    return Case("no certificate", scene.greets(None), NO_CONNECTION, scene.greets(scene.north))


def other_consortium(scene: Scene) -> Case:
    stranger = issued(other_authority(), "north")
    return Case("another authority of the same name", scene.greets(stranger), NO_CONNECTION, scene.greets(scene.north))


def self_signed(scene: Scene) -> Case:
    certificate, key = other_authority()
    caller = own_shown(certificate, key)
    return Case("self-signed", scene.greets(caller), NO_CONNECTION, scene.greets(scene.north))


def expired(scene: Scene) -> Case:
    old = issued(scene.consortium_key(), "north", at=int(time.time()) - 90_000)
    return Case("expired", scene.greets(old), NO_CONNECTION, scene.greets(scene.north))


def of_tomorrow(scene: Scene) -> Case:
    early = issued(scene.consortium_key(), "north", at=int(time.time()) + 90_000)
    return Case("not valid yet", scene.greets(early), NO_CONNECTION, scene.greets(scene.north))


def never_noted(scene: Scene) -> Case:
    forged = issued(scene.consortium_key(), "north")
    return Case("signed and never noted", scene.greets(forged), REFUSED, scene.greets(scene.north))


def servers_own(scene: Scene) -> Case:
    caller = Shown(*scene.stand.consortium.server_credentials(int(time.time())))
    return Case("the server's own certificate", scene.greets(caller), NO_CONNECTION, scene.greets(scene.north))


def older_tls(scene: Scene) -> Case:
    return Case("TLS 1.2", scene.shakes(scene.north, V12), NO_CONNECTION, scene.shakes(scene.north, V13))


def older_tls_without_certificate(scene: Scene) -> Case:
    return Case("TLS 1.2, nothing shown", scene.shakes(None, V12), NO_CONNECTION, scene.shakes(scene.north, V13))


def other_server(scene: Scene) -> Case:
    trusted = certificates.pem(other_authority()[0]).encode()
    return Case(
        "server of another authority", scene.greets(scene.north, trusted), NO_CONNECTION, scene.greets(scene.north)
    )


def revoked(scene: Scene) -> Case:
    gone = shown(scene.stand.join("gone"))
    assert scene.greets(gone)()
    scene.stand.consortium.revoke("gone", "test", now=int(time.time()))
    return Case("revoked", scene.greets(gone), REFUSED, scene.greets(scene.north))


def replaced(scene: Scene) -> Case:
    before = shown(scene.stand.join("moved"))
    assert scene.greets(before)()
    return Case(
        "replaced by joining again", scene.greets(before), REFUSED, scene.greets(shown(scene.stand.join("moved")))
    )


def signed_with_an_invite(scene: Scene) -> Case:
    caller = in_the_name_of_an_invite(scene.stand.invite("guest-a"), "north")
    return Case("a site's name under an invite", scene.greets(caller), REFUSED, scene.greets(scene.north))


def invite_greets(scene: Scene) -> Case:
    caller = of_invite(scene.stand.invite("guest-b"))
    return Case(
        "an invite calls Greet", scene.greets(caller), "PERMISSION_DENIED WR-1909", scene.enrols(caller, "guest-b")
    )


def member_enrols(scene: Scene) -> Case:
    refused = "PERMISSION_DENIED WR-1909"
    return Case("a member calls Enrol", scene.enrols(scene.north, "north"), refused, scene.greets(scene.north))


def invite_of_another_site(scene: Scene) -> Case:
    caller = of_invite(scene.stand.invite("guest-c"))
    refused = "FAILED_PRECONDITION WR-1904"
    return Case("an invite of another site", scene.enrols(caller, "guest-x"), refused, scene.enrols(caller, "guest-c"))


def used_invite(scene: Scene) -> Case:
    caller = of_invite(scene.stand.invite("guest-d"))
    control = scene.enrols(caller, "guest-d")
    assert control()
    return Case("a used invite", scene.enrols(caller, "guest-d"), "FAILED_PRECONDITION WR-1904", control)


def withdrawn_invite(scene: Scene) -> Case:
    caller = of_invite(scene.stand.invite("guest-e"))
    newer = of_invite(scene.stand.invite("guest-e"))
    return Case(
        "an invite that a newer one ended",
        scene.enrols(caller, "guest-e"),
        NO_CONNECTION,
        scene.enrols(newer, "guest-e"),
    )


def expired_invite(scene: Scene) -> Case:
    stand, code = scene.stand, scene.stand.invite("guest-f")
    old = stand.consortium.invite("guest-g", days=1, now=int(time.time()) - 90_000)
    return Case(
        "an expired invite",
        scene.enrols(of_invite(old), "guest-g"),
        NO_CONNECTION,
        scene.enrols(of_invite(code), "guest-f"),
    )


CASES = (
    no_certificate,
    other_consortium,
    self_signed,
    expired,
    of_tomorrow,
    never_noted,
    servers_own,
    older_tls,
    older_tls_without_certificate,
    other_server,
    revoked,
    replaced,
    signed_with_an_invite,
    invite_greets,
    member_enrols,
    invite_of_another_site,
    used_invite,
    withdrawn_invite,
    expired_invite,
)


@pytest.fixture(scope="module")
def scene(stand: Federated) -> Scene:
    return Scene(stand)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_refused(scene: Scene, case: Callable[[Scene], Case]) -> None:
    check(case(scene))


def test_a_revoked_site_is_refused_on_the_connection_that_it_opened_before(stand: Federated) -> None:
    from wardround.client.federation import connect
    from wardround.common.errors import WardroundError

    with connect(stand.join("short")) as connection:
        watch = connection.watch()
        until_alive(watch)
        assert connection.greet(0).site == "short"
        stand.consortium.revoke("short", "test", now=int(time.time()))
        with pytest.raises(WardroundError, match="WR-1905"):
            connection.greet(0)
        with pytest.raises(WardroundError, match="WR-1905"):
            list(watch)
