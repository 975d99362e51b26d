"""A file of initial weights as bytes: the one that a study names by its hash, and nothing else.

Each side reads the file from a folder of its own: a hospital from its home, the coordinator from where its plan says.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER: Final = "models"
"""Where files of weights lie, in a hospital's home, a run folder and a data folder."""


def file_name(digest: str) -> str:
    """Name of the file of this SHA-256 in :data:`FOLDER`."""
    return f"{digest}.safetensors"


def missing(digest: str, place: str) -> WardroundError:
    """WR-1208: there is no such file; ``place`` says where it was looked for, without a path."""
    return WardroundError("WR-1208", f"{place} holds no {FOLDER}/{file_name(digest)}.")


def verified(content: bytes, digest: str) -> bytes:
    """The content, if it is that of the file.

    Raises:
        WardroundError: WR-1208, it has another SHA-256.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise WardroundError("WR-1208", f"The file has the SHA-256 {found}, and the study names {digest}.")
    return content


def tensors(content: bytes) -> dict[str, NDArray[np.float32]]:
    """Named tensors of a safetensors file.

    Raises:
        WardroundError: WR-1208, it is none, or a tensor is not float32 or not finite.
    """
    try:
        found = load(content)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WardroundError("WR-1208", f"The file is no safetensors file ({type(error).__name__}).") from error
    for name, array in found.items():
        if array.dtype != np.float32:
            raise WardroundError("WR-1208", f"The file's {name} is {array.dtype}, not float32.")
        if not np.isfinite(array).all():
            raise WardroundError("WR-1208", f"The file's {name} holds values that are not finite.")
    return found
