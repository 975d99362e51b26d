"""The sections of a study that say how updates are combined, and how a secure sum hides them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, StringConstraints

from wardround.common.errors import WardroundError
from wardround.common.secagg.parameters import Strength, Threshold, default_colluding
from wardround.common.secagg.ring import ring_bits_for, rounding_share
from wardround.common.study.fields import Positive, Section

if TYPE_CHECKING:
    from wardround.common.vector import Layout

TensorName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""A tensor of the model as its layout calls it, for example ``features.0.weight``."""

Magnitude = Annotated[float, Field(ge=1e-20, le=1e14, allow_inf_nan=False)]
"""A size of updates; with any clip factor, clipping bounds and their steps are normal float32 numbers."""

MISSING: Final = (
    "mode 'private' needs a table [aggregation.secure] with update_rms = the root mean square that the values of a "
    "mean update have late in training; wardround simulate STUDY --write-bounds FILE measures it on public or "
    "simulated data"
)


class SecureAggregation(Section):
    """How the secure sum of a private study hides single updates; without effect in an open study.

    What is None in the file is filled in when a private study is built, and hashed with it.

    Attributes:
        strength: What is assumed of the coordinator: ``active``, it may lie; ``semi-honest``, it
            follows the protocol.
        colluding: How many sites may collude with the coordinator, k; a site's policy may ask for
            more. At most n - 2 of n sites; None is (n - 1) / 3, rounded down.
        update_rms: Root mean square that the values of a mean update are expected to have late in
            training. Public: take it from an earlier run on public or simulated data. Needed except
            with noise of trust model ``distributed``, whose sum has a lattice of its own.
        update_rms_of: The same for single tensors, by name, whose updates have another scale, such
            as running statistics.
        clip_factor: Every value of a site's update is clipped to plus or minus this factor times
            the expected root mean square of its tensor.
        ring_bits: Bits of a value on the wire. 16 where the rounding of the mean is predicted to be
            at most 1% of ``update_rms``, else 32; None is what this rule gives, and 16 is refused
            where it gives 32.
        weight_cap: With weights by patients, a site with more training patients counts as one with
            this many.
        mean_weight: What the rounding rule takes for the mean over sites of patients divided by
            ``weight_cap``; equal weights count as 1.
        attempts: How often a round is tried before the run ends.
    """

    strength: Strength = Strength.ACTIVE
    colluding: Annotated[int, Field(ge=0, le=126)] | None = None
    update_rms: Magnitude | None = None
    update_rms_of: dict[TensorName, Magnitude] = Field(default_factory=dict)
    clip_factor: Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)] = 64.0
    ring_bits: Literal[16, 32] | None = None
    weight_cap: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    mean_weight: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.1
    attempts: Annotated[int, Field(ge=1, le=10)] = 3

    def bounds(self, layout: Layout) -> tuple[tuple[int, float], ...]:
        """Size and clipping bound of every tensor of ``layout``, in its order.

        Raises:
            WardroundError: WR-1002, ``update_rms_of`` names a tensor that the model does not have.
            RuntimeError: The study was built without ``update_rms``.
        """
        if self.update_rms is None:
            raise RuntimeError("this study's secure sum has no update_rms")
        unknown = sorted(self.update_rms_of.keys() - {entry.name for entry in layout.entries})
        if unknown:
            raise WardroundError(
                "WR-1002", f"aggregation.secure.update_rms_of names no tensor of the model: {', '.join(unknown[:5])}."
            )
        return tuple(
            (entry.size, self.clip_factor * self.update_rms_of.get(entry.name, self.update_rms))
            for entry in layout.entries
        )

    def resolved(self, sites: int, mean_weight: float) -> SecureAggregation:
        """The same with ``colluding`` and ``ring_bits`` filled in for this number of sites.

        Args:
            sites: n, the sites of the study.
            mean_weight: Mean weight of a site as a fraction of the cap, above 0, at most 1.

        Raises:
            ValueError: No secure sum exists for so many sites, or the ring asked for is too small.
        """
        colluding = default_colluding(sites) if self.colluding is None else self.colluding
        try:
            Threshold(sites, colluding, self.strength)
        except WardroundError as error:
            raise ValueError(f"{error.what} Set mode 'open' or change sites or secure.colluding") from error
        needed = ring_bits_for(sites, self.clip_factor, mean_weight)
        if self.ring_bits == 16 and needed == 32:
            share = rounding_share(16, sites, self.clip_factor, mean_weight)
            raise ValueError(
                f"secure.ring_bits 16 would round the mean update by {share:.1%} of its root mean square, more than "
                "1%; leave ring_bits out, or lower secure.clip_factor"
            )
        return self.model_copy(update={"colluding": colluding, "ring_bits": self.ring_bits or needed})

    def for_noise(self, sites: int) -> SecureAggregation:
        """The same for noise of trust model ``distributed``, which takes the ring of 32 bits.

        Raises:
            ValueError: No secure sum exists for so many sites, or a ring of 16 bits is asked for.
        """
        if self.ring_bits == 16:
            raise ValueError("noise inside the secure sum needs a ring of 32 bits; leave out secure.ring_bits")
        return self.model_copy(update={"ring_bits": 32}).resolved(sites, 1.0)

    def smallest_sum(self, sites: int) -> int:
        """Fewest sites in a sum that opens, after ``colluding`` is filled in."""
        colluding = default_colluding(sites) if self.colluding is None else self.colluding
        return Threshold(sites, colluding, self.strength).minimum_sum


