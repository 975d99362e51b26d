"""Steps 3 to 5 over the grid: one try to open the sum of one round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.secagg.messages import Stage
from wardround.common.wire.private import CONFIRM, ENDED, OPEN, UPLOAD
from wardround.common.wire.rings import unpack_ring

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, RecordDict

    from wardround.common.ids import SiteId
    from wardround.common.secagg.coordinator_attempt import CoordinatorAttempt
    from wardround.common.secagg.encoding import DecodedSum, Encoding
    from wardround.server.private.exchange import Exchange

_TRIED_AGAIN = ("WR-1711", "WR-1713")


@dataclass(frozen=True, slots=True)
class Opened:
    """A round's sum.

    Attributes:
        decoded: The weighted sum of the survivors' updates and numbers.
        sites: The survivors.
        missing: Sites of the cohort outside the sum, with the reason.
        silent: Survivors that did not answer later, with the reason.
    """

    decoded: DecodedSum
    sites: tuple[SiteId, ...]
    missing: dict[SiteId, str]
    silent: dict[SiteId, str]


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that ended without a sum; the next one may succeed.

    Attributes:
        code: WR-1711 or WR-1713.
        words: What happened, who was missing and why.
        missing: Sites that did not answer, with the reason.
    """

    code: str
    words: str
    missing: dict[SiteId, str]


class AttemptRun:
    """Carries one attempt over the grid.

    Args:
        exchange: The sites.
        attempt: The coordinator's side of the protocol.
        encoding: Of the round.
    """

    def __init__(self, exchange: Exchange, attempt: CoordinatorAttempt, encoding: Encoding) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._encoding = encoding
        self._group = f"{attempt.context.round}.{attempt.context.attempt}"
        self._stage = Stage.UPLOAD
        self._missing: dict[SiteId, str] = {}

    def run(self, vector: ArrayRecord | None) -> Opened | Failed:
        """All three exchanges; where they end without a sum, the sites are told.

        Args:
            vector: The global model; None to go on with an attempt whose survivor set is fixed.
        """
        try:
            outside = {} if vector is None else self._uploads(vector)
            silent = self._confirmations() | self._openings()
            sites = self._attempt.uploaded
            decoded = self._encoding.decode(self._attempt.reveal(), len(sites))
        except WardroundError as error:
            if error.code not in _TRIED_AGAIN:
                raise
            self._tell_ended()
            return Failed(error.code, self._words(error), self._missing)
        return Opened(decoded, sites, outside, silent)

    def _uploads(self, vector: ArrayRecord) -> dict[SiteId, str]:
        """Step 3; the sites that did not upload."""
        requests = dict.fromkeys(self._attempt.session.cohort, self._attempt.request())
        self._missing = self._exchange.ask(UPLOAD, requests, self._receive_upload, group=self._group, vector=vector)
        return self._missing

    def _receive_upload(self, site: SiteId, content: bytes, record: RecordDict) -> None:
        values = unpack_ring(record, self._encoding.ring, self._encoding.size)
        self._attempt.receive_upload(site, content, values)

    def _confirmations(self) -> dict[SiteId, str]:
        """Step 4; the survivors that did not confirm."""
        requests = self._attempt.close_uploads()
        self._stage = Stage.CONFIRM
        self._missing = self._exchange.ask(
            CONFIRM,
            requests,
            lambda site, content, _: self._attempt.receive_confirmation(site, content),
            group=self._group,
        )
        return self._missing

    def _openings(self) -> dict[SiteId, str]:
        """Step 5; the sites that confirmed and did not send their shares."""
        requests = self._attempt.close_confirmations()
        self._stage = Stage.OPEN
        self._missing = self._exchange.ask(
            OPEN, requests, lambda site, content, _: self._attempt.receive_opening(site, content), group=self._group
        )
        return self._missing

    def _tell_ended(self) -> None:
        told = dict.fromkeys(self._attempt.session.cohort, self._attempt.ended(self._stage))
        self._exchange.ask(ENDED, told, lambda *_: None, group=self._group)

    def _words(self, error: WardroundError) -> str:
        reasons = "; ".join(f"{site}: {reason}" for site, reason in sorted(self._missing.items()))
        return f"{error.what} ({reasons})" if reasons else error.what
