"""The operations on a hospital's privacy ledger: validate, then record, then apply.

One process, and in it one thread, has the ledger at a time, for one operation; others wait. The events
are read and checked when a process opens the ledger first, and again whenever the file is not as it left it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeGuard

from wardround.client.ledger import restoring
from wardround.client.ledger.book import Book
from wardround.client.ledger.events import (
    LimitSet,
    Mechanism,
    Opened,
    Reserved,
    Settled,
    Spent,
    Withdrawn,
    moment,
)
from wardround.client.ledger.place import (
    HEAD,
    LEDGER,
    alone,
    check_head,
    read_head,
    remove_partial_heads,
    write_head,
)
from wardround.client.ledger.rules import (
    check_allowed,
    check_fits,
    check_noise,
    check_open,
    check_own,
    check_present,
    check_same,
    check_turn,
    check_witnesses,
)
from wardround.client.ledger.state import State
from wardround.client.ledger.store import EventFile, new_file
from wardround.common.crypto.randomness import draw
from wardround.common.errors import WardroundError
from wardround.common.privacy.rdp import ORDERS
from wardround.common.privacy.witness import INFINITE, Bound, SignedHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from wardround.client.ledger.events import Restored
    from wardround.client.ledger.patients import Cohort
    from wardround.client.ledger.state import Run
    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.crypto.signing import SigningKey
    from wardround.common.ids import SiteId, StudyId, StudyRunId
    from wardround.common.privacy.mechanism import SampledGaussian
    from wardround.common.privacy.witness import Head

WAIT: Final = 10.0
"""Seconds that a process waits for others of the same hospital."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose ledger it is.

    Attributes:
        site: The hospital.
        secret: Fingerprint of the secret that its patient keys are made with.
        identity: Gives its signing key.
        earlier: Gives public keys that it signed with before; heads that they signed are its own, too.
    """

    site: SiteId
    secret: str
    identity: Callable[[], SigningKey]
    earlier: Callable[[], tuple[bytes, ...]] = tuple

    def keys(self) -> tuple[bytes, ...]:
        """All public keys of the hospital."""
        return (self.identity().public, *self.earlier())


@dataclass(frozen=True, slots=True)
class Receipt:
    """A round that is paid for and may be trained now, once.

    Attributes:
        run: The study run.
        round: The round.
        computation: Which time it is computed.
        steps: How many steps were paid for.
        head: Where the ledger stands since.
    """

    run: StudyRunId
    round: int
    computation: int
    steps: int
    head: Head


class Ledger:
    """A hospital's privacy ledger.

    Its file is made with the first limit or withdrawal; until then nothing can be reserved.

    Args:
        folder: The hospital's home folder.
        owner: Whose it is.
        random: Draws the names of incarnations.
        wait: Seconds to wait for other processes.
        require_witness: Asked before each payment: whether nothing is spent unless a witness was heard. Default: no.
    """

    def __init__(
        self,
        folder: Path,
        owner: Owner,
        random: RandomSource,
        *,
        wait: float = WAIT,
        require_witness: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folder = folder
        self._owner = owner
        self._random = random
        self._wait = wait
        self._require_witness = require_witness
        self._state: State | None = None
        self._stamp: tuple[int, ...] | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a ledger, usable or not."""
        return (self.folder / LEDGER).exists() or (self.folder / HEAD).exists()

    def state(self) -> State:
        """What the ledger says now; not to be changed. Without a ledger it is empty.

        Raises:
            WardroundError: WR-1811 to WR-1814, the ledger is not usable.
        """
        with self._open() as book:
            return book.state

    def check(self) -> State:
        """As :meth:`state`, with every event read and checked anew."""
        self._state = None
        return self.state()

    def events(self) -> list[tuple[bytes, bytes]]:
        """Content and digest of every event, in order; checked."""
        with self._open() as book:
            return [] if book.file is None else book.file.contents()

    def set_limit(self, epsilon: float | None, delta: float, *, admin: str, reason: str, now: datetime) -> None:
        """Say what each patient may bear over all studies together.

        A lower limit holds at once, for reserved rounds too.

        Args:
            epsilon: Above 0; None for no promise at all, which virtual hospitals of a simulation may make.
            delta: Between 0 and 1; not used without an epsilon.
            admin: Who says so.
            reason: Why.
            now: The time.

        Raises:
            WardroundError: WR-1811 to WR-1814.
            ValueError: A number is out of its range, or a name or reason is missing or not printable.
        """
        limit = Bound(epsilon=INFINITE, delta=0.0) if epsilon is None else Bound(epsilon=float(epsilon), delta=delta)
        if epsilon is not None and delta <= 0:
            raise ValueError("delta is above 0")
        event = LimitSet(limit=limit, admin=admin, reason=reason, at=moment(now))
        with self._open(now) as book:
            book.record(event)

    def reserve(
        self,
        run: StudyRunId,
        study: StudyId,
        cohort: Cohort,
        *,
        mechanism: SampledGaussian | None,
        steps: int,
        rounds: int,
        now: datetime,
    ) -> Reserved:
        """Set aside what a study run will take from each patient of a cohort, all of it, before it begins.

        Asked again for the same run with the same content, nothing changes.

        Args:
            run: The study run.
            study: Its study.
            cohort: Every patient that it may train on.
            mechanism: One step; None or a multiplier of 0: no noise.
            steps: Steps in a round.
            rounds: Rounds.
            now: The time.

        Returns:
            What is reserved.

        Raises:
            WardroundError: WR-1807, some patient's budget is not enough; WR-1808, no limit is set; WR-1809, there is no
                noise although a limit is set; WR-1810, patients changed since, or have withdrawn; WR-1815, the
                run has reserved something else before, or has been settled; WR-1811 to WR-1814.
        """
        step = Mechanism(rate=mechanism.rate, multiplier=mechanism.multiplier) if _has_noise(mechanism) else None
        asked = Reserved(
            run=run, study=study, cohort=cohort.digest, mechanism=step, steps=steps, rounds=rounds, at=moment(now)
        )
        with self._open() as book:
            limit = check_allowed(book.state)
            known = book.state.runs.get(run)
            check_same(known, asked)
            check_present(book.state, cohort)
            if known is None:
                check_noise(step, limit)
                check_fits(book.state, book.state.totals(_committed, cohort, more=asked))
                book.see(cohort, asked.at)
                book.record(asked)
                return asked
            return known.reserved

    def computations(self, run: StudyRunId, number: int) -> int:
        """How often the computation of a round was paid for.

        Raises:
            WardroundError: WR-1811 to WR-1814.
        """
        known = self.state().runs.get(run)
        return 0 if known is None else known.computations.get(number, 0)

    def spend(
        self,
        run: StudyRunId,
        number: int,
        computation: int,
        cohort: Cohort,
        *,
        now: datetime,
        witness: Sequence[SignedHead | None] | None = None,
    ) -> Receipt:
        """Pay for one computation of a round. Its training may begin when this has returned, and not before.

        The first computation of a round draws on the reservation; another one, because a crash came before the first
        one's update was sealed, is a new debit.

        Args:
            run: The study run.
            number: The round, from 1.
            computation: Which time it is computed, from 1: one more than :meth:`computations`.
            cohort: The patients that the data sets have now.
            now: The time.
            witness: What :func:`~wardround.common.privacy.witness.fresh_heads` gives; None: nobody was asked.

        Raises:
            WardroundError: WR-1807, the limit has no room for it; WR-1810, patients changed since the reservation, or
                have withdrawn; WR-1812, a witness knows a newer ledger; WR-1815, it was not reserved, or the run has
                been settled; WR-1816, no witness was heard; WR-1811, WR-1813, WR-1814.
            ValueError: This computation was paid for before, or one before it was not.
        """
        event = Spent(run=run, round=number, computation=computation, at=moment(now))
        with self._open() as book:
            self._check_witness(book, witness, required=self._require_witness())
            known = check_open(book.state, run, number, cohort)
            check_present(book.state, cohort)
            check_turn(known.computations.get(number, 0), computation)
            check_fits(book.state, book.state.totals(_with_one_more(known, computation), cohort))
            book.record(event)
            return Receipt(run, number, computation, known.reserved.steps, book.state.head())

    def settle(self, run: StudyRunId, *, now: datetime) -> None:
        """End a study run here: rounds that never began are free again. Settling it twice changes nothing.

        Raises:
            WardroundError: WR-1815, there is no such run; WR-1811 to WR-1814.
        """
        with self._open() as book:
            known = book.state.runs.get(run)
            if known is None:
                raise WardroundError("WR-1815", f"The study run {run} has reserved nothing here.")
            if not known.settled:
                book.record(Settled(run=run, at=moment(now)))

    def withdraw(self, patients: Cohort, *, now: datetime) -> None:
        """Take patients out of everything from now on. What was spent on them stays spent.

        Raises:
            WardroundError: WR-1811 to WR-1814.
        """
        with self._open(now) as book:
            if not book.state.withdrawn.issuperset(patients):
                book.see(patients, moment(now))
                book.record(Withdrawn(cohort=patients.digest, patients=len(patients), at=moment(now)))

    def signed_head(self, nonce: bytes) -> SignedHead:
        """Where the ledger stands, signed for a witness that drew ``nonce``, 32 bytes.

        Raises:
            WardroundError: WR-1808, there is no ledger yet; WR-1811 to WR-1814.
        """
        with self._open() as book:
            if book.file is None:
                raise WardroundError("WR-1808", "This hospital has no ledger yet.")
            return SignedHead.sign(book.state.head(), nonce.hex(), self._owner.identity())

    def check_witness(self, heads: Sequence[SignedHead | None]) -> None:
        """Compare the ledger with what witnesses say; at least one has to be heard.

        Args:
            heads: What :func:`~wardround.common.privacy.witness.fresh_heads` gives.

        Raises:
            WardroundError: WR-1812, this site has signed a head that its ledger does not contain; WR-1816, nobody was
                heard, or a head is not this site's; WR-1811, WR-1813, WR-1814.
        """
        with self._open() as book:
            self._check_witness(book, heads, required=True)

    def restore(
        self, backup: Path, *, admin: str, reason: str, now: datetime, heads: Sequence[SignedHead] = ()
    ) -> Restored:
        """Put a backup in the ledger's place: a new incarnation, in which the worst that can have happened is charged.

        Args:
            backup: Copy of a ledger file of this hospital; it is not changed.
            admin: Who does so.
            reason: Why.
            now: The time.
            heads: Heads of this site that witnesses still have.

        Returns:
            What was recorded.

        Raises:
            WardroundError: WR-1811, the backup is damaged; WR-1812, the ledger is whole and has events that
                the backup lacks; WR-1813, WR-1814; WR-1816, a head is not this site's.
            ValueError: A name or reason is missing or not printable.
        """
        keys = self._owner.keys()
        for head in heads:
            check_own(head, keys)
        with alone(self.folder, self._wait):
            self._state = None
            return restoring.restore(
                self.folder,
                backup,
                restoring.Decision(admin, reason, moment(now), draw(self._random, 16).hex()),
                [head.head for head in heads],
                self._check_owner,
            )

    # How it is opened

    @contextmanager
    def _open(self, now: datetime | None = None) -> Iterator[Book]:
        """The ledger, for this caller alone; made where there is none and a time is given."""
        with alone(self.folder, self._wait):
            path = self.folder / LEDGER
            if not path.exists():
                if (self.folder / HEAD).exists():
                    raise WardroundError("WR-1812", f"{LEDGER} is missing although {HEAD} knows of one.")
                if now is None:
                    yield Book(self.folder, None, State())
                    return
                self._create(now)
            before = _stamp(path)
            with EventFile(path, self._wait) as file:
                self._state = self._current(file, before)
                self._check_head(file, self._state)
                yield Book(self.folder, file, self._state)
            self._stamp = _stamp(path)

    def _current(self, file: EventFile, stamp: tuple[int, ...]) -> State:
        """The folded events: as they were left, or read anew where something has touched the file since."""
        state = self._state
        if state is not None and stamp == self._stamp and file.newest() == (state.sequence, state.digest):
            return state
        remove_partial_heads(self.folder)
        state = file.read()
        self._check_owner(state)
        return state

    def _check_head(self, file: EventFile, state: State) -> None:
        if check_head(read_head(self.folder), state, file.digest):
            write_head(self.folder, state.head())

    def _check_owner(self, state: State) -> None:
        opened = state.opened
        if opened is None or opened.site != self._owner.site:
            raise WardroundError("WR-1813", f"{LEDGER} belongs to another site than {self._owner.site}.")
        if opened.secret != self._owner.secret:
            raise WardroundError(
                "WR-1814", "patient.key is not the secret that the ledger's patient keys were made with."
            )

    def _check_witness(self, book: Book, heads: Sequence[SignedHead | None] | None, *, required: bool) -> None:
        if required and not heads:
            raise WardroundError("WR-1816", "No witness was heard about the newest head of the ledger.")
        if heads:
            check_witnesses(book.state, heads, self._owner.keys(), book.digest)

    def _create(self, now: datetime) -> None:
        event = Opened(
            site=self._owner.site,
            secret=self._owner.secret,
            incarnation=draw(self._random, 16).hex(),
            orders=ORDERS,
            at=moment(now),
        )
        with new_file(self.folder / LEDGER) as file:
            Book(self.folder, file, State()).append(event)


def _committed(run: Run) -> int:
    return run.committed_steps


def _with_one_more(known: Run, computation: int) -> Callable[[Run], int]:
    """What counts when a round of ``known`` is to be computed.

    The first time, what is spent: room for it was set aside, and this fails only if the limit was lowered since.
    From the second time on also what is reserved: it must not take what others have been promised.
    """

    def steps(run: Run) -> int:
        base = run.spent_steps if computation == 1 else run.committed_steps
        return base + known.reserved.steps if run is known else base

    return steps


def _has_noise(mechanism: SampledGaussian | None) -> TypeGuard[SampledGaussian]:
    return mechanism is not None and mechanism.multiplier > 0


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when anybody else writes to a file."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
