"""What every open study run begins with: the sites' nodes, the model's layout and its initial values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.server.start import Start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flwr.serverapp import Grid

    from wardround.common.ids import SiteId
    from wardround.server.plan import RunPlan


class OpenRun:
    """An open study run over the hospitals that a Grid reaches.

    Args:
        grid: Flower's Grid.
        plan: What to run.
        nodes: Flower node id of every site of the study.

    Raises:
        WardroundError: WR-1306, a site of the study has no node; WR-12xx, its model cannot be built.
    """

    def __init__(self, grid: Grid, plan: RunPlan, nodes: Mapping[SiteId, int]) -> None:
        missing = [site for site in plan.study.site_ids if site not in nodes]
        if missing:
            raise WardroundError("WR-1306", f"These sites of the study are not connected: {', '.join(missing)}.")
        self._grid = grid
        self._plan = plan
        self._nodes = {site: nodes[site] for site in plan.study.site_ids}
        self.start = Start.of(plan)
        self.layout = self.start.layout
        self._initial = self.start.vector
