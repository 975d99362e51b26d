"""Where a ledger stands in time: who may open it now, and which head it had last.

``ledger.head`` beside the ledger holds the head after the newest event. It is written after the event is durable,
so that after a crash it may be one event behind, and never ahead: a ledger that is behind its head was rolled back.
``ledger.lock`` keeps the hospital's other processes waiting, ``ledger.turn`` lets the one that waits longest be next;
both are empty and are never removed.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from wardround.client.home import write_atomically
from wardround.client.ledger.events import Restored
from wardround.common.errors import WardroundError
from wardround.common.privacy.witness import Head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wardround.client.ledger.state import State

LEDGER: Final = "ledger.sqlite"
HEAD: Final = "ledger.head"
LOCK: Final = "ledger.lock"
TURN: Final = "ledger.turn"
_WITHOUT_HEAD: Final = (
    f"Put {HEAD} back. If it is gone, restore the ledger from its own file: wardround hospital ledger restore "
    f"HOME/{LEDGER} --home HOME --admin NAME --reason TEXT; that charges the worst that can be missing from it."
)
_POLL: Final = 0.003
"""Seconds between two attempts; an operation takes about as long."""


@contextmanager
def alone(folder: Path, wait: float) -> Iterator[None]:
    """Keep all others, processes and threads, out of the folder's ledger.

    Raises:
        WardroundError: WR-1813, another one has it for longer than ``wait`` seconds, or there is no such folder.
    """
    deadline = time.monotonic() + wait
    with _lock_file(folder / LOCK) as lock:
        with _lock_file(folder / TURN) as turn:  # whoever has just been served cannot come before one who waits
            _take(turn, deadline)
            _take(lock, deadline)
        yield


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    """A file to lock; closing it unlocks it."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise WardroundError("WR-1813", f"{path.name} cannot be opened ({type(error).__name__}).") from error
    try:
        yield handle
    finally:
        os.close(handle)


def read_head(folder: Path) -> Head | None:
    """The head that was written last; None where there is none.

    Raises:
        WardroundError: WR-1811, it is damaged; WR-1813, it cannot be read.
    """
    try:
        content = (folder / HEAD).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WardroundError("WR-1813", f"{HEAD} cannot be read ({type(error).__name__}).") from error
    try:
        return Head.model_validate_json(content)
    except ValidationError:
        raise WardroundError("WR-1811", f"{HEAD} is damaged.", fix=_WITHOUT_HEAD) from None


def write_head(folder: Path, head: Head) -> None:
    """Write the head of the newest event; durable on return.

    Raises:
        WardroundError: WR-1813, it cannot be written.
    """
    try:
        write_atomically(folder / HEAD, head.canonical(), mode=0o600)
    except OSError as error:
        raise WardroundError("WR-1813", f"{HEAD} cannot be written ({type(error).__name__}).") from error


def remove_partial_heads(folder: Path) -> None:
    """Remove heads that a crash left half written; only whoever has the ledger writes one."""
    for partial in folder.glob(f".{HEAD}.*"):
        partial.unlink(missing_ok=True)


def check_head(head: Head | None, state: State, digest: Callable[[int], bytes | None]) -> bool:
    """Compare the head that was written last with the ledger.

    Args:
        head: What ``ledger.head`` holds; None: it is missing.
        state: What the ledger's events amount to.
        digest: Gives the digest of an event by its number.

    Returns:
        Whether the head is one event behind.

    Raises:
        WardroundError: WR-1811, they do not belong together; WR-1812, the ledger is behind the head.
    """
    last = state.last
    if isinstance(last, Restored) and head == last.replaced:
        return True
    if head is None:
        if state.sequence == 1:
            return True
        raise WardroundError("WR-1811", f"{HEAD} is missing.", fix=_WITHOUT_HEAD)
    if head.sequence > state.sequence:
        what = f"The ledger has {state.sequence} events, {HEAD} knows of {head.sequence}."
        raise WardroundError("WR-1812", what)
    found = digest(head.sequence)
    if found is None or found.hex() != head.digest:
        raise WardroundError("WR-1811", f"The ledger and {HEAD} hold different events.")
    if state.sequence - head.sequence > 1:
        raise WardroundError("WR-1811", f"{HEAD} is {state.sequence - head.sequence} events behind the ledger.")
    return head.sequence < state.sequence


def _take(handle: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise WardroundError("WR-1813", "Another process of this hospital has the ledger in use.") from None
            time.sleep(_POLL)
        else:
            return
