"""Encoding: how an update becomes ring values, and a sum of ring values the sum of updates again.

Everything here is public and the same at every site; :attr:`Encoding.digest` is part of the round context.

Notation: n sites, of which site v has weight w_v and the update x_v; tensor j is clipped to ``[-B_j, B_j]``.

1. L, the levels of one site (:meth:`Ring.levels`): ``n * L`` stays below half of the ring. ``step_j = B_j / L``.
2. ``omega_v = min(w_v, cap) / cap``, in [0, 1].
3. Site v sends ``q_v = stochastic_round(clip(x_v, -B_j, B_j) * omega_v / step_j)``, in [-L, L], modulo 2^bits
   (:mod:`wardround.common.secagg.rounding`), with dither from a cipher under a fresh key that is kept nowhere.
4. The sum of the survivors' q_v lies in [-n L, n L] and is read as a signed number; times step_j it is
   ``sum_v omega_v clip(x_v)``, unbiased, with an error below one step per survivor (:meth:`Encoding.sum_error_bound`).
   Divided by ``sum_v omega_v = weight / cap`` it is the weighted mean; its error is below ``step_j cap / mean weight``.
5. Weight and metrics ride behind the update (:mod:`wardround.common.secagg.scalars`).

With differential privacy of trust model ``distributed`` a site's integers come with noise in them
(:mod:`wardround.common.privacy.lattice`): steps 2 and 3 are theirs, L and the step are given, and the sum may be
larger than ``n * L`` by what :class:`NoiseRoom` leaves for the noise.

On the wire: values 0 to P - 1 are the update in the order of the layout, the rest is the tail.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rfc8785

from wardround.common.crypto.randomness import draw
from wardround.common.errors import WardroundError
from wardround.common.secagg.rounding import BLOCK, Rounder, residual_bias, scales_of, working_float
from wardround.common.secagg.scalars import Tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from wardround.common.crypto.randomness import RandomSource
    from wardround.common.secagg.ring import Ring, RingVector
    from wardround.common.secagg.rounding import Piece
    from wardround.common.secagg.scalars import ScalarSlot, ScalarSums
    from wardround.common.vector import Vector

FORMAT: Final = 1
"""Version of steps 1 to 5; part of the digest."""

_SMALLEST_BOUND: Final = 1e-20
_LARGEST_BOUND: Final = 1e20
_MEASURED: Final = 8
_SMALL: Final = 8 * BLOCK
"""The rounding share is measured on every 8th block, on all of them for updates of up to 8 blocks (a million)."""


@dataclass(frozen=True, slots=True)
class NoiseRoom:
    """How a sum of integers with noise lies in the ring.

    Args:
        limit: L, the largest magnitude of one site's integer before its noise.
        reserve: What the noise of all sites together may add; it does so with probability 2^-40 at most.
    """

    limit: int
    reserve: int


@dataclass(frozen=True, slots=True, eq=False)
class EncodedUpdate:
    """One site's contribution before it is masked. It never leaves the site.

    Args:
        values: Ring values ``[size]``.
        clipped: Share of the update's values with ``|x| > B_j``, in [0, 1].
        rounding_share: RMS of the rounding error over RMS of the clipped update, measured (of a large update, on
            one value in eight).
    """

    values: RingVector = field(repr=False)
    clipped: float
    rounding_share: float


@dataclass(frozen=True, slots=True, eq=False)
class DecodedSum:
    """What a secure sum says.

    Args:
        total: ``sum_v (w_v / cap) x_v`` over the survivors, float32 ``[P]``.
        weight: ``sum_v min(w_v, cap)``; 0 if no survivor did any work, and then there is no mean.
        scalars: Sum of each scalar slot.
        counts: How many survivors gave a number for each slot.
    """

    total: Vector
    weight: int
    scalars: dict[str, float]
    counts: dict[str, int]


@dataclass(frozen=True)
class Encoding:
    """The public parameters of step 1 to 5.

    Args:
        ring: Ring of 16 or 32 bits.
        sites: n, the sites of the study.
        tensors: Number of values and clipping bound of each tensor, in the order of the layout.
        weight_cap: Weights above it count as it; 1 for equal weights.
        scalars: Numbers that ride in the sum.
        noise: For integers that come with noise; None where updates are rounded here.

    Raises:
        ValueError: There is no tensor, a size or bound is out of range, or the ring is too small for the sites.
    """

    ring: Ring
    sites: int
    tensors: tuple[tuple[int, float], ...]
    weight_cap: int = 1
    scalars: tuple[ScalarSlot, ...] = ()
    noise: NoiseRoom | None = None

    def __post_init__(self) -> None:
        if self.sites * self.levels + (self.noise.reserve if self.noise else 0) > self.ring.levels(1):
            raise ValueError("data and noise of all sites do not fit into the ring")
        self.tail.size  # noqa: B018  # refuses caps and slots that cannot be
        if not self.ring.holds_limbs(self.sites):
            raise ValueError(f"a ring of {self.ring.bits} bits does not hold the limbs of {self.sites} sites")
        if not self.tensors or any(size < 1 for size, _ in self.tensors):
            raise ValueError("an encoding has one tensor or more, each of one value or more")
        if not all(_SMALLEST_BOUND <= bound <= _LARGEST_BOUND for _, bound in self.tensors):
            raise ValueError(f"clipping bounds lie between {_SMALLEST_BOUND} and {_LARGEST_BOUND}")

    @cached_property
    def levels(self) -> int:
        """L, the largest magnitude of one site's value, without noise."""
        return self.ring.levels(self.sites) if self.noise is None else self.noise.limit

    @cached_property
    def tail(self) -> Tail:
        """The values behind the update."""
        return Tail(self.weight_cap, self.scalars)

    @cached_property
    def parameters(self) -> int:
        """P, the number of values of an update."""
        return self._ends[-1]

    @cached_property
    def size(self) -> int:
        """Ring values on the wire: P and the tail."""
        return self.parameters + self.tail.size

    @cached_property
    def steps(self) -> tuple[float, ...]:
        """step_j of each tensor, in the update's units."""
        return tuple(bound / self.levels for _, bound in self.tensors)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON (RFC 8785) of every public parameter, 32 bytes."""
        slots = [[slot.name, slot.low, slot.high, slot.resolution] for slot in self.scalars]
        described: dict[str, Any] = {
            "format": FORMAT,
            "bits": self.ring.bits,
            "sites": self.sites,
            "tensors": [[size, bound] for size, bound in self.tensors],
            "weight_cap": self.weight_cap,
            "scalars": slots,
        }
        if self.noise is not None:
            described["noise"] = [self.noise.limit, self.noise.reserve]
        return hashlib.sha256(rfc8785.dumps(described)).digest()

    def sum_error_bound(self, survivors: int) -> tuple[float, ...]:
        """Largest error of one value of a decoded sum, for each tensor, in the update's units.

        Against ``sum_v omega_v clip(x_v)`` computed exactly: one step for each survivor, what float arithmetic adds to
        a rounding, and what the step and the total lose as float32.
        """
        each = 1 + residual_bias(self.ring.bits, self.levels) + self.levels * 2.0**-23
        return tuple(survivors * each * step for step in self.steps)

    def encode(
        self, update: Vector, *, weight: int, scalars: Mapping[str, float], random: RandomSource
    ) -> EncodedUpdate:
        """One site's contribution.

        Args:
            update: float32 ``[P]``, contiguous; not changed.
            weight: The site's weight, 0 or more. 0 means no work: all values of the update become zero.
            scalars: Numbers by slot name; a slot left out, or NaN, counts as absent.
            random: Draws the 32 bytes of the dither key, which are kept nowhere.

        Returns:
            A new vector and its two figures. Nothing of it exists if the update is refused.

        Raises:
            WardroundError: ``WR-1710``, the update has another size or holds values that are not finite.
            TypeError: The update is not float32.
            ValueError: The weight is negative, a scalar has no slot, or noise belongs in this sum.
        """
        if self.noise is not None:
            raise ValueError("an update is rounded with its noise, not here")
        self._check(update, weight)
        counted = min(weight, self.weight_cap)
        bounds = [bound for _, bound in self.tensors]
        scales = scales_of(self.ring, self.levels, counted / self.weight_cap, bounds)
        rounder = Rounder(self.ring, scales, draw(random, 32))
        values = np.empty(self.size, dtype=self.ring.dtype)
        for number, (first, last, pieces) in enumerate(self._blocks()):
            rounder.round_into(update[first:last], pieces, values[first:last])
            if self.parameters <= _SMALL or number % _MEASURED == 0:
                rounder.measure(pieces)
        values[self.parameters :] = self.tail.encode(counted, scalars)
        return EncodedUpdate(values, rounder.clipped / self.parameters, rounder.rounding_share)

    def encode_integers(self, units: NDArray[np.int64]) -> RingVector:
        """One site's contribution where integers come with noise: modulo the ring, with weight 1 behind them.

        Args:
            units: Lattice units ``[P]``.

        Returns:
            A new vector ``[size]``.

        Raises:
            ValueError: No noise belongs in this sum, or the integers have another shape or type.
        """
        if self.noise is None or units.shape != (self.parameters,) or units.dtype != np.int64:
            raise ValueError(f"expected {self.parameters} int64 values in a sum with noise")
        values = np.empty(self.size, dtype=self.ring.dtype)
        np.copyto(values[: self.parameters], units, casting="unsafe")
        values[self.parameters :] = self.tail.encode(1, {})
        return values

    def decode(self, total: RingVector, survivors: int) -> DecodedSum:
        """The sum over ``survivors`` sites from the unmasked ring values ``[size]``.

        Raises:
            WardroundError: ``WR-1713``, no such sites could have given this sum: masks are left in it.
            ValueError: ``total`` has another type or size, or there are no such survivors.
        """
        if total.dtype != self.ring.dtype or total.shape != (self.size,):
            raise ValueError(f"expected {self.ring.dtype} of shape ({self.size},), got {total.dtype} of {total.shape}")
        if not 1 <= survivors <= self.sites:
            raise ValueError(f"the survivors are 1 to {self.sites} sites, not {survivors}")
        tail = self.tail.decode(total[self.parameters :].tolist(), survivors)
        most = survivors * self.levels + (self.noise.reserve if self.noise else 0)
        return self._decoded(total.view(f"<i{self.ring.bytes}"), most, tail)

    def _decoded(self, signed: NDArray[np.int16 | np.int32], most: int, tail: ScalarSums) -> DecodedSum:
        result = np.empty(self.parameters, dtype=np.float32)
        scaled = np.empty(min(BLOCK, self.parameters), dtype=working_float(self.ring))
        for first, last, pieces in self._blocks():
            block, real = signed[first:last], scaled[: last - first]
            if block.min() < -most or block.max() > most:
                raise WardroundError("WR-1713", "The opened sum holds values that the sites could not give.")
            np.copyto(real, block)
            for place, tensor in pieces:
                real[place] *= real.dtype.type(self.steps[tensor])
            result[first:last] = real
        return DecodedSum(result, tail.weight, tail.sums, tail.counts)

    def _check(self, update: Vector, weight: int) -> None:
        if update.dtype != np.float32:
            raise TypeError(f"an update is float32, not {update.dtype}")
        if update.shape != (self.parameters,):
            raise WardroundError(
                "WR-1710", f"The update has shape {update.shape}, the study's model has {self.parameters} values."
            )
        if weight < 0:
            raise ValueError(f"a weight is 0 or more, not {weight}")

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(accumulate(size for size, _ in self.tensors))

    def _blocks(self) -> Iterator[tuple[int, int, list[Piece]]]:
        """First value, end, and pieces of each block of the update."""
        for first in range(0, self.parameters, BLOCK):
            last = min(first + BLOCK, self.parameters)
            yield first, last, list(self._pieces(first, last))

    def _pieces(self, first: int, last: int) -> Iterator[Piece]:
        tensor, place = bisect_right(self._ends, first), first
        while place < last:
            end = min(self._ends[tensor], last)
            yield slice(place - first, end - first), tensor
            place, tensor = end, tensor + 1
