"""Steps 3 to 5 over the grid: one try to open the sum of one round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.common.secagg.messages import Stage
from wardround.common.wire.private import CONFIRM, ENDED, OPEN, UPLOAD
from wardround.common.wire.rings import unpack_ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from flwr.app import ArrayRecord, RecordDict

    from wardround.common.ids import SiteId
    from wardround.common.secagg.coordinator_attempt import CoordinatorAttempt
    from wardround.common.secagg.encoding import DecodedSum, Encoding
    from wardround.server.private.exchange import Exchange

    Sites = tuple[SiteId, ...]

_TRIED_AGAIN: Final = ("WR-1711", "WR-1713")
_NOT_ASKED: Final = "not in the survivor set whose shares were asked for before"


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
        asked_shares: Whether shares were asked for. Sites may send them once more; a new attempt has to be over
            the same sites, because one that sent its shares opens no other set on this model.
    """

    code: str
    words: str
    missing: dict[SiteId, str]
    asked_shares: bool


class AttemptRun:
    """Carries one attempt over the grid.

    Args:
        exchange: The sites.
        attempt: The coordinator's side of the protocol.
        encoding: Of the round.
        bind: Told the survivor set before shares are asked for.
    """

    def __init__(
        self, exchange: Exchange, attempt: CoordinatorAttempt, encoding: Encoding, bind: Callable[[Sites], None]
    ) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._encoding = encoding
        self._bind = bind
        self._group = f"{attempt.context.round}.{attempt.context.attempt}"
        self._stage = Stage.UPLOAD
        self._missing: dict[SiteId, str] = {}

    def run(self, vector: ArrayRecord, asked: tuple[SiteId, ...]) -> Opened | Failed:
        """All three exchanges.

        Args:
            vector: The global model.
            asked: Sites to upload.
        """
        outside = self._uploads(vector, asked)
        return self._opened(outside)

    def resume(self) -> Opened | Failed:
        """The last two exchanges of an attempt whose survivor set is fixed: after a restart, or once more.

        Sites give the same bytes again.
        """
        uploaded = self._attempt.uploaded
        outside = {site: "it did not upload" for site in self._attempt.session.cohort if site not in uploaded}
        self._stage = Stage.OPEN  # its shares may have been asked for
        return self._opened(outside)

    def _opened(self, outside: dict[SiteId, str]) -> Opened | Failed:
        """The sum, or why there is none; then the sites are told."""
        try:
            silent = self._confirmations() | self._openings()
            sites = self._attempt.uploaded
            decoded = self._encoding.decode(self._attempt.reveal(), len(sites))
        except WardroundError as error:
            if error.code not in _TRIED_AGAIN:
                raise
            self._tell_ended()
            return Failed(error.code, self._words(error), self._missing, self._stage is Stage.OPEN)
        return Opened(decoded, sites, outside, silent)

    def _uploads(self, vector: ArrayRecord, asked: tuple[SiteId, ...]) -> dict[SiteId, str]:
        """Step 3; the sites of the cohort that are not in the sum."""
        requests = dict.fromkeys(asked, self._attempt.request())
        self._missing = self._exchange.ask(UPLOAD, requests, self._receive_upload, group=self._group, vector=vector)
        others = {site: _NOT_ASKED for site in self._attempt.session.cohort if site not in asked}
        return others | self._missing

    def _receive_upload(self, site: SiteId, content: bytes, record: RecordDict) -> None:
        values = unpack_ring(record, self._encoding.ring, self._encoding.size)
        self._attempt.receive_upload(site, content, values)

    def _confirmations(self) -> dict[SiteId, str]:
        """Step 4; the survivors that did not confirm."""
        requests = self._attempt.close_uploads()
        self._stage = max(self._stage, Stage.CONFIRM)
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
        self._bind(self._attempt.uploaded)
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
