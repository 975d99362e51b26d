"""Nothing that the coordinator holds in private mode is, or decodes to, the update of one hospital.

Every buffer of every server-side frame is collected while rounds run. The same hook over the same study
in open mode finds every single update: it can see what it looks for.
"""

from __future__ import annotations

from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fakes.buffer_hook import BufferHook
from fakes.private_runs import Consortium, Oracle, WatchedGrid, private_scenario, watched

from wardround.common.wire.private import UPLOAD
from wardround.common.wire.records import carried

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flwr.app import Message
    from numpy.typing import NDArray

    from wardround.common.ids import SiteId
    from wardround.common.vector import Vector

SERVER = ("wardround.server", "wardround.common.secagg.coordinator_", "wardround.common.wire")
ALIKE = 0.999
"""Cosine from which a vector is an update of a site, whatever its scale."""

NOISE = 0.25
"""What no cosine of unrelated vectors of this length reaches."""

SITES, ROUNDS = 5, 2


class Collected:
    """The buffers of one run, and the true updates of its sites."""

    def __init__(self, hook: BufferHook, oracle: Oracle, last: Vector, bits: int) -> None:
        self.updates = [(site, seen.updates[site]) for seen in oracle.rounds.values() for site in seen.updates]
        self.models = [*(seen.model for seen in oracle.rounds.values()), last]
        self.size = self.models[0].size
        self.dtype = f"<u{bits // 8}"
        self.contents = list(hook.contents.values())
        self.frames = hook.frames
        self.uploads: list[bytes] = []

    def floats(self) -> Iterator[NDArray[np.float64]]:
        """Every buffer as float32 and float64 values, also less a model that it may start from."""
        for content in self.contents:
            for kind in ("<f4", "<f8"):
                length = self.size * int(kind[-1])
                for begin in {0, len(content) - length} if len(content) >= length else ():
                    with np.errstate(invalid="ignore"):  # bytes that are no numbers at all
                        values = np.frombuffer(content[begin : begin + length], kind).astype(np.float64)
                    if np.isfinite(values).all() and 0 < np.abs(values).max() < 1e30:
                        yield values
                        yield from (values - model for model in self.models)

    def rings(self) -> list[NDArray[Any]]:
        """Every buffer as ring values."""
        length = self.size * np.dtype(self.dtype).itemsize
        return [np.frombuffer(content[:length], self.dtype) for content in self.contents if len(content) >= length]

    def differences(self) -> Iterator[NDArray[np.float64]]:
        """Every ring vector of the length of a masked update, and the difference of any two, as signed numbers."""
        rings = [ring for ring in self.rings() if ring.tobytes() in self._whole()]
        for ring in (*rings, *(first - second for first, second in combinations(rings, 2))):
            yield ring.view(self.dtype.replace("u", "i")).astype(np.float64)

    def _whole(self) -> set[bytes]:
        width = np.dtype(self.dtype).itemsize
        limit = (self.size + 64) * width
        return {content[: self.size * width] for content in self.contents if len(content) <= limit}

    def closest(self, vectors: Iterator[NDArray[np.float64]]) -> dict[SiteId, float]:
        """For each site the largest cosine of its updates with what a vector holds beyond the published models.

        Models, their differences and hence the opened sums are public; that part is taken off both sides.
        """
        directions = np.stack([self._beyond(update.astype(np.float64)) for _, update in self.updates])
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        found = dict.fromkeys((site for site, _ in self.updates), 0.0)
        for vector in vectors:
            rest = self._beyond(vector)
            if np.linalg.norm(rest) <= 1e-3 * np.linalg.norm(vector):
                continue  # a combination of models, but for the rounding of float32
            cosines = np.abs(directions @ rest) / np.linalg.norm(rest)
            for (site, _), cosine in zip(self.updates, cosines, strict=True):
                found[site] = max(found[site], float(cosine))
        return found

    @cached_property
    def _published(self) -> NDArray[np.float64]:
        """An orthonormal basis of all models, ``[P, models]``."""
        basis: NDArray[np.float64] = np.linalg.qr(np.stack(self.models, axis=1).astype(np.float64))[0]
        return basis

    def _beyond(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        rest: NDArray[np.float64] = vector - self._published @ (self._published.T @ vector)
        return rest


def collect(consortium: Consortium, bits: int, *, private: bool) -> Collected:
    grid, oracle = watched(consortium)
    uploads = record_uploads(grid)
    size = consortium.layout.size
    hook = BufferHook(SERVER, smallest=size * bits // 8)
    if private:
        with hook.watching():
            consortium.coordinate(grid)
        found = Collected(hook, oracle, _last(oracle), bits)
        found.uploads = uploads
        return found
    consortium.coordinate(grid)  # the oracle's updates
    other = consortium.again("open")
    with hook.watching():
        other.coordinate(WatchedGrid(other), other.plan(other.open_study))
    return Collected(hook, oracle, _last(oracle), bits)


def record_uploads(grid: WatchedGrid) -> list[bytes]:
    """Every masked update that travels from now on."""
    uploads: list[bytes] = []
    see = grid.after

    def after(message: Message, reply: Message) -> None:
        see(message, reply)
        if message.metadata.message_type == UPLOAD:
            uploads.append(carried(reply.content).data)

    grid.after = after
    return uploads


def _last(oracle: Oracle) -> Vector:
    assert oracle.last is not None
    return oracle.last


def scenario(bits: int) -> Any:
    secure = {"update_rms": 2e-3, "ring_bits": bits, "clip_factor": 8.0, "mean_weight": 1.0}
    return private_scenario(
        SITES, ROUNDS, aggregation={"secure": secure}, training={"optimizer": "sgd", "learning_rate": 0.05}
    )


@pytest.mark.parametrize("bits", [16, 32])
def test_no_buffer_of_the_private_coordinator_decodes_to_one_update(bits: int, tmp_path: Path) -> None:
    found = collect(Consortium.of(scenario(bits), tmp_path), bits, private=True)
    assert len(found.updates) == SITES * ROUNDS
    assert any(name.endswith(".reveal") for name in found.frames), "the frames in question were watched"
    assert len(found.uploads) == SITES * (ROUNDS + 1)
    assert set(found.uploads[: SITES * ROUNDS]) <= set(found.contents), "every masked update was seen"
    assert max(found.closest(found.floats()).values()) < NOISE
    assert max(found.closest(found.differences()).values()) < NOISE


def test_the_same_hook_finds_every_update_of_open_mode(tmp_path: Path) -> None:
    """Round 1 only: from round 2 on the two runs hold slightly different models."""
    found = collect(Consortium.of(scenario(32), tmp_path), 32, private=False)
    assert min(found.closest(found.floats()).values()) > ALIKE
