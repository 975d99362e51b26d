"""Flower's FedAvg over rounds in which nobody trains; writes when each began and ended.

The run's configuration names a JSON file: ``shapes`` of the model's arrays, ``rounds``, ``sites``, and ``out``, the
file to write: a JSON list of times (seconds since the epoch), the first before round 1, then one after every round.
"""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds."""
    asked = json.loads(Path(str(context.run_config["asked"])).read_text(encoding="utf-8"))
    marks: list[float] = []
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=asked["sites"], min_available_nodes=asked["sites"])
    strategy.start(grid, _model(asked["shapes"]), num_rounds=asked["rounds"], evaluate_fn=lambda *_: _mark(marks))
    unfinished = Path(asked["out"] + ".part")
    unfinished.write_text(json.dumps(marks), encoding="utf-8")
    unfinished.rename(asked["out"])


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
    marks.append(time.time())
