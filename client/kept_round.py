"""A site's newest update of an open run, kept on its disk until the run is over.

The round is answered once, and paid for once where patients have a promise: whoever was killed after the training,
hospital or coordinator, the same bytes leave again. With a promise, what is kept has its noise already. The file holds
the SHA-256 of the rest, the length of the reply (4 bytes, big-endian), the reply (JSON), and update and optimizer's
state (safetensors).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pydantic import ValidationError
from safetensors.numpy import load, save

from wardround.client.home import write_atomically
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from wardround.client.home import Home
    from wardround.common.ids import StudyRunId
    from wardround.common.vector import Vector

    OptimizerState = Mapping[str, NDArray[np.float32]]

R = TypeVar("R", bound="BaseModel")

FILE: Final = "newest.round"
"""Name of the file in the run's folder."""

_HASH: Final = 32
_LENGTH: Final = 4
_UPDATE: Final = "update"
_STATE: Final = "state/"


@dataclass(frozen=True)
class KeptRound(Generic[R]):
    """A site's newest update of a run.

    Attributes:
        run: The study run.
        reply: What was answered, and to what.
        update: What leaves with it, shape ``[P]``.
        optimizer_state: The optimizer's state after the round, by name.
    """

    run: StudyRunId
    reply: R
    update: Vector
    optimizer_state: OptimizerState


def keep_round(home: Home, kept: KeptRound[R]) -> None:
    """Keep a round in place of the one before; durable on return."""
    path = _path(home, kept.run)
    path.parent.mkdir(parents=True, exist_ok=True)
    reply = kept.reply.model_dump_json().encode()
    state = {_STATE + name: tensor for name, tensor in kept.optimizer_state.items()}
    content = len(reply).to_bytes(_LENGTH, "big") + reply + save({_UPDATE: kept.update, **state})
    write_atomically(path, hashlib.sha256(content).digest() + content, mode=0o600)


def kept_round(home: Home, run: StudyRunId, kind: type[R]) -> KeptRound[R] | None:
    """The newest round of a run, whose reply is of a kind; None where none is kept.

    Raises:
        WardroundError: WR-1714, the file is damaged.
    """
    try:
        found = _path(home, run).read_bytes()
    except FileNotFoundError:
        return None
    digest, content = found[:_HASH], found[_HASH:]
    if hashlib.sha256(content).digest() != digest:
        fix = "Remove the file. If the coordinator asks for that round again, it is trained again and paid for again."
        raise WardroundError("WR-1714", f"{FILE} of run {run} is damaged.", fix=fix)
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "big")
    tensors = load(content[end:])
    state = {name.removeprefix(_STATE): tensor for name, tensor in tensors.items() if name.startswith(_STATE)}
    try:
        reply = kind.model_validate_json(content[_LENGTH:end])
    except ValidationError:
        raise WardroundError("WR-1714", f"{FILE} of run {run} is of a study in another mode.") from None
    return KeptRound(run, reply, tensors[_UPDATE], state)


def forget_round(home: Home, run: StudyRunId) -> None:
    """Erase it: the run is over."""
    _path(home, run).unlink(missing_ok=True)


def _path(home: Home, run: StudyRunId) -> Path:
    return home.run_folder(run) / FILE
