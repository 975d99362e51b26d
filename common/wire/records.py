"""Typed messages to and from Flower records.

A vector travels beside the fields as the raw little-endian bytes of its values: one copy to pack,
none to unpack. Reading one is in :mod:`wardround.common.wire.vectors` (float32: a model at a hospital, an
update at an open coordinator) and :mod:`wardround.common.wire.rings` (masked updates).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from pydantic import ValidationError

from wardround.common.errors import WardroundError
from wardround.common.wire.base import WireMessage

if TYPE_CHECKING:
    from wardround.common.vector import Vector

W = TypeVar("W", bound=WireMessage)

FIELDS: Final = "message"
VECTOR: Final = "vector"
RAW_FLOAT32: Final = "wardround.float32.le"
"""Serialisation type of a vector: its raw little-endian bytes."""


def pack_vector(vector: Vector) -> ArrayRecord:
    """A vector of shape ``[P]`` as a record; may be shared by several messages."""
    data = vector.astype("<f4", copy=False).tobytes()
    return ArrayRecord({VECTOR: Array("float32", vector.shape, RAW_FLOAT32, data)})


def pack(message: WireMessage, vector: ArrayRecord | None = None) -> RecordDict:
    """A message and, if it has one, its vector, as Flower carries them."""
    record = RecordDict({FIELDS: ConfigRecord(message.model_dump(exclude_none=True))})
    if vector is not None:
        record[VECTOR] = vector
    return record


def unpack(expected: type[W], record: RecordDict) -> W:
    """Read a message.

    Raises:
        WardroundError: WR-1301, the record is not a message of the expected kind.
    """
    # Not record.config_records: each look at it leaves a reference cycle that keeps the vector in memory.
    fields = record.get(FIELDS)
    if not record.keys() <= {FIELDS, VECTOR}:
        raise WardroundError("WR-1301", f"A {expected.__name__} message with more than fields and a vector arrived.")
    if not isinstance(fields, ConfigRecord):
        raise WardroundError("WR-1301", f"A {expected.__name__} message without fields arrived.")
    try:
        return expected.model_validate(dict(fields))
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False))
        raise WardroundError("WR-1301", f"A {expected.__name__} message has wrong fields: {wrong[:200]}.") from None


def carried(record: RecordDict) -> Array:
    """The array that a message carries, as it came.

    Raises:
        WardroundError: WR-1301, it carries none.
    """
    arrays = record.get(VECTOR)
    array = arrays.get(VECTOR) if isinstance(arrays, ArrayRecord) else None
    if array is None:
        raise WardroundError("WR-1301", "A message that needs a vector came without one.")
    return array
