"""The AES-256-CTR keystream (NIST SP 800-38A, section 6.5) as a pseudorandom generator.

The counter starts at zero, so a key gives one stream; every key is used for one mask and nothing
else. The stream is written straight into a buffer of the caller's: the cipher's input is one block
of zeros that is never written to, and nothing of the buffer's size is allocated.

The library lets go of the interpreter's lock while it works, so threads with a :class:`Keystream`
each run side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from wardround.common.crypto.lengths import check_length

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_BYTES: Final = 16
ZEROS: Final = memoryview(bytes(256 * 1024))
"""The cipher's input. 256 KiB: it stays in the processor's second-level cache, the calls cost little."""

Octets: TypeAlias = "NDArray[np.uint8] | memoryview | bytearray"
"""A writable, contiguous buffer of bytes."""


class Keystream:
    """The stream of one key, from an offset on.

    Args:
        key: 32 bytes, for this stream alone.
        offset: Where to begin, bytes; a multiple of 16.

    Raises:
        ValueError: The key has another length, or there is no such offset.
    """

    __slots__ = ("_encryptor",)

    def __init__(self, key: bytes, offset: int = 0) -> None:
        check_length("a keystream's key", key)
        counter, rest = divmod(offset, BLOCK_BYTES)
        if rest or not 0 <= counter < 1 << 128:
            raise ValueError(f"a keystream's offset is a multiple of {BLOCK_BYTES} bytes, not {offset}")
        self._encryptor = Cipher(AES256(key), CTR(counter.to_bytes(BLOCK_BYTES, "big"))).encryptor()

    def into(self, out: Octets) -> None:
        """Overwrite ``out`` with the next ``len(out)`` bytes of the stream.

        Raises:
            ValueError: ``out`` is read-only, does not lie contiguously, or does not hold bytes.
        """
        view = _writable(out)
        for start in range(0, len(view), len(ZEROS)):
            part = view[start : start + len(ZEROS)]
            self._encryptor.update_into(ZEROS[: len(part)], part)


def keystream_into(key: bytes, out: Octets, *, offset: int = 0) -> None:
    """Overwrite ``out`` with the stream of ``key`` from ``offset`` (bytes, a multiple of 16) on.

    Raises:
        ValueError: As :class:`Keystream` and :meth:`Keystream.into`.
    """
    Keystream(key, offset).into(out)


def _writable(out: Octets) -> memoryview:
    view = out.data if isinstance(out, np.ndarray) else memoryview(out)
    if view.readonly or not view.contiguous or view.format != "B" or view.ndim != 1:
        raise ValueError("a keystream is written into contiguous, writable bytes")
    return view
