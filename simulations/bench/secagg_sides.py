"""Both sides of ``bench secagg`` in turn, in one process: the child that :mod:`.secagg` starts."""

from __future__ import annotations

import logging
import os
import time
import tracemalloc
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wardround.common.crypto.keystream import Keystream
from wardround.simulations.bench import secagg_flower as flower
from wardround.simulations.bench import secagg_ours as ours

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardround.common.secagg.ring import RingVector
    from wardround.common.vector import Vector

    Seconds = dict[str, list[float]]

SPREAD: Final = 0.01
"""Standard deviation of an update's values."""

CLIPPED_AT: Final = 16.0
"""Our clipping bound in standard deviations: a power of two that leaves room, as in shipped studies; nothing is cut."""

LIGHTEST: Final = 100
HEAVIER: Final = 10
"""Weight of the first site, and what each further site has more."""

OFF_BY: Final = 1e-3
"""Largest error of a mean that counts as the same mean: a tenth of the standard deviation."""

BLOCK: Final = 1 << 15

LEVELS: Final = 3000
"""Largest magnitude of a rounded value of the floor."""

FLOWER_BYTES: Final = 100
"""Memory that Flower's rounds need for each value of the update, bytes."""


def measure(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the rows are made of.

    Args:
        settings: The attributes of :class:`~wardround.simulations.bench.secagg.SecaggSizes`.

    Returns:
        ``rounds`` of the main size with the floor, ``peak_mb``, ``shamir``, ``larger`` by name, and
        ``skipped`` with reasons.
    """
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    one_core()
    sites, arrays = settings["sites"], settings["arrays"]
    update = draw_update(settings["values"])
    found: dict[str, Any] = {
        "rounds": rounds(update, sites, arrays, repeats=settings["repeats"]),
        "peak_mb": peaks(update, sites, arrays),
        "shamir": shamir(settings["shamir_sites"], settings["repeats"]),
        "larger": {},
        "skipped": [],
    }
    for name, more_sites, values in settings["larger"]:
        free, needed = free_memory(), FLOWER_BYTES * values
        if needed > free:
            found["skipped"].append(
                f"{name} was skipped: {needed / 1e9:.0f} GB of memory are needed and {free / 1e9:.0f} are free."
            )
            continue
        found["larger"][name] = larger_round(more_sites, values, arrays)
    return found


def draw_update(values: int) -> Vector:
    """An update of shape ``[values]``, the same every time."""
    update = np.random.default_rng(0).standard_normal(values, dtype=np.float32)
    update *= np.float32(SPREAD)
    return update


def weights(sites: int) -> list[int]:
    """What sites weigh; all different, at most 1000."""
    return [LIGHTEST + HEAVIER * number for number in range(sites)]


def cohort(update: Vector, sites: int, arrays: int) -> ours.Cohort:
    """Our sites, with the update cut into as many tensors as Flower's."""
    return ours.Cohort(update, weights(sites), tensors=arrays, bound=CLIPPED_AT * SPREAD)


def rounds(update: Vector, sites: int, arrays: int, *, repeats: int) -> dict[str, Any]:
    """Rounds of both in turn: masks after training, masks before, one site silent; one unmeasured round of each first.

    Raises:
        RuntimeError: A round gave another mean than that of the updates.
    """
    mine = cohort(update, sites, arrays)
    threshold = mine.sizes.threshold
    seconds: dict[str, Seconds] = {"ours": {}, "flower": {}, "floor": {}}
    sent = {"ours": 0, "flower": 0}
    rounded = np.zeros(update.size, dtype=np.uint16)
    for repeat in range(repeats + 1):
        for dropped, server in ((0, "server_open"), (1, "server_open_one_drop")):
            theirs = flower.play_round(update, weights(sites), arrays=arrays, threshold=threshold, dropped=dropped)
            whole = mine.play_round(precomputed=False, dropped=dropped)
            rest = mine.play_round(precomputed=True, dropped=dropped)
            for played in (theirs, whole, rest):
                check_mean(played.mean, update)
            sent = {"ours": whole.bytes_up, "flower": theirs.bytes_up}
            if repeat:
                _add(seconds["ours"], "client_upload", whole.client_seconds)
                _add(seconds["ours"], "after_training", rest.client_seconds)
                _add(seconds["ours"], server, [whole.server_seconds, rest.server_seconds])
                _add(seconds["flower"], "client_upload", theirs.client_seconds)
                _add(seconds["flower"], server, [theirs.server_seconds])
                _add(seconds["floor"], "client_upload", timed(lambda: floor(update, sites, rounded), sites))
    return {"seconds": seconds, "bytes_up": sent, "threshold": threshold}


def check_mean(mean: Vector, update: Vector) -> None:
    """All sites have the same update, so it is their mean.

    Raises:
        RuntimeError: It is not, by more than :data:`OFF_BY`.
    """
    for start in range(0, update.size, BLOCK):
        block = slice(start, start + BLOCK)
        if np.abs(mean[block] - update[block]).max() > OFF_BY:
            raise RuntimeError("a round gave another mean than that of the updates")


def floor(update: Vector, sites: int, rounded: RingVector) -> None:
    """What no upload can do without: the keystreams of ``sites`` seeds, and the rounding to 16 bits, block by block.

    Nothing is checked, measured, kept or added, and no memory is asked for.

    Args:
        update: Shape ``[P]``.
        sites: n.
        rounded: Takes the result, uint16 of shape ``[P]``.
    """
    stream = np.empty(4 * BLOCK, dtype=np.uint8)
    for _ in range(sites):
        keystream = Keystream(os.urandom(32))
        for _ in range(0, 2 * update.size, stream.size):
            keystream.into(stream)
    _quantise(update, rounded)


def _quantise(update: Vector, rounded: RingVector) -> None:
    """Clip, scale and round at random, bare."""
    dither, scaled = np.empty(BLOCK, dtype=np.uint16), np.empty(BLOCK, dtype=np.float32)
    whole = np.empty(BLOCK, dtype=np.int32)
    bound, keystream = np.float32(CLIPPED_AT * SPREAD), Keystream(os.urandom(32))
    scale = np.float32(LEVELS * 2**16 / bound)
    for start in range(0, update.size, BLOCK):
        part = update[start : start + BLOCK]
        size = part.size
        np.clip(part, -bound, bound, out=scaled[:size])
        np.multiply(scaled[:size], scale, out=scaled[:size])
        np.copyto(whole[:size], scaled[:size], casting="unsafe")
        keystream.into(dither[:size].view(np.uint8))
        np.add(whole[:size], dither[:size], out=whole[:size])
        np.right_shift(whole[:size], 16, out=whole[:size])
        np.copyto(rounded[start : start + size], whole[:size], casting="unsafe")


def peaks(update: Vector, sites: int, arrays: int) -> dict[str, float]:
    """Most memory that a client holds beyond its update, MB (10^6 bytes), masks included."""
    mine = cohort(update, sites, arrays)
    work = mine.next_client_work()
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    threshold = mine.sizes.threshold
    theirs = flower.play_round(update, weights(sites), arrays=arrays, threshold=threshold, whole=1, trace=True)
    return {"ours": peak, "flower": theirs.peak_mb}


def shamir(holders: int, repeats: int) -> dict[str, Any]:
    """Splitting and recovering in turn, with our threshold on both sides."""
    threshold = ours.sizes_of(holders).threshold
    split, recover = ours.share_secrets(holders, threshold), ours.recover_secrets(holders, threshold)
    their_recover = flower.recover_secrets(holders, threshold)
    split()
    recover()
    seconds: dict[str, Seconds] = {"ours": {}, "flower": {}}
    for _ in range(repeats):
        _add(seconds["flower"], "split", timed(lambda: flower.share_secrets(holders, threshold), 1))
        _add(seconds["ours"], "split", timed(split, 50))
        _add(seconds["flower"], "combine", timed(their_recover, 1))
        _add(seconds["ours"], "combine", timed(recover, 50))
    return {"seconds": seconds, "threshold": threshold}


def larger_round(sites: int, values: int, arrays: int) -> dict[str, Any]:
    """One round of each at another size; Flower's other clients are stand-ins for its first."""
    update = draw_update(values)
    mine = cohort(update, sites, arrays)
    theirs = flower.play_round(update, weights(sites), arrays=arrays, threshold=mine.sizes.threshold, whole=1)
    played = mine.play_round(precomputed=False)
    check_mean(played.mean, update)
    return {
        "ours": {"client_upload": median(played.client_seconds), "server_open": played.server_seconds},
        "flower": {"client_upload": theirs.client_seconds[0], "server_open": theirs.server_seconds},
    }


def one_core() -> None:
    """Keep this process, with any threads that either side starts, to one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def free_memory() -> int:
    """Memory that can be had without swapping, bytes."""
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not say how much memory is free")


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Seconds of each call."""
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return found


def _add(seconds: Seconds, name: str, more: list[float]) -> None:
    seconds.setdefault(name, []).extend(more)
