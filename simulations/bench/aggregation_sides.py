"""The server's share of a round, ours and Flower's: replies in wire form in, the next model out.

Ours is the round engine: each reply is unpacked, checked and summed as it arrives. Flower's is
``flwr.serverapp.strategy.FedAvg.aggregate_train``. Both get the same numbers: a model of ``values``
float32 values; Flower's in ``arrays`` arrays, as a model's layers are, ours as the one vector it is.
"""

from __future__ import annotations

import gc
import logging
import time
import tracemalloc
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from flwr.app import DEFAULT_TTL, Array, ArrayRecord, Message, Metadata, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from wardround.common.ids import SiteId, StudyRunId
from wardround.common.study import build_study
from wardround.common.vector import Entry, Layout
from wardround.common.wire.base import RunContext
from wardround.common.wire.messages import Trained
from wardround.common.wire.records import pack, pack_vector, unpack
from wardround.common.wire.vectors import unpack_vector
from wardround.server.rounds.committed import Committed
from wardround.server.rounds.engine import RoundEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from wardround.common.vector import Vector

PATIENTS: Final = 10
"""Of the first site; each further site has one more, so that the weights differ."""


def measure(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of both sides in turn, and peak memory with two numbers of sites.

    Args:
        settings: ``sites``, ``more_sites``, ``values``, ``arrays``, ``repeats``.

    Returns:
        ``seconds``: side to list. ``peak_mb``: side to number of sites to peak, MB above the
        start, while replies arrive one by one.
    """
    logging.getLogger("flwr").setLevel(logging.WARNING)
    update = draw_update(settings["values"])
    counts = (settings["sites"], settings["more_sites"])
    return {
        "seconds": timed(update, settings["arrays"], sites=settings["sites"], repeats=settings["repeats"]),
        "peak_mb": {
            "ours": {str(sites): our_peak(update, sites) for sites in counts},
            "flower": {str(sites): flower_peak(update, sites, settings["arrays"]) for sites in counts},
        },
    }


def our_peak(update: Vector, sites: int) -> float:
    """Our peak memory, MB; the engine holds the global model before."""
    engine = new_engine(np.zeros_like(update), sites)
    return peak_mb(lambda: ours(engine, our_replies(update, sites), update.size))


def flower_peak(update: Vector, sites: int, arrays: int) -> float:
    """Flower's peak memory, MB."""
    return peak_mb(lambda: flower(flower_replies(update, sites, arrays)))


def draw_update(values: int) -> Vector:
    """An update of shape ``[values]``, the same every time."""
    return np.random.default_rng(0).standard_normal(values, dtype=np.float32)


def timed(update: Vector, arrays: int, *, sites: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of each side, one after the other ``repeats`` times, after one unmeasured run of each."""
    mine = list(our_replies(update, sites))
    theirs = list(flower_replies(update, sites, arrays))
    seconds: dict[str, list[float]] = {"ours": [], "flower": []}
    for _ in range(repeats + 1):
        engine = new_engine(np.zeros_like(update), sites)
        seconds["ours"].append(_seconds(lambda: ours(engine, mine, update.size)))  # noqa: B023 - called at once
        seconds["flower"].append(_seconds(lambda: flower(theirs)))
    return {side: found[1:] for side, found in seconds.items()}


def ours(engine: RoundEngine, replies: Iterable[RecordDict], size: int) -> Vector:
    """One round of the engine over replies as they arrive.

    Args:
        engine: Of :func:`new_engine`; it plays one round.
        replies: In wire form.
        size: Number of values in an update.

    Returns:
        The next model, shape ``[size]``.
    """
    engine.open_round()
    for reply in replies:
        fields = unpack(Trained, reply)
        engine.receive(fields.site, fields, unpack_vector(reply, size))
        del reply  # as the coordinator does
    engine.close_round(0.0)
    return engine.model


def flower(replies: Iterable[Message]) -> ArrayRecord:
    """Flower's round: the weighted mean of the replies' arrays."""
    arrays, _ = FedAvg().aggregate_train(1, replies)
    if arrays is None:
        raise RuntimeError("Flower aggregated nothing")
    return arrays


def our_replies(update: Vector, sites: int) -> Iterator[RecordDict]:
    """Our sites' replies, each made when it is asked for."""
    for number in range(sites):
        fields = Trained(
            site=_site(number),
            round=1,
            patients=PATIENTS + number,
            samples=1,
            loss=0.5,
            train_seconds=0.0,
            seconds=0.0,
        )
        yield pack(fields, pack_vector(update))


def flower_replies(update: Vector, sites: int, arrays: int) -> Iterator[Message]:
    """Flower's replies, each made when it is asked for."""
    for number in range(sites):
        yield _envelope(
            RecordDict(
                {
                    "arrays": ArrayRecord(
                        {f"layer{place}": Array(part) for place, part in enumerate(np.array_split(update, arrays))}
                    ),
                    "metrics": MetricRecord({"num-examples": PATIENTS + number}),
                }
            ),
            number,
        )


def _envelope(content: RecordDict, number: int) -> Message:
    """A message as a SuperLink would hand it over; the strategy reads its content only."""
    metadata = Metadata(
        run_id=1,
        message_id=f"reply-{number}",
        src_node_id=number + 2,
        dst_node_id=1,
        reply_to_message_id=f"question-{number}",
        group_id="1",
        created_at=0.0,
        ttl=DEFAULT_TTL,
        message_type="train",
    )
    return Message(content=content, metadata=metadata)  # type: ignore[call-overload,no-any-return]


def new_engine(model: Vector, sites: int) -> RoundEngine:
    """The coordinator's engine before its only round, with the global model of shape ``[P]``."""
    names = [_site(number) for number in range(sites)]
    study = build_study(
        {
            "schema": 1,
            "name": "bench",
            "title": "Benchmark",
            "sites": names,
            "task": {"kind": "classification", "target": "binary", "labels": ["x"], "dimensions": 2},
            "input": {"size": [32, 32]},
            "model": {"name": "small_cnn"},
            "training": {"rounds": 1, "epochs": 1, "loss": "bce"},
        }
    )
    return RoundEngine(
        study,
        context=RunContext(study=study.id, run=StudyRunId("bench"), seed=0),
        layout=Layout((Entry("model", model.shape),)),
        committed=Committed(study, model),
        samples=dict.fromkeys(names, 1),
        patients={name: PATIENTS + number for number, name in enumerate(names)},
        total=sites,
    )


def _site(number: int) -> SiteId:
    return SiteId(f"site-{number:03d}")


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peak_mb(work: Callable[[], object]) -> float:
    """Largest memory that Python and NumPy held at a time during ``work``, MB (10^6 bytes) above the start."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (peak - before) / 1e6
