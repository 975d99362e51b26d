"""The roster: which hospitals belong to a consortium, and the key each is known by.

The consortium's authority signs the roster; every hospital checks peers against the roster that its
own people accepted. A peer's message counts only under the key that this roster has for that site.

1. :class:`Roster` is the list itself; what it says of a session's members (:meth:`Roster.entries_hash`) enters the
   context that every session signs.
2. :class:`SignedRoster` is the list with the authority's signature over its canonical form.

Not decided here: whose authority key is the right one. People compare fingerprints; the hospital
then pins it (``wardround.client.identity``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from wardround.common.crypto.signing import fingerprint, usable_public_key, verify
from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId

if TYPE_CHECKING:
    from wardround.common.crypto.signing import SigningKey

PURPOSE: Final = "roster"
"""Purpose of the authority's signature."""

MAX_BYTES: Final = 1 << 20
"""A signed roster of more bytes is refused unread; 1,000 members with the longest labels need less."""


def _usable(key: str) -> str:
    if not usable_public_key(bytes.fromhex(key)):
        raise ValueError("this is no public key that a site or an authority can have")
    return key


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("only printable characters, and no space at the ends")
    return text


Site = Annotated[SiteId, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
PublicKey = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), AfterValidator(_usable)]
"""An Ed25519 public key, 64 lower-case hex digits; never one that anybody can sign for."""

Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
Text = Annotated[str, StringConstraints(max_length=100), AfterValidator(_printable)]
"""For people, any script; nothing that hides or reorders what is shown."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Member(_Part):
    """A hospital of the consortium.

    Attributes:
        key: Its identity key.
        label: What people call it; empty where the site's name says enough.
    """

    key: PublicKey
    label: Text = ""

    @property
    def fingerprint(self) -> str:
        """Of its key, for people to compare."""
        return fingerprint(bytes.fromhex(self.key))


class Roster(_Part):
    """The members of a consortium.

    Attributes:
        schema: Version of this format.
        consortium: Its name.
        version: Counts from 1 and grows with every change; a hospital never goes back.
        members: The hospitals by site name; no two share a key. None are left where the last one was revoked.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    consortium: Annotated[Text, Field(min_length=1)]
    version: Annotated[int, Field(ge=1, lt=2**53)]
    members: Mapping[Site, Member] = Field(max_length=1000)

    @model_validator(mode="after")
    def _one_key_a_site(self) -> Self:
        if len({member.key for member in self.members.values()}) != len(self.members):
            raise ValueError("two members share a key")
        return self

    def canonical(self) -> bytes:
        """RFC 8785 canonical JSON (UTF-8): what the authority signs."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))

    @cached_property
    def hash(self) -> str:
        """``sha256:`` and the hex digest of :meth:`canonical`."""
        return "sha256:" + hashlib.sha256(self.canonical()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Of :meth:`canonical`, for people to compare: all members and keys at once."""
        return fingerprint(self.canonical())

    def entries_hash(self, sites: Iterable[SiteId]) -> str:
        """``sha256:`` and the hex digest of what the roster says of some sites: the consortium and the key of each.

        Two rosters have the same hash exactly if they are of one consortium and have the same keys for these sites:
        versions, labels and other members are not in it.

        Raises:
            WardroundError: WR-1702, a site is no member.
        """
        keys = {str(site): self.public_key(site).hex() for site in sites}
        content = rfc8785.dumps({"consortium": self.consortium, "keys": keys})
        return "sha256:" + hashlib.sha256(content).hexdigest()

    def public_key(self, site: SiteId) -> bytes:
        """The identity key of a site, 32 bytes.

        Raises:
            WardroundError: WR-1702, the site is no member.
        """
        member = self.members.get(site)
        if member is None:
            raise WardroundError("WR-1702", f"{site} is not in version {self.version} of the roster.")
        return bytes.fromhex(member.key)


class SignedRoster(_Part):
    """A roster and the signature of the consortium's authority.

    Attributes:
        roster: What is signed.
        authority: Public key of the consortium's authority.
        signature: Ed25519 over the roster's canonical form, purpose ``roster``.
    """

    roster: Roster
    authority: PublicKey
    signature: Signature

    @classmethod
    def sign(cls, roster: Roster, authority: SigningKey) -> Self:
        """Sign a roster as the consortium's authority."""
        signature = authority.sign(PURPOSE, roster.canonical())
        return cls(roster=roster, authority=authority.public.hex(), signature=signature.hex())

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read what :meth:`to_json` wrote. The signature is not checked here: :meth:`verify` does.

        Raises:
            WardroundError: WR-1702, it is not a signed roster in canonical form, byte for byte: a
                field is unknown, missing, given twice or of wrong type, length or case.
        """
        if len(content) > MAX_BYTES:
            raise WardroundError("WR-1702", f"The signed roster has more than {MAX_BYTES} bytes.")
        try:
            signed = cls.model_validate_json(content)
        except ValidationError as error:
            raise WardroundError("WR-1702", f"The signed roster is not valid: {_first_mistake(error)}.") from None
        if signed.to_json() != content:
            raise WardroundError("WR-1702", "The signed roster is not in canonical form.")
        return signed

    def to_json(self) -> bytes:
        """RFC 8785 canonical JSON (UTF-8)."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))

    def verify(self) -> None:
        """Check that the authority signed this roster.

        Raises:
            WardroundError: WR-1702, it did not.
        """
        signature = bytes.fromhex(self.signature)
        if not verify(bytes.fromhex(self.authority), PURPOSE, self.roster.canonical(), signature):
            raise WardroundError("WR-1702", "The roster is not signed by the authority that it names.")


def _first_mistake(error: ValidationError) -> str:
    """Place and reason; the place ends at a field of the format, so that no name from outside is repeated."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"][:2])
    return f"{place or 'the whole'}: {first['msg'].removeprefix('Value error, ')}"
