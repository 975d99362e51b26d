"""Our side of ``bench simulation``: a real study, coordinator and hospitals as in ``wardround simulate``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardround.common.ids import SiteId
from wardround.common.study import Study
from wardround.simulations.job import Job, run_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wardround.simulations.grid import Handled


def measure(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Train one study whose hospitals exist already.

    Args:
        settings: ``study`` (its fields), ``homes`` (site to home folder), ``out`` and ``started``.

    Returns:
        ``start_seconds`` from process start until the first hospital has trained and answered;
        for each round ``round_seconds`` and ``step_seconds``, its time in training steps.
    """
    trained: list[float] = []

    def observe(handled: Handled) -> None:
        if handled.kind == "train":
            trained.append(time.time())

    job = _job(settings)
    run_job(job, observe)
    rounds = json.loads((job.out / "history.json").read_text(encoding="utf-8"))["rounds"]
    return {
        "start_seconds": trained[0] - settings["started"],
        "round_seconds": [record["seconds"] for record in rounds],
        "step_seconds": [record["train_seconds"] for record in rounds],
    }


def _job(settings: Mapping[str, Any]) -> Job:
    study = Study.model_validate(settings["study"])
    return Job(
        arm="federated",
        study=study,
        seed=0,
        fold=None,
        folds=1,
        samples=len(study.sites) * study.training.rounds,  # one image a hospital and round
        training={SiteId(site): Path(home) for site, home in settings["homes"].items()},
        tested={},
        out=Path(settings["out"]),
    )
