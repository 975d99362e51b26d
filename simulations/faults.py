"""Hospitals that fall silent on purpose: which message of which round gets no answer.

A fault belongs to the simulation, never to the study: no hospital would approve one. The
coordinator is told nothing of it and treats the silence as it would any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from wardround.common.errors import WardroundError
from wardround.common.secagg.parameters import Strength
from wardround.common.study import Name, Section
from wardround.common.wire import noisy, private

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wardround.common.ids import SiteId
    from wardround.common.study import Study

Stage = Literal["upload", "confirm", "open"]

TRAIN: Final = "train"
"""Flower message type of the upload in open mode."""

STAGES: Final[tuple[Stage, ...]] = ("upload", "confirm", "open")
"""The exchanges of a round in their order; an open round has the first alone."""

EXCHANGES: Final[dict[str, Stage]] = {
    TRAIN: "upload",
    noisy.TRAIN: "upload",
    private.UPLOAD: "upload",
    private.CONFIRM: "confirm",
    private.OPEN: "open",
    private.ENDED: "open",  # who is silent at any stage is not told how the attempt ended
}
"""Flower message types of a round, with the stage that each belongs to."""

NO_ANSWER: Final = "no answer (fault configured for this simulation)"
"""What stands where a deployed coordinator would note that a site did not answer in time."""


class Fault(Section):
    """One hospital falls silent in one round of the arm ``federated``; in the next round it is back.

    Attributes:
        site: A training site.
        round: The round, from 1.
        stage: The exchange from which on it is silent: ``upload``, it never uploads; ``confirm``, it
            uploads, then is silent; ``open``, it uploads and confirms, then is silent. Open rounds
            have the upload alone; with strength ``semi-honest`` nothing is confirmed.
        attempts: In how many attempts of the round it is silent, counted from the first; None for
            all of them. An open round has one attempt.
    """

    site: Name
    round: Annotated[int, Field(ge=1)]
    stage: Stage
    attempts: Annotated[int, Field(ge=1, le=10)] | None = None

    def covers(self, site: SiteId, kind: str, group: str) -> bool:
        """Whether a message to ``site`` stays unanswered.

        Args:
            site: Whom the message asks.
            kind: Flower message type.
            group: Flower group id: ``<round>`` in open mode, ``<round>.<attempt>`` in private mode.
        """
        exchange = EXCHANGES.get(kind)
        if exchange is None or site != self.site:
            return False
        number, _, attempt = group.partition(".")
        if number != str(self.round) or STAGES.index(exchange) < STAGES.index(self.stage):
            return False
        return self.attempts is None or int(attempt or 1) <= self.attempts


def check_faults(faults: Sequence[Fault], study: Study) -> None:
    """Refuse faults that the arm ``federated`` of ``study`` cannot have.

    Raises:
        WardroundError: WR-1010, naming the fault.
    """
    for number, fault in enumerate(faults, start=1):
        problem = _problem(fault, study)
        if any((fault.site, fault.round) == (other.site, other.round) for other in faults[: number - 1]):
            problem = f"{fault.site} already has a fault in round {fault.round}"
        if problem is not None:
            raise WardroundError("WR-1010", f"Fault {number} of [[faults]] does not fit the study: {problem}.")


def _problem(fault: Fault, study: Study) -> str | None:
    if fault.site not in study.sites:
        return f"{fault.site} is not one of its training sites"
    if fault.round > study.training.rounds:
        return f"it has {study.training.rounds} rounds, not {fault.round}"
    if not study.private:
        return None if fault.stage == "upload" else "the only stage of a round in mode open is upload"
    if fault.stage == "confirm" and study.secure.strength is Strength.SEMI_HONEST:
        return "with strength semi-honest nothing is confirmed; the stages are upload and open"
    if fault.attempts is not None and fault.attempts > study.secure.attempts:
        return f"a round has {study.secure.attempts} attempts, not {fault.attempts}"
    return None
