"""Runs one private study over a Grid: a session, the rounds, a last validation."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from wardround.common.errors import WardroundError
from wardround.common.wire.private import FINISHED
from wardround.common.wire.records import pack_vector
from wardround.server.private.attempt import AttemptRun, Failed, Opened
from wardround.server.private.engine import PrivateEngine, Travelled
from wardround.server.private.exchange import Exchange
from wardround.server.private.records import RunRecords
from wardround.server.private.session import open_session, settings_of
from wardround.server.private.store import FolderStore
from wardround.server.private.unmask import on_threads
from wardround.server.start import Start
from wardround.server.surroundings import surroundings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flwr.serverapp import Grid

    from wardround.common.ids import SiteId
    from wardround.common.roster import Roster
    from wardround.common.secagg.context import RoundContext
    from wardround.common.wire.base import RunContext
    from wardround.server.plan import RunPlan
    from wardround.server.private.records import JoinedSession
    from wardround.server.rounds.committed import Committed

FOLDER = "private"
"""Folder of the plan's output under which the coordinator keeps what must survive a restart."""


class PrivateCoordinator:
    """A private study run over the hospitals that a Grid reaches.

    A run that was interrupted goes on where it was: with the same session, after the last committed
    round, and with the attempt whose survivor set was fixed.

    Args:
        grid: Flower's Grid.
        plan: What to run; it names the consortium's roster.
        nodes: Flower node id of every connected site.

    Raises:
        WardroundError: WR-1702, the plan has no roster, or nobody signed it; WR-1714, what an
            interrupted run left is damaged; WR-12xx, its model cannot be built.
    """

    def __init__(self, grid: Grid, plan: RunPlan, nodes: Mapping[SiteId, int]) -> None:
        self._plan = plan
        self._study = plan.study
        self._roster = _roster(plan)
        self._around = surroundings_of(grid)
        taking_part = {site: node for site, node in nodes.items() if site not in plan.without}
        self._exchange = Exchange(grid, plan.context, taking_part)
        self._records = RunRecords(FolderStore(plan.out / FOLDER), plan.study)
        self.start = Start.of(plan)
        self.layout = self.start.layout
        self._initial = self.start.vector

    def run(self) -> Committed:
        """Run every round and the last validation; then the sites erase their keys.

        A site that does not hear the end keeps them until it does: the run is not less finished for it.

        Raises:
            WardroundError: WR-1711 or WR-1713, a round could not be opened in all its attempts.
        """
        engine = self._engine()
        while not engine.committed.finished:
            self._round(engine)
        if self._study.validates and not self._is_validated(engine.committed):
            self._validate(engine)
        self._exchange.ask(FINISHED, dict.fromkeys(engine.cohort, b""), lambda *_: None, group="end")
        return engine.committed

    def _engine(self) -> PrivateEngine:
        session, outside = self._session()
        return PrivateEngine(
            self._study,
            layout=self.layout,
            model=self._initial,
            session=session,
            outside=outside,
            roster=self._roster,
            records=self._records,
            unmask=on_threads(self._plan.threads or os.cpu_count() or 1),
        )

    def _session(self) -> tuple[JoinedSession, dict[SiteId, str]]:
        """The session to go on with, or a new one."""
        joined, context = self._records.session(), self._plan.context
        if joined is None:
            expected = [site for site in self._study.site_ids if site not in self._plan.without]
            self._around.gather(expected, len(expected))
            return open_session(self._exchange, self._study, context, self._roster, self._records)
        _check_same_run(joined, context, self._roster)
        outside = sorted(set(self._study.site_ids) - set(joined.context.cohort))
        return joined, dict.fromkeys(outside, "it did not join")

    def _is_validated(self, committed: Committed) -> bool:
        return any(found.round == self._study.training.rounds for found in committed.history.validations)

    def _round(self, engine: PrivateEngine) -> None:
        begin = time.perf_counter()
        self._exchange.bytes_up = self._exchange.bytes_down = 0
        context, found, failed = self._open(engine)
        if isinstance(found, Failed):
            tries = len(failed) + 1
            raise WardroundError(found.code, f"{found.words} The run stops here, after {tries} tries in a row.")
        seconds = time.perf_counter() - begin
        travelled = Travelled(seconds, self._exchange.bytes_up, self._exchange.bytes_down)
        self._around.committed(engine.commit(context, found, failed, travelled))

    def _validate(self, engine: PrivateEngine) -> None:
        """The last model's validation; without it the run ends all the same, and says so."""
        context, found, _ = self._open(engine)
        if isinstance(found, Failed):
            engine.lose(found.missing)
        else:
            engine.commit_validation(context, found)

    def _open(self, engine: PrivateEngine) -> tuple[RoundContext, Opened | Failed, tuple[str, ...]]:
        """Try to open the next round's sum as often as the study allows.

        Returns:
            The last attempt's context, what came of it, and why the others failed.
        """
        failed: list[str] = []
        self._around.opened(engine.next_round)
        vector, pending = pack_vector(engine.committed.model), engine.pending()
        while True:
            if pending is None:
                self._around.gather(engine.asked, engine.needed)
            else:
                self._around.gather(pending.uploaded, pending.session.sizes.threshold)
            attempt = pending or engine.begin()
            run = AttemptRun(self._exchange, attempt, engine.encoding, engine.bind)
            found = run.resume() if pending else run.run(vector, engine.asked)
            if isinstance(found, Opened) or len(failed) + 1 >= self._study.secure.attempts:
                return attempt.context, found, tuple(failed)
            failed.append(found.words)
            # Shares that were given can be given once more; after that the same sites upload again.
            pending = attempt if found.asked_shares and pending is None else None


def _roster(plan: RunPlan) -> Roster:
    if plan.roster is None:
        raise WardroundError("WR-1702", "The plan of a private study names no roster.")
    plan.roster.verify()
    return plan.roster.roster


def _check_same_run(joined: JoinedSession, context: RunContext, roster: Roster) -> None:
    found = (joined.context.study, joined.context.run, joined.context.settings, joined.context.members)
    if found != (context.study, context.run, settings_of(context), roster.entries_hash(joined.context.cohort)):
        what = "The interrupted run was of another study or run, or its hospitals had other keys."
        raise WardroundError("WR-1714", what, fix="If a hospital has joined again since, start the study anew.")
