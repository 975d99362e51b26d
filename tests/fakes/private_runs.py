"""Private study runs on drawn chests, watched from outside: every message, and what each step should have been.

The oracle of a round is open mode: a second hospital object on the same home trains the same model and
shows its update. Float arithmetic is the same on both ways, so the plain weighted mean of these updates
and the step of the private coordinator differ by the rounding of the encoding alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from fakes.scenarios import chest_scenario
from flwr.app import Context, RecordDict

from wardround.client.home import Home
from wardround.client.hospital import Hospital
from wardround.common.ids import SiteId
from wardround.common.models.catalogue import build_model
from wardround.common.models.state import state_arrays
from wardround.common.rounds.encodings import training_encoding
from wardround.common.secagg.context import RoundContext
from wardround.common.study import Study
from wardround.common.vector import Layout
from wardround.common.wire.messages import Describe, Train, Trained
from wardround.common.wire.private import UPLOAD, ProtocolMessage
from wardround.common.wire.records import unpack
from wardround.common.wire.vectors import unpack_vector
from wardround.server.app import app as coordinator_app
from wardround.server.plan import PLAN_KEY, RunPlan
from wardround.simulations.grid import InProcessGrid
from wardround.simulations.hospitals import build_hospitals, consortium_roster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from flwr.app import Message

    from wardround.common.vector import Vector
    from wardround.simulations.faults import Fault
    from wardround.simulations.hospitals import VirtualHospital


def private_scenario(sites: int = 3, rounds: int = 3, **sections: Any) -> Any:
    """A private study at ``site0``, ``site1``, …, of different sizes and scanners."""
    names = [f"site{number}" for number in range(sites)]
    patients = (18, 12, 24, 14, 20, 16, 22)
    simulation = {
        "arms": ["federated"],
        "unseen": [],
        "sites": [
            {"name": name, "patients": patients[place % 7], "prevalence": 0.5, "scanner": {"gamma": 0.6 + 0.4 * place}}
            for place, name in enumerate(names)
        ],
    }
    aggregation = {"mode": "private", "secure": {"update_rms": 2e-3}} | sections.pop("aggregation", {})
    training = {"rounds": rounds, "epochs": rounds} | sections.pop("training", {})
    return chest_scenario(
        sites=names,
        aggregation=aggregation,
        training=training,
        simulation=simulation,
        **{"title": "Private"} | sections,
    )


@dataclass
class Consortium:
    """Virtual hospitals that approved a private study, and the same study in open mode.

    Args:
        folder: Where their homes and the coordinator's output lie.
        study: The private study.
        hospitals: By site.
        run: The study run.
    """

    folder: Path
    study: Study
    hospitals: dict[SiteId, VirtualHospital]
    run: str = "run"

    @classmethod
    def of(cls, scenario: Any, folder: Path, data_root: Path | None = None) -> Consortium:
        hospitals = build_hospitals(scenario, data_root, folder, device="cpu", threads=1, progress=lambda _: None)
        consortium = cls(folder, scenario.study, hospitals)
        for hospital in hospitals.values():
            hospital.home.approve(consortium.study)
            hospital.home.approve(consortium.open_study)
        return consortium

    def again(self, run: str) -> Consortium:
        """The same hospitals for another study run."""
        again = replace(self, run=run)
        again.__dict__["in_open_mode"] = self.in_open_mode
        return again

    @property
    def open_study(self) -> Study:
        fields = self.study.model_dump(by_alias=True)
        return Study.model_validate(fields | {"aggregation": fields["aggregation"] | {"mode": "open"}})

    @property
    def homes(self) -> dict[SiteId, Path]:
        return {site: self.hospitals[site].home.path for site in self.study.site_ids}

    @cached_property
    def in_open_mode(self) -> dict[SiteId, Hospital]:
        """The same hospitals once more, to be asked in open mode."""
        return {site: Hospital(Home(path), {}) for site, path in self.homes.items()}

    @property
    def layout(self) -> Layout:
        return Layout.of(state_arrays(build_model(self.study, seed=0)))

    def plan(self, study: Study | None = None) -> RunPlan:
        roster = consortium_roster(self.folder)
        return RunPlan(study=study or self.study, run=self.run, out=self.folder / "out" / self.run, roster=roster)

    def coordinate(self, grid: InProcessGrid, plan: RunPlan | None = None) -> dict[str, Any]:
        """Run the ServerApp; what it wrote to ``history.json``."""
        plan = plan or self.plan()
        plan.out.mkdir(parents=True, exist_ok=True)
        path = plan.out / "plan.json"
        path.write_text(plan.model_dump_json(by_alias=True))
        coordinator_app(grid, Context(1, 1, {}, RecordDict(), {PLAN_KEY: str(path)}))
        history: dict[str, Any] = json.loads((plan.out / "history.json").read_text())
        return history

    def journal(self, site: str) -> list[dict[str, Any]]:
        """What the site's people can read."""
        path = self.hospitals[SiteId(site)].home.run_folder(self.run) / "private.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass
