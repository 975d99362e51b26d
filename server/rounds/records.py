"""What must survive a restart of every study run: the model, what was committed to it, and what its rules remember.

The record ``committed`` holds the history and the hashes of the vectors. It is written after them, as one change: a
coordinator that is killed at any moment finds the round before or this one, whole.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from wardround.common.algorithms.dpsgd import OptimizerState
from wardround.common.errors import WardroundError
from wardround.server.rounds.committed import Committed
from wardround.server.rounds.state import History, MeanValidation, RoundRecord, Selector, Validation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.server.rounds.store import RecordFolder

COMMITTED: Final = "committed"
"""Name of the record."""


class CommittedRecords:
    """Keeps what a run has committed.

    Args:
        store: Where it lies.
        study: The run's study.
    """

    def __init__(self, store: RecordFolder, study: Study) -> None:
        self._store = store
        self._study = study

    def committed(self) -> tuple[Committed, bytes] | None:
        """The model with its history, and the head that was kept with it; None before the first round.

        Raises:
            WardroundError: WR-1714, it is damaged.
        """
        found = self._store.get(COMMITTED)
        if found is None:
            return None
        try:
            fields = json.loads(found)
            digests = {name: bytes.fromhex(digest) for name, digest in fields["vectors"].items()}
            head, history, chosen = bytes.fromhex(fields["head"]), read_history(fields["history"]), fields["selector"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WardroundError("WR-1714", "The stored history is damaged.") from error
        vectors = {name: self._store.read_vector(digest) for name, digest in digests.items()}
        selector = Selector(self._study.selection, vectors.get("kept"), chosen["round"], float(chosen["best"]))
        optimizer = None
        if self._study.distributed:
            optimizer = OptimizerState(len(history.rounds), vectors["first"], vectors.get("second"))
        committed = Committed(self._study, vectors["model"], history=history, selector=selector, optimizer=optimizer)
        return committed, head

    def keep(self, committed: Committed, *, head: bytes = b"", over: Iterable[str] = ()) -> None:
        """A round, or the last validation, is committed; durable on return.

        Args:
            committed: Model and history.
            head: Head of the log, if there is one.
            over: Other records that are erased with the same change.
        """
        digests = {name: self._store.keep_vector(vector) for name, vector in _vectors(committed).items()}
        selector = committed.selector
        fields = {
            "vectors": {name: digest.hex() for name, digest in digests.items()},
            "head": head.hex(),
            "history": asdict(committed.history),
            "selector": {"round": selector.round, "best": repr(selector.best)},
        }
        self._store.commit({COMMITTED: json.dumps(fields).encode(), **dict.fromkeys(over)})
        self._store.forget_vectors(digests.values())


def read_history(fields: dict[str, Any]) -> History:
    """The history whose fields :func:`dataclasses.asdict` gave, after its way through JSON.

    Raises:
        TypeError: It has other fields.
        KeyError: It lacks one.
    """
    rounds = (
        RoundRecord(**{**record, "sites": tuple(record["sites"]), "failed": tuple(record["failed"])})
        for record in fields["rounds"]
    )
    validations = (
        Validation(**{**found, "mean": None if found["mean"] is None else MeanValidation(**found["mean"])})
        for found in fields["validations"]
    )
    return History(tuple(rounds), tuple(validations))


def _vectors(committed: Committed) -> dict[str, Vector]:
    found: dict[str, Vector | None] = {"model": committed.model, "kept": committed.selector.kept}
    if (optimizer := committed.optimizer) is not None:
        found |= {"first": optimizer.first, "second": optimizer.second}
    return {name: vector for name, vector in found.items() if vector is not None}
