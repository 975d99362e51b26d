"""Membership inference: was this patient in the training data? From the final model alone.

Carlini, Chien, Nasr, Song, Terzis, Tramèr, Membership Inference Attacks From First Principles, IEEE S&P 2022, section
VI: the offline likelihood-ratio attack with one variance for all.

1. ``phi`` of a patient under a model is the logit of ``exp(-loss)``, the mean over their images.
2. Reference models are trained by the same study on other patients of the same hospitals.
3. The score is phi under the target less the mean of phi under the reference models that did not see the patient.

On the toy the model is linear, patients are random images with random labels, and there are many more pixels than
patients: without noise the model learns everyone by heart.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from scipy import stats

from wardround.simulations.attacks.leakage.bounds import FAILURE, any_epsilon, clopper_pearson
from wardround.simulations.attacks.leakage.finding import Finding
from wardround.simulations.attacks.leakage.release import observe
from wardround.simulations.attacks.leakage.scores import Scores, surest_errors, tight_errors
from wardround.simulations.attacks.leakage.toys import PIXELS, SIDE, linear_model, patients_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.common.study import Study

MEMBERS: Final = 64
OTHERS: Final = 250
MARGIN: Final = 2.0
"""Logit to which a toy's whole training takes a member who is alone."""

RARE: Final = 0.01
"""The false positive rate at which the true positive rate is reported."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How well members are told from others.

    Args:
        auc: Area under the ROC curve.
        auc_low: Lower bound, 99.9%.
        auc_high: Upper bound, 99.9%.
        rare_hits: True positive rate at a false positive rate of 1%.
        rare_hits_low: Lower bound, 99.9%.
    """

    auc: float
    auc_low: float
    auc_high: float
    rare_hits: float
    rare_hits_low: float

    @property
    def words(self) -> str:
        """For people."""
        return (
            f"AUC {self.auc:.3f} (99.9%: {self.auc_low:.3f} to {self.auc_high:.3f}), "
            f"true positive rate {self.rare_hits:.3f} at a false positive rate of {RARE:g}"
        )


def quality(found: Scores, patients: NDArray[np.int64] | None = None) -> Quality:
    """Of an attack's scores.

    The bounds of the area are normal, with the variance of DeLong, DeLong, Clarke-Pearson, Biometrics 1988, and of
    Obuchowski, Biometrics 1997, where several scores belong to one patient.

    Args:
        found: The scores.
        patients: Number of each score's patient, ``[m]``; None: each has one.
    """
    inside, outside = found.scores[found.present], found.scores[~found.present]
    above = _placements(inside, outside)
    auc = float(above.mean())
    shares = np.empty(len(found.scores))
    shares[found.present] = (above - auc) / len(inside)
    shares[~found.present] = (1 - _placements(outside, inside) - auc) / len(outside)
    own = np.arange(len(shares)) if patients is None else patients
    count = np.unique(own).size
    deviation = float(np.sqrt(count / (count - 1) * np.sum(np.bincount(own, shares) ** 2)))
    reach = float(stats.norm.isf(FAILURE)) * deviation
    hits = int(np.count_nonzero(inside > np.quantile(outside, 1 - RARE, method="higher")))
    low, _ = clopper_pearson(hits, len(inside), FAILURE)
    return Quality(auc, max(0.0, auc - reach), min(1.0, auc + reach), hits / len(inside), low)


def memberships(found: Scores, delta: float) -> Finding:
    """What an attack's scores say."""
    measured = quality(found)
    return Finding(
        len(found.scores),
        tight_errors(found),
        any_epsilon(surest_errors(found, delta), delta),
        measured.words,
        {"quality": asdict(measured), "present": found.present.tolist(), "scores": found.scores.tolist()},
    )


def _placements(scores: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of ``others`` below each of ``scores``; equal ones count half."""
    ordered = np.sort(others)
    below, not_above = np.searchsorted(ordered, scores, "left"), np.searchsorted(ordered, scores, "right")
    return np.asarray((below + not_above) / (2 * len(others)))


def attack_toy(study: Study, images: np.random.Generator) -> Scores:
    """Train a toy once, one reference model besides, and score members and others.

    Args:
        study: A toy.
        images: Draws patients; the hospital's own randomness is the operating system's.
    """
    count = 2 * MEMBERS + OTHERS
    pixels = images.normal(size=(count, PIXELS)).astype(np.float32)
    labels = images.integers(0, 2, count).astype(np.uint8)
    members, reference = np.arange(MEMBERS), np.arange(MEMBERS, 2 * MEMBERS)
    target, other = (_trained(study, pixels, labels, own) for own in (members, reference))
    scored = np.concatenate([members, np.arange(2 * MEMBERS, count)])  # the reference model saw none of them
    signs = 2.0 * labels[scored] - 1
    return Scores(scored < MEMBERS, signs * (pixels[scored] @ (target - other)))


def _trained(
    study: Study, pixels: NDArray[np.float32], labels: NDArray[np.uint8], own: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Weights of the linear model after all steps of gradient descent on noisy sums, ``[P]``."""
    model = linear_model()
    weight = next(model.parameters())
    hospital = observe(study, model, patients_of(pixels.reshape(-1, 1, SIDE, SIDE), labels), own)
    rate = MARGIN / (hospital.plan.steps * study.promise.rate * np.sqrt(PIXELS))
    for total in hospital.sums():
        with torch.no_grad():
            weight.sub_(torch.from_numpy(rate * total).to(weight.dtype).reshape(weight.shape))
    found: NDArray[np.float64] = weight.detach().double().numpy().ravel()
    return found
