"""``wardround bench simulation``: what a round costs beside training, and how long a start takes."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from wardround.simulations.bench.child import measure_in_child
from wardround.simulations.bench.drawn_study import drawn_study, shapes_of
from wardround.simulations.bench.machine import describe_machine
from wardround.simulations.bench.rows import BenchReport, Row, below, times_less

if TYPE_CHECKING:
    from wardround.simulations.scenario import Scenario

PEER = "Flower run_simulation (Ray)"

REMARKS = (
    "round_overhead: a round's wall time without its training steps; median, without the first round of a process.",
    "start_seconds, ours: from process start until the first of the hospitals, prepared before, has trained one step.",
    "start_seconds, Flower: from process start until the first client is called; its clients do not train.",
)
NO_PEER = "Flower's simulation is not installed here; to measure it, in a checkout: pip install -e '.[ray]'."


@dataclass(frozen=True, slots=True)
class SimulationSizes:
    """How large the benchmark is.

    Attributes:
        sites: Numbers of hospitals; the start is that of the first.
        rounds: Rounds a process, the first one unmeasured.
        repeats: Processes of each side, in turn.
        widths: Of the small CNN; the default has 979,425 parameters.
        processors: Processors that Ray gives each client.
        peer: Whether to measure the peer; None: if it is installed.
    """

    sites: tuple[int, ...] = (10, 50)
    rounds: int = 8
    repeats: int = 3
    widths: tuple[int, ...] = (32, 64, 128, 256, 256)
    processors: int = 1
    peer: bool | None = None


Found = dict[str, list[dict[str, Any]]]
"""Side to the answers of its processes."""


def bench_simulation(sizes: SimulationSizes | None = None) -> BenchReport:
    """Measure both sides in processes of their own, in turn."""
    sizes = sizes or SimulationSizes()
    peer = find_spec("ray") is not None if sizes.peer is None else sizes.peer
    machine = describe_machine()
    found = {sites: _measure(sizes, sites, peer=peer) for sites in sizes.sites}
    machine["settings"] = {**asdict(sizes), "peer": peer, "parameters": _parameters(sizes)}
    machine["remarks"] = [*REMARKS, *([] if peer else [NO_PEER])]
    machine["whole_round_seconds"] = {
        f"ours_{sites}": median(value for run in sides["ours"] for value in run["round_seconds"][1:])
        for sites, sides in found.items()
    }
    return BenchReport(bench="simulation", machine=machine, rows=simulation_rows(found))


def simulation_rows(found: dict[int, Found]) -> tuple[Row, ...]:
    """The rows of what the processes answered, by number of sites; no answers of a peer give null."""
    rows = [
        times_less(
            f"round_overhead_{sites}",
            _median([overhead for run in sides["ours"] for overhead in _overheads(run)]) or 0.0,
            _median([overhead for run in sides["flower"] for overhead in _overheads(run)]),
            peer_name=PEER,
            unit="s",
            at_least=30,
        )
        for sites, sides in found.items()
    ]
    first = next(iter(found.values()))
    ours, peer = (_median([run["start_seconds"] for run in first[side]]) for side in ("ours", "flower"))
    return (*rows, below("start_seconds", ours or 0.0, peer, peer_name=PEER, unit="s", limit=0.5))


def _overheads(run: dict[str, Any]) -> list[float]:
    """Time of each round but the first that is not spent in training steps."""
    whole = run["round_seconds"][1:]
    steps = run.get("step_seconds", [0.0] * len(run["round_seconds"]))[1:]
    return [seconds - inside for seconds, inside in zip(whole, steps, strict=True)]


def _median(values: list[float]) -> float | None:
    return median(values) if values else None


def _measure(sizes: SimulationSizes, sites: int, *, peer: bool) -> Found:
    found: Found = {"ours": [], "flower": []}
    with tempfile.TemporaryDirectory(prefix="wardround-bench-") as folder:
        settings = _hospitals(_scenario(sizes, sites), Path(folder))
        shapes = shapes_of(_scenario(sizes, 1))
        for repeat in range(sizes.repeats):
            out = Path(folder) / f"run{repeat}"
            found["ours"].append(measure_in_child("simulation-ours", {**settings, "out": str(out)}))
            if peer:
                asked = {"sites": sites, "rounds": sizes.rounds, "shapes": shapes, "processors": sizes.processors}
                found["flower"].append(measure_in_child("simulation-flower", asked))
    return found


def _hospitals(scenario: Scenario, folder: Path) -> dict[str, Any]:
    """Draw the hospitals and approve the study at each; what our side is told."""
    from wardround.simulations.hospitals import build_hospitals

    hospitals = build_hospitals(scenario, None, folder, device="cpu", threads=1, progress=lambda _: None)
    for hospital in hospitals.values():
        hospital.home.approve(scenario.study)
    return {
        "study": scenario.study.model_dump(mode="json", by_alias=True),
        "homes": {site: str(hospital.home.path) for site, hospital in hospitals.items()},
    }


def _scenario(sizes: SimulationSizes, sites: int) -> Scenario:
    return drawn_study(
        "bench-simulation",
        "Benchmark of the simulation",
        sites=sites,
        widths=sizes.widths,
        rounds=sizes.rounds,
        epochs=1,
        batch_size=8,
    )


def _parameters(sizes: SimulationSizes) -> int:
    from math import prod

    return sum(prod(shape) for shape in shapes_of(_scenario(sizes, 1)))
