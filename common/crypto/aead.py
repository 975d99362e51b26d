"""AES-256-GCM (NIST SP 800-38D) for keys that seal exactly one message.

The nonce is zero, always. That is safe only because every key given to :func:`seal` is derived
freshly for one packet of one attempt and seals nothing else: sealing two messages under one key
would show the difference of the two and let anybody forge more. What cannot promise that must not
use this module.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wardround.common.crypto.lengths import check_length

TAG_BYTES: Final = 16
_NONCE: Final = bytes(12)


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Encrypt and authenticate the one message of a key.

    Args:
        key: 32 bytes; USED ONCE, see the module.
        plaintext: What only the holder of the key may read.
        associated: What both sides know and the tag binds; it is not in the result.

    Returns:
        The ciphertext and a 16-byte tag: 16 bytes more than ``plaintext``.

    Raises:
        ValueError: The key has another length.
    """
    check_length("a sealing key", key)
    return AESGCM(key).encrypt(_NONCE, plaintext, associated)


def unseal(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """Open what :func:`seal` made.

    Raises:
        ValueError: It was made under another key or other associated data, or was changed.
    """
    check_length("a sealing key", key)
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, associated)
    except InvalidTag:
        raise ValueError("the sealed message is not authentic") from None
