"""Virtual scanners: what makes the same anatomy look different from hospital to hospital.

The steps follow the way an image comes about:

1. contrast: the scanner's tone curve (gamma), or an inverted grey scale (exported MONOCHROME1);
2. bias field: signal falls off with distance from a surface coil, or with the heel effect;
3. resolution: blur by a Gaussian point spread function, thick or coarse sampling;
4. noise: Gaussian for radiographs and CT, Rician for magnitude MR images (Gudbjartsson and Patz,
   The Rician distribution of noisy MRI data, Magn Reson Med 34:910, 1995);
5. export: the scale and offset of stored values.

Steps 1 to 4 survive per-image normalisation; step 5 alone would not.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from wardround.common.study import Positive, Section
from wardround.simulations.sites.shapes import single

if TYPE_CHECKING:
    from numpy.typing import NDArray

FWHM_PER_SIGMA = 2.354820045
"""Full width at half maximum of a Gaussian with standard deviation 1: 2 sqrt(2 ln 2)."""


class Scanner(Section):
    """The ``[simulation.sites.scanner]`` table.

    Attributes:
        gamma: Exponent of the tone curve on intensities in 0 to 1.
        inverted: Grey scale upside down, as a MONOCHROME1 image read as MONOCHROME2.
        bias_field: Natural logarithm of the signal ratio between the nearest and the farthest
            point from the coil; 0 is none, 0.7 halves the signal.
        blur_fwhm: Width of the point spread function, pixels or voxels.
        downsample: Coarser sampling by this factor, one for every axis or one for each, brought
            back to the original grid by linear interpolation; masks keep their meaning.
        noise: Standard deviation of the noise, as a fraction of the intensity range.
        noise_model: ``gaussian`` or ``rician``.
        intensity_scale: Stored value of full intensity; 16-bit PNG takes 1 as 65535.
        intensity_offset: Stored value of zero intensity.
    """

    gamma: Positive = 1.0
    inverted: bool = False
    bias_field: Annotated[float, Field(ge=0, le=4)] = 0.0
    blur_fwhm: Annotated[float, Field(ge=0, le=32)] = 0.0
    downsample: tuple[Annotated[float, Field(ge=1, le=8)], ...] = (1.0,)
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    noise_model: Literal["gaussian", "rician"] = "gaussian"
    intensity_scale: Positive = 1.0
    intensity_offset: Annotated[float, Field(allow_inf_nan=False)] = 0.0


def scan(image: NDArray[np.float32], scanner: Scanner, *, site: str, key: str) -> NDArray[np.float32]:
    """The image as this hospital's scanner would have taken it.

    Args:
        image: ``[*spatial]``, any units, finite.
        scanner: The scanner's properties.
        site: The hospital; fixes what is constant there, such as where the coil sits.
        key: The image's name in the hospital; fixes what varies from image to image.

    Returns:
        ``[*spatial]`` float32, ``intensity_offset`` to about ``intensity_scale + intensity_offset``
        (noise may exceed it). The same arguments always give the same image.

    Raises:
        ValueError: ``downsample`` has another number of axes than the image.
    """
    varying = _generator(site, key)
    signal = _contrast(_unit_range(image), scanner)  # step 1
    if scanner.bias_field:
        signal *= _coil_sensitivity(signal.shape, scanner.bias_field, _generator(site, ""), varying)  # step 2
    signal = _resolution(signal, scanner)  # step 3
    signal = _noise(signal, scanner, varying)  # step 4
    return single(signal * scanner.intensity_scale + scanner.intensity_offset)  # step 5


def _generator(site: str, key: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{site}\x00{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def _unit_range(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring the 0.5th and 99.5th percentile to 0 and 1 and clip; a flat image becomes 0."""
    low, high = np.percentile(image, (0.5, 99.5))
    if high <= low:
        return np.zeros(image.shape, np.float32)
    return single(np.clip((image - low) / (high - low), 0, 1))


def _contrast(signal: NDArray[np.float32], scanner: Scanner) -> NDArray[np.float32]:
    curved = single(signal**scanner.gamma)
    return single(1 - curved) if scanner.inverted else curved


def _coil_sensitivity(
    shape: tuple[int, ...], strength: float, fixed: np.random.Generator, varying: np.random.Generator
) -> NDArray[np.float32]:
    """Smooth field, 1 nearest the coil and ``exp(-strength)`` farthest from it."""
    direction = fixed.normal(size=len(shape))
    coil = 1.2 * direction / np.linalg.norm(direction) + varying.normal(scale=0.15, size=len(shape))
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    distance = np.sqrt(sum(np.square(axis - centre) for axis, centre in zip(axes, coil, strict=True)))
    fall = (distance - distance.min()) / max(float(np.ptp(distance)), 1e-6)
    return single(np.exp(-strength * fall))


def _resolution(signal: NDArray[np.float32], scanner: Scanner) -> NDArray[np.float32]:
    from scipy import ndimage

    factors = scanner.downsample * signal.ndim if len(scanner.downsample) == 1 else scanner.downsample
    if len(factors) != signal.ndim:
        raise ValueError("scanner.downsample needs one factor, or one for every axis")
    if scanner.blur_fwhm:
        signal = ndimage.gaussian_filter(signal, scanner.blur_fwhm / FWHM_PER_SIGMA, mode="nearest")
    if max(factors) == 1:
        return signal
    # A slice or a coarse pixel averages over its width: a Gaussian of the same variance, width / sqrt(12).
    averaged = ndimage.gaussian_filter(signal, [(f - 1) / np.sqrt(12) for f in factors], mode="nearest")
    coarse = tuple(max(2, round(n / f)) for n, f in zip(signal.shape, factors, strict=True))
    return _regrid(_regrid(averaged, coarse), signal.shape)


def _regrid(signal: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Linear interpolation onto a grid of another shape over the same field of view."""
    from scipy import ndimage

    axes = [(np.arange(n) + 0.5) * (old / n) - 0.5 for n, old in zip(shape, signal.shape, strict=True)]
    return single(ndimage.map_coordinates(signal, np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest"))


def _noise(signal: NDArray[np.float32], scanner: Scanner, varying: np.random.Generator) -> NDArray[np.float32]:
    if not scanner.noise:
        return signal
    real = signal + varying.normal(scale=scanner.noise, size=signal.shape)
    if scanner.noise_model == "gaussian":
        return single(real)
    return single(np.hypot(real, varying.normal(scale=scanner.noise, size=signal.shape)))
