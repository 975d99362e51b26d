"""Images that attacks are after, and images that everybody has.

An attack reconstructs the victim's image and names the candidate that is most like it. Candidates are drawn from the
same population; one of them, it may be any, is the victim. As long as the victim is not in the data the attack is
right once in as many times as there are candidates, whatever it does: differential privacy bounds how much more often
it is right when the victim is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own habit

from wardround.simulations.attacks.leakage.bounds import CERTAIN, FAILURE, any_epsilon, picked
from wardround.simulations.attacks.leakage.finding import Finding
from wardround.simulations.attacks.leakage.toys import PIXELS, SIDE
from wardround.simulations.sites.chest import draw_chests
from wardround.simulations.sites.phantom import CaseMix, Phantom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Reconstruct = Callable[[int], NDArray[np.float64]]

CANDIDATES: Final = 1000

VICTIMS: Final = 12

CROWD: Final = 15

LEAST: Final = 200
"""Public images without which nothing is attacked."""


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Images of patients, one each, normalised to mean 0 and standard deviation 1.

    Args:
        victims: Whom the attack is after, ``[v, P]`` with P pixels.
        crowd: Patients of the hospital beside the victim, ``[c, P]``.
        public: Images of other patients, which the attacker has, ``[n, P]``.
    """

    victims: NDArray[np.float64]
    crowd: NDArray[np.float64]
    public: NDArray[np.float64]

    @staticmethod
    def of(images: NDArray[np.floating], victims: int = VICTIMS) -> Population:
        """The first of ``images``, ``[N, H, W]`` in random order, are victims, then comes the crowd; 32 x 32 pixels.

        Raises:
            ValueError: Too few images.
        """
        small = F.interpolate(torch.from_numpy(np.array(images, np.float32))[:, None], (SIDE, SIDE), mode="area")
        flat = small.reshape(len(images), PIXELS).double().numpy()
        others = victims + CROWD
        if len(flat) < others + LEAST:
            raise ValueError(f"{len(flat)} images are too few for {victims} victims")
        flat = standardised(flat)
        return Population(flat[:victims], flat[victims:others], flat[others:][: CANDIDATES - 1])

    @property
    def candidates(self) -> int:
        """The victim and all others."""
        return len(self.public) + 1

    def same_as_victim(self, reconstructed: NDArray[np.float64], victim: int) -> bool:
        """Whether the victim is the candidate most like the reconstruction, ``[P]``, what all have in common aside."""
        own, *others = self.likeness(reconstructed, np.vstack([self.victims[victim], self.public]))
        return bool(own > max(others))

    def likeness(self, reconstructed: NDArray[np.float64], images: NDArray[np.float64]) -> NDArray[np.float64]:
        """Correlation with each of ``images`` over the pixels, the public mean image subtracted from both."""
        mean = self.public.mean(axis=0)
        return correlations(standardised(reconstructed[None])[0] - mean, images - mean)


def standardised(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each of ``[n, P]`` with mean 0 and standard deviation 1; one without contrast becomes 0."""
    centred = images - images.mean(axis=1, keepdims=True)
    deviations = centred.std(axis=1, keepdims=True)
    return np.asarray(np.divide(centred, deviations, out=np.zeros_like(centred), where=deviations > 0))


def correlations(image: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson correlation of ``[P]`` with each of ``[n, P]``; 0 for an image without contrast."""
    centred, others = image - image.mean(), others - others.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred) * np.linalg.norm(others, axis=1)
    return np.asarray(np.divide(others @ centred, norms, out=np.zeros(len(others)), where=norms > 0))


def drawn_images(count: int, seed: int) -> NDArray[np.float32]:
    """Phantom chest radiographs of as many patients, ``[N, 32, 32]``."""
    phantom = Phantom(kind="chest", size=(SIDE, SIDE))
    return draw_chests(phantom, count, 0.5, CaseMix(), np.random.default_rng(seed)).images


@dataclass(frozen=True, slots=True)
class Picked:
    """How an attack did that picks victims out of candidates.

    Args:
        right: Victims that were named.
        victims: All victims.
        candidates: Candidates for each.
        similarity: Correlation of each reconstruction with the victim's image, the public mean image aside.
    """

    right: int
    victims: int
    candidates: int
    similarity: tuple[float, ...]

    def finding(self, delta: float) -> Finding:
        """Hits and false alarms, with confidence."""
        words = (
            f"{self.right} of {self.victims} victims named among {self.candidates} candidates, median correlation "
            f"{float(np.median(self.similarity)):.2f}"
        )
        surest = picked(self.right, self.victims, self.candidates, FAILURE)
        return Finding(
            self.victims,
            picked(self.right, self.victims, self.candidates, CERTAIN),
            any_epsilon(surest, delta),
            words,
            {"named": self.right, "candidates": self.candidates, "correlations": list(self.similarity)},
        )


def pick(population: Population, reconstruct: Reconstruct, victims: Sequence[int] | None = None) -> Picked:
    """Attack victims one after the other.

    Args:
        population: Victims and others.
        reconstruct: From a victim's number to what the attack makes of the noisy sums of their hospital, ``[P]``.
        victims: Numbers of the victims; all where it is None.
    """
    right, similarity = 0, []
    chosen = range(len(population.victims)) if victims is None else victims
    for victim in chosen:
        found = reconstruct(victim)
        right += population.same_as_victim(found, victim)
        similarity.append(float(population.likeness(found, population.victims[victim : victim + 1])[0]))
    return Picked(right, len(chosen), population.candidates, tuple(similarity))
