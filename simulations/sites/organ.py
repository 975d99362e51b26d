"""Organ phantoms: volumes of an abdomen with one organ, its vessels and lesions, with their masks.

Coordinates run from -1 to 1 towards the patient's left, front and head; the voxel axes are right,
anterior, superior (RAS+), so the first one runs against them. Every structure is an ellipsoid, some
of them bent or bulging, with a soft edge of about one voxel as partial volumes have; the mask is
where a structure fills more than half of the voxel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.simulations.sites.phantom import Cohort
from wardround.simulations.sites.shapes import ellipsoid, inside, single

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wardround.simulations.sites.phantom import Phantom
    from wardround.simulations.sites.shapes import Array

STRUCTURES = ("organ", "lesion")
"""Labels of the masks, value 1 and 2."""

FIELD_OF_VIEW_MM = 320.0
"""Edge of the volume, mm."""

MOST_LESIONS = 3

_ANATOMY = {
    "body_x": (0.86, 0.96),
    "body_y": (0.68, 0.82),
    "organ_size": (0.88, 1.12),
    "organ_x": (0.20, 0.32),
    "organ_y": (-0.04, 0.10),
    "organ_z": (-0.10, 0.12),
    "organ_bend": (0.15, 0.45),
    "bump_x": (1.5, 3.5),
    "bump_z": (1.5, 3.5),
    "bump_phase": (0.0, 6.28),
    "organ_signal": (0.50, 0.58),
    "muscle_signal": (0.28, 0.36),
    "fat": (0.06, 0.16),
}
"""Range of each property of a patient; lengths in units of the half field of view, signals in 0 to 1."""

_POSE = {"turn": (-0.10, 0.10), "shift_x": (-0.06, 0.06), "shift_y": (-0.05, 0.05), "breath": (-0.10, 0.10)}
"""Range of what differs between two volumes of a patient; turn in radians."""

_LESION = {
    "radius": (0.13, 0.24),
    "stretch": (0.8, 1.25),
    "along_x": (-0.6, 0.6),
    "along_y": (-0.5, 0.5),
    "along_z": (-0.5, 0.5),
    "signal": (0.20, 0.28),
}
"""Range of each property of a lesion: radius, place in units of the organ's half axes, contrast."""


def draw_organs(phantom: Phantom, patients: int, prevalence: float, rng: np.random.Generator) -> Cohort:
    """Draw the volumes of one hospital.

    Args:
        phantom: Size and volumes a patient.
        patients: Number of patients.
        prevalence: Probability that a patient has lesions: one to three, dark, inside the organ.
        rng: The hospital's own generator.

    Returns:
        Volumes ``[N, X, Y, Z]``, masks of the same shape (1 organ, 2 lesion) and the column ``abnormal``.
    """
    fewest, most = phantom.images_per_patient
    of_patient = np.repeat(np.arange(patients), rng.integers(fewest, most + 1, size=patients))
    lesions = np.where(rng.random(patients) < prevalence, rng.integers(1, MOST_LESIONS + 1, size=patients), 0)
    anatomy = {name: rng.uniform(low, high, patients) for name, (low, high) in _ANATOMY.items()}
    tumours = {name: rng.uniform(low, high, (patients, MOST_LESIONS)) for name, (low, high) in _LESION.items()}
    pose = {name: rng.uniform(low, high, len(of_patient)) for name, (low, high) in _POSE.items()}
    v = {name: _column(value[of_patient]) for name, value in anatomy.items()}
    v |= {name: _column(value) for name, value in pose.items()}
    t = {name: single(value[of_patient]) for name, value in tumours.items()}
    images, masks = _volumes(v, t, lesions[of_patient], phantom.size, rng)
    return Cohort(images, of_patient, {"abnormal": (lesions[of_patient] > 0).astype(np.int64)}, masks)


def _column(value: NDArray[np.float64]) -> NDArray[np.float32]:
    return single(value)[:, None, None, None]


