"""A crafted module that keeps patients apart inside a sum.

Fowl, Geiping, Czaja, Goldblum, Goldstein, Robbing the Fed, ICLR 2022; from secure sums alone: Shi et al., MedLeak,
arXiv 2407.09972.

1. The coordinator sends a model whose first layer has B equal units, each the projection h of the image on a public
   pattern; unit b has the bias ``-t_b``, and ``t_1 < t_2 < …`` are the quantiles of h over public images. Rectified
   and summed, they make the logit.
2. Unit b passes a gradient only for images with ``h > t_b``. The difference of the gradients of units b and b + 1 is
   therefore that of the images with ``t_b < h <= t_(b+1)`` alone.
3. With more units than patients most images are alone in theirs. Clipping scales a patient's whole gradient, which
   changes nothing about that.

The module is **not of the catalogue**: a hospital would have to have installed it. What is attacked is the sum. What a
network of the catalogue gives away is attacked in :mod:`.inversion`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn

from wardround.simulations.attacks.leakage.release import observe
from wardround.simulations.attacks.leakage.toys import PIXELS, SIDE, patients_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.study import Study
    from wardround.simulations.attacks.leakage.images import Population

UNITS: Final = 64


class Imprint:
    """The crafted module, and how its gradients are read.

    Args:
        public: Images from which the quantiles are taken, ``[n, P]``.
    """

    def __init__(self, public: NDArray[np.float64]) -> None:
        pattern = np.random.default_rng(0).normal(size=PIXELS) / np.sqrt(PIXELS)
        self._pattern = pattern
        self._bins = np.quantile(public @ pattern, np.arange(UNITS) / UNITS)

    def model(self) -> nn.Module:
        """Step 1."""
        first, last = nn.Linear(PIXELS, UNITS), nn.Linear(UNITS, 1)
        with torch.no_grad():
            first.weight.copy_(torch.from_numpy(np.tile(self._pattern, (UNITS, 1))))
            first.bias.copy_(torch.from_numpy(-self._bins))
            last.weight.fill_(1 / UNITS)
            last.bias.zero_()
        return nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)

    def images(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Step 2: what lies between two thresholds, ``[UNITS, P]``, from a sum of gradients."""
        rows = total[: UNITS * PIXELS].reshape(UNITS, PIXELS)
        return np.asarray(rows - np.vstack([rows[1:], np.zeros((1, PIXELS))]))

    def unit_of(self, image: NDArray[np.float64]) -> int:
        """The last unit that an image passes; the first one for images below all thresholds."""
        return max(0, int(np.searchsorted(self._bins, image @ self._pattern)) - 1)


def imprint(study: Study, population: Population, victim: int) -> NDArray[np.float64]:
    """What the sums of a hospital with several patients say of the victim's image, ``[P]``."""
    module = Imprint(population.public)
    images = np.vstack([population.victims[victim], population.crowd]).astype(np.float32)
    data = patients_of(images.reshape(-1, 1, SIDE, SIDE), np.zeros(len(images), dtype=np.uint8))
    hospital = observe(study, module.model(), data, np.arange(len(images)))
    found: NDArray[np.float64] = module.images(hospital.mean_sum())[module.unit_of(population.victims[victim])]
    return found
