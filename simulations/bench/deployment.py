"""``wardround bench deployment``: rounds between real processes, against Flower's stock SuperLink and SuperNodes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import TYPE_CHECKING, Any, Final

from wardround.simulations.bench.child import measure_in_child
from wardround.simulations.bench.deployment_study import Task, study_of
from wardround.simulations.bench.drawn_study import shapes_of
from wardround.simulations.bench.machine import describe_machine, usable_cores
from wardround.simulations.bench.rows import BenchReport, Row, against_reference, below, times_less

if TYPE_CHECKING:
    from collections.abc import Iterable

PEER: Final = "Flower SuperLink + SuperNodes"
ALONE: Final = "no peer: Flower has no such round"
UNLIKE: Final = "no peer: a SuperNode is idle with no worker to leave out"
LEAST_CPU: Final = 0.01
"""Percent of a core: less is not told apart from nothing."""

SETTINGS: Final = {
    "ours": "coordinator serve and hospital serve: gateway with mutual TLS 1.3, SuperLink on loopback, egress gate, "
    "every round on disk before the next; light agents: the agent's session, many hospitals in one process",
    "flower": "flower-superlink --insecure, flower-supernode --insecure, flwr run, FedAvg; their defaults, but no "
    "installation of packages for the app",
}

REMARKS: Final = (
    "Each side in processes of its own, in turn, on the same cores with one thread each; the first round is left out.",
    (
        "A round: ours from one commit on disk to the next, Flower's from one end of its strategy's round to the next. "
        "Of a start the mean over an even number of rounds, of the starts the median: where nothing else runs, "
        "Flower's rounds take about 3.4 and 6.4 s in turn, as its two pauses of 3 s meet, and a median over rounds "
        "would be either. round_seconds has them all."
    ),
    (
        "Ours is a real study: two images and one optimizer step a round at each hospital are in its figures. Flower's "
        "clients take the arrays out of the message and put them into their reply."
    ),
    (
        "start_seconds: from the start of the first process until the end of round 1, with the run started by command; "
        "ours begins with members whose people have approved, Flower's with nothing."
    ),
    (
        "Idle: after the study, without the worker that stays warm, which is in worker_idle_rss_mb; what a SuperNode "
        "and the processes below it use then is in flower_idle."
    ),
    "Coordinator memory: the peaks of its processes, added up.",
)


@dataclass(frozen=True, slots=True)
class DeploymentSizes:
    """How large the benchmark is.

    Attributes:
        sites: Hospitals against Flower.
        private_sites: Hospitals of the private round.
        few: Light agents, for the coordinator's memory.
        many: Likewise; also those that have to finish a round together.
        rounds: Rounds after a start; the first is left out, and an even number of them counts.
        repeats: Starts of each side, in turn.
        widths: Of the small CNN; the default has 979,425 parameters.
        light: Light agents a process.
        idle_seconds: For how long idle processes are watched.
    """

    sites: int = 2
    private_sites: int = 3
    few: int = 5
    many: int = 50
    rounds: int = 9
    repeats: int = 2
    widths: tuple[int, ...] = (32, 64, 128, 256, 256)
    light: int = 10
    idle_seconds: float = 20.0

    def __post_init__(self) -> None:
        """Refuse an odd number of rounds that count, or none."""
        if self.rounds < 3 or self.rounds % 2 == 0:
            raise ValueError(f"an even number of rounds counts, after the first: not {self.rounds - 1}")


Found = dict[str, list[dict[str, Any]]]
"""``ours``, ``flower``, ``private``, ``few`` and ``many`` to the answers of their processes."""


def bench_deployment(sizes: DeploymentSizes | None = None) -> BenchReport:
    """Measure both sides in processes of their own, in turn."""
    sizes = sizes or DeploymentSizes()
    machine = describe_machine()
    cores = usable_cores()
    found = _measure(sizes, cores)
    machine["settings"] = {**asdict(sizes), **SETTINGS, "pinned_to_cores": cores}
    machine["remarks"] = list(REMARKS)
    machine["round_seconds"] = {
        side: [[round(seconds, 3) for seconds in run["round_seconds"]] for run in found[side]]
        for side in ("ours", "flower", "private")
    }
    machine["worker_idle_rss_mb"] = median(run["worker_rss_mb"] for run in found["ours"])
    machine["coordinator_peak_mb"] = {name: found[name][0]["server_peaks_mb"] for name in ("ours", "few", "many")}
    machine["flower_idle"] = {name: round(_middle(found["flower"], name), 3) for name in ("idle_cpu", "idle_rss_mb")}
    machine["flower_superlink_peak_mb"] = found["flower"][0]["server_peak_mb"]
    return BenchReport(bench="deployment", machine=machine, rows=deployment_rows(sizes, found))


def deployment_rows(sizes: DeploymentSizes, found: Found) -> tuple[Row, ...]:
    """The rows of what the processes answered."""
    ours, flower = (_steady(found[side]) for side in ("ours", "flower"))
    few, many = found["few"][0], found["many"][0]
    return (
        times_less("empty_round", ours, flower, peer_name=PEER, unit="s", at_least=12),
        below("empty_round_seconds", ours, flower, peer_name=PEER, unit="s", limit=0.5),
        times_less(
            "start_seconds",
            _middle(found["ours"], "start_seconds"),
            _middle(found["flower"], "start_seconds"),
            peer_name=PEER,
            unit="s",
            at_least=1,
        ),
        below("private_round_seconds", _steady(found["private"]), None, peer_name=ALONE, unit="s", limit=1.5),
        below(
            "agent_idle_cpu",
            max(_middle(found["ours"], "idle_cpu"), LEAST_CPU),
            None,
            peer_name=UNLIKE,
            unit="%",
            limit=1,
        ),
        below(
            "agent_idle_rss_mb",
            _middle(found["ours"], "idle_rss_mb"),
            None,
            peer_name=UNLIKE,
            unit="MB",
            limit=150,
        ),
        against_reference(
            "coordinator_memory_vs_sites",
            many["server_peak_mb"],
            few["server_peak_mb"],
            name=f"wardround with {sizes.few} sites",
            unit="MB",
            at_most=1.1,
        ),
        _together(sizes, many),
    )


def _together(sizes: DeploymentSizes, found: dict[str, Any]) -> Row:
    """Whether all light agents are in the last round, and how long a round of them takes."""
    return Row(
        quantity=f"round_of_{sizes.many}_seconds",
        ours=_steady([found]),
        peer=None,
        peer_name=ALONE,
        unit="s",
        ratio=None,
        goal=f"all {sizes.many} in it",
        holds=found["sites"] == sizes.many,
    )


def _steady(runs: Iterable[dict[str, Any]]) -> float:
    """Of each start the mean round after the first, in steady state; of these the median."""
    return float(median(mean(run["round_seconds"][1:]) for run in runs))


def _middle(runs: Iterable[dict[str, Any]], name: str) -> float:
    return float(median(run[name] for run in runs))


def _measure(sizes: DeploymentSizes, cores: list[int]) -> Found:
    base = {"cores": cores, "idle_seconds": sizes.idle_seconds, "rounds": sizes.rounds}
    ours = {**base, "widths": sizes.widths, "private": False, "light": 0, "sites": sizes.sites}
    light = {**ours, "light": sizes.light, "idle_seconds": 0.0, "rounds": 3}
    flower = {**base, "sites": sizes.sites, "shapes": shapes_of(study_of(Task(1, 1, sizes.widths)))}
    found: Found = {"ours": [], "flower": []}
    for _ in range(sizes.repeats):
        found["ours"].append(measure_in_child("deployment-ours", ours))
        found["flower"].append(measure_in_child("deployment-flower", flower))
    private = {**ours, "private": True, "sites": sizes.private_sites, "idle_seconds": 0.0}
    found["private"] = [measure_in_child("deployment-ours", private)]
    for name in ("few", "many"):
        found[name] = [measure_in_child("deployment-ours", {**light, "sites": getattr(sizes, name)})]
    return found
