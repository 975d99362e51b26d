"""Every model of the catalogue passes before a study spends; a layer that mixes patients is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from wardround.client.train.device import choose_device
from wardround.client.train.preflight import check_gradients
from wardround.common.errors import WardroundError
from wardround.common.models.catalogue import build_model
from wardround.common.study import Study, build_study

CPU = choose_device("cpu")


def study(model: dict[str, Any], size: list[int], **task: Any) -> Study:
    kind = task.get("kind", "classification")
    loss = "dice_ce" if kind == "segmentation" else "cross_entropy" if task.get("target") == "multiclass" else "bce"
    labels = ["one", "two"] if kind == "segmentation" or task.get("target") == "multiclass" else ["one"]
    target = {} if kind == "segmentation" else {"target": task.get("target", "binary")}
    return build_study(
        {
            "schema": 1,
            "name": "checked",
            "title": "Checked",
            "sites": ["a", "b"],
            "task": {"kind": kind, "labels": labels, "dimensions": len(size), **target},
            "input": {"size": size},
            "model": model,
            "training": {"rounds": 2, "epochs": 1, "loss": loss},
            "aggregation": {"weights": "equal"},
            "selection": {"rule": "last"},
            "privacy": {"trust": "local", "epsilon": 8, "patients": 100, "rate": 0.5},
        }
    )


@pytest.mark.parametrize(
    ("model", "size", "task"),
    [
        ({"name": "small_cnn"}, [32, 32], {}),
        ({"name": "small_cnn", "parameters": {"norm": "batch", "widths": (8, 8)}}, [16, 16, 16], {}),
        ({"name": "small_cnn"}, [32, 32], {"target": "multiclass"}),
        ({"name": "scattering"}, [48, 48], {}),
        ({"name": "resnet18"}, [32, 32], {}),
        ({"name": "densenet121"}, [32, 32], {}),
        ({"name": "unet", "parameters": {"channels": (4, 8), "strides": (2,)}}, [16, 16, 16], {"kind": "segmentation"}),
        ({"name": "unet", "parameters": {"norm": "batch"}}, [32, 32], {"kind": "segmentation"}),
    ],
)
def test_every_model_of_the_catalogue_passes(model: dict[str, Any], size: list[int], task: dict[str, Any]) -> None:
    found = study(model, size, **task)
    check_gradients(found, CPU)
    state = build_model(found, seed=0).state_dict()
    assert not any("running" in name for name in state), "batch statistics are gone"


def test_dropout_is_refused_before_anything_is_spent() -> None:
    check_gradients(study({"name": "small_cnn", "parameters": {"dropout": 0.0}}, [32, 32]), CPU)
    with pytest.raises(WardroundError, match="dropout of type Dropout") as refused:
        check_gradients(study({"name": "small_cnn", "parameters": {"dropout": 0.2}}, [32, 32]), CPU)
    assert refused.value.code == "WR-1803"
