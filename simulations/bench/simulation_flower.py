"""Flower's side of ``bench simulation``: its Ray simulation, with hospitals that return the model untrained.

The public entry points alone: ``flwr.simulation.run_simulation``, ``FedAvg``, a ``ServerApp`` and a
``ClientApp``. A client takes the model's arrays out of the message and puts them into its reply, as
every client must, and does nothing else.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

if TYPE_CHECKING:
    from collections.abc import Mapping

client = ClientApp()


@client.train()
def train(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
    """Unpack the model, pack it again untrained, and say when the hospital was ready to train."""
    ready = time.time()
    arrays = ArrayRecord(message.content.array_records["arrays"].to_numpy_ndarrays())
    content = RecordDict(
        {
            "arrays": arrays,
            "metrics": MetricRecord({"num-examples": 1, "ready": ready}),
        }
    )
    return Message(content, reply_to=message)


def measure(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Run the rounds.

    Args:
        settings: ``sites``, ``rounds``, ``shapes`` of the model's arrays, ``processors`` that Ray
            gives each client, and ``started``.

    Returns:
        ``start_seconds`` from process start until the first client was ready to train, and
        ``round_seconds`` of each round.
    """
    marks: list[float] = []
    ready: list[float] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 - Flower's signature
        strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=settings["sites"], train_metrics_aggr_fn=_earliest)
        result = strategy.start(
            grid, _model(settings["shapes"]), num_rounds=settings["rounds"], evaluate_fn=lambda *_: _mark(marks)
        )
        ready.append(float(result.train_metrics_clientapp[1]["ready"]))  # type: ignore[arg-type]

    run_simulation(
        server,
        client,
        num_supernodes=settings["sites"],
        backend_config={"client_resources": {"num_cpus": settings["processors"], "num_gpus": 0.0}},
    )
    return {
        "start_seconds": ready[0] - settings["started"],
        "round_seconds": [after - before for before, after in pairwise(marks)],
    }


def _model(shapes: list[list[int]]) -> ArrayRecord:
    generator = np.random.default_rng(0)
    return ArrayRecord(
        {
            f"layer{place}": Array(generator.standard_normal(shape, dtype=np.float32))
            for place, shape in enumerate(shapes)
        }
    )


def _mark(marks: list[float]) -> None:
    """Called by the strategy before the first round and after each."""
    marks.append(time.perf_counter())


def _earliest(replies: list[RecordDict], weighted_by: str) -> MetricRecord:  # noqa: ARG001 - Flower's signature
    return MetricRecord({"ready": min(float(reply.metric_records["metrics"]["ready"]) for reply in replies)})  # type: ignore[arg-type]
