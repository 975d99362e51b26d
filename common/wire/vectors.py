"""Reading a vector of float32 values: a model, or in open mode the update of a single site.

The coordinator of a private study does not import this module: it reads ring values only
(:mod:`wardround.common.wire.rings`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wardround.common.errors import WardroundError
from wardround.common.wire.records import RAW_FLOAT32, carried

if TYPE_CHECKING:
    from flwr.app import RecordDict

    from wardround.common.vector import Vector


def unpack_vector(record: RecordDict, size: int) -> Vector:
    """Read the vector of a message: float32 of shape ``[size]``, read-only, not copied.

    Raises:
        WardroundError: WR-1301, there is no vector, or it is not of that type and size.
    """
    array = carried(record)
    if array.dtype != "float32" or array.stype != RAW_FLOAT32 or len(array.data) != 4 * size:
        raise WardroundError(
            "WR-1301", f"A model vector of {len(array.data)} bytes came where {4 * size} were expected."
        )
    return np.frombuffer(array.data, dtype="<f4")
