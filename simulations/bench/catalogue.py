"""The benchmarks by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.common.errors import WardroundError
from wardround.simulations.bench.aggregation import bench_aggregation
from wardround.simulations.bench.deployment import bench_deployment
from wardround.simulations.bench.dp import bench_dp
from wardround.simulations.bench.secagg import bench_secagg
from wardround.simulations.bench.simulation import bench_simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wardround.simulations.bench.rows import BenchReport

BENCHES: Final[Mapping[str, Callable[[], BenchReport]]] = {
    "aggregation": bench_aggregation,
    "deployment": bench_deployment,
    "dp": bench_dp,
    "secagg": bench_secagg,
    "simulation": bench_simulation,
}


def run_bench(name: str) -> BenchReport:
    """Run a benchmark in its full size.

    Raises:
        WardroundError: WR-1520, there is no such benchmark; WR-1521, a measured process failed.
    """
    if name not in BENCHES:
        raise WardroundError("WR-1520", f"There is no benchmark {name!r}; there are {', '.join(sorted(BENCHES))}.")
    return BENCHES[name]()
