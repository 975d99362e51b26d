"""Chest phantoms: frontal radiographs drawn from anatomy, with nodules and opacities.

Every structure is a soft-edged shape in the unit square (x from the patient's right, image left,
to left; y from head to foot; both -1 to 1) whose X-ray attenuation is added up; bright is dense,
as radiographs are shown. Anatomy is drawn for each patient, pose and breath for each image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.simulations.sites.phantom import Cohort
from wardround.simulations.sites.shapes import bar, inside, single

if TYPE_CHECKING:
    from wardround.simulations.sites.phantom import CaseMix, Phantom
    from wardround.simulations.sites.shapes import Array

FIELD_OF_VIEW_MM = 384.0
"""Height and width of the image, mm."""

RIBS = 9
BATCH = 64
"""Images drawn at once; bounds memory to a few hundred float32 images."""


def draw_chests(
    phantom: Phantom, patients: int, prevalence: float, case_mix: CaseMix, rng: np.random.Generator
) -> Cohort:
    """Draw the chest radiographs of one hospital.

    Args:
        phantom: Size and images a patient.
        patients: Number of patients.
        prevalence: Probability that a patient has a lesion, in every image.
        case_mix: Which lesions those patients have.
        rng: The hospital's own generator.

    Returns:
        Images ``[N, H, W]`` and the columns ``abnormal``, ``nodule`` and ``opacity``.
    """
    fewest, most = phantom.images_per_patient
    of_patient = np.repeat(np.arange(patients), rng.integers(fewest, most + 1, size=patients))
    ill = rng.random(patients) < prevalence
    kind = rng.choice(3, size=patients, p=(case_mix.nodule, case_mix.opacity, case_mix.both))
    nodule, opacity = ill & (kind != 1), ill & (kind != 0)
    anatomy = _anatomy(patients, rng)
    anatomy["nodule"], anatomy["opacity"] = nodule.astype(np.float32), opacity.astype(np.float32)
    values = {name: value[of_patient] for name, value in anatomy.items()}
    values.update(_pose(len(of_patient), rng))
    parts = [slice(start, start + BATCH) for start in range(0, len(of_patient), BATCH)]
    images = [_radiograph({k: v[part] for k, v in values.items()}, phantom.size, rng) for part in parts]
    findings = {"abnormal": ill, "nodule": nodule, "opacity": opacity}
    return Cohort(
        np.concatenate(images), of_patient, {k: v[of_patient].astype(np.int64) for k, v in findings.items()}, None
    )


def _uniform(rng: np.random.Generator, low: float, high: float, n: int) -> Array:
    return single(rng.uniform(low, high, n))


_ANATOMY = {
    "chest_width": (0.86, 1.08),
    "lung_width": (0.30, 0.36),
    "lung_height": (0.80, 0.95),
    "heart_width": (0.30, 0.42),
    "heart_tilt": (0.4, 0.8),
    "aorta": (0.05, 0.10),
    "rib_phase": (-0.05, 0.05),
    "rib_slope": (0.40, 0.65),
    "rib_density": (0.08, 0.14),
    "clavicle": (-0.78, -0.66),
    "fat": (0.0, 0.12),
    "vessels": (0.06, 0.12),
    "nodule_radius": (0.08, 0.13),
    "nodule_density": (0.28, 0.42),
    "nodule_side": (-1.0, 1.0),
    "nodule_x": (-0.5, 0.5),
    "nodule_y": (-0.7, 0.5),
    "opacity_radius": (0.20, 0.32),
    "opacity_density": (0.26, 0.40),
    "opacity_side": (-1.0, 1.0),
    "opacity_x": (-0.4, 0.4),
    "opacity_y": (-0.1, 0.6),
}
"""Range of each property of a patient, in units of the half field of view or of attenuation."""

_POSE = {
    "turn": (-0.06, 0.06),
    "shift_x": (-0.05, 0.05),
    "shift_y": (-0.05, 0.05),
    "zoom": (0.94, 1.06),
    "breath": (-0.08, 0.08),
}
"""Range of what differs between two images of a patient; turn in radians."""


def _anatomy(patients: int, rng: np.random.Generator) -> dict[str, Array]:
    return {name: _uniform(rng, low, high, patients) for name, (low, high) in _ANATOMY.items()}


def _pose(images: int, rng: np.random.Generator) -> dict[str, Array]:
    return {name: _uniform(rng, low, high, images) for name, (low, high) in _POSE.items()}


def _radiograph(flat: dict[str, Array], size: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Add up the attenuation of every structure, ``[N, H, W]``, and scale to 0 to 1."""
    v = {name: value[:, None, None] for name, value in flat.items()}
    x, y = _grid(v, size)
    lungs = _lungs(v, x, y)
    image = 0.62 * _trunk(v, x, y) - (0.46 + 0.3 * v["fat"]) * lungs
    image += _vessels(v, x, y, size, rng) * lungs
    image += _mediastinum(v, x, y) + _bones(v, x, y)
    image += _lesions(v, x, y, size, rng) * lungs
    return single(np.clip(0.08 + 0.9 * image, 0, 1))


