"""A masked update as Flower carries it: ring values, raw and little-endian.

Whatever is read here goes into :meth:`wardround.common.secagg.coordinator_attempt.CoordinatorAttempt.receive_upload`
and nowhere else: masked ring values mean nothing by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Array, ArrayRecord

from wardround.common.errors import WardroundError
from wardround.common.wire.records import VECTOR, carried

if TYPE_CHECKING:
    from flwr.app import RecordDict

    from wardround.common.secagg.ring import Ring, RingVector


def pack_ring(values: RingVector) -> ArrayRecord:
    """Masked ring values of shape ``[size]`` as a record: one copy."""
    return ArrayRecord({VECTOR: Array(values.dtype.name, values.shape, _stype(values.dtype.name), values.tobytes())})


def unpack_ring(record: RecordDict, ring: Ring, size: int) -> RingVector:
    """Read the masked update of a message: shape ``[size]``, read-only, not copied.

    Raises:
        WardroundError: WR-1701, there is none, or it is not of that ring and size.
    """
    try:
        array = carried(record)
    except WardroundError as error:
        raise WardroundError("WR-1701", "An upload came without a masked update.") from error
    expected = (ring.dtype.name, (size,), _stype(ring.dtype.name))
    if (array.dtype, tuple(array.shape), array.stype) != expected or len(array.data) != ring.bytes * size:
        raise WardroundError("WR-1701", "A masked update is not of the ring and size of the study.")
    values: RingVector = np.frombuffer(array.data, dtype=ring.dtype)
    return values


def _stype(dtype: str) -> str:
    return f"wardround.{dtype}.le"
