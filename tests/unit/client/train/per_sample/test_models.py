"""Every model of the catalogue, in every norm and both dimensions, after conversion: exact to 1e-12 in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes.per_sample_oracle import error
from monai.networks.nets.segresnet import SegResNet
from torch import nn

from wardround.client.train.per_sample import check_model
from wardround.common.errors import WardroundError
from wardround.common.models.catalogue import BUILT_IN, build_model
from wardround.common.models.conversions import ready_for_privacy
from wardround.common.study import build_study

EXACT = 1e-12
CASES = [
    ("unet", (16, 12), {"norm": "instance"}),
    ("unet", (8, 8, 12), {"norm": "instance"}),
    ("unet", (8, 8, 12), {"norm": "group", "residual_units": 2}),
    ("unet", (16, 16), {"norm": "batch", "residual_units": 0}),
    ("densenet121", (32, 32), {"norm": "batch"}),
    ("resnet18", (32, 32), {"norm": "batch"}),
    ("small_cnn", (32, 32), {"norm": "batch"}),
    ("small_cnn", (16, 16, 16), {"norm": "group", "widths": (8, 16), "stem_stride": 1}),
    ("small_cnn", (32, 32), {"standardised": True}),
    ("small_cnn", (16, 16, 16), {"standardised": True, "widths": (8, 16), "stem_stride": 1}),
    ("resnet18", (32, 32), {"standardised": True}),
    ("densenet121", (32, 32), {"standardised": True}),
    ("scattering", (32, 32), {"scales": 2}),
    ("voxelwise", (8, 12, 9), {"scales": 3, "waves": 2}),
]
SEGMENTATION = {"unet", "voxelwise"}
LARGE = [
    ("densenet121", (64, 64), {"norm": "group"}),
    ("densenet121", (32, 32, 32), {"norm": "batch"}),
    ("resnet18", (32, 32, 32), {"norm": "group"}),
]


def build(name: str, size: tuple[int, ...], parameters: dict[str, Any]) -> nn.Module:
    kind = "segmentation" if name in SEGMENTATION else "classification"
    task = {"kind": kind, "labels": ["lesion"], "dimensions": len(size)}
    study = build_study(
        {
            "schema": 1,
            "name": "study",
            "title": "Study",
            "sites": ["one"],
            "task": task | ({} if name in SEGMENTATION else {"target": "binary"}),
            "input": {"size": size},
            "model": {"name": name, "parameters": parameters},
            "training": {"rounds": 1, "epochs": 1, "loss": "dice_ce" if name in SEGMENTATION else "bce"},
        }
    )
    return build_model(study, seed=0)


def batch(count: int, *size: int) -> torch.Tensor:
    return torch.randn(count, 1, *size, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "size", "parameters"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in LARGE)]
)
def test_catalogue_models_are_exact(name: str, size: tuple[int, ...], parameters: dict[str, Any]) -> None:
    model = build(name, size, parameters).double()
    ready_for_privacy(model)
    check_model(model)
    images = batch(4, *size)
    for units in (4, 2):
        assert error(model, images, units) <= EXACT
    memory = torch.channels_last if len(size) == 2 else torch.channels_last_3d
    model = model.to(memory_format=memory)  # type: ignore[call-overload]
    assert error(model, images.contiguous(memory_format=memory), 4) <= EXACT


def test_every_built_in_model_is_covered() -> None:
    assert {case[0] for case in CASES} == set(BUILT_IN)


@pytest.mark.parametrize("name", ["densenet121", "small_cnn"])
def test_without_conversion_batch_normalisation_is_refused(name: str) -> None:
    with pytest.raises(WardroundError, match="BatchNorm2d") as refused:
        check_model(build(name, (64, 64), {"norm": "batch"}))
    assert refused.value.code == "WR-1804"


@pytest.mark.parametrize(("axes", "norm"), [(2, "batch"), (3, "instance")])
def test_a_model_of_others_that_adds_in_place_is_exact(axes: int, norm: str) -> None:
    affine = (norm, {"affine": True})
    model = SegResNet(axes, init_filters=8, out_channels=2, norm=affine, blocks_down=(1, 2), blocks_up=(1,)).double()
    ready_for_privacy(model)
    images = batch(4, *(8, 8, 8)[:axes])
    assert error(model, images, 4) <= EXACT
    assert error(model, images, 2) <= EXACT


def test_one_unit_with_all_copies() -> None:
    model = build("small_cnn", (16, 16), {"widths": (8, 16)}).double()
    assert error(model, batch(5, 16, 16), 1) <= EXACT
