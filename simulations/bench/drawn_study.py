"""The study that benchmarks of rounds carry out: drawn chest radiographs, two at each hospital, and a small CNN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wardround.simulations.scenario import Scenario

PATIENTS: Final = 2
"""Of each hospital, with one image each."""


def drawn_study(
    name: str,
    title: str,
    *,
    sites: int,
    widths: Sequence[int],
    rounds: int,
    epochs: int,
    batch_size: int,
    aggregation: Mapping[str, Any] | None = None,
) -> Scenario:
    """A study and its drawn hospitals.

    Args:
        name: Of the study.
        title: Of the study.
        sites: How many hospitals.
        widths: Of the small CNN.
        rounds: Of the study.
        epochs: Of the study, over all rounds.
        batch_size: Images.
        aggregation: Of the study; None: as it is by default.
    """
    from wardround.simulations.scenario import build_scenario

    names = [f"site-{number:03d}" for number in range(sites)]
    fields: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "title": title,
        "sites": names,
        "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
        "input": {"size": [64, 64]},
        "model": {"name": "small_cnn", "parameters": {"widths": widths}},
        "training": {
            "rounds": rounds,
            "epochs": epochs,
            "batch_size": batch_size,
            "loss": "bce",
            "augmentation": [],
            "optimizer_state": "reset",
        },
        "selection": {"rule": "last"},
        "split": {"validation": 0.0, "test": 0.0},
        "simulation": {
            "arms": ["federated"],
            "phantom": {"kind": "chest", "size": [64, 64]},
            "sites": [{"name": name, "patients": PATIENTS, "prevalence": 0.5} for name in names],
        },
    }
    return build_scenario(fields if aggregation is None else fields | {"aggregation": aggregation})


def shapes_of(scenario: Scenario) -> list[list[int]]:
    """Shapes of the arrays of the study's model."""
    from wardround.common.models.catalogue import build_model
    from wardround.common.models.state import state_arrays

    state = state_arrays(build_model(scenario.study, seed=0))
    return [list(array.shape) for array in state.values()]
