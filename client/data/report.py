"""The data report of one site: counts, class balance, intensities, geometry. No identifier, no single image.

Histograms are drawn from at most 128 voxels of the first channel of each image, spread over it.
Their outermost bins also count what lies beyond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wardround.client.data.decode import spread_voxels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wardround.client.data.prepare import PreparedSet
    from wardround.client.data.samples import DataSet
    from wardround.client.data.split import Parts

BINS = 50


def data_report(data: DataSet, prepared: PreparedSet, parts: Parts) -> dict[str, Any]:
    """The whole report, ready for JSON: :func:`describe` with the parts and the normalised intensities.

    Args:
        data: The data set.
        prepared: The same samples, prepared.
        parts: Their split; ``Parts.all_test`` for a site that only tests.
    """
    report = describe(data)
    report["parts"] = part_counts(data, parts)
    values = np.concatenate([spread_voxels(prepared.inner(index)) for index in range(len(prepared.rows))])
    edges = _normalised_edges(values)
    report["histogram"] |= {"edges": edges.tolist(), "normalised": _counts(values, edges)}
    return report


def describe(data: DataSet) -> dict[str, Any]:
    """What can be said without a study: patients, images, classes, raw intensities, spacing, shapes.

    ``classes`` counts ``[patients, images]`` that show a label; ``spacing_mm`` and ``shape`` hold
    ``[smallest, median, largest]`` for each axis (RAS+ order for volumes).
    """
    raw = np.concatenate([np.asarray(facts.intensities) for facts in data.facts])
    edges = _raw_edges(raw)
    spacings = [facts.spacing_mm for facts in data.facts if facts.spacing_mm is not None]
    return {
        "patients": len(set(data.patients)),
        "images": len(data.samples),
        "classes": _class_counts(data),
        "histogram": {"raw_edges": edges.tolist(), "raw": _counts(raw, edges)},
        "spacing_mm": _spread(spacings) if len(spacings) == len(data.facts) else None,
        "shape": _spread([facts.shape for facts in data.facts]),
        "warnings": list(data.warnings),
        "digest": data.digest,
    }


def part_counts(data: DataSet, parts: Parts) -> dict[str, list[int]]:
    """``[patients, images]`` of each part."""
    patients = data.patients
    return {name: [len({patients[i] for i in indices}), len(indices)] for name, indices in parts.named()}


def _class_counts(data: DataSet) -> dict[str, list[int]]:
    counts = {}
    for column, label in enumerate(data.labels):
        showing = [patient for patient, labels in zip(data.patients, data.strata, strict=True) if labels[column]]
        counts[label] = [len(set(showing)), len(showing)]
    return counts


def _raw_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the 0.5th to the 99.5th percentile, so that a few bright voxels do not hide the rest."""
    low, high = np.percentile(values, (0.5, 99.5))
    if low == high:
        low, high = values.min(), values.max() + float(values.min() == values.max())
    return np.linspace(low, high, BINS + 1)


def _normalised_edges(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The same for every site of a study: 0 to 1, or -4 to 4 standard deviations after a z-score."""
    bounded = values.min() >= 0 and values.max() <= 1
    return np.linspace(0, 1, BINS + 1) if bounded else np.linspace(-4, 4, BINS + 1)


def _counts(values: NDArray[Any], edges: NDArray[np.float64]) -> list[int]:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)
    return [int(count) for count in counts]


def _spread(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    table = np.asarray(rows, dtype=np.float64)
    return [[float(axis.min()), float(np.median(axis)), float(axis.max())] for axis in table.T]
