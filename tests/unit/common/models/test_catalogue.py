"""The catalogue builds every model for every task it claims, deterministically, and refuses the rest."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pytest
import torch

from wardround.common.errors import WardroundError
from wardround.common.models.catalogue import BUILT_IN, build_model, find_model, installed_models
from wardround.common.models.entry import ModelEntry, Parameters
from wardround.common.models.norms import monai_norm
from wardround.common.study import Study, build_study

if TYPE_CHECKING:
    from collections.abc import Mapping

SEGMENTATION = {"kind": "segmentation", "labels": ["front", "back"]}
MULTICLASS = {"kind": "classification", "target": "multiclass", "labels": ["a", "b", "c"]}


def study(model: str, task: Mapping[str, object], size: tuple[int, ...], inputs: int = 1, **parameters: Any) -> Study:
    loss = "dice_ce" if task["kind"] == "segmentation" else "cross_entropy"
    names = [f"channel{number}" for number in range(inputs)]
    return build_study(
        {
            "schema": 1,
            "name": "study",
            "title": "Study",
            "sites": ["one"],
            "task": {**task, "dimensions": len(size), "channels": names},
            "input": {"size": size},
            "model": {"name": model, "parameters": parameters},
            "training": {"rounds": 1, "epochs": 1, "loss": loss},
        }
    )


CASES = [
    ("unet", SEGMENTATION, (32, 24), {}),
    ("unet", SEGMENTATION, (16, 8, 12), {}),
    ("unet", SEGMENTATION, (16, 8, 12), {"norm": "group"}),
    ("unet", SEGMENTATION, (16, 16), {"norm": "batch", "residual_units": 0, "channels": (8, 16), "strides": (2,)}),
    ("voxelwise", SEGMENTATION, (17, 24), {}),
    ("voxelwise", SEGMENTATION, (8, 9, 12), {"scales": 3, "waves": 2}),
    ("densenet121", MULTICLASS, (32, 48), {}),
    ("densenet121", MULTICLASS, (32, 32), {"norm": "group", "dropout": 0.2}),
    ("densenet121", MULTICLASS, (32, 32, 32), {}),
    ("resnet18", MULTICLASS, (32, 48), {}),
    ("resnet18", MULTICLASS, (32, 32, 32), {"norm": "group"}),
    ("small_cnn", MULTICLASS, (32, 48), {}),
    ("small_cnn", MULTICLASS, (16, 16, 20), {"norm": "batch", "widths": (8, 16), "dropout": 0.5}),
    ("densenet121", MULTICLASS, (32, 32), {"norm": "group", "standardised": True}),
    ("resnet18", MULTICLASS, (32, 32, 32), {"norm": "group", "standardised": True}),
    ("small_cnn", MULTICLASS, (32, 48), {"standardised": True}),
    ("scattering", MULTICLASS, (48, 50), {}),
    ("scattering", MULTICLASS, (16, 20, 18), {"scales": 3, "directions": 6, "cells": 2, "mirrored": True}),
]


@pytest.mark.parametrize(("name", "task", "size", "parameters"), CASES)
def test_logits_have_the_shape_of_the_task(
    name: str, task: Mapping[str, object], size: tuple[int, ...], parameters: dict[str, Any]
) -> None:
    model = build_model(study(name, task, size, inputs=2, **parameters), seed=0)
    logits = model(torch.randn(2, 2, *size))
    assert logits.shape == ((2, 3, *size) if task is SEGMENTATION else (2, 3))
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_every_built_in_model_is_covered() -> None:
    assert {case[0] for case in CASES} == set(BUILT_IN)


def test_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    plan = study("small_cnn", MULTICLASS, (32, 32))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (build_model(plan, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_reference_unet_has_the_published_size() -> None:
    model = build_model(study("unet", SEGMENTATION, (44, 60, 44)), seed=0)
    # 137,343 convolution and PReLU weights, and scale and shift of 16 + 32 + 64 + 16 + 16 + 3 feature maps.
    assert sum(parameter.numel() for parameter in model.parameters()) == 137_343 + 2 * 147


@pytest.mark.parametrize(
    ("name", "task", "size", "parameters", "named"),
    [
        ("unet", MULTICLASS, (32, 32), {}, "classification"),
        ("unet", SEGMENTATION, (30, 32), {}, "multiple of 4"),
        ("unet", SEGMENTATION, (8, 8), {"channels": (8, 8, 8, 8), "strides": (2, 2, 2)}, "too small"),
        ("unet", SEGMENTATION, (32, 32), {"strides": (2,)}, "one number fewer"),
        ("unet", SEGMENTATION, (32, 32), {"width": 3}, "width"),
        ("densenet121", SEGMENTATION, (32, 32), {}, "segmentation"),
        ("resnet18", MULTICLASS, (31, 32), {}, "at least 32"),
        ("resnet18", MULTICLASS, (32, 32), {"norm": "instance"}, "norm"),
        ("small_cnn", MULTICLASS, (31, 32), {}, "at least 32"),
        ("small_cnn", SEGMENTATION, (32, 32), {}, "segmentation"),
        ("small_cnn", MULTICLASS, (32, 32), {"widths": (9,)}, "widths"),
        ("voxelwise", MULTICLASS, (32, 32), {}, "classification"),
        ("voxelwise", SEGMENTATION, (15, 32), {}, "at least 16"),
        ("voxelwise", SEGMENTATION, (32, 32), {"waves": 13}, "waves"),
        ("scattering", MULTICLASS, (47, 48), {}, "at least 48"),
        ("scattering", MULTICLASS, (32, 31), {"cells": 2}, "at least 32"),
        ("scattering", SEGMENTATION, (48, 48), {}, "segmentation"),
        ("scattering", MULTICLASS, (48, 48), {"directions": 0}, "directions"),
    ],
)
def test_misfits_are_refused(
    name: str, task: Mapping[str, object], size: tuple[int, ...], parameters: dict[str, Any], named: str
) -> None:
    with pytest.raises(WardroundError, match=named) as refused:
        build_model(study(name, task, size, **parameters), seed=0)
    assert refused.value.code == "WR-1202"


def test_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WardroundError, match="small_cnn") as refused:
        build_model(study("nonesuch", MULTICLASS, (32, 32)), seed=0)
    assert refused.value.code == "WR-1201"
    assert find_model("small_cnn").name == "small_cnn"


def _nothing(_study: Study, _parameters: Parameters) -> None:
    return None


def _linear(_study: Study, _parameters: Parameters) -> torch.nn.Module:
    return torch.nn.Flatten()


announced = ModelEntry("announced", "A model of another package", Parameters, _nothing, _linear)


def _point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group="wardround.models")


def test_installed_models_extend_the_catalogue() -> None:
    from wardround.common.models import small_cnn

    place = f"{small_cnn.__name__}:SMALL_CNN"
    with pytest.raises(WardroundError, match="used name") as refused:
        installed_models([_point("small_cnn", place)])
    assert refused.value.code == "WR-1207"


@pytest.mark.parametrize(
    "value", ["wardround.nowhere:ENTRY", "wardround.common.models.unet:NOTHING", "wardround.common.models.unet:UNET"]
)
def test_broken_announcements_are_refused(value: str) -> None:
    with pytest.raises(WardroundError) as refused:
        installed_models([_point("other", value)])
    assert refused.value.code == "WR-1207"


def test_group_count_divides_every_width() -> None:
    assert monai_norm("group", 16, 32, 64) == ("group", {"num_groups": 8})
    assert monai_norm("group", 16, 3) == ("group", {"num_groups": 1})
    assert monai_norm("group", 12, 18) == ("group", {"num_groups": 6})
    assert monai_norm("batch", 3) == ("batch", {"affine": True})
