"""Small scenarios that train within seconds: drawn chests at three hospitals."""

from __future__ import annotations

from typing import Any

from wardround.simulations.scenario import Scenario, build_scenario


def chest_fields() -> dict[str, Any]:
    """The fields of a scenario with three training hospitals and one unseen hospital."""
    return {
        "schema": 1,
        "name": "small-chest",
        "title": "Small drawn chests",
        "sites": ["north", "coast", "valley"],
        "task": {"kind": "classification", "target": "binary", "labels": ["abnormal"], "dimensions": 2},
        "input": {"size": [32, 32]},
        "model": {"name": "small_cnn", "parameters": {"widths": [8, 16]}},
        "training": {"rounds": 3, "epochs": 3, "batch_size": 8, "loss": "bce", "augmentation": ["flip_lr"]},
        "selection": {"rule": "validation"},
        "split": {"validation": 0.2, "test": 0.4},
        "evaluation": {"bootstrap": 100},
        "simulation": {
            "arms": ["federated", "centralised", "local"],
            "unseen": ["island"],
            "phantom": {"kind": "chest", "size": [32, 32], "images_per_patient": [1, 2]},
            "sites": [
                {"name": "north", "patients": 20, "prevalence": 0.5},
                {"name": "coast", "patients": 16, "prevalence": 0.5, "scanner": {"gamma": 1.5}},
                {"name": "valley", "patients": 24, "prevalence": 0.5, "scanner": {"noise": 0.05}},
                {"name": "island", "patients": 10, "prevalence": 0.5},
            ],
        },
    }


def chest_scenario(**sections: Any) -> Scenario:
    """:func:`chest_fields` as a scenario; each named section is updated with the fields given."""
    fields = chest_fields()
    for name, section in sections.items():
        fields[name] = fields.get(name, {}) | section if isinstance(section, dict) else section
    return build_scenario(fields)
