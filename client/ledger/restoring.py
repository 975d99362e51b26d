"""A backup takes the ledger's place.

1. The backup is copied and checked as any ledger.
2. It is refused where the ledger itself is whole and has events that the backup lacks.
3. What may have happened since the backup is charged. Reservations that are open in it count as spent. If
   some head shows that something else happened, or no head is left that shows that nothing did, every patient
   is charged the highest limit that is known of besides.
4. The event is appended to the copy, which then replaces the ledger. The file that was replaced is kept.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final, NamedTuple

from wardround.client.home import sync_folder
from wardround.client.ledger.events import Restored, chained
from wardround.client.ledger.place import HEAD, LEDGER, check_head, read_head, write_head
from wardround.client.ledger.store import EventFile, partial_of, remove_journal
from wardround.common.errors import WardroundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardround.client.ledger.state import State
    from wardround.common.privacy.witness import Bound, Head

_KEEP: Final = "Keep the ledger as it is."
_OTHER: Final = "Give for BACKUP a copy of this hospital's ledger.sqlite; the ledger itself is as it was."


class Decision(NamedTuple):
    """What is recorded of a restore.

    Attributes:
        admin: Who.
        reason: Why.
        at: When.
        incarnation: The ledger's new name.
    """

    admin: str
    reason: str
    at: str
    incarnation: str


def restore(
    folder: Path, backup: Path, decision: Decision, heads: Sequence[Head], check_owner: Callable[[State], None]
) -> Restored:
    """Steps 1 to 4; the caller has the ledger for itself.

    Raises:
        WardroundError: As :meth:`wardround.client.ledger.ledger.Ledger.restore`.
    """
    partial = partial_of(folder / LEDGER)
    written = _written_head(folder)
    whole = _whole_head(folder, check_owner)
    try:
        _copy(backup, partial)  # step 1
        state = _checked_copy(partial, backup, check_owner)
        with EventFile(partial) as file:
            if whole is not None and not _is_prefix(whole, file):  # step 2
                what = "The ledger is whole and has events that the backup lacks."
                raise WardroundError("WR-1812", what, fix=_KEEP)
            known = [*heads, *(() if written is None else (written,))]
            event = _event(decision, written, _lost(state, known, file))  # step 3
            content = event.canonical()
            digest = chained(state.digest, content)
            file.append(state.sequence + 1, content, digest, None)
            state.apply(event, digest)
        _replace(folder, partial, decision.incarnation)  # step 4
    finally:
        partial.unlink(missing_ok=True)
        remove_journal(partial)
    write_head(folder, state.head())
    return event


def _event(decision: Decision, written: Head | None, lost: Bound | None) -> Restored:
    return Restored(
        incarnation=decision.incarnation,
        admin=decision.admin,
        reason=decision.reason,
        replaced=written,
        lost=lost,
        at=decision.at,
    )


def _lost(state: State, known: Sequence[Head], file: EventFile) -> Bound | None:
    """What may have been borne by events that are not draws on reservations of the backup.

    Raises:
        WardroundError: WR-1812, nobody can say: the backup has no limit, and no head is known.
    """
    beyond = [head for head in known if not _is_prefix(head, file) and head.committed != state.committed.hex()]
    if known and not beyond:
        return None
    lost = state.ceiling
    for head in beyond:
        lost = head.ceiling.joined(lost) if head.ceiling is not None else lost
    if lost is None and not known:
        what = "The backup is older than the first limit, and no head of the ledger is known."
        raise WardroundError("WR-1812", what, fix="Restore a newer backup, or give a head that a witness has.")
    return lost


def _is_prefix(head: Head, file: EventFile) -> bool:
    found = file.digest(head.sequence)
    return found is not None and found.hex() == head.digest


def _written_head(folder: Path) -> Head | None:
    """``ledger.head``; a damaged one is put aside, it says nothing."""
    try:
        return read_head(folder)
    except WardroundError as error:
        if error.code != "WR-1811":
            raise
        (folder / HEAD).replace(folder / f"{HEAD}.damaged")
        return None


def _whole_head(folder: Path, check_owner: Callable[[State], None]) -> Head | None:
    """The head of the ledger that is to be replaced; None where it is damaged, rolled back or gone."""
    if not (folder / LEDGER).exists():
        return None
    try:
        with EventFile(folder / LEDGER) as file:
            state = file.read()
            check_owner(state)
            check_head(read_head(folder), state, file.digest)
    except WardroundError as error:
        if error.code not in {"WR-1811", "WR-1812"}:
            raise
        return None
    return state.head()


def _checked_copy(partial: Path, backup: Path, check_owner: Callable[[State], None]) -> State:
    """What the copy amounts to; refusals of its content speak of the argument that it was made of."""
    try:
        with EventFile(partial, name=f"BACKUP {backup.name}") as file:
            state = file.read()
        check_owner(state)
    except WardroundError as error:
        if error.code not in {"WR-1811", "WR-1813"}:
            raise
        raise WardroundError(error.code, error.what, fix=_OTHER) from error
    return state


def _copy(backup: Path, partial: Path) -> None:
    """Copy the backup and, where it was taken in the middle of a write, its journal."""
    try:
        backup.open("rb").close()
    except OSError as error:
        what = f"BACKUP {backup.name} cannot be read ({type(error).__name__})."
        raise WardroundError("WR-1813", what, fix=_OTHER) from error
    try:
        for source, target in ((backup, partial), (_journal(backup), _journal(partial))):
            target.unlink(missing_ok=True)
            if source.exists() or source == backup:
                shutil.copyfile(source, target)
                target.chmod(0o600)
    except OSError as error:
        raise WardroundError("WR-1813", f"The backup cannot be copied ({type(error).__name__}).") from error


def _replace(folder: Path, partial: Path, incarnation: str) -> None:
    path = folder / LEDGER
    try:
        if path.exists():
            (folder / f"ledger.replaced-{incarnation[:8]}.sqlite").hardlink_to(path)
        remove_journal(path)  # it belongs to the file that goes
        _sync(partial)
        partial.replace(path)
        sync_folder(folder)
    except OSError as error:
        raise WardroundError("WR-1813", f"{LEDGER} cannot be replaced ({type(error).__name__}).") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")
