"""Cases to look at: the best, the median and the worst of every hospital, with what the model saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from wardround.client.data.prepare import native_image, native_mask, restore
from wardround.client.evaluate.scores import predict
from wardround.client.train.device import choose_device
from wardround.simulations.saved_model import saved_module

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from wardround.common.ids import SiteId
    from wardround.common.study import Study
    from wardround.simulations.hospitals import VirtualHospital
    from wardround.simulations.job import Job
    from wardround.simulations.run_folder import RunRequest


def write_examples(
    request: RunRequest, hospitals: Mapping[SiteId, VirtualHospital], jobs: Sequence[Job], run: Path
) -> None:
    """Write ``examples/<site>-<best|median|worst>.npz`` for every tested hospital.

    The model is the federated one, or, where hospitals are left out whole, the federation without
    that hospital; the first seed of either.
    """
    folder = run / "examples"
    folder.mkdir(exist_ok=True)
    for site, hospital in hospitals.items():
        arm = f"leave-one-out/{site}" if request.simulation.protocol == "leave-one-site-out" else "federated"
        own = {job.fold: job for job in jobs if job.arm == arm and job.seed == request.seeds[0]}
        if own:
            write_site(site, hospital, own, request.study, folder)


def write_site(
    site: SiteId, hospital: VirtualHospital, jobs: Mapping[int | None, Job], study: Study, folder: Path
) -> None:
    """Write the examples of one hospital.

    Args:
        site: Its name.
        hospital: Its data.
        jobs: Scored jobs of one seed, by fold; None without folds.
        study: Theirs.
        folder: Where the examples are written.
    """
    ranked = _ranked(site, jobs, study)
    for name, place in (("best", 0), ("median", len(ranked) // 2), ("worst", -1)):
        if len(ranked):
            row = ranked.iloc[place]
            job = jobs[None if pd.isna(row["fold"]) else int(row["fold"])]
            np.savez_compressed(folder / f"{site}-{name}.npz", **_example(site, hospital, job, row, study))


def _ranked(site: SiteId, jobs: Mapping[int | None, Job], study: Study) -> pd.DataFrame:
    """Scored samples of the site, best first: by mean Dice, or by distance from the truth."""
    cases = pd.concat([pd.read_csv(job.out / "cases.csv", dtype={"fold": "Int64"}) for job in jobs.values()])
    cases = cases[cases["test_site"] == site]
    if study.task.kind == "segmentation":
        cases = cases.assign(goodness=cases["dice"])
    else:
        cases = cases[cases["label"] == study.task.labels[0]]
        cases = cases.assign(goodness=-(cases["truth"] - cases["score"]).abs())
    keys = ["sample", "patient", "fold"]
    numbers = ["goodness", "dice", "score", "truth"]
    mean = cases.groupby(keys, dropna=False)[numbers].mean().reset_index().dropna(subset="goodness")
    return mean.sort_values(["goodness", "sample"], ascending=[False, True], kind="stable")


def _example(site: SiteId, hospital: VirtualHospital, job: Job, row: pd.Series, study: Study) -> dict[str, Any]:
    data, prepared = hospital.data.data[0], hospital.data.each[0]
    index = prepared.rows.index(int(str(row["sample"]).removeprefix("row-")))
    sample = data.samples[index]
    found: dict[str, Any] = {"site": site, "patient": row["patient"], "image": native_image(sample, data.manifest)}
    if study.task.kind == "classification":
        return found | {"score": float(row["score"]), "truth": float(row["truth"])}
    truth, _ = native_mask(sample, data.manifest, data.labels)
    return found | {"truth": truth, "prediction": _prediction(hospital, job, index, study), "dice": float(row["dice"])}


def _prediction(hospital: VirtualHospital, job: Job, index: int, study: Study) -> NDArray[np.uint8]:
    _, model = saved_module(job.out / "model")
    prepared = hospital.data.each[0]
    device = choose_device(hospital.home.settings.device)
    scores = predict(model, prepared, np.array([index]), study, device)[0]
    predicted: NDArray[np.uint8] = restore(scores, prepared.geometry[index]).argmax(axis=0).astype(np.uint8)
    return predicted
