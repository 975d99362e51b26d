"""X25519 key agreement (RFC 7748, section 6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from wardround.common.crypto.lengths import KEY_BYTES, check_length
from wardround.common.crypto.randomness import draw

if TYPE_CHECKING:
    from wardround.common.crypto.randomness import RandomSource

_P: Final = 2**255 - 19


class AgreementKey:
    """A private X25519 key.

    Args:
        private: The 32 private bytes.

    Raises:
        ValueError: ``private`` has another length.
    """

    __slots__ = ("_key", "public")

    def __init__(self, private: bytes) -> None:
        check_length("a private agreement key", private)
        self._key = X25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._key.public_key().public_bytes_raw()
        """The 32 bytes that others agree with."""

    @classmethod
    def generate(cls, random: RandomSource) -> Self:
        """A new key from 32 bytes of ``random``."""
        return cls(draw(random, KEY_BYTES))

    @property
    def private(self) -> bytes:
        """The 32 private bytes; for the sealed state that keeps them and nothing else."""
        return self._key.private_bytes_raw()

    def shared(self, peer: bytes) -> bytes:
        """The 32 bytes that both sides compute; input of a key derivation, never a key itself.

        Raises:
            ValueError: ``peer`` is no 32-byte public key; or one of low order, with which the
                result would be zero whatever our key is (RFC 7748, section 6.1); or not the one
                encoding of its point: other ones are accepted by the RFC, and would let one key
                look like two.
        """
        check_length("a public agreement key", peer)
        if int.from_bytes(peer, "little") >= _P:
            raise ValueError("the peer's public agreement key is not in its one encoding")
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError as error:
            raise ValueError("the peer's public agreement key has low order") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}(public={self.public.hex()})"
