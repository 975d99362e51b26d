"""``wardround bench secagg``: what the secure sum costs, against Flower's SecAgg+."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from wardround.simulations.bench.child import measure_in_child
from wardround.simulations.bench.machine import describe_machine
from wardround.simulations.bench.rows import BenchReport, Row, against_reference, times_less

if TYPE_CHECKING:
    from collections.abc import Callable

PEER: Final = "Flower SecAgg+"
MEGABYTE: Final = 1e6
GROWTH: Final = 1.2
"""How much faster than n P an upload may grow: the larger sizes are measured once, some minutes later."""

SETTINGS: Final = {
    "ours": (
        "ring of 16 bits, weights up to 1000 inside the sum, strength active, "
        "k = floor((n - 1) / 3), t = floor((n + k) / 2) + 1"
    ),
    "flower": (
        "clipping_range 8, quantization_range 2^22, modulus_range 2^32, max_weight 1000 (its defaults), "
        "num_shares n, reconstruction_threshold our t"
    ),
}

REMARKS: Final = (
    (
        "Both sides in one process on one core, in turn, medians; the same updates, weights and threshold, and "
        "every mean is checked. Every client shares masks with all others: Flower's num_shares is n."
    ),
    (
        "Client: from the end of training until the reply is made. Ours rounds, seals the update into memory that "
        "stands for the disk, masks, shares its secrets, seals the shares and packs; Flower's shares were made before "
        "training and are not in its figure. after_training: ours with masks that were summed during training; "
        "Flower's has no such part, so its figure is that of client_upload."
    ),
    (
        "Server: from the arrival of all masked updates until the sum is decoded, without the clients' time to answer. "
        "Ours verifies signatures and commitments. With one drop, a client is silent before it uploads."
    ),
    (
        "Left out on our side: the disk. A hospital writes the sealed update and its records with fsync, a coordinator "
        "the masked sum; at 10M parameters that is 50 to 300 ms on a plain disk, more than all arithmetic. Flower "
        "keeps nothing. Masks that are summed during training take a core from it where none is free."
    ),
    (
        "Flower's default range is finer: its mean errs about a tenth of ours, which a 16-bit ring bounds at 1% of the "
        "update; a 32-bit ring sends as many bytes as float32. With num_shares 5 of 10 Flower is about twice as fast "
        "at the client and four times at the server, and shares masks with half as many."
    ),
    "Floor: the keystreams of n seeds into a small buffer, and clipping, scaling and random rounding to 16 bits, bare.",
    (
        "Shamir split: what a client shares in a round, ours n secrets of 32 bytes, Flower's its mask seed and its "
        "private key. Combine: what a server recovers in a round without drops, n secrets, ours from t shares, "
        "Flower's from all n, as its server does."
    ),
)


@dataclass(frozen=True, slots=True)
class SecaggSizes:
    """How large the benchmark is.

    Attributes:
        sites: n.
        values: P, float32 values in an update.
        arrays: Arrays (tensors) that the update is cut into.
        repeats: Measured repeats of each side, in turn.
        shamir_sites: n of the two Shamir quantities.
        larger: Further sizes, measured once: name, n, P.
    """

    sites: int = 10
    values: int = 10_000_000
    arrays: int = 20
    repeats: int = 3
    shamir_sites: int = 50
    larger: tuple[tuple[str, int, int], ...] = (("50x10M", 50, 10_000_000), ("10x100M", 10, 100_000_000))

    @property
    def name(self) -> str:
        """As in the names of quantities: ``10x10M``."""
        return f"{self.sites}x{self.values / 1e6:g}M"


def bench_secagg(sizes: SecaggSizes | None = None) -> BenchReport:
    """Measure both sides in one process of its own."""
    sizes = sizes or SecaggSizes()
    machine = describe_machine()
    found = measure_in_child("secagg", asdict(sizes))
    machine["settings"] = {**asdict(sizes), **SETTINGS, "threshold": found["rounds"]["threshold"]}
    machine["remarks"] = [*REMARKS, *remarks(found), *found["skipped"]]
    return BenchReport(bench="secagg", machine=machine, rows=secagg_rows(sizes, found))


def remarks(found: dict[str, Any]) -> list[str]:
    """Figures of the peer that no row judges."""
    sent, peak = found["rounds"]["bytes_up"]["flower"], found["peak_mb"]["flower"]
    return [
        f"{PEER} sends {sent / MEGABYTE:.1f} MB up, and its client's peak is {peak:.0f} MB.",
    ]


def secagg_rows(sizes: SecaggSizes, found: dict[str, Any]) -> tuple[Row, ...]:
    """The rows of what ``secagg_sides.measure`` found."""
    main = _milliseconds(found["rounds"]["seconds"])
    shamir = _milliseconds(found["shamir"]["seconds"])
    model = 4 * sizes.values / MEGABYTE
    sent, peak = found["rounds"]["bytes_up"]["ours"] / MEGABYTE, found["peak_mb"]["ours"]
    holders = sizes.shamir_sites
    return (
        _faster("client_upload", main, at_least=10),
        against_reference(
            "client_upload_vs_floor",
            main("ours", "client_upload"),
            main("floor", "client_upload"),
            name="keystreams and rounding alone",
            unit="ms",
            at_most=1.5,
        ),
        times_less(
            "after_training",
            main("ours", "after_training"),
            main("flower", "client_upload"),
            peer_name=PEER,
            unit="ms",
            at_least=30,
        ),
        against_reference("client_peak_vs_model", peak, model, name="float32 model", unit="MB", at_most=1.1),
        against_reference("bytes_up_vs_float32", sent, model, name="float32 model", unit="MB", at_most=0.51),
        _faster("server_open", main, at_least=5),
        _faster("server_open_one_drop", main, at_least=5),
        _faster("split", shamir, at_least=500, quantity=f"shamir_split_{holders}"),
        _faster("combine", shamir, at_least=1000, quantity=f"shamir_combine_{holders}"),
        *_larger_rows(sizes, main("ours", "client_upload"), found["larger"]),
    )


def _larger_rows(sizes: SecaggSizes, upload: float, larger: dict[str, Any]) -> list[Row]:
    """Both sides at the sizes that were not skipped, and whether our upload grows faster than n P."""
    rows = []
    for name, sites, values in sizes.larger:
        if name not in larger:
            continue
        sides = larger[name]
        for what, at_least in (("client_upload", 10), ("server_open", 5)):
            seconds = {side: sides[side][what] * 1e3 for side in ("ours", "flower")}
            rows.append(
                times_less(
                    f"{what}_{name}", seconds["ours"], seconds["flower"], peer_name=PEER, unit="ms", at_least=at_least
                )
            )
        rows.append(
            against_reference(
                f"upload_{name}_vs_{sizes.name}",
                sides["ours"]["client_upload"] * 1e3,
                upload,
                name=f"wardround at {sizes.name}",
                unit="ms",
                at_most=GROWTH * sites * values / (sizes.sites * sizes.values),
            )
        )
    return rows


def _faster(what: str, milliseconds: Callable[[str, str], float], *, at_least: float, quantity: str = "") -> Row:
    return times_less(
        quantity or what,
        milliseconds("ours", what),
        milliseconds("flower", what),
        peer_name=PEER,
        unit="ms",
        at_least=at_least,
    )


def _milliseconds(seconds: dict[str, dict[str, list[float]]]) -> Callable[[str, str], float]:
    """Medians, by side and by what was measured."""
    return lambda side, what: median(seconds[side][what]) * 1e3
