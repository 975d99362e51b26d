"""Features of an image are computed once, one image at a time, and only so many are kept."""

from __future__ import annotations

import pytest
import torch

from wardround.common.models.remembered import Remembered


class Doubling:
    """Twice the image, and its mean; knows of how many images it was asked each time."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        self.asked.append(len(images))
        return [2 * images, images.mean((1, 2), keepdim=True)]


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))


def test_an_image_that_comes_again_is_not_computed_again(batch: torch.Tensor) -> None:
    known, features = Remembered(1000), Doubling()
    for order in ([0, 1, 2], [2, 0], [3, 1]):
        doubled, means = known.of(batch[order], features)
        torch.testing.assert_close(doubled, 2 * batch[order], rtol=0, atol=0)
        torch.testing.assert_close(means, batch[order].mean((1, 2), keepdim=True))
    assert features.asked == [1, 1, 1, 1]


def test_images_that_differ_in_one_value_or_in_type_are_two(batch: torch.Tensor) -> None:
    known, features = Remembered(1000), Doubling()
    other = batch.clone()
    other[0, 2, 4] = torch.nextafter(other[0, 2, 4], torch.tensor(9.0))
    for images in (batch[:1], other[:1], batch[:1].double()):
        found = known.of(images, features)[0]
        assert found.dtype == images.dtype
        assert torch.equal(found, 2 * images)
    assert features.asked == [1, 1, 1]


def test_a_full_memory_keeps_what_it_has(batch: torch.Tensor) -> None:
    known, features = Remembered(2 * (15 + 1)), Doubling()
    known.of(batch, features)
    assert features.asked == [1] * 4
    assert torch.equal(known.of(batch, features)[0], 2 * batch)
    assert features.asked == [1] * 6, "two of the four are known"


def test_what_a_prediction_left_can_be_trained_on(batch: torch.Tensor) -> None:
    known, features, weight = Remembered(1000), Doubling(), torch.ones(5, requires_grad=True)
    with torch.inference_mode():
        known.of(batch.clone(), features)
    (known.of(batch, features)[0] @ weight).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, 2 * batch.sum((0, 1)))
    assert features.asked == [1] * 4


def test_gradients_reach_an_image_that_asks_for_them(batch: torch.Tensor) -> None:
    known, features = Remembered(1000), Doubling()
    known.of(batch, features)
    known.of(batch.requires_grad_(), features)[0].sum().backward()
    assert batch.grad is not None
    assert torch.equal(batch.grad, torch.full_like(batch, 2))
