"""Which runs need a process: begun as people ask, begun again after a death, ended with words that people understand.

The store is the truth: a run in the state ``waiting`` or ``running`` has a process here, or gets one. Only one thread
calls :meth:`RunManager.tick`; what the gateway and the processes say may come from any.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from wardround.common.errors import WardroundError
from wardround.server.flower import bundle
from wardround.server.runs.hearing import Hearing
from wardround.server.runs.plan import had_losses, keep_plan
from wardround.server.runs.process import RunProcess
from wardround.server.runs.talk import Ended, Failed, Gathering, Opened, Order, Pushed, Ready, RoundCommitted, Taken
from wardround.server.runs.words import Counters, committed_words, gathering_words, opened_words
from wardround.server.store.rows import OPEN_RUNS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from wardround.common.ids import SiteId, StudyRunId
    from wardround.server.consortium import Consortium
    from wardround.server.plan import RunPlan
    from wardround.server.runs.talk import FromChild, Presence
    from wardround.server.store import RunRow
    from wardround.server.store.rows import RunState
    from wardround.server.superlink import SuperLink

log = logging.getLogger("wardround.runs")

DEATHS: Final = 3
"""How often in a row a process may end by itself without having committed a round in between."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
"""Seconds before a run is begun again: each time twice as long, until it has committed a round."""

OF_SILENCE: Final = frozenset({"WR-1303", "WR-1306", "WR-1711", "WR-1713"})
"""What a run fails with when too few sites answered; where some were silent it goes on when they are back."""


class GatewayLike(Protocol):
    """What is needed of the gateway."""

    def wake(self, nodes: Iterable[int]) -> None:
        """Tell the agents of these nodes that messages wait."""

    def taken(self, node: int) -> None:
        """A node's reply has left the SuperLink."""

    def nodes(self) -> dict[SiteId, int]:
        """Node id of every member."""

    def last_heard(self) -> dict[SiteId, float]:
        """When each site called last."""


@dataclass(slots=True)
class _Active:
    """A run that has a process.

    Attributes:
        run: Its id.
        path: The plan's file.
        plan: What is run.
        process: The process.
        flower_run: Flower's id; None before the process is ready.
        deaths: How often its processes ended by themselves since the last committed round.
        missed: Whether a site was silent since this process began.
        end: What the process said at its end.
    """

    run: StudyRunId
    path: Path
    plan: RunPlan
    process: RunProcess
    flower_run: int | None = None
    deaths: int = 0
    missed: bool = False
    end: Ended | Failed | None = None


