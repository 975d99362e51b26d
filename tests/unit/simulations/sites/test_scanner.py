"""Virtual scanners do what their fields say, the same way every time."""

import numpy as np
import pytest

from wardround.simulations.sites.scanner import Scanner, scan

SIZE = 64


def ramp() -> np.ndarray:
    """0 to 1 from left to right, with a margin on both sides so that percentiles are 0 and 1."""
    row = np.clip(np.linspace(-0.1, 1.1, SIZE), 0, 1)
    return np.tile(row, (SIZE, 1)).astype(np.float32)


def scanned(image: np.ndarray, *, site: str = "north", key: str = "1", **fields: object) -> np.ndarray:
    return scan(image, Scanner.model_validate(fields), site=site, key=key)


def zscore(image: np.ndarray) -> np.ndarray:
    return (image - image.mean()) / image.std()


def test_the_plain_scanner_only_brings_intensities_to_0_to_1() -> None:
    np.testing.assert_allclose(scanned(ramp() * 900 - 100), ramp(), atol=1e-5)


def test_a_flat_image_stays_flat() -> None:
    assert not scanned(np.full((8, 8), 7.0, np.float32), blur_fwhm=2, downsample=(2,)).any()


def test_contrast_follows_the_tone_curve_and_can_be_inverted() -> None:
    np.testing.assert_allclose(scanned(ramp(), gamma=2), ramp() ** 2, atol=1e-5)
    np.testing.assert_allclose(scanned(ramp(), inverted=True), 1 - ramp(), atol=1e-5)


def test_scale_and_offset_do_not_survive_normalisation_and_the_rest_does() -> None:
    plain = zscore(ramp())
    np.testing.assert_allclose(zscore(scanned(ramp(), intensity_scale=4000, intensity_offset=50)), plain, atol=1e-4)
    for fields in ({"gamma": 2}, {"inverted": True}, {"bias_field": 0.7}, {"downsample": (1, 8)}, {"noise": 0.05}):
        assert np.abs(zscore(scanned(ramp(), **fields)) - plain).max() > 0.02, fields


def bright() -> np.ndarray:
    """Nearly uniform: 1 but for one dark corner, so that the range is defined."""
    image = np.ones((SIZE, SIZE), np.float32)
    image[:8, :8] = 0
    return image


def test_the_bias_field_is_smooth_and_as_strong_as_asked() -> None:
    field = scanned(bright(), bias_field=0.7)
    assert field.max() == pytest.approx(1, abs=0.01)
    assert field[8:, 8:].min() == pytest.approx(np.exp(-0.7), abs=0.08)
    assert np.abs(np.diff(field[9:, 9:], axis=0)).max() < 0.03


def test_the_coil_stays_on_its_side_of_the_hospital() -> None:
    centres = []
    for key in "123456":
        field = scanned(bright(), bias_field=1.0, key=key)[8:, 8:]
        centres.append(np.array(np.unravel_index(field.argmax(), field.shape)) - 28)
    directions = np.array(centres, float) / np.linalg.norm(centres, axis=1, keepdims=True)
    assert np.linalg.norm(directions.mean(0)) > 0.8


def test_noise_is_as_strong_as_asked_and_differs_from_image_to_image() -> None:
    first, second = (scanned(ramp(), noise=0.05, key=key) - ramp() for key in "12")
    assert first.std() == pytest.approx(0.05, rel=0.05)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1


def test_rician_noise_has_a_floor_where_there_is_no_signal() -> None:
    """Without signal a Rician variable is a Rayleigh one, of mean sigma sqrt(pi / 2)."""
    image = np.zeros((SIZE, SIZE), np.float32)
    image[:8] = 1
    noisy = scanned(image, noise=0.1, noise_model="rician")
    assert noisy[8:].mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.03)
    assert noisy[:8].mean() == pytest.approx(1 + 0.1**2 / 2, abs=0.02)
    assert scanned(image, noise=0.1)[8:].mean() == pytest.approx(0, abs=0.01)


def test_blur_spreads_a_point_to_the_width_asked_for() -> None:
    point = np.zeros((SIZE, SIZE), np.float32)
    point[:, 32] = 1
    profile = scanned(point, blur_fwhm=6.0)[32]
    assert (profile > profile.max() / 2).sum() == pytest.approx(6, abs=1)


@pytest.mark.parametrize("shape", [(24, 20), (12, 16, 10)])
def test_coarse_sampling_keeps_grid_and_position(shape: tuple[int, ...]) -> None:
    image = np.zeros(shape, np.float32)
    image[tuple(slice(n // 4, n // 2) for n in shape)] = 1
    coarse = scanned(image, downsample=(2,))
    assert coarse.shape == shape
    grids = np.indices(shape)
    for axis in range(len(shape)):
        expected = (grids[axis] * image).sum() / image.sum()
        assert (grids[axis] * coarse).sum() / coarse.sum() == pytest.approx(expected, abs=0.2)


def test_thick_slices_blur_one_axis_only() -> None:
    stripes = np.zeros((16, 16, 16), np.float32)
    stripes[::2] = 1
    assert scanned(stripes, downsample=(1, 1, 2)).std() == pytest.approx(0.5, abs=0.01)
    assert scanned(stripes, downsample=(2, 1, 1)).std() < 0.2


def test_factors_for_another_number_of_axes_are_a_bug() -> None:
    assert scanned(ramp(), downsample=(1, 2)).shape == (SIZE, SIZE)
    with pytest.raises(ValueError, match="downsample"):
        scanned(ramp(), downsample=(1, 1, 2))


def test_the_same_image_is_scanned_the_same_way() -> None:
    fields = {"bias_field": 0.5, "noise": 0.1, "blur_fwhm": 1.0, "downsample": (1.5,)}
    np.testing.assert_array_equal(scanned(ramp(), **fields), scanned(ramp(), **fields))
    assert not np.array_equal(scanned(ramp(), **fields), scanned(ramp(), site="coast", **fields))
