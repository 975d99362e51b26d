"""How a hospital becomes a member: an invite code or a file, a request, an admission.

1. The coordinator makes an invite for one site: 20 random bytes, :class:`InviteCode`, which people pass on. It holds
   the gateway's address and the fingerprint of the server's public key as well.
2. The site makes its keys, which stay there: identity (Ed25519), TLS (ECDSA P-256) and node (ECDSA P-384).
   :class:`EnrolmentRequest` holds the public ones and is signed by the identity key.
3. By code: the site calls the gateway with a certificate whose key both sides derive from the code
   (:mod:`wardround.common.crypto.certificates`). By files: people carry request and admission.
4. :class:`Admission` holds the site's certificate, the consortium's certificate authority and its roster.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, StringConstraints

from wardround.common.consortium.signed import Document, HexBytes, Moment, SignedDocument
from wardround.common.errors import WardroundError
from wardround.common.roster import PublicKey, SignedRoster, Site, Text

SECRET_BYTES: Final = 20
PIN_BYTES: Final = 32
_PREFIX: Final = "wr1"
_ADDRESS: Final = re.compile(r"^[A-Za-z0-9_.\-\[\]:]{1,253}:[0-9]{1,5}$")

Address = Annotated[str, StringConstraints(pattern=_ADDRESS.pattern)]
"""``host:port`` of a gateway."""


def _whole_number(value: object) -> object:
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,20}", value) else value


NodeId = Annotated[
    int, Field(ge=0, lt=2**64), BeforeValidator(_whole_number), PlainSerializer(str, return_type=str, when_used="json")
]
"""Of a Flower node; in JSON a text of digits, because numbers there are exact up to 2^53 only."""

Pem = Annotated[str, StringConstraints(max_length=20_000)]


class InviteCode(Document):
    """What a hospital is given to join with.

    Attributes:
        address: Of the gateway.
        pin: SHA-256 of the server's public key (SubjectPublicKeyInfo), hex.
        secret: Random, hex; whoever has it may join once, as the site it was made for.
    """

    address: Address
    pin: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    secret: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]

    def text(self) -> str:
        """One line of letters, digits and hyphens, to be pasted; the last four letters tell a slip of the hand."""
        raw = bytes.fromhex(self.secret) + bytes.fromhex(self.pin) + self.address.encode()
        raw += binascii.crc32(raw).to_bytes(4, "big")
        return f"{_PREFIX}-" + base64.b32encode(raw).decode().rstrip("=").lower()

    @classmethod
    def from_text(cls, text: str) -> InviteCode:
        """Read :meth:`text`; spaces and line breaks inside do not matter.

        Raises:
            WardroundError: WR-1904, it is no invite code, or a letter of it is wrong.
        """
        tight = "".join(text.split()).lower()
        prefix, _, body = tight.partition("-")
        refusal = WardroundError("WR-1904", "This is no invite code, or a letter of it is missing or wrong.")
        try:
            raw = base64.b32decode(body.upper() + "=" * (-len(body) % 8))
        except binascii.Error:
            raise refusal from None
        content, check = raw[:-4], raw[-4:]
        if prefix != _PREFIX or binascii.crc32(content).to_bytes(4, "big") != check:
            raise refusal
        secret, pin = content[:SECRET_BYTES], content[SECRET_BYTES : SECRET_BYTES + PIN_BYTES]
        try:
            code = cls(address=content[SECRET_BYTES + PIN_BYTES :].decode(), pin=pin.hex(), secret=secret.hex())
        except ValueError:
            raise refusal from None
        if code.text() != tight:  # bits of the last letter that stand for nothing
            raise refusal
        return code


class EnrolmentRequest(Document):
    """Public keys of a site that wants to join.

    Attributes:
        schema: Version of this format.
        site: The name that it was invited under.
        label: What people call the hospital; may be empty.
        identity: Ed25519 public key.
        certificate_request: PKCS #10 of the TLS key, PEM; its subject is not read.
        node: Public key of the Flower node, ECDSA P-384, as Flower writes it (PEM bytes), hex.
        at: When it was made.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    site: Site
    label: Text = ""
    identity: PublicKey
    certificate_request: Pem
    node: HexBytes
    at: Moment


class SignedEnrolmentRequest(SignedDocument):
    """Signed by the identity key that it names."""

    @classmethod
    def purpose(cls) -> str:
        """Of the signature."""
        return "enrolment"

    def verified(self) -> EnrolmentRequest:
        """The request.

        Raises:
            WardroundError: WR-1902, it is malformed; WR-1903, its own key did not sign it.
        """
        request = EnrolmentRequest.from_canonical(self.content.encode())
        self.check_signed_by(request.identity)
        return request


class Admission(Document):
    """What a member is given.

    Attributes:
        schema: Version of this format.
        site: Its name.
        address: Of the gateway.
        certificate: The site's TLS certificate, PEM.
        certificate_authority: Of the consortium, PEM.
        node_id: Of its Flower node.
        roster: The consortium's roster at this time; a person has to accept it before it counts.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    site: Site
    address: Address
    certificate: Pem
    certificate_authority: Pem
    node_id: NodeId
    roster: SignedRoster
