"""The optimizer's state between private rounds: sealed like the update, one file a round.

A site that restarts goes on with the state that it had. Two states are kept at most: the newest, and the
one that its round began with, because that round may have to be trained again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safetensors import SafetensorError
from safetensors.numpy import load, save

from wardround.client.secagg.sealed import read_sealed, sealed_length, write_sealed
from wardround.common.crypto.randomness import draw
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from wardround.client.secagg.store import SiteFiles
    from wardround.common.crypto.randomness import RandomSource

_RECORD: Final = "optimizer/"
_KEY: Final = 32


def newest_state(files: SiteFiles, number: int) -> dict[str, NDArray[np.float32]] | None:
    """The state of the newest round before round ``number``; None where there is none.

    Raises:
        WardroundError: WR-1714, it is missing or damaged.
    """
    earlier = [found for found in _rounds(files) if found < number]
    if not earlier:
        return None
    newest = max(earlier)
    path = _path(files, newest)
    content = bytearray(sealed_length(path))
    read_sealed(path, files.get(f"{_RECORD}{newest}") or b"", memoryview(content))
    try:
        return load(bytes(content))
    except SafetensorError as error:
        raise WardroundError("WR-1714", f"{path.name} does not hold an optimizer's state.") from error


def keep_state(files: SiteFiles, number: int, state: Mapping[str, NDArray[np.float32]], random: RandomSource) -> None:
    """Seal the state after round ``number``, and erase all but the one that the round began with; durable on return.

    Nothing is kept of an empty state.
    """
    if not state:
        return
    key = draw(random, _KEY)
    write_sealed(_path(files, number), key, memoryview(save(dict(state))), random)
    outdated = sorted(found for found in _rounds(files) if found < number)[:-1]
    files.commit({f"{_RECORD}{number}": key, **{f"{_RECORD}{found}": None for found in outdated}})
    for found in outdated:
        _path(files, found).unlink(missing_ok=True)


def erase_states(files: SiteFiles) -> None:
    """Erase the states of all rounds."""
    rounds = _rounds(files)
    files.commit({f"{_RECORD}{found}": None for found in rounds})
    for found in rounds:
        _path(files, found).unlink(missing_ok=True)


def _rounds(files: SiteFiles) -> list[int]:
    return [int(name.removeprefix(_RECORD)) for name in files.names(_RECORD)]


def _path(files: SiteFiles, number: int) -> Path:
    return files.beside(f".optimizer.{number}")
