"""Sealed files: what lies on the hospital's disk between rounds and nobody else may read.

AES-256-GCM (NIST SP 800-38D) in chunks of 1 MiB, so that memory does not grow with the content:

1. header: 8 bytes of magic, 16 bytes of salt, 8 bytes of content length
2. key of the file: ``HKDF(key, salt)``; a key that seals again, as after a crash, never repeats a nonce
3. chunk i: nonce ``i`` (12 bytes, big-endian), associated data the header and i; 16 bytes of tag

The header fixes the number of chunks, so that a chunk that is missing, added or in another's place
does not open. A file is written beside its place, synced, and renamed: it is whole or not there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wardround.client.home import sync_folder
from wardround.common.crypto.kdf import derive
from wardround.common.crypto.randomness import draw
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from wardround.common.crypto.randomness import RandomSource

CHUNK: Final = 1 << 20
TAG: Final = 16
SALT: Final = 16
_MAGIC: Final = b"WRSEAL\x00\x01"
_HEADER: Final = len(_MAGIC) + SALT + 8


def write_sealed(path: Path, key: bytes, content: memoryview, random: RandomSource) -> int:
    """Seal ``content``, a buffer of single bytes, into a file; durable on return.

    Args:
        path: The file; an earlier one is replaced.
        key: 32 bytes.
        content: What to seal.
        random: Draws the salt.

    Returns:
        Bytes of the file.
    """
    header = _MAGIC + draw(random, SALT) + len(content).to_bytes(8, "big")
    partial = path.with_name(f".{path.name}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(header)
        cipher = _cipher(key, header)
        for number, (first, last) in enumerate(_chunks(len(content))):
            file.write(cipher.encrypt(_nonce(number), content[first:last], header + _nonce(number)))
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    partial.replace(path)
    sync_folder(path.parent)
    return size


def read_sealed(path: Path, key: bytes, content: memoryview) -> None:
    """Open a file into ``content``, a writable buffer of single bytes and of the content's length.

    Raises:
        WardroundError: WR-1714, it is missing, damaged, of another length, or sealed under another key.
    """
    try:
        with path.open("rb") as file:
            header = _header(file, len(content))
            cipher = _cipher(key, header)
            for number, (first, last) in enumerate(_chunks(len(content))):
                sealed = file.read(last - first + TAG)
                content[first:last] = cipher.decrypt(_nonce(number), sealed, header + _nonce(number))
            if file.read(1):
                raise WardroundError("WR-1714", f"{path.name} is longer than what was sealed.")
    except OSError as error:
        raise WardroundError("WR-1714", f"{path.name} cannot be read ({type(error).__name__}).") from error
    except (InvalidTag, ValueError) as error:  # a chunk of wrong length is a ValueError
        raise WardroundError("WR-1714", f"{path.name} is damaged, or sealed under another key.") from error


def sealed_length(path: Path) -> int:
    """Length of the content that a file says it holds; :func:`read_sealed` finds out whether it does.

    Raises:
        WardroundError: WR-1714, it is missing or no sealed file.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
            present = file.seek(0, os.SEEK_END) - _HEADER
    except OSError as error:
        raise WardroundError("WR-1714", f"{path.name} cannot be read ({type(error).__name__}).") from error
    length = int.from_bytes(header[-8:], "big")
    if len(header) != _HEADER or not header.startswith(_MAGIC) or length > present:
        raise WardroundError("WR-1714", f"{path.name} is damaged.")
    return length


def _header(file: BinaryIO, length: int) -> bytes:
    header = file.read(_HEADER)
    if len(header) != _HEADER or not header.startswith(_MAGIC) or int.from_bytes(header[-8:], "big") != length:
        raise ValueError("not a sealed file of this length")
    return header


def _cipher(key: bytes, header: bytes) -> AESGCM:
    return AESGCM(derive(key, salt=header, info=b"wardround/sealed file"))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _chunks(length: int) -> Iterator[tuple[int, int]]:
    """First byte and end of each chunk; an empty content has one, so that its header is authentic too."""
    for first in range(0, max(length, 1), CHUNK):
        yield first, min(first + CHUNK, length)
