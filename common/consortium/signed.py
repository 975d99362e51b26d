"""Documents that carry one Ed25519 signature over their canonical form."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Final, Self

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from wardround.common.crypto.signing import fingerprint, verify
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from wardround.common.crypto.signing import SigningKey

MAX_BYTES: Final = 4 << 20
"""A document of more bytes is refused unread."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
HexBytes = Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{2})+$", max_length=1 << 20)]
Moment = Annotated[int, Field(ge=0, lt=2**40)]
"""Seconds since 1970, UTC."""


class Document(BaseModel):
    """Frozen, strict about types, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def canonical(self) -> bytes:
        """RFC 8785 canonical JSON (UTF-8)."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))

    @property
    def hash(self) -> str:
        """``sha256:`` and the hex digest of :meth:`canonical`."""
        return "sha256:" + hashlib.sha256(self.canonical()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Of :meth:`canonical`, for people to compare."""
        return fingerprint(self.canonical())

    @classmethod
    def from_canonical(cls, content: bytes, *, code: str = "WR-1902") -> Self:
        """Read what :meth:`canonical` wrote.

        Args:
            content: UTF-8 JSON.
            code: Of the refusal.

        Raises:
            WardroundError: ``code``: it is not in canonical form, byte for byte, or not such a document.
        """
        if len(content) > MAX_BYTES:
            raise WardroundError(code, f"A document has more than {MAX_BYTES} bytes.")
        try:
            document = cls.model_validate_json(content)
        except ValidationError as error:
            raise WardroundError(code, f"{_name(cls)} is not valid: {_first_mistake(error)}.") from None
        if document.canonical() != content:
            raise WardroundError(code, f"{_name(cls)} is not in canonical form.")
        return document


class SignedDocument(Document):
    """A document's canonical form, who signed it, and the signature.

    Sub-classes name the :attr:`purpose` and read the content with the type they hold.

    Attributes:
        content: The canonical form of what is signed, as text.
        signer: Ed25519 public key, hex.
        signature: Of ``content``, hex.
    """

    content: Annotated[str, StringConstraints(max_length=MAX_BYTES)]
    signer: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]

    @classmethod
    @abstractmethod
    def purpose(cls) -> str:
        """Purpose of the signature."""

    @classmethod
    def sign(cls, document: Document, key: SigningKey) -> Self:
        """Sign a document."""
        content = document.canonical()
        return cls(content=content.decode(), signer=key.public.hex(), signature=key.sign(cls.purpose(), content).hex())

    def check_signed_by(self, public: str, *, code: str = "WR-1903") -> None:
        """Refuse a signature that is not that of a key, 64 hex digits.

        Raises:
            WardroundError: ``code``.
        """
        genuine = self.signer == public and verify(
            bytes.fromhex(self.signer), self.purpose(), self.content.encode(), bytes.fromhex(self.signature)
        )
        if not genuine:
            raise WardroundError(code, f"{_name(type(self))} is not signed by the key that it should be signed by.")


def _name(kind: type[Document]) -> str:
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind.__name__)
    return f"A{'n' if words[1] in 'aeiou' else ''}{words}"


def _first_mistake(error: ValidationError) -> str:
    """Place and reason; the place ends at a field of the format, so that no name from outside is repeated."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"][:2])
    return f"{place or 'the whole'}: {first['msg'].removeprefix('Value error, ')}"