def _volumes(
    v: dict[str, Array],
    t: dict[str, Array],
    lesions: NDArray[np.int64],
    size: tuple[int, ...],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Paint the body, then the organ over it, then its lesions, ``[N, X, Y, Z]``."""
    edge = 1.0 / size[0]
    place = _grid(v, size)
    image = _bowel(_spine(_body(v, place, edge), place, edge), place, edge, rng)
    organ, inner = _organ(v, place, edge)
    texture = 0.015 * rng.standard_normal(image.shape, dtype=np.float32)
    image = _painted(image, organ, v["organ_signal"] + _vessels(inner) + texture)
    tumour = np.zeros_like(image)
    for k in range(MOST_LESIONS):
        present = single(lesions > k)[:, None, None, None]
        one = {name: value[:, k, None, None, None] for name, value in t.items()}
        tumour = single(np.maximum(tumour, present * organ * _tumour(one, inner, edge)))
    image = single(image - tumour * t["signal"][:, :1, None, None])
    mask = (organ > 0.5).astype(np.uint8)
    mask[tumour > 0.5] = 2
    return single(np.clip(image, 0, 1)), mask


Place = tuple["Array", "Array", "Array"]
"""Coordinates of every voxel."""


def _grid(v: dict[str, Array], size: tuple[int, ...]) -> Place:
    """Coordinates in the patient's own frame, ``[N, X, Y, Z]`` each."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in size]
    x, y, z = np.meshgrid(-axes[0], axes[1], axes[2], indexing="ij", copy=False)
    left, front = x[None] - v["shift_x"], y[None] - v["shift_y"]
    cos, sin = np.cos(v["turn"]), np.sin(v["turn"])
    return single(cos * left + sin * front), single(cos * front - sin * left), np.broadcast_to(z[None], left.shape)


def _painted(image: Array, shape: Array, signal: Array | float) -> NDArray[np.float32]:
    """The image with ``signal`` where ``shape`` is 1."""
    return single(image + shape * (signal - image))


def _body(v: dict[str, Array], place: Place, edge: float) -> NDArray[np.float32]:
    """A trunk of muscle in a layer of bright fat."""
    x, y, _ = place
    trunk = inside(ellipsoid((x, y), (v["body_x"], v["body_y"])), edge)
    muscle = inside(ellipsoid((x, y), (v["body_x"] - v["fat"], v["body_y"] - v["fat"])), edge)
    return _painted(single(0.72 * trunk), muscle, v["muscle_signal"])


def _spine(image: Array, place: Place, edge: float) -> NDArray[np.float32]:
    """Vertebra with its canal at the back, the aorta in front of it."""
    x, y, _ = place
    image = _painted(image, inside(ellipsoid((x, y + 0.45), (0.17, 0.14)), 3 * edge), 0.48)
    image = _painted(image, inside(ellipsoid((x, y + 0.62), (0.07, 0.06)), 6 * edge), 0.85)
    return _painted(image, inside(ellipsoid((x - 0.10, y + 0.22), (0.08, 0.08)), 6 * edge), 0.10)


def _bowel(image: Array, place: Place, edge: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Stomach, spleen and gut on the patient's left, the last two of organ-like signal."""
    x, y, z = place
    moved = single(rng.uniform(-0.05, 0.05, (3, len(image), 1, 1, 1)))
    stomach = ellipsoid((x - 0.40 - moved[0], y - 0.28, z - 0.35 - moved[1]), (0.24, 0.22, 0.38))
    spleen = ellipsoid((x - 0.58, y + 0.22 - moved[2], z - 0.40), (0.17, 0.26, 0.34))
    gut = ellipsoid((x - 0.30, y - 0.20, z + 0.55 - moved[1]), (0.34, 0.30, 0.34))
    image = _painted(image, inside(stomach, 3 * edge), 0.18)
    image = _painted(image, inside(spleen, 3 * edge), 0.46)
    return _painted(image, inside(gut, 3 * edge), single(0.42 + 0.12 * np.sin(18 * x + 9 * z)))


def _organ(v: dict[str, Array], place: Place, edge: float) -> tuple[NDArray[np.float32], Place]:
    """A bent, bulging ellipsoid on the patient's right, and the coordinates along its half axes."""
    x, y, z = place
    u = (x + v["organ_x"]) / (0.52 * v["organ_size"])
    w = (y - v["organ_y"] + v["organ_bend"] * (u**2 - 0.4) * 0.5) / (0.40 * v["organ_size"])
    h = (z - v["organ_z"] - v["breath"]) / (0.58 * v["organ_size"])
    # The right lobe is taller than the left one.
    h = h / (1 - 0.28 * np.clip(u, -1, 1))
    bump = 0.07 * np.sin(v["bump_x"] * u + v["bump_phase"]) * np.cos(v["bump_z"] * h)
    inner = (single(u), single(w), single(h))
    return inside(ellipsoid(inner, (1.0, 1.0, 1.0)) - bump, 2.0 * edge), inner


def _vessels(inner: Place) -> NDArray[np.float32]:
    """Bright branches through the organ."""
    u, w, h = inner
    trunk = np.exp(-((w - 0.25 * u) ** 2 + (h + 0.1 - 0.3 * u**2) ** 2) / 0.012)
    branch = np.exp(-((u + 0.2 + 0.4 * h) ** 2 + (w + 0.1 * h) ** 2) / 0.010)
    return single(0.14 * np.maximum(trunk, branch))


def _tumour(one: dict[str, Array], inner: Place, edge: float) -> NDArray[np.float32]:
    """One lesion, placed and sized in units of the organ's half axes."""
    u, w, h = inner
    radius = 1.9 * one["radius"]
    point = (u - one["along_x"], w - one["along_y"], h - one["along_z"])
    return inside(ellipsoid(point, (radius * one["stretch"], radius / one["stretch"], radius)), 3.0 * edge)
