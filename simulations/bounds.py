"""From measured updates to the table ``[aggregation.secure]`` of a private study.

1. Late in training is the last quarter of the rounds. The size r_j of tensor j is the root mean
   square of its mean update over the late rounds of every seed and fold.
2. ``update_rms`` is the median of r_j, each tensor counted by its values; a tensor whose r_j lies more
   than a factor of 4 away from it stands in ``update_rms_of``.
3. ``clip_factor`` is the smallest power of two that leaves every value of every update unclipped, with
   a factor of 2 to spare for data that was not measured.
4. ``weight_cap`` is the largest number of patients of a site, rounded up to one digit and at least
   10, so that other splits fit too; ``mean_weight`` is the mean of patients over it, rounded down.
   Equal weights need neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tomli_w

from wardround.client.home import write_atomically
from wardround.common.errors import WardroundError
from wardround.common.secagg.parameters import SMALLEST_COHORT
from wardround.common.study import Aggregation, SecureAggregation, validated
from wardround.simulations.job import UPDATES
from wardround.simulations.update_sizes import MOST, UpdateSizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from wardround.common.study import Study
    from wardround.simulations.run_folder import RunRequest
    from wardround.simulations.scenario import Scenario
    from wardround.simulations.update_sizes import RoundSizes, TensorSizes

LATE: Final = 0.25
SPREAD: Final = 4.0
MARGIN: Final = 2.0


def check_measurable(scenario: Scenario) -> None:
    """Refuse a scenario whose updates cannot be measured, or would be for nothing.

    Raises:
        WardroundError: WR-1010, it is private, trains no federation, or has too few sites.
    """
    if scenario.study.private:
        raise WardroundError(
            "WR-1010", "Single updates are not seen in mode private; measure them with --set aggregation.mode=open."
        )
    if scenario.study.privacy is not None:
        raise WardroundError("WR-1010", "Updates with noise in them say nothing of bounds; measure without [privacy].")
    if "federated" not in scenario.simulation.arm_kinds:
        raise WardroundError("WR-1010", "Updates are measured in the arm federated, and simulation.arms leaves it out.")
    if len(scenario.study.sites) < SMALLEST_COHORT:
        raise WardroundError("WR-1010", f"A secure sum needs {SMALLEST_COHORT} sites, so no bounds are needed here.")


def check_measured(request: RunRequest) -> None:
    """Refuse to make bounds of a run that does not measure updates.

    Raises:
        WardroundError: WR-1502, it was begun without.
    """
    if not request.measure_updates:
        raise WardroundError(
            "WR-1502", "This run was begun without --write-bounds, so its updates were not measured; start a new one."
        )


def write_bounds(request: RunRequest, run: Path, target: Path) -> None:
    """Write the table for the study of a finished run that measured its updates.

    Raises:
        WardroundError: WR-1502, the run did not measure them; WR-1002, they make no valid table.
    """
    check_measured(request)
    files = sorted((run / "jobs").glob(f"federated.seed*/{UPDATES}"))
    measured = [UpdateSizes.model_validate_json(file.read_bytes()) for file in files]
    write_atomically(target, secure_table(request.study, measured).encode())


def secure_table(study: Study, measured: Sequence[UpdateSizes]) -> str:
    """The table as TOML, to be pasted into the study, with what it rests on as comments.

    Args:
        study: The open study that was run.
        measured: Its updates, one list of rounds for each seed and fold.

    Raises:
        WardroundError: WR-1002, the updates make no valid table, for example because they are all 0.
    """
    scale = _scale(measured)
    largest = scale.widest(measured, lambda sizes: sizes.largest)
    fields: dict[str, Any] = {"update_rms": scale.common, "clip_factor": _power_of_two(MARGIN * largest)}
    if study.aggregation.weights == "patients":
        fields |= _weights(measured)
    fields |= {"update_rms_of": scale.own} if scale.own else {}
    secure = validated(SecureAggregation, fields, "WR-1002", "The measured table [aggregation.secure]")
    most = scale.widest(measured, lambda sizes: sizes.most)
    settled = Aggregation(mode="private", weights=study.aggregation.weights, secure=secure).for_sites(len(study.sites))
    bits = None if settled.secure is None else settled.secure.ring_bits
    lines = (
        f"Measured in an open run of {study.name}: {len(measured)} x {len(measured[0].root)} rounds.",
        "In a study these numbers are public: measure them on public or simulated data.",
        f"Largest value of an update: {largest:.0f} times the size of its tensor's mean update late in training;",
        f"{MOST:.1%} of the values of every tensor: {most:.0f} times.",
        f"With {len(study.sites)} sites the ring has {bits} bits.",
    )
    return "".join(f"# {line}\n" for line in lines) + tomli_w.dumps({"aggregation": {"secure": fields}})


@dataclass(frozen=True)
class Scale:
    """Expected root mean square of the mean update: a common one, and those of tensors far from it."""

    common: float
    own: Mapping[str, float]

    def widest(self, measured: Iterable[UpdateSizes], of: Callable[[TensorSizes], float]) -> float:
        """The largest ratio of a size of single updates to the tensor's expected root mean square."""
        tensors = _tensors(item for run in measured for item in run.root)
        return max(of(sizes) / self.own.get(name, self.common) for name, sizes in tensors)


def _scale(measured: Sequence[UpdateSizes]) -> Scale:
    """Steps 1 and 2."""
    squares: dict[str, list[float]] = {}
    values: dict[str, int] = {}
    for name, sizes in _tensors(item for run in measured for item in _late(run)):
        squares.setdefault(name, []).append(sizes.rms**2)
        values[name] = sizes.values
    found = {name: math.sqrt(math.fsum(items) / len(items)) for name, items in squares.items()}
    changing = {name: rms for name, rms in found.items() if rms > 0}
    if not changing:
        raise WardroundError("WR-1002", "The updates of the last rounds are all 0, so they have no size to expect.")
    common = _rounded(_median(changing, values))
    far = {name: _rounded(rms) for name, rms in changing.items() if not 1 / SPREAD <= rms / common <= SPREAD}
    return Scale(common, far)


def _late(run: UpdateSizes) -> list[RoundSizes]:
    return run.root[-max(1, math.ceil(LATE * len(run.root))) :]


def _tensors(rounds: Iterable[RoundSizes]) -> Iterable[tuple[str, TensorSizes]]:
    return (item for sizes in rounds for item in sizes.tensors.items())


def _median(sizes: Mapping[str, float], values: Mapping[str, int]) -> float:
    """The size that half of all values have tensors below, and half above."""
    names = sorted(sizes, key=lambda name: sizes[name])
    below = np.cumsum([values[name] for name in names])
    return sizes[names[int(np.searchsorted(below, below[-1] / 2))]]


def _weights(measured: Iterable[UpdateSizes]) -> dict[str, Any]:
    """Step 4."""
    rounds = [item for run in measured for item in run.root]
    most = max(max(item.patients.values()) for item in rounds)
    unit = 10 ** max(1, len(str(most)) - 1)
    cap = math.ceil(most / unit) * unit
    mean = min(math.fsum(item.patients.values()) / len(item.patients) for item in rounds) / cap
    return {"weight_cap": cap, "mean_weight": max(0.01, math.floor(mean * 100) / 100)}


def _power_of_two(least: float) -> float:
    return 2.0 ** max(0, math.ceil(math.log2(least)))


def _rounded(number: float) -> float:
    """Two significant digits."""
    return float(f"{number:.1e}")
