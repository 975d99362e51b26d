"""The Flower ServerApp: wiring only.

The run configuration names a plan file; the grid's nodes are asked which site each of them is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flwr.serverapp import ServerApp

from wardround.server.coordinate import Coordinator
from wardround.server.enrol import connected_sites
from wardround.server.noisy.coordinator import NoisyCoordinator
from wardround.server.outcome import write_outcome
from wardround.server.plan import read_plan
from wardround.server.private.coordinator import PrivateCoordinator

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.serverapp import Grid

    from wardround.server.plan import RunPlan

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the planned study and write the reported model and the history."""
    plan = read_plan(context.run_config)
    coordinator = _coordinator(plan)(grid, plan, connected_sites(grid))
    write_outcome(plan, coordinator.start, coordinator.run())


def _coordinator(plan: RunPlan) -> type[Coordinator | NoisyCoordinator | PrivateCoordinator]:
    if plan.study.private:
        return PrivateCoordinator
    return Coordinator if plan.study.privacy is None else NoisyCoordinator
