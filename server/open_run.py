"""What every open study run begins with, and how its rounds become durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.server.open_records import NoRecords, OpenRecords
from wardround.server.rounds.committed import Committed
from wardround.server.start import Start
from wardround.server.surroundings import surroundings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flwr.serverapp import Grid

    from wardround.common.ids import SiteId
    from wardround.server.plan import RunPlan

WITHOUT: Final = "not in this run: it was started without this site"
"""Why a site that the plan leaves out is in no round."""


NOBODY: Final = 0
"""Stands for the node of a site that the runtime knows to be silent, and that has none; it is not asked."""


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

    def _open(self, number: int) -> None:
        """Round ``number`` begins when enough sites are heard."""
        self._around.opened(number)
        self._around.gather(self._nodes, min(self._plan.study.aggregation.min_sites, len(self._nodes)))

    def _keep(self, committed: Committed) -> None:
        """Make a round durable: the next one begins after this."""
        self._records.keep(committed)
        self._around.committed(committed.history.rounds[-1])
