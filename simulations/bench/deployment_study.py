"""The study of ``bench deployment``: one optimizer step a round of a network with about a million parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wardround.simulations.bench.drawn_study import drawn_study

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
    return drawn_study(
        "bench-deployment",
        "Benchmark of deployments",
        sites=task.sites,
        widths=task.widths,
        rounds=task.rounds,
        epochs=task.rounds,
        batch_size=2,
        aggregation=PRIVATE if task.private else OPEN,
    )
