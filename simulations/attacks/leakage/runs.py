"""Membership inference on whole runs of a study: hospitals, coordinator, secure sum and ledger as in a simulation.

1. Of every hospital's patients a random half trains, the other half does not; another split for every run.
2. The first run is the target; a finished run may take its place, with its own split.
3. The others are the reference models of :mod:`.membership`. Patients whom they all saw are left out.
4. Errors are judged on the target. Whether the attack finds anything at all is told from every run as the target of all
   others, patient by patient.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from wardround.client.evaluate.predict import forward
from wardround.client.train.device import choose_device
from wardround.client.train.losses import make_loss
from wardround.common.study import Study
from wardround.simulations.arms import plan_jobs
from wardround.simulations.attacks.leakage.membership import memberships, quality
from wardround.simulations.attacks.leakage.scores import Scores
from wardround.simulations.hospitals import build_hospitals
from wardround.simulations.pool import run_jobs
from wardround.simulations.saved_model import saved_module
from wardround.simulations.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from wardround.client.data.pool import SiteData
    from wardround.common.ids import SiteId
    from wardround.simulations.attacks.leakage.finding import Finding
    from wardround.simulations.hospitals import VirtualHospital
    from wardround.simulations.job import Job
    from wardround.simulations.scenario import Scenario

    Model = tuple[NDArray[np.bool_], NDArray[np.float64]]

REFERENCES: Final = 3

SMALLEST_LOSS: Final = 1e-6
"""Keeps the logit of ``exp(-loss)`` finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """A scenario whose models are attacked.

    Args:
        scenario: The study and its virtual hospitals, those that train alone.
        hospitals: With their data.
        folder: Where the runs go.
        workers: Runs side by side.
        references: Reference models for a target.
        finished: A finished run of the scenario's study, which is the target; None trains one.
    """

    scenario: Scenario
    hospitals: dict[SiteId, VirtualHospital]
    folder: Path
    workers: int = 1
    references: int = REFERENCES
    finished: Path | None = None

    @classmethod
    def open(
        cls,
        scenario: Scenario,
        data_root: Path | None,
        folder: Path,
        *,
        device: str,
        workers: int,
        finished: Path | None,
        init: Path | None = None,
    ) -> Runs:
        """Make the hospitals.

        Raises:
            WardroundError: WR-10xx or WR-11xx, the scenario or a hospital's data cannot be used; WR-1208, a finished
                run has lost its initial weights, or ``init`` is not the file that the study names.
        """
        if init is not None:
            find_weights(scenario.study, folder, init=init)
        elif finished is not None:  # it has kept the file of weights that its study began with
            find_weights(scenario.study, folder, data_root=finished)
        alone = replace(scenario, simulation=scenario.simulation.model_copy(update={"unseen": ()}), faults=())
        hospitals = build_hospitals(alone, data_root, folder, device=device, threads=1, progress=lambda _: None)
        return cls(alone, hospitals, folder, workers=workers, finished=finished)

    def images(self) -> NDArray[np.float32]:
        """The first image of every patient in random order, ``[N, H, W]``: of volumes the middle slice."""
        found = []
        for data in self._sites():
            _, first = np.unique(np.array(data.prepared.patients), return_index=True)
            images = data.prepared.images[first, 0]
            found.append(images if images.ndim == 3 else images[..., images.shape[-1] // 2])
        return np.random.default_rng(0).permutation(np.concatenate(found))

    def attack(self, study: Study) -> Finding:
        """Train target and reference models of ``study``, the scenario's or that without noise, and attack.

        Raises:
            WardroundError: A run failed.
        """
        taken = self.finished is not None and study == self.scenario.study
        jobs = [self._job(study, number) for number in range(int(taken), 1 + self.references)]
        run_jobs(jobs, self.workers, lambda _run, _handled: None, lambda _run: None)
        models = [(self._members(job.study), self._odds(job.out / "model")) for job in jobs]
        if self.finished is not None and taken:
            models.insert(0, (self._members(study), self._odds(self.finished / "model")))
        return rotated(models, study.promise.delta)

    def _job(self, study: Study, number: int) -> Job:
        fields = study.model_dump(mode="json", by_alias=True)
        fields["split"] |= {"validation": 0.0, "test": 0.5, "seed": number, "min_patients": 1}
        simulation = self.scenario.simulation.model_copy(update={"protocol": "within-site", "arms": ("federated",)})
        halved = replace(self.scenario, study=Study.model_validate(fields), simulation=simulation)
        name = number if study.promise.noisy else 1000 + number
        (job,) = plan_jobs(halved, self.hospitals, [name], 1, self.folder)
        return replace(job, tested={})

    def _sites(self) -> Iterator[SiteData]:
        return (self.hospitals[site].data for site in self.scenario.study.site_ids)

    def _members(self, study: Study) -> NDArray[np.bool_]:
        """Whether a run of ``study`` trained on each patient, in the order of :meth:`_odds`."""
        found = []
        for data in self._sites():
            patients = np.array(data.prepared.patients)
            trained = set(patients[data.parts(study, 0, 1).train])
            found += [patient in trained for patient in np.unique(patients)]
        return np.array(found)

    def _odds(self, folder: Path) -> NDArray[np.float64]:
        """Phi of each patient under a saved model; hospitals in the study's order, their patients sorted."""
        study, model = saved_module(folder)
        return np.concatenate([_patient_odds(model, data, study) for data in self._sites()])


def _patient_odds(model: torch.nn.Module, data: SiteData, study: Study) -> NDArray[np.float64]:
    loss, found = make_loss(study.training.loss, None), []
    everything = np.arange(len(data.prepared.rows))
    for logits, masks, targets in forward(model, data.prepared, everything, study, choose_device("cpu")):
        truth = targets if masks is None else masks
        found += [float(loss(one[None], its[None])) for one, its in zip(logits, truth, strict=True)]
    losses = np.maximum(found, SMALLEST_LOSS)
    odds = -losses - np.log(-np.expm1(-losses))
    _, patient = np.unique(np.array(data.prepared.patients), return_inverse=True)
    return np.asarray(np.bincount(patient, odds) / np.bincount(patient))


def rotated(models: Sequence[Model], delta: float) -> Finding:
    """Step 4: the first model as the target, and every one of them."""
    finding = memberships(compared(models)[0], delta)
    turns = [compared([models[turn], *models[:turn], *models[turn + 1 :]]) for turn in range(len(models))]
    measured = quality(Scores.joined([found for found, _ in turns]), np.concatenate([own for _, own in turns]))
    words = f"{len(models)} models: {measured.words}"
    record = {**finding.record, "every_model": asdict(measured)}
    return replace(finding, words=words, record=record, telling=measured.auc_low > 0.5)


def compared(models: Sequence[Model]) -> tuple[Scores, NDArray[np.int64]]:
    """Step 3 of :mod:`.membership`: scores, and the number of each one's patient.

    Args:
        models: Members ``[n]`` and phi ``[n]`` of the target, then of each reference model.
    """
    (members, phi), *references = models
    unseen = ~np.array([seen for seen, _ in references])
    odds = np.array([found for _, found in references])
    some = unseen.any(axis=0)
    usual = (odds * unseen).sum(axis=0)[some] / unseen.sum(axis=0)[some]
    return Scores(members[some], phi[some] - usual), np.flatnonzero(some)
