"""HKDF with SHA-256 (RFC 5869)."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive(secret: bytes, *, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """Key material from a secret: extract with ``salt``, expand with ``info``.

    Args:
        secret: Input key material; at least 16 bytes (128 bits), evenly distributed or not.
        salt: Public; separates uses of the same secret in the extract step.
        info: Public; what the derived key is for. Callers keep the infos of one secret and salt prefix-free.
        length: Bytes wanted, 1 to 8160.

    Raises:
        ValueError: The secret is shorter than any of wardround's, or ``length`` is out of range.
    """
    if len(secret) < 16:
        raise ValueError(f"a secret of {len(secret)} bytes is too short to derive keys from")
    if not 1 <= length <= 255 * 32:
        raise ValueError(f"HKDF-SHA256 gives 1 to {255 * 32} bytes, not {length}")
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)
