"""Runs one study over a Grid from the first question to the reported model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.wire.messages import Describe, Description, Trained, Validate, Validated
from wardround.common.wire.records import pack_vector
from wardround.server.exchange import ask, expect
from wardround.server.open_run import WITHOUT, OpenRun
from wardround.server.rounds.engine import RoundEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.common.ids import SiteId


class Coordinator(OpenRun):
    """A study run in which each site answers for itself, with its counts and losses."""

    def run(self) -> RoundEngine:
        """Run every round and the last validation.

        Raises:
            WardroundError: WR-1303, a round had too few sites; WR-1306, a site could not describe its data.
        """
        described = self._describe()
        samples = {site: description.samples for site, description in described.items()}
        committed = self._committed()
        engine = RoundEngine(
            self._plan.study,
            context=self._plan.context,
            layout=self.layout,
            committed=committed,
            samples=samples,
            patients={site: description.patients for site, description in described.items()},
            total=self._total(samples),
            outside=dict.fromkeys(self._plan.without, WITHOUT),
            shelf=self._shelf(),
        )
        while not engine.finished:
            self._round(engine)
            self._keep(committed)
        if not any(found.round == self._plan.study.training.rounds for found in engine.history.validations):
            self._validate(engine)
            self._records.keep(committed)
        return engine

    def _describe(self) -> dict[SiteId, Description]:
        """What the sites said before the first round, or say now."""
        kept = self._records.described()
        if kept is not None:
            return kept
        self._around.gather(self._nodes, len(self._nodes))
        question = Describe(**self._plan.context.model_dump())
        answers = ask(self._grid, "query.describe", dict.fromkeys(self._nodes, question), self._nodes, group="0")
        described = {answer.site: expect(answer, Description) for answer in answers}
        empty = [site for site, found in described.items() if found.samples < 1 or found.patients < 1]
        if empty:
            raise WardroundError("WR-1306", f"These sites have no training patient: {', '.join(sorted(empty))}.")
        self._records.keep_described(described)
        return described

    def _total(self, samples: Mapping[SiteId, int]) -> int:
        if self._plan.samples is not None:
            return self._plan.samples
        return math.ceil(self._plan.study.training.epochs * sum(samples.values()))

    def _round(self, engine: RoundEngine) -> None:
        number = len(engine.history.rounds) + 1
        self._open(number)
        self._sum(engine, "train", engine.open_round(), number=number, model=engine.model, reply=Trained)

    def _validate(self, engine: RoundEngine) -> None:
        question = Validate(**self._plan.context.model_dump(), layout=self.layout.hash)
        questions = dict.fromkeys(self._nodes, question)
        vector = pack_vector(engine.model)
        replies: dict[SiteId, Validated] = {}
        missing: dict[SiteId, str] = {}
        for answer in ask(self._grid, "evaluate", questions, self._nodes, group="last", vector=vector):
            try:
                replies[answer.site] = expect(answer, Validated)
            except WardroundError as error:
                missing[answer.site] = answer.reason or error.phrase
        engine.validated(replies, missing)