class SeenRound:
    """The true updates of a round, from open mode, and the model they start from."""

    model: Vector
    updates: dict[SiteId, Vector] = field(default_factory=dict)
    replies: dict[SiteId, Trained] = field(default_factory=dict)

    def mean(self, survivors: Sequence[str]) -> Vector:
        """The plain weighted mean over the survivors, float64."""
        sites = [SiteId(site) for site in survivors]
        weights = {site: self.replies[site].patients for site in sites}
        total = sum(weights[site] * self.updates[site].astype(np.float64) for site in sites)
        mean: Vector = total / sum(weights.values())
        return mean


class WatchedGrid(InProcessGrid):
    """A grid that shows each message before it is answered and each reply after.

    Args:
        consortium: Whose hospitals it reaches.
        faults: As of a simulation.
        before: Called with each message.
        after: Called with each message and its reply.
    """

    def __init__(
        self,
        consortium: Consortium,
        faults: Sequence[Fault] = (),
        *,
        before: Callable[[Message], None] = lambda _: None,
        after: Callable[[Message, Message], None] = lambda *_: None,
    ) -> None:
        super().__init__(consortium.homes, None, faults)
        self.before = before
        self.after = after

    def site(self, message: Message) -> SiteId:
        return self._sites[message.metadata.dst_node_id]

    def _answer(self, message: Message) -> Message:
        self.before(message)
        reply = super()._answer(message)
        self.after(message, reply)
        return reply


class Oracle:
    """Trains every model that a private run sends out in open mode as well.

    Args:
        consortium: The hospitals.
    """

    def __init__(self, consortium: Consortium) -> None:
        self._consortium = consortium
        self._study = consortium.open_study
        self._sites = consortium.in_open_mode
        self.rounds: dict[int, SeenRound] = {}
        self.last: Vector | None = None

    def see(self, site: SiteId, message: Message, reply: Message) -> None:
        """Look at an exchange: where a site trained, train the same model in open mode."""
        if message.metadata.message_type != UPLOAD or reply.has_error():
            return
        question = unpack(ProtocolMessage, message.content)
        number = RoundContext.decode(question.content).round
        model = unpack_vector(message.content, self._consortium.layout.size)
        if number > self._study.training.rounds:
            self.last = model.copy()
            return
        seen = self.rounds.setdefault(number, SeenRound(model.copy()))
        assert seen.model.tobytes() == model.tobytes(), "every attempt of a round sends the same model"
        if site not in seen.updates:
            seen.replies[site], seen.updates[site] = self._train(site, question, number, model)

    def _train(self, site: SiteId, question: ProtocolMessage, number: int, model: Vector) -> tuple[Trained, Vector]:
        fields = question.model_dump(exclude={"content"}) | {"study": self._study.id}
        rounds = self._study.training.rounds
        total = round(self._study.training.epochs * self._sites[site].describe(Describe(**fields)).samples)
        start, end = total * (number - 1) // rounds, total * number // rounds
        work = {"round": number, "rounds": rounds, "start": start, "samples": end - start}
        asked = Train(**fields, layout=self._consortium.layout.hash, **work)
        return self._sites[site].train(asked, model)

    def errors(self, history: dict[str, Any]) -> list[tuple[float, float]]:
        """For each round: the largest error of the step, and the part of its stated bound that the worst value uses."""
        found = []
        for record in history["rounds"]:
            number = record["round"]
            after = self.rounds[number + 1].model if number + 1 in self.rounds else self.last
            assert after is not None
            step = after.astype(np.float64) - self.rounds[number].model
            error = np.abs(step - self.rounds[number].mean(record["sites"]))
            bound = self.bound(number, record["sites"], after)
            found.append((float(error.max()), float((error / bound).max())))
        return found

    def bound(self, number: int, survivors: Sequence[str], after: Vector) -> Vector:
        """The encoding's stated bound of the mean, and the rounding of the model's own float32 addition."""
        encoding = training_encoding(self._consortium.study, self._consortium.layout)
        weight = sum(self.rounds[number].replies[SiteId(site)].patients for site in survivors)
        per_tensor = zip(encoding.tensors, encoding.sum_error_bound(len(survivors)), strict=True)
        each = np.concatenate([np.full(size, bound) for (size, _), bound in per_tensor])
        floats = np.spacing(np.abs(after)) + np.spacing(np.abs(self.rounds[number].model))
        bound: Vector = each * encoding.weight_cap / weight + 2 * floats
        return bound


def watched(consortium: Consortium, faults: Sequence[Fault] = ()) -> tuple[WatchedGrid, Oracle]:
    """A grid over the consortium, and the oracle of what its rounds should be."""
    oracle = Oracle(consortium)
    grid = WatchedGrid(consortium, faults)
    grid.after = lambda message, reply: oracle.see(grid.site(message), message, reply)
    return grid, oracle
