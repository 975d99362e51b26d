"""What rides in the secure sum of a round, derived from the approved study alone by both sides.

A training round carries the update, the site's weight and four numbers:

* ``samples``: how many the site consumed in the round;
* ``training_loss``: their mean loss times their number, so that the ratio of the sums is the mean over samples;
* ``validation_loss`` and ``validation_metric`` of the model that the round began with, in rounds that
  validate; a site without one leaves the slot empty, and the mean is over the sites that gave one.

After the last round one more secure sum, with no update, validates the last model. What the slots' ranges
cannot hold is clamped: a mean loss above 1024 counts as 1024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardround.common.secagg.encoding import Encoding
from wardround.common.secagg.ring import Ring
from wardround.common.secagg.scalars import ScalarSlot

if TYPE_CHECKING:
    from wardround.common.study import Study
    from wardround.common.vector import Layout

SAMPLES: Final = "samples"
TRAINING_LOSS: Final = "training_loss"
VALIDATION_LOSS: Final = "validation_loss"
VALIDATION_METRIC: Final = "validation_metric"

_VALIDATION: Final = (
    ScalarSlot(VALIDATION_LOSS, 0.0, 1024.0, 2.0**-32),
    ScalarSlot(VALIDATION_METRIC, 0.0, 1.0, 2.0**-39),
)
_TRAINING: Final = (
    ScalarSlot(SAMPLES, 0.0, 2.0**32 - 1, 1.0),
    ScalarSlot(TRAINING_LOSS, 0.0, 2.0**30, 2.0**-16),
    *_VALIDATION,
)


def training_encoding(study: Study, layout: Layout) -> Encoding:
    """The encoding of rounds 1 to ``training.rounds`` of a private study.

    Raises:
        WardroundError: WR-1002, the study names a tensor that the model does not have.
    """
    return Encoding(
        ring=Ring(study.ring_bits),
        sites=len(study.sites),
        tensors=study.secure.bounds(layout),
        weight_cap=study.aggregation.weight_cap,
        scalars=_TRAINING,
    )


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
