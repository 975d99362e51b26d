"""Messages survive the trip; anything else is refused whole."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from wardround.common.errors import WardroundError
from wardround.common.ids import SiteId, StudyId, StudyRunId
from wardround.common.wire.messages import Train, Trained, Validated
from wardround.common.wire.records import FIELDS, VECTOR, pack, pack_vector, unpack
from wardround.common.wire.vectors import unpack_vector

QUESTION = Train(
    study=StudyId("sha256:" + "ab" * 32),
    run=StudyRunId("run-1"),
    seed=3,
    layout="sha256:cd",
    round=2,
    rounds=5,
    start=8,
    samples=4,
)


def test_fields_survive() -> None:
    assert unpack(Train, pack(QUESTION)) == QUESTION


def test_absent_values_survive() -> None:
    reply = Trained(site=SiteId("a"), round=1, patients=2, samples=3, loss=0.5, train_seconds=0.1, seconds=0.2)
    assert unpack(Trained, pack(reply)).validation_loss is None


def test_vectors_survive_bit_for_bit() -> None:
    vector = np.array([0.1, -0.0, np.nan, np.inf, 1e-45], dtype=np.float32)
    found = unpack_vector(pack(QUESTION, pack_vector(vector)), 5)
    assert found.tobytes() == vector.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"round": 0},
        {"round": "2"},
        {"samples": 0},
        {"extra": 1},
        {"fold": -1},
        {"run": "../etc"},
        {"seed": 1.5},
        {"study": "sha256:../x"},
    ],
)
def test_wrong_fields_are_refused(change: dict[str, object]) -> None:
    fields = QUESTION.model_dump() | change
    with pytest.raises(WardroundError) as refused:
        unpack(Train, RecordDict({FIELDS: ConfigRecord(fields)}))  # type: ignore[arg-type]
    assert refused.value.code == "WR-1301"


def test_losses_that_are_not_finite_are_refused() -> None:
    reply = Trained(site=SiteId("a"), round=1, patients=2, samples=3, loss=0.5, train_seconds=0.1, seconds=0.2)
    fields = reply.model_dump(exclude_none=True) | {"loss": float("nan")}
    with pytest.raises(WardroundError) as refused:
        unpack(Trained, RecordDict({FIELDS: ConfigRecord(fields)}))
    assert refused.value.code == "WR-1301"


def test_records_with_more_than_fields_and_a_vector_are_refused() -> None:
    record = pack(QUESTION, pack_vector(np.zeros(5, np.float32)))
    assert unpack(Train, record) == QUESTION
    record["more"] = pack_vector(np.zeros(5, np.float32))
    with pytest.raises(WardroundError, match="more than fields") as refused:
        unpack(Train, record)
    assert refused.value.code == "WR-1301"


@pytest.mark.parametrize("value", [1e300, -1e300, float("inf")])
def test_losses_outside_float32_are_refused(value: float) -> None:
    fields = {"site": "a", "loss": 3e38}
    assert unpack(Validated, RecordDict({FIELDS: ConfigRecord(fields)})).loss == 3e38  # type: ignore[arg-type]
    with pytest.raises(WardroundError) as refused:
        unpack(Validated, RecordDict({FIELDS: ConfigRecord(fields | {"loss": value})}))  # type: ignore[arg-type]
    assert refused.value.code == "WR-1301"


def test_messages_without_fields_or_vector_are_refused() -> None:
    with pytest.raises(WardroundError, match="without fields"):
        unpack(Train, RecordDict({}))
    with pytest.raises(WardroundError, match="without one"):
        unpack_vector(pack(QUESTION), 5)


@pytest.mark.parametrize(
    ("dtype", "stype", "data"),
    [
        ("float32", "wardround.float32.le", b"\0" * 16),
        ("float32", "wardround.float32.le", b"\0" * 24),
        ("float64", "wardround.float32.le", b"\0" * 20),
        ("float32", "numpy.ndarray", b"\0" * 20),
    ],
)
def test_vectors_of_another_type_or_size_are_refused(dtype: str, stype: str, data: bytes) -> None:
    record = RecordDict({VECTOR: ArrayRecord({VECTOR: Array(dtype, (5,), stype, data)})})
    with pytest.raises(WardroundError) as refused:
        unpack_vector(record, 5)
    assert refused.value.code == "WR-1301"


def test_a_record_that_was_read_is_freed_at_once() -> None:
    record = pack(QUESTION, pack_vector(np.zeros(5, dtype=np.float32)))
    gone = weakref.ref(record)
    gc.disable()
    try:
        unpack(Train, record)
        unpack_vector(record, 5)
        del record
        assert gone() is None
    finally:
        gc.enable()
