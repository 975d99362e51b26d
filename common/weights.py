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
    from collections.abc import Callable

    from numpy.typing import NDArray

FOLDER: Final = "models"
"""Where files of weights lie, in a hospital's home, a run folder and a data folder."""


def file_name(digest: str) -> str:
    """Name of the file of this SHA-256 in :data:`FOLDER`."""
    return f"{digest}.safetensors"


def missing(digest: str, place: str) -> WardroundError:
    """WR-1208: there is no such file; ``place`` says where it was looked for, without a path."""
    return WardroundError("WR-1208", f"{place} holds no {FOLDER}/{file_name(digest)}.")


def unreadable(digest: str, place: str, error: OSError) -> WardroundError:
    """WR-1208: there is something under the name, and it is no file that can be read."""
    return WardroundError(
        "WR-1208", f"{FOLDER}/{file_name(digest)} of {place} cannot be read ({type(error).__name__})."
    )


def verified(content: bytes, digest: str) -> bytes:
    """The content, if it is that of the file.

    Raises:
        WardroundError: WR-1208, it has another SHA-256.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise WardroundError("WR-1208", f"The file has the SHA-256 {found}, and the study names {digest}.")
    return content


def tensors(content: bytes, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, NDArray[np.float32]]:
    """Named tensors of a safetensors file.

    Args:
        content: The file.
        wanted: Which of them; the others are not looked at.

    Raises:
        WardroundError: WR-1208, it is none, or a tensor that is wanted is not float32 or not finite.
    """
    try:
        found = {name: array for name, array in load(content).items() if wanted(name)}
    except KeyError as error:  # a type that NumPy does not have, such as bfloat16
        raise WardroundError("WR-1208", f"The file holds tensors of a type that is not float32 ({error}).") from error
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise WardroundError("WR-1208", f"The file is no safetensors file ({type(error).__name__}).") from error
    for name, array in found.items():
        if array.dtype != np.float32:
            raise WardroundError("WR-1208", f"The file's {name[:100]!r} is {array.dtype}, not float32.")
        if not np.isfinite(array).all():
            raise WardroundError("WR-1208", f"The file's {name[:100]!r} holds values that are not finite.")
    return found
