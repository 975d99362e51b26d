"""An open ledger: its file and what its events amount to, changed together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.client.ledger.events import chained, seen
from wardround.client.ledger.place import write_head

if TYPE_CHECKING:
    from pathlib import Path

    from wardround.client.ledger.events import Event
    from wardround.client.ledger.patients import Cohort
    from wardround.client.ledger.state import State
    from wardround.client.ledger.store import EventFile


class Book:
    """An open ledger: its file and what it says.

    Args:
        folder: The hospital's home folder.
        file: The file; None where there is none.
        state: What its events amount to.
    """

    def __init__(self, folder: Path, file: EventFile | None, state: State) -> None:
        self._folder = folder
        self.file = file
        self.state = state

    def digest(self, sequence: int) -> bytes | None:
        """Digest of an event; None where there is no such event."""
        return None if self.file is None else self.file.digest(sequence)

    def see(self, cohort: Cohort, at: str) -> None:
        """Make a cohort known, if it is not."""
        if cohort.digest not in self.state.cohorts:
            self.record(seen(cohort, at), cohort)

    def record(self, event: Event, cohort: Cohort | None = None) -> None:
        """Append an event and write the new head."""
        self.append(event, cohort)
        write_head(self._folder, self.state.head())

    def append(self, event: Event, cohort: Cohort | None = None) -> None:
        """Append an event; durable before it counts."""
        if self.file is None:
            raise RuntimeError("there is no ledger to write to")
        content = event.canonical()
        digest = chained(self.state.digest, content)
        self.file.append(self.state.sequence + 1, content, digest, cohort)
        self.state.apply(event, digest, cohort)
