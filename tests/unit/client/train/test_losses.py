"""Losses against MONAI and hand-computed numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.losses.dice import DiceCELoss

from wardround.client.train.losses import class_weights, dice_ce, make_loss
from wardround.common.study import Study, build_study


@pytest.mark.parametrize("size", [(9, 7), (5, 6, 4)])
@pytest.mark.parametrize("weighted", [False, True])
def test_dice_ce_equals_monai_in_value_and_gradient(size: tuple[int, ...], *, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, *size, generator=generator, dtype=torch.float32, requires_grad=True)
    target = torch.randint(0, 4, (3, *size), generator=generator)
    target[0] = 0
    weights = torch.tensor([0.2, 1.0, 2.0, 3.0]) if weighted else None
    theirs = DiceCELoss(to_onehot_y=True, softmax=True, weight=weights)
    (wanted,) = torch.autograd.grad(theirs(logits, target.unsqueeze(1)), logits)
    # MONAI weighs its Dice as well; the cross entropy alone is weighted here.
    if weighted:
        plain = DiceCELoss(to_onehot_y=True, softmax=True)
        cross = torch.nn.functional.cross_entropy
        (wanted,) = torch.autograd.grad(
            plain(logits, target.unsqueeze(1)) - cross(logits, target) + cross(logits, target, weights), logits
        )
    value = dice_ce(logits, target.to(torch.uint8), weights)
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-7)
    if not weighted:
        torch.testing.assert_close(value, theirs(logits, target.unsqueeze(1)))


def test_bce_by_hand() -> None:
    logits, target = torch.tensor([[0.0], [math.log(3.0)]]), torch.tensor([[1], [0]], dtype=torch.uint8)
    wanted = (math.log(2.0) + math.log(4.0)) / 2
    assert float(make_loss("bce", None)(logits, target)) == pytest.approx(wanted, rel=1e-6)
    weighted = (5 * math.log(2.0) + math.log(4.0)) / 2
    assert float(make_loss("bce", torch.tensor([5.0]))(logits, target)) == pytest.approx(weighted, rel=1e-6)


def test_cross_entropy_reads_one_hot_labels_and_masks_alike() -> None:
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]))
    one_hot = torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=torch.uint8)
    wanted = -(math.log(0.7) + math.log(0.1)) / 2
    loss = make_loss("cross_entropy", None)
    assert float(loss(logits, one_hot)) == pytest.approx(wanted, rel=1e-6)
    voxels = logits.T.reshape(1, 3, 2, 1)
    assert float(loss(voxels, torch.tensor([[[0], [1]]], dtype=torch.uint8))) == pytest.approx(wanted, rel=1e-6)


def _study(kind: str, target: str | None, labels: list[str], loss: str) -> Study:
    task = {"kind": kind, "labels": labels, "dimensions": 2} | ({} if target is None else {"target": target})
    return build_study(
        {
            "schema": 1,
            "name": "study",
            "title": "Study",
            "sites": ["one"],
            "task": task,
            "input": {"size": (8, 8)},
            "model": {"name": "small_cnn"},
            "training": {"rounds": 1, "epochs": 1, "loss": loss, "class_weight": "inverse_frequency"},
        }
    )


def test_class_weights_are_inverse_frequencies() -> None:
    binary = np.array([[1], [0], [0], [0]], np.uint8)
    weights = class_weights(binary, None, _study("classification", "binary", ["x"], "bce"))
    assert weights.tolist() == [3.0]
    classes = np.eye(3, dtype=np.uint8)[[0, 0, 0, 1]]
    plan = _study("classification", "multiclass", ["a", "b", "c"], "cross_entropy")
    weights = class_weights(classes, None, plan)
    assert weights.tolist() == pytest.approx([4 / 9, 4 / 3, 1.0])
    masks = np.array([[[0, 0], [0, 1]]], np.uint8)
    plan = _study("segmentation", None, ["s", "t"], "dice_ce")
    weights = class_weights(np.zeros((1, 0), np.uint8), masks, plan)
    assert weights.tolist() == pytest.approx([4 / 9, 4 / 3, 1.0])


def test_a_label_absent_or_universal_at_the_site_has_weight_one() -> None:
    targets = np.array([[1, 0], [1, 0]], np.uint8)
    plan = _study("classification", "multilabel", ["a", "b"], "bce")
    weights = class_weights(targets, None, plan)
    assert weights.tolist() == [1.0, 1.0]
