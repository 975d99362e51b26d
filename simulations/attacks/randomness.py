"""Randomness that is the same again: what makes a transcript replay. Nothing but the attack suite uses it."""

from __future__ import annotations

import hashlib

from wardround.common.crypto.keystream import BLOCK_BYTES, keystream_into


def derived(seed: bytes, *labels: str) -> bytes:
    """32 bytes for one purpose."""
    return hashlib.sha256(b"\x00".join([b"wardround/attacks", seed, *(label.encode() for label in labels)])).digest()


class ScriptedRandom:
    """A source of randomness that gives the same bytes for the same seed.

    Args:
        seed: 32 bytes.
        drawn: Bytes drawn already, a multiple of 16.
    """

    def __init__(self, seed: bytes, drawn: int = 0) -> None:
        self._seed = seed
        self.drawn = drawn

    def __call__(self, length: int) -> bytes:
        """The next ``length`` bytes; every draw begins at a multiple of 16."""
        found = bytearray(length)
        keystream_into(self._seed, found, offset=self.drawn)
        self.drawn += -(-length // BLOCK_BYTES) * BLOCK_BYTES
        return bytes(found)
