"""Every file of a data set is decoded once and judged; what was found is remembered by the files' content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from wardround.client.data.cache import recall, remember
from wardround.client.data.decode import CaseFacts, UnusableSampleError, decode, digests_of, facts_of
from wardround.client.data.problems import Problem
from wardround.client.data.readers import UnusableImageError
from wardround.client.data.resample import resampled_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wardround.client.data.manifest import Manifest
    from wardround.client.data.rows import Sample
    from wardround.common.study import Input

VERSION = 1
"""Raised whenever a file would be judged differently, so that nothing old is trusted."""


def examine(
    samples: Sequence[Sample],
    manifest: Manifest,
    labels: Sequence[str],
    *,
    cache_dir: Path | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[tuple[CaseFacts, ...], list[Problem]]:
    """Decode every sample, or recall what an earlier examination of the same bytes found.

    Returns:
        The facts of the usable samples, and the problems of the others.

    Raises:
        WardroundError: WR-1122, the findings cannot be written to the cache.
    """
    if cache_dir is None:
        return _decode_all(samples, manifest, labels, progress)
    key = _key(samples, manifest, labels)
    known = recall(cache_dir, key) if key is not None else None
    if known is not None:
        return tuple(_facts(fields) for fields in known), []
    facts, problems = _decode_all(samples, manifest, labels, progress)
    if key is not None and not problems:
        remember(cache_dir, key, [list(astuple(one)) for one in facts])
    return facts, problems


def too_large(
    samples: Sequence[Sample], facts: Sequence[CaseFacts], manifest: Manifest, wanted: Input
) -> list[Problem]:
    """The images that ``input.fit = "pad"`` would have to cut."""
    if wanted.fit != "pad":
        return []
    problems = []
    for sample, one in zip(samples, facts, strict=True):
        grid = resampled_shape(one.shape, one.spacing_mm, wanted.spacing_mm)
        if any(length > limit for length, limit in zip(grid, wanted.size, strict=True)):
            reason = f"has {_times(grid)} voxels, input.size is {_times(wanted.size)}"
            name = sample.channels[0].name
            problems.append(Problem(sample.row, manifest.channels[0].column, "WR-1121", reason, name))
    return problems


def _decode_all(
    samples: Sequence[Sample],
    manifest: Manifest,
    labels: Sequence[str],
    progress: Callable[[int, int], None] | None,
) -> tuple[tuple[CaseFacts, ...], list[Problem]]:
    facts, problems = [], []
    for done, sample in enumerate(samples, start=1):
        try:
            facts.append(facts_of(decode(sample, manifest, labels), sample, labels))
        except UnusableSampleError as error:
            problems.append(Problem(sample.row, error.column, error.code, error.reason, error.path))
        if progress is not None:
            progress(done, len(samples))
    return tuple(facts), problems


def _key(samples: Sequence[Sample], manifest: Manifest, labels: Sequence[str]) -> str | None:
    """Everything that the findings depend on; None if a file cannot be read, which decoding will report."""
    state = hashlib.sha256(json.dumps([VERSION, manifest.model_dump(mode="json"), list(labels)]).encode())
    for sample in samples:
        try:
            digests = digests_of(sample)
        except UnusableImageError:
            return None
        state.update(json.dumps([sample.targets, sample.spacing_mm, digests]).encode())
    return state.hexdigest()[:32]


def _facts(fields: Sequence[Any]) -> CaseFacts:
    shape, spacing, present, digests, intensities = fields
    known_spacing = None if spacing is None else tuple(spacing)
    return CaseFacts(tuple(shape), known_spacing, tuple(present), tuple(digests), tuple(intensities))


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)
