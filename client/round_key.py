"""The key of all randomness in one round of a study with a promise: drawn once, so that a paid round can be made again.

Whoever is killed between payment and answer has released nothing, and the round is asked for again. Sampling and noise
of the round follow from one key, so what is made again is the one release that was paid for, and no second payment is
due, however often it was killed. With fresh noise it would be: that a process died may depend on the first draw.

1. The key and the hash of what was asked are durable before the payment is.
2. The same question with the same model has the same key.
3. Another one in the place of one that was paid for is refused: two models under one noise differ by no noise at all.
4. The key is erased once the update is kept; without it the round would be drawn, and paid for, anew.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from wardround.client.home import write_atomically
from wardround.common.crypto.keystream import Keystream
from wardround.common.crypto.randomness import draw
from wardround.common.errors import WardroundError
from wardround.common.vector import vector_hash

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.home import Home
    from wardround.client.spending import Turns
    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.ids import StudyRunId
    from wardround.common.vector import Vector
    from wardround.common.wire.base import RunContext

FILE: Final = "round.key"
"""Name of the file in the run's folder."""

_KEY: Final = 32


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    round: int
    asked: str
    key: str
    since: tuple[int, int]


class RoundKey:
    """The key of a round.

    Args:
        home: The hospital's home.
        question: Names the run, its seed and its fold.
        number: The round.
        model: What the round starts from, shape ``[P]``.
    """

    def __init__(self, home: Home, question: RunContext, number: int, model: Vector) -> None:
        self._home, self._run, self._number = home, question.run, number
        named = f"{question.study} {question.seed} {question.fold} {question.folds} {number} {vector_hash(model)}"
        self._asked = hashlib.sha256(named.encode()).hexdigest()
        self._kept = _read(_path(home, question.run))

    def source(self, random: RandomSource, turns: Turns) -> tuple[RandomSource, Turns]:
        """The round's randomness; durable on return.

        Args:
            random: The operating system's, from which a new key is drawn.
            turns: How often the round was paid for by now.

        Returns:
            The source, and how often the round was paid for when its key was drawn.

        Raises:
            WardroundError: WR-1301, this round was paid for on another model.
        """
        kept = self._kept if self._kept is not None and self._kept.round == self._number else None
        if kept is not None and kept.asked != self._asked and turns != kept.since:
            what = f"Round {self._number} of this run was begun, and paid for, on another model."
            raise WardroundError("WR-1301", what)
        if kept is None or kept.asked != self._asked:
            kept = _Kept(round=self._number, asked=self._asked, key=draw(random, _KEY).hex(), since=turns)
            path = _path(self._home, self._run)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, kept.model_dump_json().encode(), mode=0o600)
        return _stream(bytes.fromhex(kept.key)), kept.since

    def erase(self) -> None:
        """The update is kept: it is never made again."""
        forget_key(self._home, self._run)


def forget_key(home: Home, run: StudyRunId) -> None:
    """Erase it: the run is over."""
    _path(home, run).unlink(missing_ok=True)


def _stream(key: bytes) -> RandomSource:
    stream = Keystream(key)

    def random(size: int) -> bytes:
        octets = bytearray(size)
        stream.into(octets)
        return bytes(octets)

    return random


def _read(path: Path) -> _Kept | None:
    try:
        return _Kept.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        fix = "Remove the file. If the coordinator asks for that round again, it is trained again and paid for again."
        raise WardroundError("WR-1714", f"{FILE} of run {path.parent.name} is damaged.", fix=fix) from None


def _path(home: Home, run: StudyRunId) -> Path:
    return home.run_folder(run) / FILE
