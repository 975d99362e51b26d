"""``wardround bench aggregation``: one round at the server, against Flower's FedAvg."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from wardround.simulations.bench.child import measure_in_child
from wardround.simulations.bench.machine import describe_machine
from wardround.simulations.bench.rows import BenchReport, Row, against_reference, times_less

PEER = "Flower FedAvg.aggregate_train"


@dataclass(frozen=True, slots=True)
class AggregationSizes:
    """How large the benchmark is.

    Attributes:
        sites: Replies in the round.
        more_sites: Replies in the round that shows how memory grows.
        values: Float32 values in the model.
        arrays: Arrays that Flower's model is cut into.
        repeats: Measured repeats of each side, in turn.
    """

    sites: int = 10
    more_sites: int = 40
    values: int = 5_000_000
    arrays: int = 20
    repeats: int = 15

    @property
    def name(self) -> str:
        """As in the quantities' names: ``10x5M``."""
        return f"{self.sites}x{self.values / 1e6:g}M"


def bench_aggregation(sizes: AggregationSizes | None = None) -> BenchReport:
    """Measure both sides in one process of its own."""
    sizes = sizes or AggregationSizes()
    machine = describe_machine()
    found = measure_in_child("aggregation", asdict(sizes))
    machine["settings"] = asdict(sizes)
    machine["remarks"] = [
        "Time: both sides in one process, in turn, medians; replies are in memory in wire form.",
        "Memory: tracemalloc, peak above the start of the round; replies arrive one by one; the global model is extra.",
    ]
    return BenchReport(bench="aggregation", machine=machine, rows=aggregation_rows(sizes, found))


def aggregation_rows(sizes: AggregationSizes, found: dict[str, Any]) -> tuple[Row, ...]:
    """The rows of what ``aggregation_sides.measure`` found."""
    seconds = {side: median(values) * 1e3 for side, values in found["seconds"].items()}
    peaks = found["peak_mb"]
    few, many = str(sizes.sites), str(sizes.more_sites)
    grown = f"{sizes.more_sites}x{sizes.values / 1e6:g}M"
    return (
        times_less(f"speed_{sizes.name}", seconds["ours"], seconds["flower"], peer_name=PEER, unit="ms", at_least=2),
        times_less(
            f"memory_{sizes.name}", peaks["ours"][few], peaks["flower"][few], peer_name=PEER, unit="MB", at_least=6
        ),
        against_reference(
            "memory_growth_vs_sites",
            peaks["ours"][many],
            peaks["ours"][few],
            name=f"wardround with {few} sites",
            unit="MB",
            at_most=1.05,
        ),
        times_less(
            f"memory_{grown}", peaks["ours"][many], peaks["flower"][many], peer_name=PEER, unit="MB", at_least=6
        ),
    )
