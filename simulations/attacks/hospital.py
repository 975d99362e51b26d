"""A hospital under attack: the production site behind its bytes, and a training that is easy to follow.

The training is one linear unit behind a rectifier for every weight of the model: the update is a
constant of the hospital's data where the weight is 0 or more, and zero where it is negative. It lies
on the grid of the encoding, so that rounding adds nothing: what an attack recovers is the update or
is not, without a tolerance. For an attacker that is the best case.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from wardround.common.crypto.signing import SigningKey
from wardround.common.roster import Roster
from wardround.common.secagg.encoding import Encoding
from wardround.common.secagg.masks import add_masks
from wardround.common.secagg.parameters import Strength
from wardround.common.secagg.ring import Ring
from wardround.common.secagg.site_checks import Terms
from wardround.simulations.attacks.memory_store import MemoryStore
from wardround.simulations.attacks.randomness import ScriptedRandom, derived
from wardround.simulations.attacks.weakened import CLIPPED, FINITE, site_class, without

if TYPE_CHECKING:
    from wardround.common.ids import SiteId
    from wardround.common.secagg.ring import RingVector
    from wardround.common.secagg.site import Attempt
    from wardround.common.vector import Vector

WEIGHTS: Final = 255
"""Values of the model; with the update's weight the ring vector has 256."""

STEP: Final = 2.0**-10
"""The encoding's step, a power of two: multiples of it are encoded without rounding."""

LARGEST_LEVEL: Final = 200
"""Updates are integers between plus and minus this, times the step."""

TOO_LARGE: Final = 40_000
"""A level beyond every bound, and beyond half of the ring."""

_BYTES: Final = tuple(one.name for one in fields(Terms) if one.type == "bytes")


def encoding_for(sites: int) -> Encoding:
    """The encoding of a study with so many sites."""
    ring = Ring(16)
    return Encoding(ring=ring, sites=sites, tensors=((WEIGHTS, ring.levels(sites) * STEP),))


@dataclass(frozen=True)
class HospitalSpec:
    """Everything that a hospital's answers follow from, besides the messages.

    Attributes:
        site: Its name.
        seed: Of its identity key, its data and its randomness, hex.
        roster: The roster that its people accepted, canonical JSON.
        terms: What it holds messages against.
        off: Rules that are switched off.
        data: ``usual``, ``not finite`` or ``too large``.
    """

    site: SiteId
    seed: str = field(repr=False)
    roster: str = field(repr=False)
    terms: Terms
    off: tuple[str, ...] = ()
    data: str = "usual"

    def to_json(self) -> dict[str, Any]:
        """For the transcript."""
        terms = asdict(self.terms)
        told = {name: terms[name].hex() for name in _BYTES} | {"sites": sorted(terms["sites"])}
        return asdict(self) | {"terms": terms | told}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """From the transcript."""
        terms = content["terms"]
        told: dict[str, Any] = {name: bytes.fromhex(terms[name]) for name in _BYTES}
        told |= {"sites": frozenset(terms["sites"]), "strength": Strength(terms["strength"])}
        return cls(**content | {"terms": Terms(**terms | told), "off": tuple(content["off"])})

    def derived(self, *labels: str) -> bytes:
        """32 bytes for one purpose of this hospital."""
        return derived(bytes.fromhex(self.seed), *labels)

    @cached_property
    def identity(self) -> SigningKey:
        """Its identity key."""
        return SigningKey(self.derived("identity"))


class Hospital:
    """One hospital: messages in, the bytes that leave it out.

    ``truth`` is the encoded update of the newest round, ``[size]``, which never leaves: what attacks are measured
    against.

    Args:
        spec: What it is.
        store: Its store; a new one when not given.
        drawn: Bytes that it has drawn from its randomness already.
    """

    def __init__(self, spec: HospitalSpec, store: MemoryStore | None = None, drawn: int = 0) -> None:
        self.spec = spec
        self.store = store or MemoryStore()
        self._random = ScriptedRandom(spec.derived("randomness"), drawn)
        self._encoding = encoding_for(len(spec.terms.sites))
        self._roster = spec.roster
        self.truth: RingVector = np.zeros(self._encoding.size, dtype=self._encoding.ring.dtype)
        self._attempt: Attempt | None
        self.restart()

    def restart(self) -> None:
        """End the process and begin another one over the same store."""
        self._attempt = None
        self._site = site_class(self.spec.off)(
            self.spec.site,
            identity=self.spec.identity,
            roster=_roster(self._roster),
            terms=self.spec.terms,
            store=self.store,
            random=self._random,
            checks=without(self.spec.off),
        )

    def copy(self, off: tuple[str, ...]) -> Hospital:
        """The same hospital after a restart, with other rules switched off."""
        return Hospital(replace(self.spec, off=off), self.store.copy(), self._random.drawn)

    def answer(self, step: str, message: bytes, model: bytes) -> bytes:
        """Take one message.

        Args:
            step: ``advertise``, ``join``, ``begin``, ``upload``, ``confirm`` or ``open``; ``leave``
                and ``accept``, of a roster, are what the hospital's own people ask for.
            message: What the coordinator sends; nothing for ``upload``, which follows ``begin`` by itself.
            model: The model, with ``begin``.

        Returns:
            The message that leaves; with ``upload`` the masked update follows it.

        Raises:
            WardroundError: The hospital refuses.
        """
        if step == "begin":
            self._begin(message, model)
            return b""
        if step == "leave":
            self._site.leave()
            return b""
        if step == "accept":
            self._roster = message.decode()
            self.restart()
            return b""
        if step == "upload":
            return self._site.upload() + self._masked().tobytes()
        return {
            "advertise": self._site.advertise,
            "join": self._site.join,
            "confirm": self._site.confirm,
            "open": self._site.open,
        }[step](message)

    def _begin(self, message: bytes, model: bytes) -> None:
        self._attempt = self._site.begin(message, hashlib.sha256(model).digest())
        if not self._attempt.computed:
            self.truth = self._encoded(self._update(np.frombuffer(model, dtype="<f4")))
            self._site.keep(self.truth)

    def _update(self, model: Vector) -> Vector:
        drawn = np.frombuffer(ScriptedRandom(self.spec.derived("data"))(4 * WEIGHTS), dtype="<u4")
        levels = drawn.astype(np.int64) % (2 * LARGEST_LEVEL + 1) - LARGEST_LEVEL
        update = np.where(model >= 0, levels * STEP, 0.0).astype(np.float32)
        if self.spec.data == "not finite":
            update[0] = np.nan
        if self.spec.data == "too large":
            update[0] = TOO_LARGE * STEP
        return update

    def _encoded(self, update: Vector) -> RingVector:
        if FINITE in self.spec.off:
            update = np.nan_to_num(update)
        values = self._encoding.encode(update, weight=1, scalars={}, random=self._random).values
        if CLIPPED in self.spec.off:
            values[:WEIGHTS] = np.rint(update / STEP).astype(np.int64) % 2**16
        return values

    def _masked(self) -> RingVector:
        if self._attempt is None:
            raise RuntimeError("no attempt has begun")
        masked = np.empty_like(self.truth)
        self._site.kept(masked)
        add_masks(masked, self._attempt.seeds)
        return masked


@lru_cache(maxsize=16)
def _roster(canonical: str) -> Roster:
    return Roster.model_validate_json(canonical)
