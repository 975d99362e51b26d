"""Runs one open study with differential privacy over a Grid: budgets are reserved, rounds run, runs settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wardround.common.wire.noisy import PREPARE, SETTLE, TRAIN, Prepare, Ready, Settle, TrainedNoisy, TrainNoisy
from wardround.server.exchange import ask, expect
from wardround.server.noisy.engine import NoisyEngine
from wardround.server.open_run import WITHOUT, OpenRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.server.rounds.committed import Committed


class NoisyCoordinator(OpenRun):
    """A study run in which each site's update holds the noise that its patients were promised."""

    def run(self) -> Committed:
        """Have every site reserve its budget, run every round, and settle.

        Raises:
            WardroundError: WR-1306, a site does not take part; WR-1303, a round had too few sites.
        """
        fields = self._plan.context.model_dump()
        before = self._records.committed()
        if before is None:
            self._prepare(fields)
        committed = before or self._committed()
        engine = NoisyEngine(self._plan.study, committed, dict.fromkeys(self._plan.without, WITHOUT), self._shelf())
        while not committed.finished:
            self._round(engine)
            self._keep(committed)
        # A site that does not hear the end keeps its reservation: its budget is safe, the run is not less finished.
        for _ in ask(self._grid, SETTLE, dict.fromkeys(self._nodes, Settle(**fields)), self._nodes, group="end"):
            pass
        return committed

    def _prepare(self, fields: Mapping[str, Any]) -> None:
        self._around.gather(self._nodes, len(self._nodes))
        for answer in ask(self._grid, PREPARE, dict.fromkeys(self._nodes, Prepare(**fields)), self._nodes, group="0"):
            expect(answer, Ready)

    def _round(self, engine: NoisyEngine) -> None:
        number = engine.next_round
        self._open(number)
        question = TrainNoisy(**self._plan.context.model_dump(), layout=self.layout.hash, round=number)
        questions = dict.fromkeys(self._nodes, question)
        self._sum(engine, TRAIN, questions, number=number, model=engine.committed.model, reply=TrainedNoisy)
