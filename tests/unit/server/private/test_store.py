"""What a coordinator keeps: durable, whole, and refused when it is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.common.errors import WardroundError
from wardround.server.private.store import FolderStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(WardroundError) as refused:
        attempt()
    assert refused.value.code == "WR-1714"
    return refused.value.what


def test_records_change_together_and_survive(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "private")
    assert store.get("a") is None
    store.commit({"a": b"1", "b": bytes(100_000)})
    store.commit({"a": b"2", "b": None})
    again = FolderStore(tmp_path / "private")
    assert (again.get("a"), again.get("b")) == (b"2", None)
    assert [path.name for path in (tmp_path / "private").iterdir()] == ["records"]


@settings(max_examples=60)
@given(data=st.data())
def test_every_changed_or_missing_byte_is_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    FolderStore(folder).commit({"numbers": b"123", "session": b"x" * 40})
    path = folder / "records"
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert "damaged" in refusal(lambda: FolderStore(folder))


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_a_masked_sum_is_found_under_its_name_alone(dtype: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    values = np.arange(1001, dtype=dtype)
    found = np.zeros_like(values)
    refusal(lambda: store.read_sum("first", found))
    store.keep_sum("first", values)
    store.read_sum("first", found)
    np.testing.assert_array_equal(found, values)
    refusal(lambda: store.read_sum("second", found))
    refusal(lambda: store.read_sum("first", found[:-1].copy()))
    store.keep_sum("second", values + 1)
    refusal(lambda: store.read_sum("first", found))
    content = bytearray((tmp_path / "sum").read_bytes())
    content[-1] ^= 1
    (tmp_path / "sum").write_bytes(content)
    refusal(lambda: store.read_sum("second", found))


def test_vectors_are_found_by_their_hash_and_forgotten(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    vector = np.arange(7, dtype=np.float32)
    digest, other = store.keep_vector(vector), store.keep_vector(vector + 1)
    found = store.read_vector(digest)
    found += 1
    np.testing.assert_array_equal(store.read_vector(digest), vector)
    np.testing.assert_array_equal(store.read_vector(other), found)
    refusal(lambda: store.read_vector(bytes(32)))
    (tmp_path / ".left.f32.partial").write_bytes(b"half")
    store.forget_vectors([other])
    refusal(lambda: store.read_vector(digest))
    store.read_vector(other)
    assert [path.name for path in tmp_path.iterdir()] == [f"{other.hex()}.f32"]
    (tmp_path / f"{other.hex()}.f32").write_bytes(vector.tobytes())
    refusal(lambda: store.read_vector(other))
