"""``wardround bench dp``: what a step with patient-level differential privacy costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from wardround.simulations.bench.child import measure_in_child
from wardround.simulations.bench.dp_ledger import ledger_seconds
from wardround.simulations.bench.machine import describe_machine
from wardround.simulations.bench.rows import BenchReport, Row, against_reference, times_less

if TYPE_CHECKING:
    from collections.abc import Mapping

EXACT: Final = 1e-12
"""Largest error, relative to the largest norm of a gradient, that counts as exact in float64."""
LEDGER_MS: Final = 10.0
NONPRIVATE: Final = "training without privacy"
PEERS: Final = {
    "hooks": ("Opacus hooks", 3.0),
    "ghost": ("Opacus ghost clipping", 3.0),
    "functorch": ("torch.func", 1.0),
}
"""Names of the peers, and how many times less time we should need at least."""

REMARKS: Final = (
    (
        "Models are those of the catalogue with default parameters (unet: channels 16, 32, 64, instance norm), one "
        "input channel, batch normalisation replaced by group normalisation on all sides; float32, plain SGD."
    ),
    (
        "Steps of all sides in one process on one core, in turn, medians of processor time. Ours: forward, backward, "
        "norms, clipping, sum, lattice, noise, optimizer; one patient with one image each. Without privacy: forward, "
        "backward, optimizer. Ours in contiguous memory, all others in channels-last memory, as a site trains: each "
        "where it takes less time. The peers' noise comes from PyTorch's generator, which costs less than ours and can "
        "be seeded."
    ),
    (
        "peak_vs_nonprivate: most memory beyond model and images, preparation included; medians over processes of "
        "their own, in turn: where memory lies differs from one to the next."
    ),
    "ledger_write_ms: wall-clock time to pay for a round of 10,000 patients durably, on the disk of temporary files.",
    "float64_error_vs_loop: three patients with two images each against one backward pass for each patient.",
)
NO_PEER: Final = "Opacus is not installed here; to measure it, in a checkout: pip install -e '.[dp]'."

UNET_48: Final = ("unet", 4, (48, 48, 48))


@dataclass(frozen=True, slots=True)
class DpSizes:
    """How large the benchmark is.

    Attributes:
        repeats: Measured steps of each side, in turn.
        peaks: Processes of each side whose memory is measured, in turn.
        volumes: Quantity's ending to model, patients and size; all but the first without peers.
        images: The same for classifiers, without peers.
        exact: Models whose error is measured, and the size of their images.
        payments: Rounds that the ledger pays for.
    """

    repeats: int = 9
    peaks: int = 5
    payments: int = 51
    volumes: Mapping[str, tuple[str, int, tuple[int, ...]]] = field(
        default_factory=lambda: {"48": UNET_48, "64": ("unet", 2, (64, 64, 64))}
    )
    images: Mapping[str, tuple[str, int, tuple[int, ...]]] = field(
        default_factory=lambda: {name: (name, 8, (128, 128)) for name in ("densenet121", "resnet18")}
    )
    exact: Mapping[str, tuple[int, ...]] = field(
        default_factory=lambda: {
            "unet": (16, 16, 16),
            "densenet121": (32, 32),
            "resnet18": (32, 32),
            "small_cnn": (32, 32),
            "scattering": (48, 48),
            "voxelwise": (16, 16, 16),
        }
    )


def bench_dp(sizes: DpSizes | None = None) -> BenchReport:
    """Measure steps in one process, memory in some of its own for each side, and the error in another."""
    sizes = sizes or DpSizes()
    machine = describe_machine()
    found: dict[str, Any] = {
        "seconds": measure_in_child("dp", {"what": "steps", "cases": _cases(sizes), "repeats": sizes.repeats}),
        "peak_mb": _peaks(sizes),
        "error": measure_in_child("dp", {"what": "error", "models": dict(sizes.exact)}),
        "ledger": ledger_seconds(sizes.payments),
    }
    machine["settings"] = asdict(sizes)
    machine["remarks"] = [
        *REMARKS,
        noise_alone(found["seconds"]),
        *([] if find_spec("opacus") is not None else [NO_PEER]),
    ]
    return BenchReport(bench="dp", machine=machine, rows=dp_rows(sizes, found))


def dp_rows(sizes: DpSizes, found: Mapping[str, Any]) -> tuple[Row, ...]:
    """The rows of what the processes answered."""
    first = next(iter(sizes.volumes))
    peaks = found["peak_mb"]
    return (
        *(
            _against_nonprivate(f"step_vs_nonprivate_{case}", found["seconds"][case], at_most=1.25)
            for case in sizes.volumes
        ),
        *(_against_peer(first, peer, found["seconds"][first]) for peer in PEERS),
        *(_against_nonprivate(f"{case}_vs_nonprivate", found["seconds"][case], at_most=1.5) for case in sizes.images),
        against_reference(
            "peak_vs_nonprivate",
            median(peaks["ours"]),
            median(peaks["nonprivate"]),
            name=NONPRIVATE,
            unit="MB",
            at_most=1.1,
        ),
        _exactness(max(found["error"].values())),
        _ledger(1e3 * median(found["ledger"])),
    )


def _against_nonprivate(quantity: str, seconds: Mapping[str, list[float]], *, at_most: float) -> Row:
    mine, plain = median(seconds["ours"]), median(seconds["nonprivate"])
    return against_reference(quantity, mine, plain, name=NONPRIVATE, unit="s", at_most=at_most)


def _against_peer(case: str, peer: str, seconds: Mapping[str, list[float]]) -> Row:
    name, at_least = PEERS[peer]
    theirs = median(seconds[peer]) if peer in seconds else None
    return times_less(
        f"step_{peer}_{case}", median(seconds["ours"]), theirs, peer_name=name, unit="s", at_least=at_least
    )


def noise_alone(seconds: Mapping[str, Mapping[str, list[float]]]) -> str:
    """What of our steps is lattice and noise, which a study pays once a step for all drawn patients."""
    parts = ", ".join(f"{case} {median(taken['noise']):.3g} s" for case, taken in seconds.items())
    return f"Of our steps, lattice and noise alone: {parts}; a study pays it once a step, for all drawn patients."


def _exactness(error: float) -> Row:
    return Row(
        quantity="float64_error_vs_loop",
        ours=error,
        peer=None,
        peer_name="one backward pass for each patient",
        unit="",
        ratio=None,
        goal=f"<= {EXACT:g}",
        holds=error <= EXACT,
    )


def _ledger(milliseconds: float) -> Row:
    return Row(
        quantity="ledger_write_ms",
        ours=milliseconds,
        peer=None,
        peer_name="no peer keeps one",
        unit="ms",
        ratio=None,
        goal=f"<= {LEDGER_MS:g}",
        holds=milliseconds <= LEDGER_MS,
    )


def _cases(sizes: DpSizes) -> dict[str, tuple[str, int, tuple[int, ...], list[str]]]:
    """What is measured: the peers on the first volumes only."""
    first = next(iter(sizes.volumes))
    always = ["nonprivate", "ours", "noise"]
    return {
        case: (*what, always + (list(PEERS) if case == first else []))
        for case, what in {**sizes.volumes, **sizes.images}.items()
    }


def _peaks(sizes: DpSizes) -> dict[str, list[float]]:
    """Of processes of each side, in turn."""
    case, peaks = next(iter(sizes.volumes.values())), dict[str, list[float]](ours=[], nonprivate=[])
    for _ in range(sizes.peaks):
        for side, found in peaks.items():
            what = {"what": "peak", "side": side, "case": case, "repeats": min(sizes.repeats, 3)}
            found.append(float(measure_in_child("dp", what)["peak_mb"]))
    return peaks