def _grid(v: dict[str, Array], size: tuple[int, ...]) -> tuple[Array, Array]:
    """Coordinates of each pixel in the patient's own frame, ``[N, H, W]`` each."""
    rows, columns = size
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, None, :] - v["shift_x"]
    y = np.linspace(-1, 1, rows, dtype=np.float32)[None, :, None] - v["shift_y"]
    cos, sin = np.cos(v["turn"]) * v["zoom"], np.sin(v["turn"]) * v["zoom"]
    return single((cos * x + sin * y) / v["chest_width"]), single(cos * y - sin * x)


def _trunk(v: dict[str, Array], x: Array, y: Array) -> Array:
    """Soft tissue: neck, shoulders and chest wall, thicker in the middle and with fat."""
    half_width = 0.30 + 0.68 / (1 + np.exp(-(y + 0.72) / 0.09)) - 0.10 * np.clip(y, 0, 1) ** 2
    body = inside(np.abs(x) - half_width - v["fat"], 0.02)
    return single(body * (0.85 + 0.25 * np.sqrt(np.clip(1 - (x / 1.1) ** 2, 0, 1))))


def _lungs(v: dict[str, Array], x: Array, y: Array) -> Array:
    """Both lungs above their diaphragm domes; the right dome stands higher."""
    lungs = np.zeros_like(x)
    for side in (-1, 1):
        along = (y + 0.10) / v["lung_height"]
        # Lungs widen towards the base: the centre and width follow y.
        centre = side * (0.37 + 0.07 * along)
        width = v["lung_width"] * (1 + 0.20 * along)
        shape = np.sqrt(((x - centre) / width) ** 2 + np.abs(along) ** 2.6) - 1
        dome = 0.52 + (0.05 if side > 0 else -0.02) + v["breath"] + 1.1 * (x - side * 0.34) ** 2
        lungs = lungs + inside(shape, 0.05) * inside(y - dome, 0.018)
    return single(np.clip(lungs, 0, 1))


