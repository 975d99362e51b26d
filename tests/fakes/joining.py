"""A hospital that joins a consortium: its keys and its requests."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wardround.common.consortium.enrolment import EnrolmentRequest, SignedEnrolmentRequest
from wardround.common.crypto.certificates import invite_certificate, invite_key, make_request, pin_of
from wardround.common.crypto.signing import SigningKey
from wardround.common.ids import SiteId

if TYPE_CHECKING:
    from wardround.common.consortium.enrolment import Admission, InviteCode
    from wardround.server.consortium import Consortium

NOW = 1_800_000_000
DAY = 86_400


def pem_of(public: Any) -> bytes:
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Hospital:
    """Keys that a site made."""

    site: str
    identity: SigningKey = field(default_factory=lambda: SigningKey.generate(os.urandom))
    tls: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    node: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()))

    @cached_property
    def csr(self) -> str:
        return make_request(self.tls)

    def request(self, at: int = NOW, **changed: Any) -> SignedEnrolmentRequest:
        known = {
            "site": self.site,
            "identity": self.identity.public.hex(),
            "certificate_request": self.csr,
            "node": pem_of(self.node.public_key()).hex(),
            "at": at,
        }
        return SignedEnrolmentRequest.sign(EnrolmentRequest(**{**known, **changed}), self.identity)

    def join(self, consortium: Consortium, now: int = NOW, code: InviteCode | None = None) -> Admission:
        """By an invite; a new one where none is given."""
        chosen = code or consortium.invite(self.site, now=now)
        return consortium.enrol(self.request(now), now=now, invite_pin=pin(chosen))

    def accept(self, consortium: Consortium, version: int | None = None, now: int = NOW) -> None:
        """Its agent says that people have accepted a version of the roster; None: the newest."""
        newest = consortium.store.newest_roster()
        assert newest is not None
        consortium.store.heard(self.name, now, roster=version or newest.roster.version)

    @property
    def name(self) -> SiteId:
        return SiteId(self.site)


def pin(code: InviteCode) -> str:
    """What the gateway knows the holder of a code by."""
    return pin_of(invite_certificate(invite_key(bytes.fromhex(code.secret))))
