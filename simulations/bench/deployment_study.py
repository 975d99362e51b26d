"""The study of ``bench deployment``: one optimizer step a round of a network with about a million parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from wardround.simulations.scenario import Scenario

OPEN: Final = {"mode": "open"}
PRIVATE: Final = {
    "mode": "private",
    "weights": "equal",
    "secure": {"update_rms": 1e-2, "clip_factor": 64, "weight_cap": 50, "mean_weight": 1.0},
}


@dataclass(frozen=True, slots=True)
class Task:
    """What is measured.

    Attributes:
        sites: Hospitals, with two drawn images each.
        rounds: Of the study.
        widths: Of the small CNN; the default has 979,425 parameters.
        private: Whether updates go through the secure sum, strength active.
    """

    sites: int
    rounds: int
    widths: tuple[int, ...] = (32, 64, 128, 256, 256)
    private: bool = False


def study_of(task: Task) -> Scenario:
    """The study and its drawn hospitals."""
    from wardround.simulations.scenario import build_scenario

    names = [f"site-{number:03d}" for number in range(task.sites)]
    return build_scenario(
        {
            "schema": 1,
            "name": "bench-deployment",
            "title": "Benchmark of deployments",
            "sites": names,
            "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
            "input": {"size": [64, 64]},
            "model": {"name": "small_cnn", "parameters": {"widths": task.widths}},
            "training": {
                "rounds": task.rounds,
                "epochs": task.rounds,
                "batch_size": 2,
                "loss": "bce",
                "augmentation": [],
                "optimizer_state": "reset",
            },
            "aggregation": PRIVATE if task.private else OPEN,
            "selection": {"rule": "last"},
            "split": {"validation": 0.0, "test": 0.0},
            "simulation": {
                "arms": ["federated"],
                "phantom": {"kind": "chest", "size": [64, 64]},
                "sites": [{"name": name, "patients": 2, "prevalence": 0.5} for name in names],
            },
        }
    )


def shapes_of(task: Task) -> list[list[int]]:
    """Shapes of the arrays of the model."""
    from wardround.common.models.catalogue import build_model
    from wardround.common.models.state import state_arrays

    state: dict[str, Any] = state_arrays(build_model(study_of(task).study, seed=0))
    return [list(array.shape) for array in state.values()]