def _vessels(v: dict[str, Array], x: Array, y: Array, size: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Lung markings: streaks that radiate from the hila and fade towards the chest wall."""
    streaks = np.zeros_like(x)
    for side in (-1, 1):
        dx, dy = x - side * 0.16, y + 0.05
        radius = np.sqrt(dx**2 + dy**2)
        angle = np.arctan2(dy, side * dx)
        phase = rng.uniform(0, 2 * np.pi, (len(x), 1, 1)).astype(np.float32)
        wave = np.cos(13 * angle + phase + 4 * radius) * np.cos(7 * angle - 2 * phase)
        near = inside(-side * x, 0.02)
        streaks += near * (np.clip(wave, 0.2, 1) - 0.2) * np.exp(-radius / 0.30) * np.clip(radius / 0.12, 0, 1)
        streaks += near * 0.9 * np.exp(-(radius**2) / 0.012)
    return single(v["vessels"] * (streaks + 0.35 * _clouds(len(x), size, 1.2, rng)))


def _mediastinum(v: dict[str, Array], x: Array, y: Array) -> Array:
    """Heart to the patient's left, great vessels, aortic knob and the air-filled trachea."""
    hx, hy = x - 0.13, y - 0.30 - 0.5 * v["breath"]
    tilt = v["heart_tilt"]
    along, across = np.cos(tilt) * hx + np.sin(tilt) * hy, np.cos(tilt) * hy - np.sin(tilt) * hx
    heart = inside(np.sqrt((along / v["heart_width"]) ** 2 + (across / 0.27) ** 2) - 1, 0.06)
    band = inside(np.abs(x - 0.02) - 0.11, 0.025) * inside(y - 0.5, 0.05)
    knob = np.exp(-((x - 0.13) ** 2 + (y + 0.30) ** 2) / (2 * v["aorta"] ** 2))
    trachea = inside(np.abs(x) - 0.035, 0.012) * inside(y + 0.25, 0.04)
    return single(0.30 * np.maximum(heart, 0.6 * band) + 0.16 * knob - 0.14 * trachea)


def _bones(v: dict[str, Array], x: Array, y: Array) -> Array:
    """Spine with its discs, posterior and fainter anterior ribs, clavicles."""
    spine = inside(np.abs(x) - 0.075, 0.018) * (0.07 + 0.03 * np.cos(2 * np.pi * y / 0.16))
    out = np.abs(x)
    thorax = inside(out - 0.80 + 0.55 * np.clip(-y - 0.25, 0, 1), 0.03) * inside(0.06 - out, 0.02)
    ribs = np.zeros_like(x)
    for k in range(RIBS):
        start = -0.80 + 0.165 * k + v["rib_phase"]
        posterior = y - (start - v["rib_slope"] * out * (0.40 - out))
        anterior = y - (start + 0.30 - 0.65 * v["rib_slope"] * (0.8 - out))
        ribs += bar(posterior, 0.030) + 0.45 * bar(anterior, 0.035) * (out > 0.3)
    collar = y - (v["clavicle"] - 0.16 * (out - 0.12))
    clavicles = bar(collar, 0.032) * inside(out - 0.66, 0.03) * inside(0.08 - out, 0.02)
    return single(spine + v["rib_density"] * ribs * thorax + 0.13 * clavicles)


def _lesions(v: dict[str, Array], x: Array, y: Array, size: tuple[int, ...], rng: np.random.Generator) -> Array:
    """A round nodule with a fairly sharp edge, a cloudy opacity without one."""
    side = np.where(v["nodule_side"] > 0, 1, -1)
    dx, dy = x - side * (0.40 + 0.3 * v["nodule_x"]), y - v["nodule_y"] * 0.75
    nodule = inside(np.sqrt(dx**2 + dy**2) - v["nodule_radius"], 0.014)
    side = np.where(v["opacity_side"] > 0, 1, -1)
    dx, dy = x - side * (0.40 + 0.3 * v["opacity_x"]), y - v["opacity_y"]
    cloud = np.exp(-(dx**2 + 0.7 * dy**2) / v["opacity_radius"] ** 2)
    cloud = np.clip(cloud * (1 + 0.5 * _clouds(len(x), size, 3.0, rng)), 0, 1.2)
    return single(v["nodule"] * v["nodule_density"] * nodule + v["opacity"] * v["opacity_density"] * cloud)


def _clouds(images: int, size: tuple[int, ...], width: float, rng: np.random.Generator) -> Array:
    """Smooth random texture, ``[N, H, W]``, standard deviation 1; ``width`` in pixels of 96."""
    from scipy import ndimage

    sigma = width * size[0] / 96
    noise = rng.standard_normal((images, *size), dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, (0, sigma, sigma), mode="reflect")
    return single(smooth / smooth.std())