class Aggregation(Section):
    """How the sites' updates become one step of the global model.

    Attributes:
        mode: ``open``: the coordinator sees each site's update. ``private``: it sees only their sum.
        algorithm: ``fedavg``: the weighted mean of the sites' updates is the step.
        weights: Of a site: its number of training ``patients``, or ``equal`` for all.
        server_learning_rate: Factor on that mean before it is added to the global model.
        min_sites: A round with fewer sites is not committed.
        secure: How the secure sum hides updates; needed in mode ``private``, without effect in mode
            ``open``, so that one file can be run in both.
    """

    mode: Literal["open", "private"] = "open"
    algorithm: Literal["fedavg"] = "fedavg"
    weights: Literal["patients", "equal"] = "patients"
    server_learning_rate: Positive = 1.0
    min_sites: Annotated[int, Field(ge=1)] = 1
    # Left out of the canonical form where there is none: studies without it keep their id.
    secure: SecureAggregation | None = Field(default=None, exclude_if=lambda secure: secure is None)

    @property
    def weight_cap(self) -> int:
        """Largest weight of a site in the secure sum: 1 with equal weights.

        Raises:
            RuntimeError: The study has no ``[aggregation.secure]``.
        """
        if self.secure is None:
            raise RuntimeError("an open study has no cap on weights")
        return 1 if self.weights == "equal" else self.secure.weight_cap

    def for_sites(self, sites: int) -> Aggregation:
        """The same with the settings of a secure sum over this number of sites filled in.

        Raises:
            ValueError: The study is private and no secure sum exists for these sites and settings.
        """
        if self.mode == "open":
            return self
        if self.secure is None or self.secure.update_rms is None:
            raise ValueError(MISSING)
        mean_weight = 1.0 if self.weights == "equal" else self.secure.mean_weight
        return self.model_copy(update={"secure": self.secure.resolved(sites, mean_weight)})

    def for_noise(self, sites: int) -> Aggregation:
        """The same for noise of trust model ``distributed``.

        ``min_sites`` becomes the fewest sites in a sum that opens: so many add their noise for certain.

        Raises:
            ValueError: No secure sum exists for these sites and settings.
        """
        secure = (self.secure or SecureAggregation()).for_noise(sites)
        fewest = max(self.min_sites, secure.smallest_sum(sites))
        return self.model_copy(update={"secure": secure, "min_sites": fewest})