class RunManager:
    """Carries out runs.

    Args:
        consortium: Whose runs.
        superlink: Where Flower runs are started.
        silent_after: Seconds without a call of its agent after which a site is silent.
        grace: Seconds from the beginning in which sites that have not called are expected.
    """

    def __init__(self, consortium: Consortium, superlink: SuperLink, *, silent_after: float, grace: float) -> None:
        self._consortium, self._superlink, self._store = consortium, superlink, consortium.store
        self._hearing = Hearing(silent_after, grace, time.monotonic)
        self._gateway: GatewayLike | None = None
        self._active: dict[StudyRunId, _Active] = {}
        self._deaths: dict[StudyRunId, int] = {}
        self._pauses: dict[StudyRunId, float] = {}
        self._not_before: dict[StudyRunId, float] = {}
        self._said: queue.SimpleQueue[tuple[StudyRunId, FromChild]] = queue.SimpleQueue()
        self._version = -1
        self._nodes: dict[SiteId, int] = {}
        self.news = threading.Event()
        self.counters = Counters()

    def attach(self, gateway: GatewayLike) -> None:
        """The gateway that agents call; before it nothing is begun."""
        self._gateway = gateway

    def replied(self, site: SiteId, node: int) -> None:  # noqa: ARG002 - as the gateway's hooks have it
        """A reply lies at the SuperLink; any thread may call."""
        for active in tuple(self._active.values()):
            active.process.replied(node)

    @property
    def processes(self) -> dict[StudyRunId, int]:
        """Process id of every run that has one."""
        return {run: active.process.pid for run, active in tuple(self._active.items())}

    def presence(self) -> dict[SiteId, Presence]:
        """How it stands with every member."""
        return self._hearing.presence(self._nodes, self._nodes)

    def tick(self) -> None:
        """Look at everything once: what processes said, which ended, what people asked for, who is heard.

        Raises:
            WardroundError: WR-1915, the database cannot be used; WR-1922, the SuperLink does not run.
        """
        if self._gateway is None:
            raise RuntimeError("no gateway is attached")
        self._hearing.note(self._gateway.last_heard())
        self._take()
        self._bury()
        version = self._store.version()
        due = any(time.monotonic() >= at for at in self._not_before.values())
        if version != self._version or due:
            self._nodes = self._gateway.nodes()
            self._follow(self._store.runs(OPEN_RUNS))
            self._version = self._store.version()
        for active in self._active.values():
            presence = self._presence_for(active.plan)
            active.missed = active.missed or any(found.state == "silent" for found in presence.values())
            active.process.hear(presence)

    def drop(self) -> None:
        """End every process; runs stay as they are in the store, and go on when they are begun again."""
        for active in self._active.values():
            active.process.stop()
        self._take()
        self._active.clear()
        self._version = -1

    def _follow(self, wanted: Iterable[RunRow]) -> None:
        """Processes of runs that people stopped end; runs without a process get one."""
        rows = {row.id: row for row in wanted}
        for run in [run for run in self._active if run not in rows]:
            log.info("%s is stopped", run, extra={"run": run})
            self._end_process(run)
        for run, active in list(self._active.items()):
            if self._nodes_changed(active):
                log.info("a site of the run has another node: it is begun again", extra={"run": run})
                self._end_process(run)
        for run, row in rows.items():
            asked = row.state == "waiting"  # a person says so, now
            if run not in self._active and (asked or time.monotonic() >= self._not_before.get(run, 0.0)):
                self._begin(row)
        self._not_before = {run: at for run, at in self._not_before.items() if run in rows and run not in self._active}

    def _nodes_changed(self, active: _Active) -> bool:
        """Whether a site of the run has another node than its process was told, as after it joined again."""
        told, sites = active.process.sites, active.plan.study.site_ids
        return bool(told) and any(site in self._nodes and self._nodes[site] != told.get(site) for site in sites)

    def _begin(self, row: RunRow) -> None:
        try:
            path, plan = keep_plan(self._consortium, row)
        except WardroundError as error:
            self._fail(row.id, error.code, error.what)
            return
        process = RunProcess(self._consortium.path / "log" / "runs.log", lambda said: self._hear(row.id, said))
        self._active[row.id] = _Active(row.id, path, plan, process, deaths=self._deaths.get(row.id, 0))
        after = f"goes on after round {row.committed}" if row.committed else "begins"
        log.info("%s %s", row.id, after, extra={"run": row.id, "child": process.pid})
        self._store.update_run(row.id, state="running", words=after, only_if=OPEN_RUNS)

    def _order(self, active: _Active) -> None:
        """The process is ready: a Flower run begins, whose token is good for a minute."""
        active.flower_run = self._superlink.start_run(bundle())
        task = self._superlink.acquire()
        if task is None or task[0] != active.flower_run:
            raise WardroundError("WR-1922", "The SuperLink did not hand out the run that was started.")
        order = Order(
            address=self._superlink.address,
            root=self._superlink.root.decode(),
            token=task[1],
            run=active.flower_run,
            plan=active.path,
            sites=self._nodes,
            presence=self._presence_for(active.plan),
        )
        active.process.order(order)

    def _presence_for(self, plan: RunPlan) -> dict[SiteId, Presence]:
        return self._hearing.presence(plan.study.site_ids, self._nodes)

    def _hear(self, run: StudyRunId, said: FromChild) -> None:
        """In the thread of a process's reader."""
        if isinstance(said, Pushed | Taken) and self._gateway is not None:
            if isinstance(said, Pushed):
                self._gateway.wake(said.nodes)
            else:
                self._gateway.taken(said.node)
            return
        self._said.put((run, said))
        self.news.set()

    def _take(self) -> None:
        """Note what the processes said."""
        while not self._said.empty():
            run, said = self._said.get()
            active = self._active.get(run)
            if active is None:
                continue
            if isinstance(said, Ready):
                self._order(active)
            elif isinstance(said, RoundCommitted):
                self._commit(active, said)
            elif isinstance(said, Opened):
                self._words(active, opened_words(said.round, active.plan.study.training.rounds))
            elif isinstance(said, Gathering):
                self._words(active, gathering_words(said, self._presence_for(active.plan)))
            elif isinstance(said, Ended | Failed):
                active.end = said

    def _commit(self, active: _Active, said: RoundCommitted) -> None:
        active.deaths = self._deaths[active.run] = 0
        self._pauses.pop(active.run, None)
        words = committed_words(said, active.plan.study.training.rounds)
        self.counters.rounds += 1
        self.counters.left_out += len(said.dropped)
        self.counters.seconds[active.run] = said.seconds
        details = said.model_dump(mode="json", exclude={"kind"})
        log.info("%s: %s", active.run, words, extra={"event": "round", "run": active.run, **details})
        with self._store.transaction():
            self._store.update_run(active.run, committed=said.round, words=words)
            self._store.add_event("run.round", study=active.plan.study.id, run=active.run, words=words)

    def _words(self, active: _Active, words: str) -> None:
        log.info("%s: %s", active.run, words, extra={"run": active.run})
        self._store.update_run(active.run, words=words)

    def _bury(self) -> None:
        """Runs whose process ended are complete, failed, or begun again."""
        for run, active in list(self._active.items()):
            status = active.process.status
            if status is None:
                continue
            self._take()  # what it said last
            self._end_process(run)
            if isinstance(active.end, Ended):
                self._complete(active)
            elif isinstance(active.end, Failed):
                self._after_failure(active, active.end)
            else:
                self._after_death(active, status)

    def _end_process(self, run: StudyRunId) -> None:
        active = self._active.pop(run)
        self._version = -1  # look again at what has to run
        active.process.stop()
        if active.end is None and active.flower_run is not None and self._superlink.running:
            self._superlink.stop_run(active.flower_run)

    def _complete(self, active: _Active) -> None:
        losses = had_losses(active.plan.out)
        words = "complete, with sites left out of rounds" if losses else "complete"
        with self._store.transaction():
            row = self._store.run(active.run)
            if row is None or row.state not in OPEN_RUNS:  # stopped in its last moment: what it wrote stays
                return
            state: RunState = "completed_with_losses" if losses else "completed"
            self._store.update_run(active.run, state=state, words=words)
            self._store.add_event(f"run.{state}", study=active.plan.study.id, run=active.run, words=words)
        log.info("%s: %s", active.run, words, extra={"event": state, "run": active.run})

    def _after_failure(self, active: _Active, end: Failed) -> None:
        if end.code in OF_SILENCE and active.missed:
            words = f"{end.code}: {end.what} It is tried again when enough sites are heard."
            self._again(active, words)
        else:
            self._fail(active.run, end.code, end.what)

    def _after_death(self, active: _Active, status: int) -> None:
        deaths = active.deaths + 1
        self._deaths[active.run] = deaths
        words = f"the process of the run ended by itself (status {status}); log/runs.log may say why"
        if deaths >= DEATHS:
            self._fail(active.run, "WR-1935", f"{words}, {deaths} times in a row.")
        else:
            self._again(active, words)

    def _again(self, active: _Active, words: str) -> None:
        self.counters.restarts += 1
        pause = self._pauses[active.run] = min(2 * self._pauses.get(active.run, FIRST_PAUSE / 2), LONGEST_PAUSE)
        self._not_before[active.run] = time.monotonic() + pause
        self._words(active, words)

    def _fail(self, run: StudyRunId, code: str, what: str) -> None:
        words = f"{code}: {what}"
        log.error("%s failed: %s", run, words, extra={"event": "failed", "run": run})
        with self._store.transaction():
            row = self._store.run(run)
            if row is not None and row.state in OPEN_RUNS:
                self._store.update_run(run, state="failed", words=words)
                self._store.add_event("run.failed", study=row.study, run=run, words=words)
