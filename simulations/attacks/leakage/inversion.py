"""Gradient inversion: the image of a patient from the noisy sums of a hospital in which they are the only one.

* :func:`invert_linear`: analytic. The gradient of a linear layer is the image times a number (Phong, Aono, Hayashi,
  Wang, Moriai, IEEE TIFS 2018, section 3).
* :func:`invert_network`: for a network of the catalogue, an image is sought whose gradients point into the same
  directions (Geiping, Bauermeister, Dröge, Moeller, Inverting Gradients, NeurIPS 2020), among those that the principal
  components of public images can make: a global pooling forgets where things are, and anatomy says it. The coordinator
  sends three models with other initial weights, each in a third of the steps: where one gradient leaves several images
  possible, three do not.

Of the sums of one model the mean is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit

from wardround.common.models.catalogue import build_model
from wardround.common.models.initial import trained_parameters
from wardround.simulations.attacks.leakage.release import observe
from wardround.simulations.attacks.leakage.toys import PIXELS, SIDE, linear_model, patients_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from wardround.common.study import Study
    from wardround.simulations.attacks.leakage.images import Population

MODELS: Final = 3
COMPONENTS: Final = 100
ITERATIONS: Final = 150
STEP: Final = 0.1


def mean_sum(
    study: Study, model: nn.Module, image: NDArray[np.float64], steps: int | None = None
) -> NDArray[np.float64]:
    """Mean of the noisy sums of a hospital that has one patient with one image, ``[P]``; the label is 0."""
    data = patients_of(image.astype(np.float32).reshape(1, 1, SIDE, SIDE), np.zeros(1, dtype=np.uint8))
    return observe(study, model, data, np.zeros(1, dtype=np.int64)).mean_sum(steps)


def invert_linear(study: Study, population: Population, victim: int) -> NDArray[np.float64]:
    """What the gradient of one linear unit says of a victim's image, up to a factor, ``[P]``."""
    return mean_sum(study, linear_model(bias=True), population.victims[victim])[:PIXELS]


def invert_network(study: Study, population: Population, victim: int) -> NDArray[np.float64]:
    """The image whose gradients are most like those of the victim, by the study's network at its initial weights."""
    steps = study.training.rounds * study.promise.local_steps
    models = [build_model(study, seed=MODELS * victim + place) for place in range(min(MODELS, steps))]
    image = population.victims[victim]
    seen = [torch.from_numpy(mean_sum(study, model, image, steps // len(models))).float() for model in models]
    mean, components = principal_components(population.public)
    place = torch.zeros(len(components), requires_grad=True)
    optimizer = torch.optim.Adam([place], lr=STEP)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ITERATIONS)
    for _ in range(ITERATIONS):
        trial = (mean + place @ components).reshape(1, 1, SIDE, SIDE)
        unlike = [
            -F.cosine_similarity(_gradient(model, trial), own, dim=0) for model, own in zip(models, seen, strict=True)
        ]
        (place.grad,) = torch.autograd.grad(torch.stack(unlike).sum(), place)  # the models' gradients are not needed
        optimizer.step()
        schedule.step()
    found: NDArray[np.float64] = (mean + place @ components).detach().double().numpy()
    return found


def _gradient(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    loss = F.binary_cross_entropy_with_logits(model(image), torch.zeros(1, 1))
    return torch.cat(
        [
            part.flatten()
            for part in torch.autograd.grad(loss, list(trained_parameters(model).values()), create_graph=True)
        ]
    )


def principal_components(images: NDArray[np.float64]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean ``[P]`` and the first components ``[k, P]`` of ``[n, P]``, each as long as its standard deviation."""
    mean = images.mean(axis=0)
    _, singular, directions = np.linalg.svd(images - mean, full_matrices=False)
    scaled = directions[:COMPONENTS] * singular[:COMPONENTS, None] / np.sqrt(len(images))
    return torch.from_numpy(mean).float(), torch.from_numpy(scaled).float()
