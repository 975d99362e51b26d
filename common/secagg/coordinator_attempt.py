"""The coordinator's side of steps 3 to 5: one attempt of one round.

3. :meth:`CoordinatorAttempt.receive_upload` adds a masked update to the sum and keeps its packets;
   :meth:`CoordinatorAttempt.close_uploads` fixes the survivor set U.
4. :meth:`CoordinatorAttempt.receive_confirmation` collects signatures over U.
5. :meth:`CoordinatorAttempt.receive_opening` collects shares; :meth:`CoordinatorAttempt.reveal`
   reconstructs b_v of U and s_vu of U with the sites outside, and takes their masks off the sum.

A masked update is added in place as it arrives and is not kept. There is one vector of ring values
in here, the sum; no method takes a mask off anything else, and until the sum is opened over U it is
uniformly random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.common.crypto.signing import verify
from wardround.common.errors import WardroundError
from wardround.common.secagg.coordinator_record import CoordinatorRecord
from wardround.common.secagg.explain import UNOPENED, explain
from wardround.common.secagg.keys import commitment, pair_sign
from wardround.common.secagg.masks import add_masks
from wardround.common.secagg.messages import (
    AttemptEnded,
    Confirmation,
    ConfirmRequest,
    Opening,
    OpenRequest,
    Stage,
    Survivors,
    Upload,
)
from wardround.common.secagg.parameters import Strength
from wardround.common.secagg.ring import Ring
from wardround.common.secagg.shamir import combine, lagrange_weights
from wardround.common.secagg.site_checks import CONFIRM_PURPOSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wardround.common.ids import SiteId
    from wardround.common.roster import Roster
    from wardround.common.secagg.context import RoundContext, SessionContext
    from wardround.common.secagg.masks import Sign
    from wardround.common.secagg.ring import RingVector
    from wardround.common.secagg.store import CoordinatorStore

    Unmask = Callable[[RingVector, Sequence[tuple[bytes, Sign]]], None]

RECORD: Final = "attempt"
"""Name of the coordinator's record of the attempt in progress."""


