"""What every open study run begins with, and how its rounds become durable."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from wardround.common.errors import WardroundError
from wardround.common.wire.base import SiteReply, WireMessage
from wardround.common.wire.records import pack_vector
from wardround.common.wire.vectors import unpack_vector
from wardround.server.exchange import ask, expect
from wardround.server.open_records import NoRecords, OpenRecords
from wardround.server.rounds.committed import Committed
from wardround.server.rounds.shelf import Shelf
from wardround.server.start import Start
from wardround.server.surroundings import surroundings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flwr.serverapp import Grid

    from wardround.common.ids import SiteId
    from wardround.common.vector import Vector
    from wardround.server.exchange import Answer
    from wardround.server.plan import RunPlan

WITHOUT: Final = "not in this run: it was started without this site"
"""Why a site that the plan leaves out is in no round."""

NOBODY: Final = 0
"""Stands for the node of a site that the runtime knows to be silent, and that has none; it is not asked."""

R_contra = TypeVar("R_contra", bound=SiteReply, contravariant=True)
R = TypeVar("R", bound=SiteReply)


class Summing(Protocol[R_contra]):
    """An engine in whose round updates are summed as they come."""

    def receive(self, site: SiteId, reply: R_contra, update: Vector) -> None:
        """Take one site's update of shape ``[P]`` into the sum, or leave the site out with a reason."""

    def drop(self, site: SiteId, reason: str) -> None:
        """The site gives no update in this round."""

    def close_round(self, seconds: float) -> object:
        """Commit the round."""


class OpenRun:
    """An open study run over the hospitals that a Grid reaches.

    A run that was interrupted goes on after its last committed round, if its plan is resumable.

    Args:
        grid: Flower's Grid.
        plan: What to run.
        nodes: Flower node id of every site of the study.

    Raises:
        WardroundError: WR-1306, a site of the study has no node, and the runtime does not say why; WR-12xx, its model
            cannot be built; WR-1714, what an interrupted run left is damaged, or of another run.
    """

    def __init__(self, grid: Grid, plan: RunPlan, nodes: Mapping[SiteId, int]) -> None:
        self._around = surroundings_of(grid)
        taking_part = [site for site in plan.study.site_ids if site not in plan.without]
        missing = [site for site in taking_part if site not in nodes and self._around.silent(site) is None]
        if missing:
            raise WardroundError("WR-1306", f"These sites of the study are not connected: {', '.join(missing)}.")
        self._grid = grid
        self._plan = plan
        self._nodes = {site: nodes.get(site, NOBODY) for site in taking_part}
        self._records = OpenRecords(plan) if plan.resumable else NoRecords()
        self.start = Start.of(plan)
        self.layout = self.start.layout

    def _committed(self) -> Committed:
        """The initial model, or what an interrupted run had reached."""
        return self._records.committed() or Committed(self._plan.study, self.start.vector)

    def _shelf(self) -> Shelf:
        """Where updates wait for their turn in the sum."""
        self._plan.out.mkdir(parents=True, exist_ok=True)
        return Shelf(self._plan.out)

    def _open(self, number: int) -> None:
        """Round ``number`` begins when enough sites are heard."""
        self._around.opened(number)
        self._around.gather(self._nodes, min(self._plan.study.aggregation.min_sites, len(self._nodes)))

    def _sum(
        self,
        engine: Summing[R],
        kind: str,
        questions: Mapping[SiteId, WireMessage],
        *,
        number: int,
        model: Vector,
        reply: type[R],
    ) -> None:
        """Carry out one round that is open: ask every site with the model, sum what comes as it comes, and commit.

        Raises:
            WardroundError: WR-1303, fewer sites than the study asks for are in the sum.
        """
        begin = time.perf_counter()
        for answer in ask(self._grid, kind, questions, self._nodes, group=str(number), vector=pack_vector(model)):
            self._take(engine, answer, reply)
            del answer  # its vector is in the sum: let go of it before the next one comes
        engine.close_round(time.perf_counter() - begin)

    def _take(self, engine: Summing[R], answer: Answer, kind: type[R]) -> None:
        if answer.message is None:
            engine.drop(answer.site, answer.reason or "no reason given")
            return
        try:
            reply = expect(answer, kind)
            update = unpack_vector(answer.message.content, self.layout.size)
        except WardroundError as error:
            engine.drop(answer.site, error.phrase)
            return
        engine.receive(answer.site, reply, update)

    def _keep(self, committed: Committed) -> None:
        """Make a round durable: the next one begins after this."""
        self._records.keep(committed)
        self._around.committed(committed.history.rounds[-1])
