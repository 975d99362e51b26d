"""HKDF-SHA256 against RFC 5869 and its two lines of HMAC."""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.common.crypto.kdf import derive

if TYPE_CHECKING:
    from pathlib import Path


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, sections 2.2 and 2.3."""
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    output = block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        output += block
    return output[:length]


def test_output_agrees_with_rfc_5869(root: Path) -> None:
    content = json.loads((root / "tests/vectors/crypto/hkdf-sha256.json").read_text())
    assert len(content["vectors"]) == 3
    for vector in content["vectors"]:
        secret, salt, info, output = (bytes.fromhex(vector[name]) for name in ("secret", "salt", "info", "output"))
        assert derive(secret, salt=salt, info=info, length=len(output)) == output
        assert hkdf(secret, salt, info, len(output)) == output


@given(st.binary(min_size=16, max_size=80), st.binary(max_size=80), st.binary(max_size=80), st.integers(1, 200))
def test_output_agrees_with_hmac(secret: bytes, salt: bytes, info: bytes, length: int) -> None:
    assert derive(secret, salt=salt, info=info, length=length) == hkdf(secret, salt, info, length)


def test_secret_salt_and_info_all_count() -> None:
    outputs = {
        derive(b"s" * 32, salt=b"a", info=b"b"),
        derive(b"t" * 32, salt=b"a", info=b"b"),
        derive(b"s" * 32, salt=b"c", info=b"b"),
        derive(b"s" * 32, salt=b"a", info=b"c"),
    }
    assert len(outputs) == 4
    assert {len(output) for output in outputs} == {32}


def test_lengths_are_checked() -> None:
    assert len(derive(bytes(16), salt=b"", info=b"", length=8160)) == 8160
    for length in (0, -1, 8161):
        with pytest.raises(ValueError, match="8160"):
            derive(bytes(16), salt=b"", info=b"", length=length)
    with pytest.raises(ValueError, match="too short"):
        derive(bytes(15), salt=b"", info=b"")