class CoordinatorAttempt:
    """One attempt of one round.

    Args:
        session: The session.
        context: The round context that sites were sent.
        roster: The consortium's roster.
        size: Number of ring values in an update.
        head: Head of the coordinator's log, 32 bytes; confirmations sign it.
        store: What must not be forgotten.
        minimum: Fewest sites in the sum, where the study asks for more than the protocol does.
        unmask: Adds masks to a vector in place; :func:`~wardround.common.secagg.masks.add_masks`, or
            the same on several threads.
        resumed: The record of an attempt whose uploads were closed before a restart.
    """

    def __init__(
        self,
        session: SessionContext,
        context: RoundContext,
        *,
        roster: Roster,
        size: int,
        head: bytes,
        store: CoordinatorStore,
        minimum: int = 0,
        unmask: Unmask = add_masks,
        resumed: CoordinatorRecord | None = None,
    ) -> None:
        self.session = session
        self.context = context
        self._roster = roster
        self._store = store
        self._unmask = unmask
        self._sites = len(session.cohort)
        self._minimum = max(session.sizes.minimum_sum, minimum)
        self._head = head
        self._total: RingVector = np.zeros(size, dtype=Ring(context.ring_bits).dtype)
        self._commitments: dict[int, tuple[bytes, ...]] = {}
        self._packets: dict[int, Mapping[int, bytes]] = {}
        self._survivors: Survivors | None = None
        self._signatures: dict[int, bytes] = {}
        self._openings: dict[int, bytes] = {}
        self._asked: frozenset[int] = frozenset()
        self._revealed = False
        if resumed is not None:
            self._restore(resumed)

    def _restore(self, record: CoordinatorRecord) -> None:
        if record.context != self.context or record.survivors.context != self.context.digest:
            raise WardroundError("WR-1714", "The stored attempt is another one than the one to go on with.")
        self._store.read_sum(self.context.digest.hex(), self._total)
        self._survivors = record.survivors
        self._commitments, self._packets = dict(record.commitments), dict(record.packets)

    def request(self) -> bytes:
        """Step 3, down; the model goes with it."""
        return self.context.encode()

    # Step 3

    def receive_upload(self, site: SiteId, message: bytes, values: RingVector) -> None:
        """Take a masked update of shape ``[size]`` into the sum. Nothing is kept of a refused one.

        Raises:
            WardroundError: WR-1701, malformed, repeated, or in the name of another site; WR-1706, of
                another attempt, or after the survivor set was fixed (harmless: it stays closed).
        """
        position = self.session.position(site)
        if self._survivors is not None:
            raise WardroundError("WR-1706", f"An upload of {site} came after the survivor set was fixed.")
        upload = Upload.decode(message, self._sites)
        self._check_sender(site, upload.position, upload.context)
        if position in self._packets:
            raise WardroundError("WR-1701", f"{site} has uploaded already.")
        if values.dtype != self._total.dtype or values.shape != self._total.shape:
            raise WardroundError("WR-1701", f"The masked update of {site} is not of the ring and size of the study.")
        np.add(self._total, values, out=self._total)
        self._commitments[position], self._packets[position] = upload.commitments, upload.packets

    @property
    def uploaded(self) -> tuple[SiteId, ...]:
        """Sites in the sum."""
        return self._names(self._packets)

    def close_uploads(self) -> dict[SiteId, bytes]:
        """Fix the survivor set.

        Returns:
            Step 4, down: one message for each survivor; in a semi-honest session nobody is asked.

        Raises:
            WardroundError: WR-1711, too few sites uploaded; WR-1713, two sites do not share a pair
                seed, so that their masks would not cancel.
        """
        if self._survivors is None:
            self._require(self._packets, self._minimum, Stage.UPLOAD)
            positions = tuple(sorted(self._packets))
            self._check_pairs(positions)
            survivors = Survivors(self.context.digest, positions, self._head)
            record = CoordinatorRecord(self.context, survivors, self._commitments, self._packets)
            self._store.keep_sum(self.context.digest.hex(), self._total)
            self._store.commit({RECORD: record.encode()})
            self._survivors = survivors
        if self.session.strength is Strength.SEMI_HONEST:
            return {}
        fixed = self._fixed()
        return {
            self.session.cohort[position]: ConfirmRequest(fixed, self._packets_to(position)).encode(self._sites)
            for position in fixed.sites
        }

    def _check_pairs(self, positions: tuple[int, ...]) -> None:
        for own in positions:
            for other in positions:
                if self._commitments[own][other] != self._commitments[other][own]:
                    names = " and ".join(self._names((own, other)))
                    raise WardroundError("WR-1713", f"{names} do not share the same pair seed; nothing was opened.")

    # Step 4

    def receive_confirmation(self, site: SiteId, message: bytes) -> None:
        """Take a site's signature over U.

        Raises:
            WardroundError: WR-1701, malformed; WR-1703, not signed by the site; WR-1706, of another attempt,
                or before the survivor set was fixed.
        """
        found = Confirmation.decode(message)
        self._check_sender(site, found.position, found.context)
        if self._survivors is None:
            raise WardroundError("WR-1706", f"{site} confirmed before there was a survivor set.")
        statement = self._fixed().statement()
        if not verify(self._roster.public_key(site), CONFIRM_PURPOSE, statement, found.signature):
            raise WardroundError("WR-1703", f"The confirmation of {site} is not signed by its identity key.")
        self._signatures[found.position] = found.signature

    def close_confirmations(self) -> dict[SiteId, bytes]:
        """Ask for the opening.

        Returns:
            Step 5, down: one message for each site that confirmed; semi-honest: for each survivor.

        Raises:
            WardroundError: WR-1711, too few sites confirmed.
        """
        fixed = self._fixed()
        if self.session.strength is Strength.SEMI_HONEST:
            asked = {position: OpenRequest(fixed, {}, self._packets_to(position)) for position in fixed.sites}
        else:
            self._require(self._signatures, self.session.sizes.threshold, Stage.CONFIRM)
            asked = dict.fromkeys(sorted(self._signatures), OpenRequest(fixed, self._signatures, {}))
        self._asked = frozenset(asked)
        return {self.session.cohort[position]: request.encode(self._sites) for position, request in asked.items()}

    # Step 5

    def receive_opening(self, site: SiteId, message: bytes) -> None:
        """Take a site's shares.

        Raises:
            WardroundError: WR-1701, malformed or repeated; WR-1706, of another attempt or not asked for.
        """
        if self.session.position(site) not in self._asked:
            raise WardroundError("WR-1706", f"{site} sent shares that it was not asked for.")
        found = Opening.decode(message, self._sites, len(self._fixed().sites))
        self._check_sender(site, found.position, found.context)
        if self._openings.setdefault(found.position, found.shares) != found.shares:
            raise WardroundError("WR-1701", f"{site} sent shares a second time, and other ones.")

    def reveal(self) -> RingVector:
        """The sum over U, shape ``[size]``: the masks are taken off in place, once.

        Any t of the sites that sent shares will do. One of them may have sent wrong ones: the commitments show it,
        and t others are tried.

        Raises:
            WardroundError: WR-1711, too few sites sent shares; WR-1713, the shares do not give the
                seeds that were committed to.
        """
        if not self._revealed:
            self._unmask(self._total, self._masks(self._secrets()))
            self._revealed = True
        return self._total

    def _secrets(self) -> list[bytes]:
        """The secrets of U in the order of an opening, from the first t holders in a row whose shares fit."""
        threshold = self.session.sizes.threshold
        self._require(self._openings, threshold, Stage.OPEN)
        holders = sorted(self._openings)
        for first in range(len(holders) if len(holders) > threshold else 1):
            row = holders[first:] + holders[:first]  # the last one is followed by the first
            secrets = self._reconstructed(row[:threshold])
            if secrets is not None:
                return secrets
        raise WardroundError("WR-1713", f"The shares of {', '.join(self._names(holders))} do not fit together.")

    def _reconstructed(self, holders: Sequence[int]) -> list[bytes] | None:
        """The secrets that these holders' shares give, in the order of an opening; None if any is wrong."""
        weights = lagrange_weights([holder + 1 for holder in holders])
        try:
            secrets = combine(weights, [self._openings[holder] for holder in holders])
        except ValueError:  # a share that is no share: another set of holders may do
            return None
        expected = [self._commitments[own][other] for own, other in self._pairs()]
        found = [
            commitment(self.context.digest, secret, pair) for secret, pair in zip(secrets, self._pairs(), strict=True)
        ]
        return secrets if found == expected else None

    def _pairs(self) -> list[tuple[int, int]]:
        """Whose secrets an opening holds, in its order: (v, v) for b_v, (v, u) for s_vu."""
        survivors = self._fixed().sites
        outside = [position for position in range(self._sites) if position not in survivors]
        return [(v, v) for v in survivors] + [(v, u) for v in survivors for u in outside]

    def _masks(self, secrets: Sequence[bytes]) -> list[tuple[bytes, Sign]]:
        """What undoes the masks that are left in the sum: those of b_v, and of pairs that did not cancel."""
        undo: list[tuple[bytes, Sign]] = []
        for secret, (own, other) in zip(secrets, self._pairs(), strict=True):
            added = 1 if own == other else pair_sign(own, other)
            undo.append((secret, -1 if added == 1 else 1))
        return undo

    # Both

    def ended(self, stage: Stage) -> bytes:
        """Down, to every site, when the attempt ends without a sum: :class:`AttemptEnded`."""
        return self._end(stage).encode()

    def _end(self, stage: Stage) -> AttemptEnded:
        arrived: dict[Stage, Iterable[int]] = {
            Stage.UPLOAD: self._packets,
            Stage.CONFIRM: self._signatures,
            Stage.OPEN: self._openings,
        }
        needed = self._minimum if stage is Stage.UPLOAD else self.session.sizes.threshold
        return AttemptEnded(self.context.digest, stage, needed, tuple(sorted(arrived[stage])))

    def _require(self, present: Mapping[int, object], needed: int, stage: Stage) -> None:
        if len(present) < needed:
            told = explain(self.session, self.context, self._end(stage))
            raise WardroundError("WR-1711", f"{told} {UNOPENED}")

    def _packets_to(self, receiver: int) -> dict[int, bytes]:
        return {sender: self._packets[sender][receiver] for sender in self._fixed().sites if sender != receiver}

    def _check_sender(self, site: SiteId, position: int, context: bytes) -> None:
        if position != self.session.position(site):
            raise WardroundError("WR-1701", f"A message of {site} is in the name of another site.")
        if context != self.context.digest:
            raise WardroundError("WR-1706", f"A message of {site} belongs to another attempt.")

    def _fixed(self) -> Survivors:
        if self._survivors is None:
            raise RuntimeError("the survivor set is not fixed yet")
        return self._survivors

    def _names(self, positions: Iterable[int]) -> tuple[SiteId, ...]:
        return tuple(self.session.cohort[position] for position in sorted(positions))
