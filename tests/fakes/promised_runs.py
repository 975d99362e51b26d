"""Study runs with differential privacy on drawn chests: the hospitals, and what each step should have been.

The oracle shares no code with the product's step: plain automatic differentiation, one patient after the other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from fakes.scenarios import chest_scenario
from flwr.app import Context, RecordDict
from safetensors.numpy import load_file

from wardround.common.models.catalogue import build_model
from wardround.common.models.state import load_state_arrays, state_arrays
from wardround.common.vector import Layout
from wardround.server.app import app as coordinator_app
from wardround.server.plan import PLAN_KEY, RunPlan
from wardround.simulations.grid import InProcessGrid
from wardround.simulations.hospitals import build_hospitals, consortium_roster
from wardround.simulations.weights import run_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from wardround.common.ids import SiteId
    from wardround.common.study import Study
    from wardround.common.vector import Vector
    from wardround.simulations.hospitals import VirtualHospital

PATIENTS = (18, 12, 24, 14, 20)
EVERYBODY = {"trust": "distributed", "epsilon": "infinite", "patients": 40, "rate": 1.0, "images_per_patient": 9}
"""Every patient in every step, all of their images, no noise: what comes out can be computed by hand."""


def promised_scenario(
    sites: int = 3,
    rounds: int = 2,
    *,
    trust: str = "distributed",
    mode: str | None = None,
    training: dict[str, Any] | None = None,
    **promise: Any,
) -> Any:
    """A study with a promise at ``site0``, ``site1``, …; ``local`` is in open mode unless a mode is given."""
    names = [f"site{number}" for number in range(sites)]
    return chest_scenario(
        sites=names,
        title="Promised",
        training={"rounds": rounds, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.5, "augmentation": []}
        | (training or {}),
        selection={"rule": "last"},
        aggregation={
            "mode": mode or ("private" if trust == "distributed" else "open"),
            "weights": "equal",
            "secure": {"update_rms": 0.01},
        },
        privacy=EVERYBODY | {"trust": trust} | promise,
        simulation={
            "arms": ["federated"],
            "unseen": [],
            "sites": [
                {"name": name, "patients": PATIENTS[place % 5], "prevalence": 0.5} for place, name in enumerate(names)
            ],
        },
    )


@dataclass
class Promised:
    """Virtual hospitals that approved a study with a promise.

    Args:
        folder: Where their homes and the coordinator's output lie.
        study: The study.
        hospitals: By site.
        run: The study run.
    """

    folder: Path
    study: Study
    hospitals: dict[SiteId, VirtualHospital]
    run: str = "run"

    @classmethod
    def of(cls, scenario: Any, folder: Path) -> Promised:
        hospitals = build_hospitals(scenario, None, folder, device="cpu", threads=1, progress=lambda _: None)
        for hospital in hospitals.values():
            hospital.home.approve(scenario.study)
        return cls(folder, scenario.study, hospitals)

    @property
    def homes(self) -> dict[SiteId, Path]:
        return {site: self.hospitals[site].home.path for site in self.study.site_ids}

    @property
    def layout(self) -> Layout:
        return Layout.of(state_arrays(build_model(self.study, seed=0), self.study.model.travels))

    @property
    def initial(self) -> Vector:
        return self.layout.flatten(state_arrays(self._module(), self.study.model.travels))

    def _module(self) -> torch.nn.Module:
        """With the weights that the study begins with; a file's as NumPy reads them."""
        module = build_model(self.study, seed=0)
        if (digest := self.study.model.init) is not None:
            stored = load_file(run_weights(self.folder) / f"{digest}.safetensors")
            drawn = {name: array for name, array in state_arrays(module).items() if self.study.model.is_fresh(name)}
            load_state_arrays(module, stored | drawn)
        return module

    def grid(self) -> InProcessGrid:
        return InProcessGrid(self.homes, None, ())

    def coordinate(self, grid: InProcessGrid | None = None, run: str | None = None) -> dict[str, Any]:
        """Run the ServerApp; what it wrote to ``history.json``."""
        name = run or self.run
        out, roster = self.folder / "out" / name, consortium_roster(self.folder)
        out.mkdir(parents=True, exist_ok=True)
        plan = RunPlan(study=self.study, run=name, out=out, roster=roster, weights=run_weights(self.folder))
        path = out / "plan.json"
        path.write_text(plan.model_dump_json(by_alias=True))
        coordinator_app(grid or self.grid(), Context(1, 1, {}, RecordDict(), {PLAN_KEY: str(path)}))
        history: dict[str, Any] = json.loads((out / "history.json").read_text())
        return history

    def model(self, run: str | None = None) -> Vector:
        """The reported model of a finished run."""
        from wardround.simulations.job import load_model

        return load_model(self.folder / "out" / (run or self.run) / "model")[2]

    def patients(self, site: SiteId) -> list[NDArray[np.int64]]:
        """The training images of each training patient of a site."""
        return self._of_each(site, self.hospitals[site].data.parts(self.study, 0, 1).train)

    def _of_each(self, site: SiteId, indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        patients = self.hospitals[site].data.prepared.patients
        names = np.array([patients[index] for index in indices])
        return [indices[names == name] for name in dict.fromkeys(names)]

    def validation_losses(self, site: SiteId, model: Vector) -> list[float]:
        """The mean loss of every validation patient of a site, float64, not capped."""
        indices = self.hospitals[site].data.parts(self.study, 0, 1).validation
        return [float(self._loss(site, images, model)[0].detach()) for images in self._of_each(site, indices)]

    def gradient(self, site: SiteId, images: NDArray[np.int64], model: Vector) -> NDArray[np.float64]:
        """One patient's gradient of the mean loss over their images, float64, not clipped."""
        loss, module = self._loss(site, images, model)
        loss.backward()
        found = [parameter.grad for parameter in module.parameters()]
        return np.concatenate([gradient.numpy().ravel() for gradient in found if gradient is not None])

    def _loss(self, site: SiteId, images: NDArray[np.int64], model: Vector) -> tuple[torch.Tensor, torch.nn.Module]:
        prepared = self.hospitals[site].data.prepared
        module = self._module()
        load_state_arrays(module, self.layout.views(model.astype(np.float32)), self.study.model.travels)
        module = module.double()
        logits = module(torch.from_numpy(prepared.images[images].astype(np.float64)))
        targets = torch.from_numpy(prepared.targets[images].astype(np.float64))
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets), module

    def clipped_sum(self, sites: Sequence[SiteId], model: Vector) -> NDArray[np.float64]:
        """The sum of all patients' clipped gradients at ``sites``."""
        total = np.zeros(self.layout.size)
        for site in sites:
            for images in self.patients(site):
                gradient = self.gradient(site, images, model)
                total += gradient * min(1.0, self.study.promise.clip / float(np.linalg.norm(gradient)))
        return total
