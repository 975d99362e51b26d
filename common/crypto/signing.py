"""Ed25519 signatures (RFC 8032, section 5.1), apart by purpose.

What is signed is ``b"wardround/1/" + purpose + NUL + message``. A purpose holds no NUL, so no two
pairs of purpose and message give the same bytes, and a signature made for one purpose never
verifies for another.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wardround.common.crypto.lengths import KEY_BYTES, check_length
from wardround.common.crypto.randomness import draw

if TYPE_CHECKING:
    from wardround.common.crypto.randomness import RandomSource

SIGNATURE_BYTES: Final = 64
PURPOSE: Final = re.compile(r"[a-z0-9][a-z0-9/.-]{0,63}")
"""Lower case ASCII, so that a purpose has exactly one encoding."""

FINGERPRINT_DIGITS: Final = 40
"""160 bits: 2^80 work to make two things of one fingerprint, 2^160 to imitate a given one."""

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P


class SigningKey:
    """A private Ed25519 key.

    Args:
        private: The 32 private bytes (RFC 8032 calls them the seed).

    Raises:
        ValueError: ``private`` has another length.
    """

    __slots__ = ("_key", "public")

    def __init__(self, private: bytes) -> None:
        check_length("a private signing key", private)
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._key.public_key().public_bytes_raw()
        """The 32 bytes that others verify with."""

    @classmethod
    def generate(cls, random: RandomSource) -> Self:
        """A new key from 32 bytes of ``random``."""
        return cls(draw(random, KEY_BYTES))

    @property
    def private(self) -> bytes:
        """The 32 private bytes; for the file that keeps them and nothing else."""
        return self._key.private_bytes_raw()

    def sign(self, purpose: str, message: bytes) -> bytes:
        """The 64-byte signature of a message under a purpose.

        Raises:
            ValueError: ``purpose`` is not lower case ASCII of 1 to 64 letters, digits, ``/``, ``.``, ``-``.
        """
        return self._key.sign(_signed_bytes(purpose, message))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(public={self.public.hex()})"


def verify(public: bytes, purpose: str, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` was made with the private key of ``public`` for this purpose and message.

    Everything a peer can send is answered, not raised: a public key or signature of wrong length,
    or a key that :func:`usable_public_key` refuses, verifies nothing.

    Raises:
        ValueError: ``purpose`` is not a purpose (a bug of the caller).
    """
    signed = _signed_bytes(purpose, message)
    if not usable_public_key(public) or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def usable_public_key(public: bytes) -> bool:
    """Whether 32 bytes may stand as somebody's public signing key.

    Refused are encodings that are not reduced (y >= p) and the eight points of low order, under
    which signatures that hold for any message can be written without a private key. Not checked is
    that the point lies on the curve: no signature verifies under one that does not.

    Under the curve -x² + y² = 1 + d·x²·y² the points of order 1, 2 and 4 have y = 1, -1 and 0; those
    of order 8 double to y = 0, thus x² = -y² and d·y⁴ + 2·y² - 1 = 0.
    """
    if len(public) != KEY_BYTES:
        return False
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    low_order = y in (0, 1, _P - 1) or (_D * y**4 + 2 * y**2 - 1) % _P == 0
    return y < _P and not low_order


def fingerprint(public: bytes) -> str:
    """A public value for people to compare, read aloud: ten groups of four hex digits.

    The first 160 bits of the plain SHA-256 of the bytes, so that other tools show the same digits.
    """
    digits = hashlib.sha256(public).hexdigest()[:FINGERPRINT_DIGITS]
    return " ".join(digits[start : start + 4] for start in range(0, FINGERPRINT_DIGITS, 4))


def _signed_bytes(purpose: str, message: bytes) -> bytes:
    if not PURPOSE.fullmatch(purpose):
        raise ValueError(f"{purpose!r} is not the purpose of a signature")
    return b"wardround/1/" + purpose.encode("ascii") + b"\0" + message
