"""The ROC curve against scikit-learn's, its band, and the calibration curve by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from wardround.common.metrics.curves import calibration_curve, roc_band


def images(patients: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(patients), 3)
    truth = rng.integers(2, size=len(cluster))
    return truth, np.clip(rng.random(len(cluster)) * 0.7 + 0.3 * truth, 0, 1), cluster


def test_the_curve_is_scikit_learns_on_the_grid() -> None:
    truth, score, cluster = images()
    curve = roc_band(truth, score, cluster, np.random.default_rng(0), 50)
    assert curve is not None
    false_rate, true_rate, _ = roc_curve(truth, score, drop_intermediate=False)
    assert curve.y == pytest.approx(np.interp(curve.x, false_rate, true_rate), abs=1e-12)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(roc_auc_score(truth, score), abs=0.01)
    assert (np.diff(curve.y) >= 0).all()
    assert curve.y[-1] == 1


def test_the_band_surrounds_the_curve_and_shrinks_with_patients() -> None:
    widths = []
    for patients in (40, 640):
        curve = roc_band(*images(patients), np.random.default_rng(0), 300)
        assert curve is not None
        assert (curve.low <= curve.y + 1e-12).all()
        assert (curve.y <= curve.high + 1e-12).all()
        widths.append((curve.high - curve.low).mean())
    assert widths[1] < 0.5 * widths[0]


def test_several_models_are_averaged_vertically() -> None:
    truth, score, cluster = images()
    curves = [roc_band(truth, s, cluster, np.random.default_rng(0), 20) for s in (score, score**2 * (1 - truth))]
    both = roc_band(truth, np.stack([score, score**2 * (1 - truth)]), cluster, np.random.default_rng(0), 20)
    assert both is not None
    assert both.y == pytest.approx(np.mean([curve.y for curve in curves if curve is not None], axis=0))


def test_no_curve_without_a_class() -> None:
    truth, score, cluster = images()
    assert roc_band(truth, score, cluster, np.random.default_rng(0), 20) is not None
    assert roc_band(np.ones_like(truth), score, cluster, np.random.default_rng(0), 20) is None


def test_a_handful_of_patients_has_no_band() -> None:
    truth, score, cluster = np.array([0, 1, 0, 1]), np.array([0.2, 0.6, 0.4, 0.9]), np.arange(4)
    curve = roc_band(truth, score, cluster, np.random.default_rng(0), 20)
    assert curve is not None
    assert np.isnan(curve.low).all()


def test_calibration_curve_by_hand() -> None:
    truth, score = np.array([0, 1, 1, 1]), np.array([0.01, 0.05, 0.5, 0.52])
    curve = calibration_curve(truth, score, np.arange(4), np.random.default_rng(0), 20)
    assert curve.x == pytest.approx([0.03, 0.51])
    assert curve.y == pytest.approx([0.5, 1.0])
    assert curve.images.tolist() == [2, 2]


def test_calibration_bins_that_are_often_empty_have_no_band() -> None:
    rng = np.random.default_rng(2)
    truth, score = rng.integers(2, size=60), np.full(60, 0.5)
    score[0] = 0.05
    curve = calibration_curve(truth, score, np.arange(60), np.random.default_rng(0), 300)
    assert np.isnan(curve.low).tolist() == [True, False]
    assert curve.low[1] < curve.y[1] < curve.high[1]
