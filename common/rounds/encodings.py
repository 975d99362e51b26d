"""What rides in the secure sum of a round, derived from the approved study alone by both sides.

A training round carries the update, the site's weight and two numbers:

* ``training_loss``: the mean over the samples that the site consumed;
* ``validation_loss`` of the model that the round began with, in rounds that validate.

Every site that takes part gives every number of the round, so that no sum is over fewer sites than the update's:
a site without one stays out of the round. Validation metrics are not among them: AUROC is undefined at a site
without negative patients, and the sum over the others would be a smaller one.

With differential privacy nothing rides along but validation losses with noise, where they are paid for. With its trust
model ``distributed`` the sum is of clipped gradients and noise, not of updates, and the loss is one value more of it.

After the last round, without differential privacy, one more secure sum, with no update, validates the last model.
What the slots' ranges cannot hold is clamped: a mean loss above 1024 counts as 1024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.common.privacy.plan import noise_plan, reserve, ring_limit
from wardround.common.secagg.encoding import Encoding, NoiseRoom
from wardround.common.secagg.ring import Ring
from wardround.common.secagg.scalars import ScalarSlot

if TYPE_CHECKING:
    from wardround.common.study import Study
    from wardround.common.vector import Layout

TRAINING_LOSS: Final = "training_loss"
VALIDATION_LOSS: Final = "validation_loss"

_VALIDATION: Final = (ScalarSlot(VALIDATION_LOSS, 0.0, 1024.0, 2.0**-32),)
_TRAINING: Final = (
    ScalarSlot(TRAINING_LOSS, 0.0, 1024.0, 2.0**-32),
    *_VALIDATION,
)


_NOISY_VALIDATION: Final = (ScalarSlot(VALIDATION_LOSS, -(2.0**20), 2.0**20, 2.0**-20),)


def training_encoding(study: Study, layout: Layout) -> Encoding:
    """The encoding of rounds 1 to ``training.rounds`` of a private study.

    Raises:
        WardroundError: WR-1002, the study names a tensor that the model does not have; WR-1805, its noise leaves no
            room in the ring.
    """
    if study.distributed:
        return _noisy_encoding(study, layout)
    return Encoding(
        ring=Ring(study.ring_bits),
        sites=len(study.sites),
        tensors=study.secure.bounds(layout),
        weight_cap=study.aggregation.weight_cap,
        scalars=_scalars(study),
    )


def _scalars(study: Study) -> tuple[ScalarSlot, ...]:
    if study.privacy is None:
        return _TRAINING
    return () if study.privacy.validation is None else _NOISY_VALIDATION


def _noisy_encoding(study: Study, layout: Layout) -> Encoding:
    """Integers of clipped gradients with their noise; behind them a sum of losses where validations are paid for."""
    sites, ring, plan = len(study.sites), Ring(study.ring_bits), noise_plan(study, layout.size)
    room = NoiseRoom(ring_limit(plan, ring, sites), reserve(plan, sites))
    tensors = [(layout.size, room.limit * plan.lattice.step)]
    if plan.validation is not None:
        tensors.append((1, room.limit * plan.validation.step))
    return Encoding(ring, sites, tuple(tensors), noise=room)


def validation_encoding(study: Study) -> Encoding:
    """The encoding of the last validation: one value, always zero, and the numbers."""
    return Encoding(
        ring=Ring(study.ring_bits),
        sites=len(study.sites),
        tensors=((1, 1.0),),
        weight_cap=study.aggregation.weight_cap,
        scalars=_VALIDATION,
    )


def encoding_of(study: Study, layout: Layout, number: int) -> Encoding:
    """The encoding of round ``number``; one after the last round it is :func:`validation_encoding`.

    Raises:
        WardroundError: WR-1002, the study names a tensor that the model does not have.
    """
    return training_encoding(study, layout) if number <= study.training.rounds else validation_encoding(study)
